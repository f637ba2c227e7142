"""Makes a store from folders of recordings: all sources are checked first, then subject after subject is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dynml.data import checks
from dynml.data.preparation import moments, moments_of_segments, standardized
from dynml.data.preparation_steps import chain
from dynml.data.preparation_steps.step import Layout, PreparationStep
from dynml.data.recording import Recording, Source, recording_of_runs
from dynml.data.remarks import Remarks
from dynml.data.store_agreement import GroupSources, SourceFile
from dynml.data.store_config import TimeseriesGroupConfig, read_store_config, read_subsets
from dynml.data.store_sources import find_sources
from dynml.data.store_writing import check_target, new_store
from dynml.errors import DataError
from dynml.files import sha256_of_file

UNLIKE_SCALES = 1e3


def create_store(
    ready_folder: Path,
    target: Path,
    config_file: Path,
    lists: Mapping[str, Path],
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> str:
    """Make a store from one folder a subject.

    Parameters
    ----------
    ready_folder : Path
        Holds one folder a subject, all with the same inner structure.
    target : Path
        The HDF5 file to make.
    config_file : Path
        JSON, see `StoreConfig` and `TimeseriesGroupConfig`.
    lists : mapping
        Subset name to a text file of subjects.
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
    check_target(target, overwrite)
    config = read_store_config(config_file)
    subsets = read_subsets(dict(lists))
    remarks = Remarks()
    all_sources = find_sources(ready_folder, config, subsets, remarks)
    scales: dict[str, dict[str, float]] = {group: {} for group in config.groups}
    with new_store(target, config.content, subsets, overwrite=overwrite) as writer:
        for sources in tqdm(all_sources, desc="Subjects", unit="subject", disable=None if progress else True):
            subject = sources.identity.subject
            writer.add_subject(sources.identity)
            for group, group_sources in sources.groups.items():
                recording, rank = prepared(group_sources, config.groups[group], subject, group, remarks)
                if config.groups[group].standardization == "none":
                    scales[group][subject] = _typical_sd(recording)
                writer.add_group(subject, group, recording, rank)
    _remark_scales(scales, remarks)
    remarks.tell()
    counts = ", ".join(f"{len(subjects)} {subset}" for subset, subjects in subsets.items())
    return f"{target}: {counts} subjects; {target.stat().st_size / 1e6:.1f} MB, verified."


def prepared(
    sources: GroupSources, config: TimeseriesGroupConfig, subject: str, group: str, remarks: Remarks
) -> tuple[Recording, int]:
    """Read, check and prepare one subject's group.

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
    recording = read_recording(sources, config, where, remarks)
    steps = chain.chosen_steps(config.preparation, config.detrend)
    if config.standardization == "none" and not steps:
        recording = _as_stored(recording)
    checks.check_not_constant(recording, where)
    for name, far in checks.outlying_channels(recording):
        remarks.add(f"Group {group}: samples lie very far from all others", f"{subject}, {name}: {far:.2g} robust SD")
    if steps:
        recording = _after_steps(recording, steps, where, remarks)
        if config.standardization == "none":
            recording = _as_stored(recording)
            checks.check_not_constant(recording, where)
    recording = standardized(recording, config.standardization)
    correlations = checks.correlations(recording)
    rank = checks.rank_of(correlations)
    if rank < recording.n_channels:
        detail = _rank_in_words(recording, rank, checks.duplicated_channels(correlations))
        topic = f"Group {group}: signals are rank-deficient, so that full covariances need a prior or PCA to their rank"
        remarks.add(topic, f"{subject}: {detail}")
    return recording, rank


def _after_steps(recording: Recording, steps: Sequence[PreparationStep], where: str, remarks: Remarks) -> Recording:
    """Apply steps, and refuse a channel of which they leave no more than the rounding of the file's numbers."""
    layout = Layout(sampling_frequency=recording.sampling_frequency, channel_names=recording.channel_names)
    origins = chain.origins(steps, layout)
    _, original_sd = moments(recording, "per_run")
    resolution = checks.resolution_of(recording)
    after = chain.applied(steps, recording, where, remarks)
    cause = "detrending" if all(step.name == "detrend" for step in steps) else "preparation"
    checks.check_not_constant(after, where, original_sd[:, origins], resolution=resolution, cause=cause)
    return after


def _as_stored(recording: Recording) -> Recording:
    return dataclasses.replace(recording, signals=recording.signals.astype(np.float32, copy=False))


def read_recording(sources: GroupSources, config: TimeseriesGroupConfig, where: str, remarks: Remarks) -> Recording:
    """Read all runs of one subject's group into one recording, its segments free of missing samples.

    Raises
    ------
    DataError
        When samples are missing and the config refuses them, or a run has no good stretch.
    """
    runs, stretches = [], []
    for file in sources.files:
        run = file.reader.read(file.path)
        if run.shape != (file.description.n_samples, file.description.n_channels):
            raise DataError(f"{where}: {file.path} changed while it was read.")
        place = f"{where}, run {file.run_name}"
        if config.missing == "error":
            checks.check_finite(run, sources.channel_names, place)
            stretches.append(np.array([[0, len(run)]], dtype=np.int64))
        else:
            stretches.append(_good_stretches(run, place, remarks))
        runs.append(run)
    return recording_of_runs(
        runs,
        sampling_frequency=sources.sampling_frequency,
        channel_names=sources.channel_names,
        run_names=[file.run_name for file in sources.files],
        stretches=stretches,
        events=sources.events,
        sources=[_source(file) for file in sources.files],
        units=config.units,
    )


def _source(file: SourceFile) -> Source:
    try:
        return Source(file=file.name, n_bytes=file.path.stat().st_size, sha256=sha256_of_file(file.path))
    except OSError as error:
        raise DataError(f"{file.path} could not be read: {error.strerror}.") from error


def _good_stretches(run: NDArray[np.floating], place: str, remarks: Remarks) -> NDArray[np.int64]:
    stretches = checks.good_stretches(run)
    length = stretches[:, 1] - stretches[:, 0]
    kept = stretches[length > 1]
    if not len(kept):
        raise DataError(f"{place} has no two neighbouring samples that are finite in all channels.")
    n_missing = len(run) - int(length.sum())
    if n_missing:
        remarks.add("Missing samples were cut out", f"{place}: {n_missing} of {len(run)}")
    if len(kept) < len(stretches):
        remarks.add("Stretches of a single sample were left out", f"{place}: {len(stretches) - len(kept)}")
    return kept


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
    _, std = moments_of_segments(recording.signals, recording.segments)
    return float(np.median(std))


def _remark_scales(scales: dict[str, dict[str, float]], remarks: Remarks) -> None:
    """Tell of units that look unscaled, which only matters where nothing is standardized."""
    for group, of_subjects in scales.items():
        if not of_subjects:
            continue
        low, high = checks.PLAUSIBLE_SD
        for subject, sd in of_subjects.items():
            if not low <= sd <= high:
                topic = f"Group {group}: signals are not standardized and their units look unscaled"
                remarks.add(topic, f"{subject}: typical standard deviation {sd:.2g}")
        smallest, largest = (choose(of_subjects, key=of_subjects.__getitem__) for choose in (min, max))
        if of_subjects[largest] > UNLIKE_SCALES * of_subjects[smallest]:
            detail = f"{of_subjects[smallest]:.2g} in {smallest}, {of_subjects[largest]:.2g} in {largest}"
            remarks.add(f"Group {group}: signals are not standardized and the subjects' units look different", detail)
