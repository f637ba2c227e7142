"""Finds and checks all sources of a store before anything is written: files, shapes, channels, rates, events."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dynml.configuration import nearest_name
from dynml.data.checks import check_not_transposed, check_size
from dynml.data.events_reading import RunOfSamples, read_events
from dynml.data.participants import SubjectIdentity, check_split, identities
from dynml.data.preparation_steps import chain
from dynml.data.preparation_steps.step import Layout, PreparationStep
from dynml.data.readers import Reader, ReaderInputs, extension_of, reader_class
from dynml.data.readers.nifti import AUTOMATIC_MASK
from dynml.data.recording import Events
from dynml.data.remarks import Remarks
from dynml.data.store_agreement import GroupSources, SourceFile, check_agreement
from dynml.data.store_config import StoreConfig, TimeseriesGroupConfig
from dynml.data.store_layout import natural_order
from dynml.data.tables import read_table
from dynml.errors import ConfigurationError, DataError

SAME_RATE = 1e-6


@dataclass(frozen=True, kw_only=True)
class SubjectSources:
    """What makes one subject."""

    identity: SubjectIdentity
    groups: dict[str, GroupSources]


@dataclass(frozen=True)
class _Place:
    """One group of one subject, and what is shared between all of them."""

    store_config: StoreConfig
    group: str
    folder: Path
    remarks: Remarks
    readers: dict[Hashable, Reader]

    @property
    def config(self) -> TimeseriesGroupConfig:
        return self.store_config.groups[self.group]

    def __str__(self) -> str:
        return f"Subject {self.folder.name}, group {self.group}"

    def find(self, key: str, name: str) -> Path:
        """Find a file that the config names, in the subject's folder or the config's."""
        for home in (self.folder, self.store_config.folder):
            if (home / name).is_file():
                return home / name
        homes = f"{self.folder} nor in {self.store_config.folder.resolve()}"
        raise DataError(f"{self.group}.{key}: {name} is neither in {homes}.")


def find_sources(
    ready_folder: Path, config: StoreConfig, subsets: dict[str, list[str]], remarks: Remarks
) -> list[SubjectSources]:
    """Find and check all files of all subjects, reading headers only.

    Parameters
    ----------
    ready_folder : Path
        Holds one folder a subject.
    config : StoreConfig
    subsets : dict
        Subset name to its subjects.
    remarks : Remarks
        Gathers what the user should know.

    Returns
    -------
    list of SubjectSources
        Subject by subject in the order of the subsets.

    Raises
    ------
    DataError
        For a missing folder or file, a pattern that matches nothing, an array that cannot be used, or a difference
        between subjects in channels or rate; names the subject, the group and the field.
    """
    subjects = [subject for names in subsets.values() for subject in names]
    _check_folders(ready_folder, subjects, remarks)
    steps = {group: _steps(group, group_config) for group, group_config in config.groups.items()}
    identified = identities(subjects, config.participants, [config.folder.resolve(), ready_folder.resolve()])
    check_split(subsets, identified, config.split)
    readers: dict[Hashable, Reader] = {}
    sources = [
        SubjectSources(
            identity=identified[subject],
            groups={
                group: _group_sources(_Place(config, group, ready_folder / subject, remarks, readers))
                for group in config.groups
            },
        )
        for subject in subjects
    ]
    for group in config.groups:
        of_subjects = {one.identity.subject: one.groups[group] for one in sources}
        becomes_one = any(step.name == "downsample" for step in steps[group])
        check_agreement(group, of_subjects, mixed_rates=config.allow_mixed_sampling_frequency or becomes_one)
        _check_steps(group, of_subjects, steps[group])
    return sources


def _check_folders(ready_folder: Path, subjects: list[str], remarks: Remarks) -> None:
    if not ready_folder.is_dir():
        raise DataError(f"The folder of subjects {ready_folder} does not exist.")
    present = sorted((entry.name for entry in ready_folder.iterdir() if entry.is_dir()), key=natural_order)
    missing = [subject for subject in subjects if subject not in set(present)]
    if missing:
        near = nearest_name(missing[0], present) if present else " (it is empty)"
        more = f" nor of {len(missing) - 1} more subjects" if len(missing) > 1 else ""
        raise DataError(
            f"{ready_folder} has no folder of subject {missing[0]}{more}{near if len(near) < 200 else ''}; lists of "
            "subjects hold one name a line."
        )
    unlisted = [name for name in present if name not in set(subjects) and not name.startswith(".")]
    if unlisted:
        named = ", ".join(unlisted[:3]) + (", .." if len(unlisted) > 3 else "")
        remarks.add(f"{len(unlisted)} of the folders in {ready_folder} are in no list and were left out", named)


def _steps(group: str, config: TimeseriesGroupConfig) -> list[PreparationStep]:
    try:
        return chain.chosen_steps(config.preparation, config.detrend)
    except ConfigurationError as error:
        raise ConfigurationError(f"{group}.{error.key}", error.found, error.accepted) from error
    except DataError as error:
        raise DataError(f"Group {group}: {error}") from error


def _check_steps(group: str, sources: Mapping[str, GroupSources], steps: list[PreparationStep]) -> None:
    """Check steps against each rate and set of channels, at the first subject that has them."""
    checked: set[Layout] = set()
    for subject, one in sources.items():
        layout = Layout(sampling_frequency=one.sampling_frequency, channel_names=one.channel_names)
        if layout not in checked:
            chain.layout_after(steps, layout, f"Subject {subject}, group {group}")
            checked.add(layout)


def _group_sources(place: _Place) -> GroupSources:
    files = [_source_file(place, name) for name in _matching(place.folder, place.config.files, str(place))]
    _check_runs(files, str(place))
    channel_names = _channel_names(place, files)
    rate = _sampling_frequency(place, files)
    return GroupSources(
        files=files,
        channel_names=channel_names,
        sampling_frequency=rate,
        events=None if place.config.events is None else _events(place, place.config.events, files, rate),
    )


def _source_file(place: _Place, name: str) -> SourceFile:
    path = place.folder / name
    reader = _reader(place, path)
    description = reader.describe(path)
    run_name = name[: -len(extension_of(path))]
    check_size(description.n_samples, description.n_channels, f"{place}, run {run_name} ({path})")
    for remark in description.remarks:
        place.remarks.add(f"Group {place.group}: {remark}", f"{place.folder.name}/{name}")
    return SourceFile(path=path, name=name, run_name=run_name, description=description, reader=reader)


def _matching(folder: Path, patterns: list[str], where: str) -> list[str]:
    """Files of some patterns, each pattern's in natural order; a name that exists is not taken for a pattern."""
    names: dict[str, None] = {}
    for pattern in patterns:
        exact = (folder / pattern).is_file()
        found = [pattern] if exact else glob.glob(pattern, root_dir=folder, recursive=True)
        found = [name for name in found if (folder / name).is_file()]
        if not found:
            kind = "matches no file" if glob.has_magic(pattern) else "is missing"
            raise DataError(f"{where}: {pattern} {kind} in {folder}.")
        names.update(
            dict.fromkeys(sorted(found, key=lambda name: natural_order(name.removesuffix(".gz").rsplit(".", 1)[0])))
        )
    return list(names)


def _reader(place: _Place, path: Path) -> Reader:
    """Make the reader of a file, or give the one that was made for the same atlas and mask."""
    config, kind = place.config, reader_class(path)
    labels, mask = config.atlas_labels, config.mask
    inputs = ReaderInputs(
        atlas=None if config.atlas is None else place.find("atlas", config.atlas),
        atlas_labels=place.find("atlas_labels", labels) if isinstance(labels, str) else labels,
        mask=mask if mask in (None, AUTOMATIC_MASK) else place.find("mask", str(mask)),
        variable=config.variable,
        time_axis=config.time_axis,
    )
    unused = sorted(inputs.given - kind.settings)
    if unused:
        key = unused[0]
        raise ConfigurationError(f"{place.group}.{key}", getattr(config, key), f"left out for files like {path.name}")
    labels_path = inputs.atlas_labels if isinstance(inputs.atlas_labels, Path) else None
    identity = (place.group, kind, inputs.atlas, labels_path, inputs.mask)
    if identity not in place.readers:
        try:
            place.readers[identity] = kind(inputs)
        except DataError as error:
            raise type(error)(f"Group {place.group}: {error}") from error
    return place.readers[identity]


def _check_runs(files: list[SourceFile], where: str) -> None:
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
        if file.description.channel_names != first.description.channel_names:
            raise DataError(f"{where}: runs {first.run_name} and {file.run_name} have different channel names.")


def _channel_names(place: _Place, files: list[SourceFile]) -> tuple[str, ...]:
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
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} could not be read: {error}.") from error


def _sampling_frequency(place: _Place, files: list[SourceFile]) -> float:
    stated = place.config.stated_sampling_frequency
    rates = [file.description.sampling_frequency for file in files]
    if stated is not None:
        for file, found in zip(files, rates):
            if found is not None and abs(found - stated) > SAME_RATE * stated:
                topic = f"Group {place.group}: the config's rate of {stated:g} Hz overrides that of the files"
                place.remarks.add(topic, f"{found:g} Hz in {place.folder.name}/{file.name}")
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


def _events(place: _Place, pattern: str, files: list[SourceFile], rate: float) -> Events:
    for home in (place.folder, place.store_config.folder):
        try:
            names = _matching(home, [pattern], str(place))
        except DataError:
            continue
        runs = [RunOfSamples(name=file.run_name, n_samples=file.description.n_samples) for file in files]
        events, remarks = read_events([home / name for name in names], runs, rate, place.folder.name)
        for remark in remarks:
            place.remarks.add(f"Group {place.group}: events do not fit their run", f"{place.folder.name}: {remark}")
        return events
    homes = f"{place.folder} nor in {place.store_config.folder.resolve()}"
    raise DataError(f"{place}: events {pattern!r} match no file in {homes}.")
