"""Finds and checks all sources of a store before anything is written: files, shapes, channels, rates, events."""

from __future__ import annotations

import dataclasses
import glob
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dynml.configuration import nearest_name
from dynml.data.bids.censored_series import CensoredReader, kept_volumes
from dynml.data.bids.derivatives import BidsRun, find_runs
from dynml.data.bids.entities import parsed
from dynml.data.checks import check_not_transposed, check_size
from dynml.data.cleaning import CleaningPlan
from dynml.data.events_reading import RunOfSamples, events_of_files, read_events
from dynml.data.participants import SubjectIdentity, check_split, identities
from dynml.data.preparation_steps import chain
from dynml.data.preparation_steps.step import Layout, PreparationStep
from dynml.data.readers import Reader, ReaderInputs, extension_of, reader_class
from dynml.data.readers.nifti import AUTOMATIC_MASK, NiftiReader
from dynml.data.readers.without_channels import WithoutChannels
from dynml.data.recording import Events
from dynml.data.remarks import Remarks
from dynml.data.source_table import SourceTable, TableRun, is_file
from dynml.data.store_agreement import GroupSources, SourceFile, check_agreement, in_one_order
from dynml.data.store_config import StoreConfig, TimeseriesGroupConfig
from dynml.data.store_layout import natural_order
from dynml.data.tables import read_table
from dynml.errors import ConfigurationError, DataError

SAME_RATE = 1e-6
ARBITRARY = "arbitrary"
SAME_SIDECAR_RATE = 1e-3
PARTICIPANTS_TABLE = "participants.tsv"


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
    table: SourceTable | None = None

    @property
    def config(self) -> TimeseriesGroupConfig:
        return self.store_config.groups[self.group]

    def __str__(self) -> str:
        return f"Subject {self.folder.name}, group {self.group}"

    def find(self, key: str, name: str) -> Path:
        """Find a file that the config names, in the subject's folder or the config's."""
        for home in (self.folder, self.store_config.folder):
            if is_file(home / name):
                return home / name
        homes = f"{self.folder} nor in {self.store_config.folder.resolve()}"
        raise DataError(f"{self.group}.{key}: {name} is neither in {homes}.")


def find_sources(
    ready_folder: Path,
    config: StoreConfig,
    subsets: dict[str, list[str]],
    remarks: Remarks,
    table: SourceTable | None = None,
    known: Collection[str] = (),
) -> list[SubjectSources]:
    """Find and check all files of all subjects, reading headers only.

    Parameters
    ----------
    ready_folder : Path
        Holds one folder a subject; the table's folder where there is one.
    config : StoreConfig
    subsets : dict
        Subset name to its subjects.
    remarks : Remarks
        Gathers what the user should know.
    table : SourceTable, optional
        Names the files, instead of the config.
    known : collection of str
        Subjects that need not be told of where they are in no list.

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
    if table is None:
        _check_folders(ready_folder, subjects, config, remarks, known)
    else:
        _check_rows(table, subjects, remarks, known)
    steps = {group: steps_of(group, group_config) for group, group_config in config.groups.items()}
    identified = identify(ready_folder, config, subjects, remarks, table)
    check_split(subsets, identified, config.split)
    readers: dict[Hashable, Reader] = {}
    sources = [
        SubjectSources(
            identity=identified[subject],
            groups={
                group: _group_sources(_Place(config, group, ready_folder / subject, remarks, readers, table))
                for group in config.groups
            },
        )
        for subject in subjects
    ]
    for group in config.groups:
        of_subjects = {one.identity.subject: one.groups[group] for one in sources}
        reorder = config.groups[group].match_channels
        of_subjects = in_one_order(group, of_subjects) if reorder else of_subjects
        sources = [_with_group(one, group, of_subjects[one.identity.subject]) for one in sources]
        becomes_one = any(step.name == "downsample" for step in steps[group])
        check_agreement(group, of_subjects, mixed_rates=config.allow_mixed_sampling_frequency or becomes_one)
        check_steps(group, of_subjects, steps[group])
    return sources


def identify(
    ready_folder: Path, config: StoreConfig, subjects: list[str], remarks: Remarks, table: SourceTable | None = None
) -> dict[str, SubjectIdentity]:
    """Say whose each subject is, by the config, the table, or the participants.tsv of BIDS.

    Raises
    ------
    DataError
        When a subject is not described, or twice.
    """
    if table is not None and config.participants is None:
        return {subject: table.subjects[subject].identity for subject in subjects}
    if table is not None and table.describes_participants:
        raise DataError(
            f"Both 'participants' of the config and columns of {table.path} describe participants; keep one of them."
        )
    participants = config.participants or _participants_of_bids(ready_folder, config, subjects, remarks)
    return identities(subjects, participants, [config.folder.resolve(), ready_folder.resolve()])


def subjects_of_folder(ready_folder: Path, config: StoreConfig) -> list[str]:
    """Names of the folders that a folder of subjects, or BIDS derivatives, holds, in natural order.

    Raises
    ------
    DataError
        When it does not exist or may not be read.
    """
    try:
        present = [entry.name for entry in ready_folder.iterdir() if entry.is_dir()]
    except FileNotFoundError as error:
        raise DataError(f"The folder of subjects {ready_folder} does not exist.") from error
    except OSError as error:
        raise DataError(f"The folder of subjects {ready_folder} cannot be read: {error.strerror}.") from error
    if all(group.bids is not None for group in config.groups.values()):
        present = [name for name in present if name.startswith("sub-")]
    return sorted((name for name in present if not name.startswith(".")), key=natural_order)


def _with_group(sources: SubjectSources, group: str, own: GroupSources) -> SubjectSources:
    return dataclasses.replace(sources, groups={**sources.groups, group: own})


def _check_rows(table: SourceTable, subjects: list[str], remarks: Remarks, known: Collection[str]) -> None:
    missing = [subject for subject in subjects if subject not in table.subjects]
    if missing:
        near = nearest_name(missing[0], table.subjects)
        raise DataError(f"{table.path} has no subject {missing[0]}{near if len(near) < 200 else ''}.")
    unlisted = [name for name in table.subjects if name not in {*subjects, *known}]
    if unlisted:
        named = ", ".join(unlisted[:3]) + (", .." if len(unlisted) > 3 else "")
        remarks.add(f"{len(unlisted)} of the subjects in {table.path} are in no list and were left out", named)


def _participants_of_bids(
    root: Path, config: StoreConfig, subjects: list[str], remarks: Remarks
) -> dict[str, dict[str, str]] | None:
    """Covariates from the participants.tsv of the derivatives, or of the raw data set, where there is one."""
    groups = [group.bids_runs for group in config.groups.values() if group.bids is not None]
    raw = [config.folder / group.raw for group in groups if group.raw is not None]
    path = next((home / PARTICIPANTS_TABLE for home in [root, *raw] if (home / PARTICIPANTS_TABLE).is_file()), None)
    if not groups or path is None:
        return None
    table = read_table(path)
    ids = table.columns.get("participant_id", [])
    rows = {subject: ids.index(subject) for subject in subjects if subject in ids}
    for subject in subjects:
        if subject not in rows:
            remarks.add(f"{path} does not speak of some subjects, which have no covariates", subject)
    columns = {name: values for name, values in table.columns.items() if name != "participant_id"}
    of_rows = {subject: {name: values[row] for name, values in columns.items()} for subject, row in rows.items()}
    return {subject: of_rows.get(subject, {}) for subject in subjects}


def _check_folders(
    ready_folder: Path, subjects: list[str], config: StoreConfig, remarks: Remarks, known: Collection[str]
) -> None:
    present = subjects_of_folder(ready_folder, config)
    missing = [subject for subject in subjects if subject not in set(present)]
    if missing:
        near = nearest_name(missing[0], present) if present else " (it is empty)"
        more = f" nor of {len(missing) - 1} more subjects" if len(missing) > 1 else ""
        raise DataError(
            f"{ready_folder} has no folder of subject {missing[0]}{more}{near if len(near) < 200 else ''}; lists of "
            "subjects hold one name a line."
        )
    unlisted = [name for name in present if name not in {*subjects, *known}]
    if unlisted:
        named = ", ".join(unlisted[:3]) + (", .." if len(unlisted) > 3 else "")
        remarks.add(f"{len(unlisted)} of the folders in {ready_folder} are in no list and were left out", named)


def steps_of(group: str, config: TimeseriesGroupConfig) -> list[PreparationStep]:
    """Make a group's chain.

    Raises
    ------
    DynmlError
        For a step or parameter that is not accepted; names the group and the place.
    """
    try:
        return chain.chosen_steps(config.preparation, config.detrends_as_step)
    except ConfigurationError as error:
        raise ConfigurationError(f"{group}.{error.key}", error.found, error.accepted) from error
    except DataError as error:
        raise DataError(f"Group {group}: {error}") from error


def check_steps(group: str, sources: Mapping[str, GroupSources], steps: Sequence[PreparationStep]) -> None:
    """Check steps against each rate and set of channels, at the first subject that has them.

    Raises
    ------
    DataError
        Names the subject, the group and the step.
    """
    checked: set[Layout] = set()
    for subject, one in sources.items():
        layout = Layout(sampling_frequency=one.sampling_frequency, channel_names=one.channel_names)
        if layout not in checked:
            chain.layout_after(steps, layout, f"Subject {subject}, group {group}")
            checked.add(layout)


def _group_sources(place: _Place) -> GroupSources:
    runs = [] if place.config.bids is None else _bids_runs(place)
    if runs:
        files = [_bids_source_file(place, run) for run in runs]
    elif place.table is not None:
        files = [_table_source_file(place, run) for run in place.table.runs_of(place.folder.name, place.group)]
    else:
        names = _matching(place.folder, place.config.files, str(place))
        files = [_source_file(place, name, _reader(place, place.folder / name)) for name in names]
    _check_runs(files, str(place))
    channel_names = _channel_names(place, files)
    rate = _sampling_frequency(place, files)
    events = None
    if place.config.events is not None:
        events = _events(place, place.config.events, files, rate)
    elif any(run.events for run in runs):
        events = _placed_events(place, [run.events for run in runs], files, rate)
    elif place.table is not None:
        events = _events_of_table(place, place.table, files, rate)
    if events is None:
        events = events_of_files([file.description.events for file in files], _runs_of_samples(files))
    elif any(file.description.events is not None for file in files):
        topic = f"Group {place.group}: 'events' takes the place of the events in the files themselves"
        place.remarks.add(topic, place.folder.name)
    return GroupSources(
        files=_with_cleaning(place, files, runs, rate),
        channel_names=channel_names,
        sampling_frequency=rate,
        events=events,
        units=_units(place, files),
    )


def _bids_runs(place: _Place) -> list[BidsRun]:
    bids = place.config.bids_runs
    raw = None if bids.raw is None else place.store_config.folder / bids.raw
    if raw is not None and not raw.is_dir():
        raise DataError(f"{place.group}.bids.raw: {raw} is no folder.")
    return find_runs(place.folder.parent, raw, place.folder.name, bids, str(place))


def _bids_source_file(place: _Place, run: BidsRun) -> SourceFile:
    bids, reader = place.config.bids_runs, _reader(place, run.path)
    if isinstance(reader, NiftiReader) and place.config.mask is None and bids.brain_mask:
        if run.mask is None:
            raise DataError(
                f"{place}: {run.path} has no brain mask (*_desc-brain_mask.nii.gz) beside it; give 'mask', or set "
                "\"brain_mask\": false in 'bids'."
            )
        reader = reader.with_mask(run.mask)
    _remark_space(place, run)
    if run.outliers is not None and bids.pipeline == "xcp_d":
        reader = CensoredReader(_without_excluded(place, reader), kept_volumes(run.outliers), run.outliers)
    elif bids.pipeline == "xcp_d":
        topic = f"Group {place.group}: no outliers.tsv says which volumes were censored, so that none becomes a gap"
        place.remarks.add(topic, f"{place.folder.name}, run {run.name}")
    name = run.path.relative_to(place.folder).as_posix()
    file = _source_file(place, name, reader, run.name)
    found = file.description.sampling_frequency
    if run.repetition_time is None:
        return file
    if found is not None and abs(found * run.repetition_time - 1.0) > SAME_SIDECAR_RATE:
        if place.config.stated_sampling_frequency is None:
            raise DataError(
                f"{place}: the repetition time of {run.path} is {1.0 / found:g} s in its header, but "
                f"{run.repetition_time:g} s in {run.sidecar}; state 'repetition_time' in the config."
            )
        return file
    description = dataclasses.replace(file.description, sampling_frequency=1.0 / run.repetition_time)
    return dataclasses.replace(file, description=description)


def _table_source_file(place: _Place, run: TableRun) -> SourceFile:
    reader = _reader(place, run.path)
    file = _source_file(place, str(run.path.resolve()), reader, run.name)
    return dataclasses.replace(file, name=run.file)


def _events_of_table(place: _Place, table: SourceTable, files: list[SourceFile], rate: float) -> Events | None:
    paths = [run.events for run in table.runs_of(place.folder.name, place.group)]
    return None if None in paths else _placed_events(place, list(dict.fromkeys(paths)), files, rate)


def _remark_space(place: _Place, run: BidsRun) -> None:
    """Tell of an atlas whose name says that it is in another space than the run."""
    atlas = None if place.config.atlas is None else parsed(Path(place.config.atlas))
    of_atlas = None if atlas is None else atlas.entities.get("space", atlas.entities.get("tpl"))
    if of_atlas is not None and run.space is not None and of_atlas != run.space:
        topic = f"Group {place.group}: the atlas is in space {of_atlas} by its name, but runs are in {run.space}"
        place.remarks.add(topic, f"{place.folder.name}, run {run.name}")


def _with_cleaning(place: _Place, files: list[SourceFile], runs: list[BidsRun], rate: float) -> list[SourceFile]:
    """Say what is removed from each run, and check its table of confounds."""
    config = place.config
    for key in ("high_pass", "low_pass"):
        frequency = getattr(config, key)
        if frequency is not None and frequency >= rate / 2:
            raise DataError(f"{place}: {key} is {frequency:g} Hz, but must be below half of the rate, {rate / 2:g} Hz.")
    tables = _confounds_tables(place, files, runs)
    cleaned = []
    for file, table in zip(files, tables):
        kept = file.reader.kept if isinstance(file.reader, CensoredReader) else None
        if not config.cleans and kept is None:
            cleaned.append(file)
            continue
        stretches = file.description.stretches
        if stretches is not None and stretches.tolist() != [[0, file.description.n_samples]]:
            raise DataError(
                f"{place}: {file.name} holds epochs, cases or stretches marked bad, over which confounds, high_pass "
                "and low_pass would reach; use the step 'filter' of 'preparation' instead."
            )
        plan = CleaningPlan(
            table=table,
            strategy=tuple(config.confounds_strategy),
            parameters=config.confounds_parameters,
            kept=kept,
            high_pass=config.high_pass,
            low_pass=config.low_pass,
            detrend=config.detrend and not config.detrends_as_step,
        )
        plan.of_run(file.description.n_samples)
        cleaned.append(dataclasses.replace(file, cleaning=plan))
    return cleaned


def _confounds_tables(place: _Place, files: list[SourceFile], runs: list[BidsRun]) -> list[Path | None]:
    config = place.config
    if not config.confounds_strategy:
        return [None] * len(files)
    if config.confounds is None:
        lacking = next((run for run in runs if run.confounds is None), None)
        if lacking is not None:
            raise DataError(f"{place}: {lacking.path} has no table of confounds (*_desc-confounds_*.tsv) beside it.")
        return [run.confounds for run in runs]
    names = _matching(place.folder, [config.confounds], str(place))
    if len(names) != len(files):
        raise DataError(
            f"{place}: confounds {config.confounds!r} match {len(names)} files ({names[0]} ..) for {len(files)} runs; "
            "give one for each run."
        )
    return [place.folder / name for name in names]


def _without_excluded(place: _Place, reader: Reader) -> Reader:
    """Leave channels out, where the reader does not do so by itself."""
    if not place.config.exclude_channels or "exclude_channels" in reader.settings:
        return reader
    return WithoutChannels(reader, tuple(place.config.exclude_channels))


def _source_file(place: _Place, name: str, reader: Reader, run_name: str | None = None) -> SourceFile:
    path = place.folder / name
    reader = _without_excluded(place, reader)
    description = reader.describe(path)
    run_name = name[: -len(extension_of(path))] if run_name is None else run_name
    check_size(description.n_samples, description.n_channels, f"{place}, run {run_name} ({path})")
    for remark in description.remarks:
        place.remarks.add(f"Group {place.group}: {remark}", f"{place.folder.name}/{name}")
    return SourceFile(path=path, name=name, run_name=run_name, description=description, reader=reader)


def _matching(folder: Path, patterns: list[str], where: str) -> list[str]:
    """Files of some patterns, each pattern's in natural order; a name that exists is not taken for a pattern."""
    names: dict[str, None] = {}
    for pattern in patterns:
        exact = is_file(folder / pattern)
        found = [pattern] if exact else glob.glob(pattern, root_dir=folder, recursive=True)
        found = [name for name in found if is_file(folder / name)]
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
        picks=config.picks,
        include_bads=config.include_bads,
        smoothing=config.smoothing,
        exclude_channels=tuple(config.exclude_channels),
    )
    unused = sorted(inputs.given - kind.settings - {"exclude_channels"})
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
        return _placed_events(place, [home / name for name in names], files, rate)
    homes = f"{place.folder} nor in {place.store_config.folder.resolve()}"
    raise DataError(f"{place}: events {pattern!r} match no file in {homes}.")


def _runs_of_samples(files: list[SourceFile]) -> list[RunOfSamples]:
    return [RunOfSamples(name=file.run_name, n_samples=file.description.n_samples) for file in files]


def _units(place: _Place, files: list[SourceFile]) -> str:
    """Units that the config states, else those that the files agree on."""
    stated = place.config.units
    of_files: dict[str, str] = {}
    for file in files:
        if file.description.units is not None:
            of_files.setdefault(file.description.units, file.name)
    if stated == ARBITRARY:
        same = len(of_files) == 1 and all(file.description.units is not None for file in files)
        return next(iter(of_files)) if same else ARBITRARY
    for found, name in of_files.items():
        if found != stated:
            topic = f"Group {place.group}: the config's units {stated!r} override those of the files"
            place.remarks.add(topic, f"{found} in {place.folder.name}/{name}")
    return stated


def _placed_events(place: _Place, paths: Sequence[Path | None], files: list[SourceFile], rate: float) -> Events:
    events, remarks = read_events(paths, _runs_of_samples(files), rate, place.folder.name)
    for remark in remarks:
        place.remarks.add(f"Group {place.group}: events do not fit their run", f"{place.folder.name}: {remark}")
    return events
