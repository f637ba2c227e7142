"""Describes one group of one subject by its files: runs, channels, rate, events and units."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dynml.conversion.bids.derivatives import BidsRun
from dynml.conversion.bids.run_clock import start_by_sidecar, start_of_run
from dynml.conversion.bids.sources import bids_runs, bids_source_file
from dynml.conversion.events.reading import events_of_files, read_events
from dynml.conversion.events.times import RunOfSamples, Warned
from dynml.conversion.sources.agreement import GroupSources, SourceFile
from dynml.conversion.sources.cleaning import with_cleaning
from dynml.conversion.sources.places import Place, matching, reader_of, source_file
from dynml.conversion.sources.runs import files_of_patterns
from dynml.conversion.sources.table import SourceTable, TableRun
from dynml.errors import ConfigurationError, DataError, shortened
from dynml.preparation.checks import check_not_transposed, other_unit_of_time
from dynml.reading_files import read_text, stated_encoding
from dynml.recording import Events
from dynml.tables import read_table

SAME_RATE = 1e-6
ARBITRARY = "arbitrary"


def group_sources(place: Place) -> GroupSources:
    """Find and describe all files of one group of one subject, reading headers only.

    Raises
    ------
    DataError
        For a file that is missing or cannot be used, and for runs that do not fit each other; names the subject, the
        group and the file.
    """
    with stated_encoding(place.config.encoding), place.warned.of_encodings():
        return _group_sources(place)


def _group_sources(place: Place) -> GroupSources:
    runs = [] if place.config.bids is None else bids_runs(place)
    if runs:
        files = [bids_source_file(place, run) for run in runs]
    elif place.table is not None:
        files = [_table_source_file(place, run) for run in place.table.runs_of(place.folder.name, place.group)]
    else:
        files = files_of_patterns(place)
    files = _of_the_same_channels(files, place)
    channel_names = _channel_names(place, files)
    rate = _sampling_frequency(place, files)
    events = None
    if place.config.events is not None:
        events = _events(place, place.config.events, files, runs, rate)
    elif any(run.events for run in runs):
        events = _placed_events(place, [run.events for run in runs], files, runs, rate, one_a_run=True)
    elif place.table is not None:
        events = _events_of_table(place, place.table, files, rate)
    if events is None:
        events, warned = events_of_files([file.description.events for file in files], _runs_of_samples(files))
        _tell_of_events(place, warned)
    elif any(file.description.events is not None for file in files):
        topic = f"Group {place.group}: 'events' takes the place of the events in the files themselves"
        place.warned.add(topic, place.folder.name)
    return GroupSources(
        files=with_cleaning(place, files, runs, rate),
        channel_names=channel_names,
        sampling_frequency=rate,
        events=events,
        units=_units(place, files),
    )


def _table_source_file(place: Place, run: TableRun) -> SourceFile:
    reader = reader_of(place, run.path)
    file = source_file(place, str(run.path.resolve()), reader, run.name)
    return dataclasses.replace(file, name=run.file)


def _events_of_table(place: Place, table: SourceTable, files: list[SourceFile], rate: float) -> Events | None:
    paths = [run.events for run in table.runs_of(place.folder.name, place.group)]
    return None if None in paths else _placed_events(place, list(dict.fromkeys(paths)), files, [], rate)


def _of_the_same_channels(files: list[SourceFile], place: Place) -> list[SourceFile]:
    """Refuse runs of other channels than the first; in another order, too, unless they are to be matched by name."""
    where = str(place)
    counts = Counter(file.run_name for file in files)
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{where}: two files of different formats make a run {twice}; narrow the patterns in 'files'.")
    first = files[0]
    for file in files[1:]:
        if file.description.n_channels != first.description.n_channels:
            transposed = file.description.n_samples == first.description.n_channels
            raise DataError(
                f"{where}: the number of channels is {file.description.n_channels} in run {file.run_name}, but "
                f"{first.description.n_channels} in run {first.run_name}"
                f"{'; it looks transposed: save array.T instead' if transposed else ''}."
            )
    return [_ordered_as(first, file, place) for file in files]


def _ordered_as(first: SourceFile, file: SourceFile, place: Place) -> SourceFile:
    names, wanted = file.description.channel_names, first.description.channel_names
    if names == wanted:
        return file
    if names is None or wanted is None or set(names) != set(wanted):
        others = sorted(set(names or ()) ^ set(wanted or ()))
        raise DataError(
            f"{place}: runs {first.run_name} and {file.run_name} have different channel names: {shortened(others)} in "
            "one of them only."
        )
    if not place.config.match_channels:
        one, other = next(pair for pair in zip(wanted, names) if pair[0] != pair[1])
        raise DataError(
            f"{place}: run {file.run_name} has the channels of run {first.run_name} in another order ({other!r} in "
            f'the place of {one!r}); "match_channels": true brings them into one order.'
        )
    return dataclasses.replace(file, columns=tuple(names.index(name) for name in wanted))


def _channel_names(place: Place, files: list[SourceFile]) -> tuple[str, ...]:
    n_channels, named = files[0].description.n_channels, files[0].description.channel_names
    stated = place.config.channel_names
    if stated is None:
        if named is not None:
            return named
        for file in files:
            check_not_transposed(file.description.n_samples, n_channels, f"{place}: {file.path}")
        return tuple(f"channel_{number}" for number in range(n_channels))
    if isinstance(stated, str):
        stated = _names_from_file(place.find("channel_names", stated))
    if len(stated) != n_channels:
        raise DataError(f"{place}: channel_names has {len(stated)} names, but {files[0].path} {n_channels} channels.")
    if len(set(stated)) < len(stated):
        twice = next(name for name in stated if stated.count(name) > 1)
        raise DataError(f"{place}: channel_names has {twice!r} twice.")
    return tuple(stated)


def _names_from_file(path: Path) -> list[str]:
    if path.suffix.lower() == ".tsv":
        table = read_table(path)
        if "name" not in table.columns:
            raise DataError(f"{path} has no column 'name'; it has {', '.join(table.columns)}.")
        return table.columns["name"]
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def _sampling_frequency(place: Place, files: list[SourceFile]) -> float:
    stated = place.config.stated_sampling_frequency
    rates = [file.description.sampling_frequency for file in files]
    if stated is not None:
        _check_is_in_seconds(place, rates)
        _check_is_no_reciprocal(place, rates)
        for file, found in zip(files, rates):
            if found is not None and abs(found - stated) > SAME_RATE * stated:
                topic = (
                    f"Group {place.group}: all times and frequencies follow the config, since the config's rate of "
                    f"{stated:g} Hz overrides that of the files"
                )
                place.warned.add(topic, f"{found:g} Hz in {place.folder.name}/{file.name}")
        return stated
    first = rates[0]
    for file, found in zip(files, rates):
        if found is None or first is None:
            fault = f" ({file.description.rate_fault})" if file.description.rate_fault else ""
            raise DataError(
                f"{place}: {file.path} does not say its sampling frequency{fault}; give 'sampling_frequency' (Hz) or "
                "'repetition_time' (s) in the config."
            )
        if abs(found - first) > SAME_RATE * first:
            raise DataError(
                f"{place}: the sampling frequency is {found:g} Hz in run {file.run_name}, but {first:g} Hz in run "
                f"{files[0].run_name}."
            )
    assert first is not None
    return first


def _check_is_in_seconds(place: Place, rates: Sequence[float | None]) -> None:
    """Refuse a repetition time that is in another unit, unless a file says the same."""
    seconds = place.config.repetition_time
    fault = None if seconds is None else other_unit_of_time(seconds)
    if seconds is None or fault is None:
        return
    if not any(found is not None and abs(found * seconds - 1.0) <= SAME_RATE for found in rates):
        raise ConfigurationError(f"{place.group}.repetition_time", seconds, f"in seconds ({fault})")


def _check_is_no_reciprocal(place: Place, rates: Sequence[float | None]) -> None:
    """Refuse a repetition time that is given as a rate, or the other way round: the files say one by the other."""
    config = place.config
    key = "sampling_frequency" if config.repetition_time is None else "repetition_time"
    stated = getattr(config, key)
    other, unit = ("repetition_time", "s") if key == "sampling_frequency" else ("sampling_frequency", "Hz")
    for found in rates:
        # The number that the files have in the other key's unit.
        number = None if found is None else 1.0 / found if other == "repetition_time" else found
        if number is not None and abs(number - stated) <= SAME_RATE * stated and abs(number - 1.0) > SAME_RATE:
            accepted = f"given as {other!r}, or left out: by the files it is in {unit}"
            raise ConfigurationError(f"{place.group}.{key}", stated, accepted)


def _events(place: Place, pattern: str, files: list[SourceFile], runs: list[BidsRun], rate: float) -> Events:
    for home in (place.folder, place.store_config.folder):
        try:
            names = matching(home, [pattern], str(place))
        except DataError:
            continue
        return _placed_events(place, [home / name for name in names], files, runs, rate)
    homes = f"{place.folder} nor in {place.store_config.folder.resolve()}"
    raise DataError(f"{place}: events {pattern!r} match no file in {homes}.")


def _runs_of_samples(files: list[SourceFile]) -> list[RunOfSamples]:
    return [RunOfSamples(name=file.run_name, n_samples=file.description.n_samples) for file in files]


def _units(place: Place, files: list[SourceFile]) -> str:
    """Units that the config states, else those that the files agree on.

    Raises
    ------
    DataError
        When a file has channels of units that nothing is known of, and the config states none.
    """
    stated = place.config.units
    fault = next((file.description.units_fault for file in files if file.description.units_fault), "")
    if stated == ARBITRARY and fault:
        raise DataError(f"{place}: {fault}; leave it out by 'picks', or state the unit of all channels by 'units'.")
    of_files: dict[str, str] = {}
    for file in files:
        if file.description.units is not None:
            of_files.setdefault(file.description.units, file.name)
    if stated == ARBITRARY:
        same = len(of_files) == 1 and all(file.description.units is not None for file in files)
        return next(iter(of_files)) if same else ARBITRARY
    for found, name in of_files.items():
        if found != stated:
            topic = (
                f"Group {place.group}: the config's units {stated!r} override those of the files, without conversion"
            )
            place.warned.add(topic, f"{found} in {place.folder.name}/{name}")
    return stated


def _placed_events(
    place: Place,
    paths: Sequence[Path | None],
    files: list[SourceFile],
    runs: list[BidsRun],
    rate: float,
    *,
    one_a_run: bool = False,
) -> Events:
    """Read tables of events and place them in the runs' samples, by what the first sample of each run stands for."""

    def starts() -> list[float]:
        if not runs:
            return [start_by_sidecar(file.path, f"{place.folder.name}/{file.name}", place.warned) for file in files]
        # A run without events needs no place for any.
        lacking = {run.name for run, path in zip(runs, paths) if path is None}
        return [
            0.0 if run.name in lacking else _start_of_bids_run(place, run, file, rate)
            for run, file in zip(runs, files, strict=True)
        ]

    of_samples = _runs_of_samples(files)
    events, warned = read_events(paths, of_samples, rate, place.folder.name, one_a_run=one_a_run, starts=starts)
    _tell_of_events(place, warned)
    return events


def _tell_of_events(place: Place, warned: Sequence[Warned]) -> None:
    for topic, detail in warned:
        place.warned.add(f"Group {place.group}: {topic}", f"{place.folder.name}: {detail}")


def _start_of_bids_run(place: Place, run: BidsRun, file: SourceFile, rate: float) -> float:
    where = f"{place}, run {run.name}"
    n_volumes = file.description.n_samples
    return start_of_run(run.path, run.clock, place.config.bids_runs, n_volumes, 1.0 / rate, where, place.warned)
