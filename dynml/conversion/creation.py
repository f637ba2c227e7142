"""Makes a store from folders of recordings: all sources are checked first, then subject after subject is written."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tqdm import tqdm

from dynml.conversion.config import StoreConfig, TimeseriesGroupConfig
from dynml.conversion.fitting import fitted_chain
from dynml.conversion.inputs import chosen_subsets, folder_of, read_inputs
from dynml.conversion.parts import Part, is_made, needed_subjects
from dynml.conversion.sources.agreement import GroupSources
from dynml.conversion.sources.found import SubjectSources, check_steps, find_sources, identify, steps_of
from dynml.conversion.sources.geometry import geometries_of
from dynml.conversion.sources.runs import warn_of_same_contents
from dynml.conversion.sources.shared_files import shared_files
from dynml.conversion.sources.table import SourceTable
from dynml.conversion.sources.units import check_units, deviations_of
from dynml.conversion.subject_reading import read_recording
from dynml.conversion.subject_workers import SubjectWorkers
from dynml.conversion.subset_drawing import Draw
from dynml.data_warnings import DataWarnings
from dynml.fits import Layout
from dynml.locks.writing import writes_alone
from dynml.preparation import chain, checks
from dynml.preparation.fitted.fitted_step import FittedStep
from dynml.preparation.fitted.stored_fits import fits_of
from dynml.preparation.standardization import median_of, moments, standardized
from dynml.preparation.step import PreparationStep
from dynml.recording import Recording
from dynml.store.missing.gaps import joined_over_gaps
from dynml.store.participants import check_split
from dynml.store.participants_table import SubjectIdentity
from dynml.store.writing import StoreWriter, check_target, new_store

UNLIKE_SCALES = 1e3
BYTES_OF_NUMBER = 8


@writes_alone()
def create_store(
    source: Path,
    target: Path,
    config_file: Path,
    lists: Mapping[str, Path] | None = None,
    *,
    draw: Draw | None = None,
    part: Part | None = None,
    n_jobs: int = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> str:
    """Make a store from one folder per subject, from BIDS derivatives, or from a table of files.

    Parameters
    ----------
    source : Path
        A folder that holds one folder per subject, all with the same inner structure, or a table; see `source_table`.
    target : Path
        The HDF5 file to make.
    config_file : Path
        JSON, see `StoreConfig` and `TimeseriesGroupConfig`.
    lists : mapping, optional
        Subset name to a text file of subjects.
    draw : Draw, optional
        Draw the subsets instead.
    part : Part, optional
        Make a store of a share of the subjects only; one that is there already is kept. `Part.path` names it.
    n_jobs : int
        Processes that read and prepare subjects; the store is the same bit for bit, whatever their number.
    overwrite : bool
        Replace an existing store, once the new one is complete.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    str
        One line that says what was made.

    Raises
    ------
    DynmlError
        For any fault of the config, lists, files or signals, named; the target is then as it was.
    """
    if part is None:
        check_target(target, overwrite)
    workers = SubjectWorkers(n_jobs)
    warned = DataWarnings()
    with warned.of_encodings():
        config, table = read_inputs(source, config_file)
        subsets = chosen_subsets(source, config, table, lists or {}, draw)
        share = subsets if part is None else part.share(subsets)
        if part is not None and not overwrite and is_made(target, part.note(subsets), config.content):
            return f"{target} is there already, of the same subjects and config, and is kept."
        all_sources = _sources(folder_of(source, table), config, subsets, share, warned, table)
        own_sources = _of_subjects(all_sources, share)
        shared = shared_files(folder_of(source, table), config, [one.identity.subject for one in own_sources], table)
    with workers:
        chains = fitted_chains(all_sources, config, subsets["training"], workers, progress=progress)
        with new_store(target, config.content, share, overwrite=overwrite, each=workers.each) as writer:
            writer.note_shared_files(shared)
            if draw is not None:
                writer.note_draw(draw.as_dictionary())
            scales = write_subjects(writer, own_sources, config, chains, workers, warned, progress=progress)
            for group, steps in chains.items():
                writer.add_fits(group, fits_of(steps))
            writer.add_geometries(geometries_of(all_sources, config.groups, warned))
            if part is not None:
                writer.note_part({**part.note(subsets), "scales": scales})
            writer.note_warnings(without_folder(warned, source))
    warned.tell()
    return summary(target, share)


def _sources(
    folder: Path,
    config: StoreConfig,
    subsets: dict[str, list[str]],
    share: dict[str, list[str]],
    warned: DataWarnings,
    table: SourceTable | None,
) -> list[SubjectSources]:
    """Sources of the subjects of a share, and of those that it needs to be like the whole."""
    if share is subsets:
        return find_sources(folder, config, subsets, warned, table)
    listed = [subject for subjects in subsets.values() for subject in subjects]
    check_split(subsets, identify(folder, config, listed, DataWarnings(), table), config.split)
    steps = [step for group, group_config in config.groups.items() for step in steps_of(group, group_config)]
    needed = needed_subjects(subsets, share, fits=any(isinstance(step, FittedStep) for step in steps))
    return find_sources(folder, config, needed, warned, table, known=listed)


def _of_subjects(sources: Sequence[SubjectSources], share: Mapping[str, Sequence[str]]) -> list[SubjectSources]:
    own = {subject for subjects in share.values() for subject in subjects}
    return [one for one in sources if one.identity.subject in own]


def without_folder(warned: DataWarnings, source: Path) -> list[str]:
    """Sentences for the store, which says nothing of where the recordings lie on this computer."""
    return [sentence.replace(f"{source}{os.sep}", "") for sentence in warned.sentences()]


def summary(target: Path, subsets: Mapping[str, Sequence[str]]) -> str:
    """One line that says what was written."""
    counts = ", ".join(f"{len(subjects)} {subset}" for subset, subjects in subsets.items())
    return f"{target}: {counts} subjects; {target.stat().st_size / 1e6:.1f} MB, verified."


def fitted_chains(
    all_sources: Sequence[SubjectSources],
    config: StoreConfig,
    training: Sequence[str],
    workers: SubjectWorkers,
    *,
    progress: bool = False,
) -> dict[str, list[PreparationStep]]:
    """Make the chain of each group, with what is fitted to the training subjects.

    Raises
    ------
    DataError
        When a step cannot be fitted, or cannot be applied to a subject; named.
    """
    chosen = set(training)
    chains: dict[str, list[PreparationStep]] = {}
    for group, group_config in config.groups.items():
        of_subjects = {one.identity.subject: one.groups[group] for one in all_sources}
        seen = {subject: one for subject, one in of_subjects.items() if subject in chosen}
        steps = steps_of(group, group_config)
        chains[group] = fitted_chain(group, group_config, steps, seen, before_step, workers, progress=progress)
        check_steps(group, of_subjects, chains[group])
    return chains


def write_subjects(
    writer: StoreWriter,
    all_sources: Sequence[SubjectSources],
    config: StoreConfig,
    chains: Mapping[str, Sequence[PreparationStep]],
    workers: SubjectWorkers,
    warned: DataWarnings,
    *,
    known: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    progress: bool = False,
) -> dict[str, dict[str, float]]:
    """Read, prepare and write subject after subject.

    Parameters
    ----------
    known : mapping
        Group to typical standard deviations of runs that are in the store already, see `stored_deviations`.

    Returns
    -------
    dict
        For each group, the runs of the smallest and the largest typical standard deviation, before standardization.

    Raises
    ------
    DynmlError
        For any fault of files or signals, named.
    """
    scales: dict[str, dict[str, float]] = {group: {} for group in config.groups}
    units: dict[str, dict[str, float]] = {group: dict(known.get(group, {})) for group in config.groups}
    tasks = (_SubjectTask(sources, config.groups, chains) for sources in all_sources)
    results = workers.map(_prepared_subject, tasks, _n_bytes)
    contents: dict[tuple[str, str], list[str]] = {}
    hidden = None if progress else True
    for result in tqdm(results, desc="Subjects", total=len(all_sources), unit="subject", disable=hidden):
        subject = result.identity.subject
        writer.add_subject(result.identity)
        warned.take(result.warned)
        for group, (recording, rank) in result.groups.items():
            if config.groups[group].standardization == "none":
                scales[group][subject] = _typical_sd(recording)
            units[group] |= deviations_of(recording, subject)
            check_units(units[group], group)
            if config.groups[group].missing == "mask":
                # Only now: no statistic and no step may see a masked row.
                recording = joined_over_gaps(recording, f"Subject {subject}, group {group}", warned)
            for source in recording.sources:
                contents.setdefault((group, source.sha256), []).append(f"{subject}/{source.file}")
            writer.add_group(subject, group, recording, rank)
    _warn_of_scales(scales, warned)
    warn_of_same_contents(contents, warned)
    return units


@dataclasses.dataclass(frozen=True)
class _SubjectTask:
    """All that another process needs to prepare one subject."""

    sources: SubjectSources
    configs: Mapping[str, TimeseriesGroupConfig]
    chains: Mapping[str, Sequence[PreparationStep]]


@dataclasses.dataclass(frozen=True)
class _PreparedSubject:
    """One subject's groups, with their ranks."""

    identity: SubjectIdentity
    groups: dict[str, tuple[Recording, int]]
    warned: DataWarnings


def _n_bytes(task: _SubjectTask) -> int:
    """What a subject's signals take in float64."""
    files = (file.description for sources in task.sources.groups.values() for file in sources.files)
    return sum(BYTES_OF_NUMBER * file.n_samples * file.n_channels for file in files)


def _prepared_subject(task: _SubjectTask) -> _PreparedSubject:
    identity, warned = task.sources.identity, DataWarnings()
    groups = {
        group: prepared(sources, task.configs[group], identity.subject, group, warned, task.chains[group])
        for group, sources in task.sources.groups.items()
    }
    return _PreparedSubject(identity, groups, warned)


def prepared(
    sources: GroupSources,
    config: TimeseriesGroupConfig,
    subject: str,
    group: str,
    warned: DataWarnings,
    steps: Sequence[PreparationStep],
) -> tuple[Recording, int]:
    """Read, check and prepare one subject's group by a chain whose fits are at hand.

    Returns
    -------
    recording : Recording
        Standardized, float32.
    rank : int
        Numerical rank of its good samples.

    Raises
    ------
    DataError
        For samples that are not finite, constant channels, or a run without a good stretch, named.
    """
    where = f"Subject {subject}, group {group}"
    recording = read_recording(sources, config, where, warned)
    if config.standardization == "none" and not steps:
        recording = checks.in_own_units(recording, where)
    checks.check_not_constant(recording, where)
    for name, far in checks.outlying_channels(recording):
        warned.add(f"Group {group}: some samples are extreme outliers", f"{subject}, {name}: {far:.2g} robust SD")
    if steps:
        recording = _after_steps(recording, steps, where, warned)
        if config.standardization == "none":
            recording = checks.in_own_units(recording, where)
            checks.check_not_constant(recording, where)
    topic = f"Group {group}: signals are stored"
    checks.warn_of_lost_digits(recording, config.standardization, subject, topic, warned)
    recording = standardized(recording, config.standardization)
    rank, duplicates = checks.rank_and_duplicates(recording)
    if rank < recording.n_channels:
        detail = _rank_in_words(recording, rank, duplicates)
        topic = f"Group {group}: signals are rank-deficient, so that full covariances need a prior or PCA to their rank"
        warned.add(topic, f"{subject}: {detail}")
    return recording, rank


def before_step(
    sources: GroupSources,
    config: TimeseriesGroupConfig,
    steps: Sequence[PreparationStep],
    where: str,
    warned: DataWarnings,
) -> Recording:
    """Read one subject's group and apply the first steps of its chain, with the same checks as `prepared`.

    Raises
    ------
    DataError
        Names the subject, the run and the channel.
    """
    recording = read_recording(sources, config, where, warned, describes_files=False)
    checks.check_not_constant(recording, where)
    return _after_steps(recording, steps, where, warned) if steps else recording


def _after_steps(recording: Recording, steps: Sequence[PreparationStep], where: str, warned: DataWarnings) -> Recording:
    """Apply steps, and refuse a channel of which they leave no more than the rounding of the file's numbers."""
    resolution = checks.resolution_of(recording)
    cause = "detrending" if all(step.name == "detrend" for step in steps) else "preparation"
    deviations = moments(recording, "per_run")[1]
    for step in steps:
        layout = Layout(sampling_frequency=recording.sampling_frequency, channel_names=recording.channel_names)
        if not step.keeps_units:
            checks.check_not_constant(recording, where, deviations, resolution=resolution, cause=cause)
        recording = chain.applied([step], recording, where, warned)
        deviations = deviations[:, step.origins(layout)] if step.keeps_units else moments(recording, "per_run")[1]
    checks.check_not_constant(recording, where, deviations, resolution=resolution, cause=cause)
    return recording


def _rank_in_words(recording: Recording, rank: int, duplicates: Sequence[tuple[int, int]]) -> str:
    names = recording.channel_names
    text = f"rank {rank} of {recording.n_channels}"
    if duplicates:
        pairs = [f"{names[first]} = {names[second]}" for first, second in duplicates[:3]]
        more = f" and {len(duplicates) - 3} more pairs" if len(duplicates) > 3 else ""
        text += f" (duplicated channels: {', '.join(pairs)}{more})"
    return text


def _typical_sd(recording: Recording) -> float:
    """Median over channels of the standard deviation of the stored signals."""
    return float(median_of(moments(recording, "per_subject")[1][0]))


def _warn_of_scales(scales: dict[str, dict[str, float]], warned: DataWarnings) -> None:
    """Tell of units that look unscaled, which only matters where nothing is standardized."""
    for group, of_subjects in scales.items():
        if not of_subjects:
            continue
        low, high = checks.PLAUSIBLE_SD
        for subject, sd in of_subjects.items():
            if not low <= sd <= high:
                topic = f"Group {group}: signals are not standardized and their units look unscaled"
                warned.add(topic, f"{subject}: typical standard deviation {sd:.2g}")
        smallest, largest = (choose(of_subjects, key=of_subjects.__getitem__) for choose in (min, max))
        if of_subjects[largest] > UNLIKE_SCALES * of_subjects[smallest]:
            detail = f"{of_subjects[smallest]:.2g} in {smallest}, {of_subjects[largest]:.2g} in {largest}"
            warned.add(f"Group {group}: signals are not standardized and the subjects' units look different", detail)
