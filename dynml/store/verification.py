"""Reads every byte of a store and says what is wrong with it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.recording import GroupDescription
from dynml.store import layout
from dynml.store.chunks.rows import Checksums, blocks_of_rows
from dynml.store.faults import faults_named
from dynml.store.fits import faults_of_fits
from dynml.store.geometry.stored import faults_of_geometry
from dynml.store.integrity import UNLIKE, is_other_than_written, is_unlike, opened_table, rows_digest
from dynml.store.joined.checks import faults_of_parts
from dynml.store.reading import Store

Written: TypeAlias = Mapping[str, Mapping[str, Checksums]]
"""Subject to group to the checksums of its signals."""
Share: TypeAlias = tuple[Sequence[str], Written]
"""Subjects, and what was written of them."""
ShareMapper = Callable[[Callable[[Share], list[str]], Iterable[Share]], Iterable[list[str]]]
MOST_SUBJECTS_OF_SHARE, FEWEST_SHARES = 64, 8
BYTES_PER_BLOCK = 2**22
"""Of signals: what is looked at twice stays in a cache."""


def faults_of_store(path: str | Path, each: ShareMapper | None = None, written: Written | None = None) -> list[str]:
    """Check a whole store: checksums, structure, segments, events, subsets.

    Parameters
    ----------
    path : str or Path
        The HDF5 file.
    each : callable, optional
        Maps a function over shares of the subjects as `map` does, on several processes.
    written : mapping, optional
        Checksums that the one who wrote the store knows, which then are not worked out anew beside the SHA-256.

    Returns
    -------
    list of str
        One sentence a fault, naming subject and group; empty when the store is sound.

    Raises
    ------
    DataError
        When the file cannot be opened at all.
    """
    written = written or {}
    # Contradictions are reported as such, beside digests that differ.
    with Store(path, check_digests=False) as store:
        faults = [*_faults_of_subsets(store), *faults_of_parts(store)]
        if each is None:
            faults += _faults_of_subjects(store, (store.subjects, written))
        else:
            n_subjects = max(1, min(MOST_SUBJECTS_OF_SHARE, len(store.subjects) // FEWEST_SHARES))
            starts = range(0, len(store.subjects), n_subjects)
            of_shares = (store.subjects[start : start + n_subjects] for start in starts)
            shares = ((subjects, {one: written[one] for one in subjects if one in written}) for subjects in of_shares)
            for found in each(functools.partial(_faults_of_share, Path(path)), shares):
                faults += found
        faults += faults_of_fits(store)
        faults += faults_of_geometry(store)
    return faults


def _faults_of_share(path: Path, share: Share) -> list[str]:
    with Store(path, check_digests=False) as store:
        return _faults_of_subjects(store, share)


def _faults_of_subjects(store: Store, share: Share) -> list[str]:
    subjects, written = share
    return [fault for subject in subjects for fault in _faults_of_subject(store, subject, written.get(subject, {}))]


def _faults_of_subject(store: Store, subject: str, written: Mapping[str, Checksums]) -> list[str]:
    try:
        groups = store.groups(subject)
    except DataError as error:
        return [str(error)]
    if not groups:
        return [f"{store.path}: subject {subject} has no group."]
    faults = []
    for group in groups:
        try:
            found = _faults_of_group(store, subject, group, written.get(group))
        except DataError as error:
            faults.append(str(error))
        except (ValueError, IndexError, TypeError) as error:
            faults.append(f"{store.path}: subject {subject}, group {group} has arrays of wrong shape or type: {error}.")
        else:
            faults += [f"{store.path}: subject {subject}, group {group}: {fault}." for fault in found]
    return faults


def _faults_of_group(store: Store, subject: str, group: str, written: Checksums | None) -> list[str]:
    description = store.attributes(subject, group)
    return [
        *_faults_of_attributes(description),
        *_faults_of_segments(store, subject, group, description),
        *_faults_of_moments(store, subject, group, description),
        *_faults_of_events(store, subject, group, description),
        *_faults_of_tables(store, subject, group),
        *_faults_of_signals(store, subject, group, description, written),
    ]


def _faults_of_tables(store: Store, subject: str, group: str) -> list[str]:
    """Small arrays of a group that are not those that were written."""
    node, events = store.node(subject, group), list[str]()
    names = [name for name in layout.REQUIRED_DATASETS if name != layout.DATA]
    if layout.EVENTS in node:
        events += [f"events/{name}" for name in (layout.ONSET, layout.DURATION)]
        events += [f"events/labels/{name}" for name in node[layout.EVENTS][layout.LABELS]]
    # The store has those of `names` at hand: a short subject is little else.
    unlike = [
        name for name in names if is_other_than_written(opened_table(node, name), store.array(subject, group, name))
    ]
    unlike += [name for name in events if is_unlike(opened_table(node, name))]
    return [f"its {name} are not those that were written: {UNLIKE}" for name in unlike]


def _faults_of_attributes(description: GroupDescription) -> list[str]:
    n_names, n_channels = len(description.channel_names), description.n_channels
    faults = []
    if n_names != n_channels:
        faults.append(f"it has {n_names} channel names for {n_channels} channels")
    if not description.sampling_frequency > 0:
        faults.append(f"its sampling frequency is {description.sampling_frequency}")
    if not 0 < description.rank <= n_channels:
        faults.append(f"its rank is {description.rank}, of {n_channels} channels")
    if not 1.0 <= description.source_step < np.inf:
        faults.append(f"its source step is {description.source_step}, but must be at least 1")
    if not abs(description.source_offset) <= 0.5:
        faults.append(f"its source offset is {description.source_offset}, but must be half a sample at most")
    return faults


def _faults_of_segments(store: Store, subject: str, group: str, description: GroupDescription) -> list[str]:
    segments, runs = store.segments(subject, group), store.segment_runs(subject, group)
    n_runs = len(store.run_names(subject, group))
    if segments.ndim != 2 or segments.shape[1] != 2 or not len(segments):
        return [f"its segments have shape {segments.shape}, but must be (n, 2)"]
    borders = segments.ravel()
    if borders[0] < 0 or borders[-1] > description.n_samples or (np.diff(borders) < 0).any():
        return ["its segments overlap, are out of order, or lie outside of the data"]
    if (segments[:, 1] <= segments[:, 0]).any():
        return ["it has an empty segment"]
    if runs.shape != (len(segments),) or set(runs.tolist()) != set(range(n_runs)) or (np.diff(runs) < 0).any():
        return [f"its segments do not belong to the {n_runs} runs that are named"]
    starts = store.run_starts(subject, group)
    sources = store.source_samples(subject, group)
    if not np.array_equal(sources[:, 1], runs) or not _source_samples_fit(segments, runs, starts, sources, description):
        return ["the source samples of its segments contradict the segments"]
    ends = np.append(starts[1:], description.n_samples)
    if starts[0] != 0 or (segments[:, 1] > ends[runs]).any():
        return ["a segment crosses the border of its run"]
    return []


def _source_samples_fit(
    segments: NDArray[np.int64],
    runs: NDArray[np.int64],
    starts: NDArray[np.int64],
    sources: NDArray[np.int64],
    description: GroupDescription,
) -> bool:
    """Say whether source samples agree with rows: exactly, or once downsampled so that no two rows share a sample."""
    if description.source_step == 1.0:
        return np.array_equal(starts[runs] + sources[:, 0], segments[:, 0])
    same_run = np.diff(runs) == 0
    last_samples = sources[:, 0] + (segments[:, 1] - 1 - segments[:, 0]) * description.source_step
    return bool((sources[:, 0] >= 0).all() and (sources[1:, 0] > last_samples[:-1] - 1)[same_run].all())


def _faults_of_moments(store: Store, subject: str, group: str, description: GroupDescription) -> list[str]:
    n_runs = len(store.run_names(subject, group))
    mean, std = store.mean(subject, group), store.std(subject, group)
    if mean.shape != std.shape or mean.shape not in {(1, description.n_channels), (n_runs, description.n_channels)}:
        return [f"mean and std have shapes {mean.shape} and {std.shape}"]
    if not np.isfinite(mean).all() or not (np.isfinite(std) & (std > 0)).all():
        return ["mean or std holds values that are not finite, or a standard deviation that is not above 0"]
    return []


def _faults_of_events(store: Store, subject: str, group: str, description: GroupDescription) -> list[str]:
    events = store.events(subject, group)
    if events is None:
        return []
    faults = []
    if (events.onset < 0).any() or (events.onset + events.duration > description.n_samples).any():
        faults.append("an event lies outside of the data")
    if (np.diff(events.onset) < 0).any() or (events.duration < 0).any():
        faults.append("its events are out of order, or last less than 0 samples")
    exact = events.onset if events.exact_onset is None else events.exact_onset
    if exact.shape != events.onset.shape or not (np.abs(exact - events.onset) <= 1.0).all():
        faults.append("the exact onsets of its events are not those of their samples")
    for column, labels in events.labels.items():
        if len(labels) != len(events) or (labels >= len(events.names[column])).any() or (labels < -1).any():
            faults.append(f"its event labels {column!r} do not fit their names")
    return faults


def _faults_of_signals(
    store: Store, subject: str, group: str, description: GroupDescription, written: Checksums | None
) -> list[str]:
    segments = store.segments(subject, group)
    good = np.zeros(description.n_samples, dtype=bool)
    for start, stop in segments.tolist():
        good[start:stop] = True
    masked = np.zeros(description.n_samples, dtype=bool)
    missing = 0
    start = 0
    with rows_digest() as digest:
        for block in _blocks(store.file_of(subject), subject, group, written):
            digest.take(block, start)
            rows = slice(start, start + len(block))
            if description.n_masked:
                masked[rows] = np.isnan(block).all(axis=1) & good[rows]
            needed = good[rows] & ~masked[rows]
            finite = np.isfinite(block if needed.all() else block[needed])
            missing += finite.size - int(np.count_nonzero(finite))
            start += len(block)
        same = digest.finish(segments) == description.sha256
    faults = [] if same else ["its data are not those that were written: the SHA-256 differs"]
    if missing:
        beside = " outside of masked rows" if description.n_masked else ""
        faults.append(f"{missing} values within its segments are NaN or infinite{beside}")
    n_masked = int(masked.sum())
    if n_masked != description.n_masked:
        said = description.n_masked
        faults.append(f"{n_masked} rows within its segments are masked, but {layout.N_MASKED!r} says {said}")
    if any(masked[start] or masked[stop - 1] for start, stop in segments.tolist() if 0 <= start < stop <= len(masked)):
        faults.append("a segment begins or ends with a masked row")
    return faults


def _blocks(store: Store, subject: str, group: str, written: Checksums | None) -> Iterator[NDArray[np.float32]]:
    with faults_named(store.path, f"the signals of subject {subject}, group {group}"):
        yield from blocks_of_rows(store.node(subject, group)[layout.DATA], BYTES_PER_BLOCK, written)


def _faults_of_subsets(store: Store) -> list[str]:
    faults: list[str] = []
    home: dict[str, str] = {}
    participants: dict[str, str] = {}
    subjects = set(store.subjects)
    for subset in layout.SUBSET_NAMES:
        try:
            names = store.subset(subset)
            if is_unlike(store.file[layout.subset_path(subset)]):
                faults.append(f"{store.path}: the subset {subset} is not what was written: {UNLIKE}.")
        except DataError as error:
            faults.append(str(error))
            continue
        for subject in names:
            if subject not in subjects:
                faults.append(f"{store.path}: subject {subject} of the subset {subset} is not in the file.")
                continue
            if subject in home:
                faults.append(f"{store.path}: subject {subject} is listed twice, in {home[subject]} and {subset}.")
            home[subject] = subset
            participant = _participant(store, subject)
            if (
                participant is not None
                and participants.setdefault(participant, subset) != subset
                and store.split != "runs"
            ):
                faults.append(f"{store.path}: participant {participant} is in two subsets, but split by participants.")
    homeless = [subject for subject in store.subjects if subject not in home]
    return faults + [f"{store.path}: subject {subject} is in no subset." for subject in homeless]


def _participant(store: Store, subject: str) -> str | None:
    """Participant of a subject, or None where the subject cannot be read, which is reported elsewhere."""
    try:
        return store.participant(subject)
    except DataError:
        return None
