"""Trials: the stretches of samples that events mark, moved by a delay and cut to a length.

A trial belongs to the run of its event and to the one segment that holds at least half of it; it never goes across a
border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import nearest_name
from dynml.dataset.signal_source import SignalSource
from dynml.dataset.spans import SegmentTable
from dynml.errors import DataError
from dynml.recording import BETWEEN_COLUMNS, BETWEEN_LABELS, NO_LABEL, Events, plain_label, run_starts
from dynml.store.layout import natural_order

Integers = NDArray[np.int64]

_MARKS = {"0": False, "1": True, "false": False, "true": True}


@dataclass(frozen=True)
class TrialTable:
    """Trials of a subset in stored order, subject by subject.

    Shapes: n trials.

    Parameters
    ----------
    column : str
        Column of the events that labels them.
    label_names : tuple of str
        The labels that `label` counts in.
    subject, segment : (n,) int64
        Indices as in the subset's `segments`.
    start, stop : (n,) int64
        Samples [start, stop) of the subject's stored rows.
    label : (n,) int64
        Position in `label_names`.
    number : (n,) int64
        From 0, which of the run's events with a label it is. Events that were left out count, so that the number does
        not depend on the delay or the length.
    run : (n,) str
        Name of the run.
    n_masked : (n,) int64
        How many of the samples of each are masked; less than all.
    is_instant : (n,) bool
        Whether a trial is of one sample because its event has no duration and no length was stated.
    n_cut : int
        How many of the n reach beyond their segment and were cut there.
    n_left_out : int
        Events with a label of which less than half lies in one segment of their run.
    n_unobserved : int
        Events with a label of which enough lies in a segment, but no sample was observed: all are masked. They are left
        out, too.
    n_unlabelled : int
        Events of subjects that have the column, without a label in it: they are no trials.
    subjects_without_events : tuple of str
        Subjects without events that have the column.
    """

    column: str
    label_names: tuple[str, ...]
    subject: Integers
    segment: Integers
    start: Integers
    stop: Integers
    label: Integers
    number: Integers
    run: NDArray[np.str_]
    n_masked: Integers
    is_instant: NDArray[np.bool_]
    n_cut: int
    n_left_out: int
    n_unobserved: int
    n_unlabelled: int
    subjects_without_events: tuple[str, ...]

    def __post_init__(self) -> None:
        columns = (self.subject, self.segment, self.start, self.stop, self.label, self.number, self.n_masked)
        assert all(column.dtype == np.int64 and column.shape == self.run.shape for column in columns)

    def __len__(self) -> int:
        return len(self.subject)

    @property
    def lengths(self) -> Integers:
        """Samples of each trial, (n,)."""
        return self.stop - self.start

    @property
    def n_events(self) -> int:
        """Events with a label, whether they became a trial or were left out."""
        return len(self) + self.n_left_out + self.n_unobserved

    @property
    def spans(self) -> SegmentTable:
        """The trials as stretches, in the same order."""
        return SegmentTable(self.subject, self.segment, self.start, self.stop)


@dataclass(frozen=True)
class TrialCut:
    """Which samples of an event make its trial.

    Parameters
    ----------
    column : str
        Column of the events that labels trials.
    onset_shift : float
        Seconds from the onset of an event to that of its trial, which is the nearest sample, halves up.
    trial_length : int or None
        Samples; None: the event's duration, at least 1.
    """

    column: str
    onset_shift: float = 0.0
    trial_length: int | None = None

    def stretches(self, events: Events, sampling_frequency: float) -> tuple[Integers, Integers]:
        """First sample of each event's trial, and the one after its last."""
        # Onset and delay together are rounded once: each by itself would move a trial by up to a sample.
        onset = events.onset if events.exact_onset is None else events.exact_onset
        starts = np.floor(onset + self.onset_shift * sampling_frequency + 0.5).astype(np.int64)
        lengths = np.maximum(events.duration, 1) if self.trial_length is None else self.trial_length
        return starts, starts + lengths


def trial_table(
    source: SignalSource, group: str, subjects: Sequence[str], label_names: tuple[str, ...], cut: TrialCut
) -> TrialTable:
    """Find the trials of some subjects.

    Parameters
    ----------
    source : SignalSource
    group : str
    subjects : sequence of str
    label_names : tuple of str
        Labels of the column over the whole dataset.
    cut : TrialCut

    Returns
    -------
    TrialTable
    """
    found = [_TrialsOfSubject.of(source, group, subject, label_names, cut) for subject in subjects]
    without = tuple(subject for subject, trials in zip(subjects, found) if trials is None)
    present = [(index, trials) for index, trials in enumerate(found) if trials is not None]
    none = np.zeros(0, np.int64)
    columns = np.concatenate([np.zeros((7, 0), np.int64), *(trials.columns for _, trials in present)], axis=1)
    segment, start, stop, label, number, n_masked, is_instant = columns
    return TrialTable(
        column=cut.column,
        label_names=label_names,
        subject=np.concatenate([none, *(np.full(len(trials.runs), index) for index, trials in present)]),
        segment=segment,
        start=start,
        stop=stop,
        label=label,
        number=number,
        run=np.array([name for _, trials in present for name in trials.runs], dtype=np.str_),
        n_masked=n_masked,
        is_instant=is_instant.astype(bool),
        n_cut=sum(trials.n_cut for _, trials in present),
        n_left_out=sum(trials.n_left_out for _, trials in present),
        n_unobserved=sum(trials.n_unobserved for _, trials in present),
        n_unlabelled=sum(trials.n_unlabelled for _, trials in present),
        subjects_without_events=without,
    )


@dataclass(frozen=True)
class _TrialsOfSubject:
    columns: Integers
    """(7, n): segment, start, stop, label, number, masked samples, whether the event is an instant."""
    runs: list[str]
    n_cut: int
    n_left_out: int
    n_unobserved: int
    n_unlabelled: int

    @classmethod
    def of(
        cls, source: SignalSource, group: str, subject: str, label_names: tuple[str, ...], cut: TrialCut
    ) -> _TrialsOfSubject | None:
        events = with_joined(source.events(subject, group), cut.column)
        if events is None or cut.column not in events.labels:
            return None
        described, segments = source.attributes(subject, group), source.segments(subject, group)
        source_samples = source.source_samples(subject, group)
        run_of_segment = source_samples[:, 1]
        names = source.run_names(subject, group)
        first_rows = run_starts(segments, run_of_segment, source_samples, len(names), source_step=described.source_step)
        labels = _common_codes(events, cut.column, label_names)
        starts, stops = cut.stretches(events, described.sampling_frequency)
        labelled = labels != NO_LABEL
        starts, stops, labels = starts[labelled], stops[labelled], labels[labelled]
        runs = np.maximum(np.searchsorted(first_rows, events.onset[labelled], side="right") - 1, 0)
        segment, inside = _segments_of(starts, stops, runs, segments, run_of_segment)
        borders = segments[segment]
        first, last = np.maximum(starts, borders[:, 0]), np.minimum(stops, borders[:, 1])
        enough = (2 * inside >= stops - starts) & (inside > 0)
        n_masked = np.zeros(len(starts), np.int64)
        if described.n_masked:
            before = np.concatenate([[0], np.cumsum(source.masked_rows(subject, group))])
            n_masked[enough] = before[last[enough]] - before[first[enough]]
        kept = enough & (n_masked < inside)
        instant = (events.duration[labelled] == 0) & (cut.trial_length is None)
        columns = np.stack([segment, first, last, labels, _ordinals_within(runs), n_masked, instant])[:, kept]
        return cls(
            columns=columns.astype(np.int64),
            runs=[names[run] for run in runs[kept]],
            n_cut=int((inside < stops - starts)[kept].sum()),
            n_left_out=int((~enough).sum()),
            n_unobserved=int((enough & ~kept).sum()),
            n_unlabelled=int((~labelled).sum()),
        )


def with_joined(events: Events | None, column: str) -> Events | None:
    """Events with plain labels in a column, and with a column `a,b` made of columns a and b of 0 and 1.

    Its labels name those that are 1, as `a;b`; an event without a value in one of them has no label. No column is made
    where there is one of that name, or one of its parts is missing.

    Raises
    ------
    DataError
        When one of them has other values.
    """
    parts = column.split(BETWEEN_COLUMNS)
    if events is not None and column in events.labels:
        return events.with_plain_labels(column)
    if events is None or not set(parts) <= set(events.labels):
        return events
    marks = np.stack([_marks_of(part, events.labels[part], events.names[part]) for part in parts], axis=1)
    texts = [BETWEEN_LABELS.join(np.array(parts)[row > 0]) or BETWEEN_LABELS for row in marks]
    names, codes = np.unique(np.array(texts, dtype=np.str_), return_inverse=True)
    codes = np.where((marks == NO_LABEL).any(axis=1), NO_LABEL, codes)
    joined = {column: tuple(map(str, names))}
    return replace(events, labels=events.labels | {column: codes}, names=events.names | joined)


def _marks_of(column: str, codes: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.int64]:
    """1, 0 or `NO_LABEL` of each event, (n_events,)."""
    marks = [plain_label(name).lower() for name in names]
    others = [name for name, mark in zip(names, marks) if mark not in _MARKS]
    if others:
        raise DataError(
            f"The events' column {column!r} has the value {others[0]!r}: columns joined by commas must hold 0 and 1."
        )
    return np.array([*(int(_MARKS[mark]) for mark in marks), NO_LABEL], dtype=np.int64)[codes]


def _segments_of(
    starts: Integers, stops: Integers, runs: Integers, segments: Integers, run_of_segment: Integers
) -> tuple[Integers, Integers]:
    """Segment that holds most of each stretch, and how many of its samples, (n,) each.

    A segment with at least half of the samples has one of the two in the middle, so that only these are looked up;
    for other stretches the number of samples may be too low.
    """
    segment, inside = np.zeros(len(starts), np.int64), np.zeros(len(starts), np.int64)
    for middle in ((starts + stops - 1) // 2, (starts + stops) // 2):
        candidate = np.clip(np.searchsorted(segments[:, 1], middle, side="right"), 0, len(segments) - 1)
        borders = segments[candidate]
        held = np.minimum(stops, borders[:, 1]) - np.maximum(starts, borders[:, 0])
        held = np.where(run_of_segment[candidate] == runs, np.maximum(held, 0), 0)
        better = held > inside
        segment, inside = np.where(better, candidate, segment), np.where(better, held, inside)
    return segment, inside


def _common_codes(events: Events, column: str, label_names: tuple[str, ...]) -> Integers:
    """Labels of a subject's events in the numbers of the whole dataset."""
    position = {name: code for code, name in enumerate(label_names)}
    codes = np.array([*(position[name] for name in events.names[column]), NO_LABEL], dtype=np.int64)
    return codes[events.labels[column]]


def _ordinals_within(runs: Integers) -> Integers:
    """0, 1, .. within each stretch of equal, ascending numbers."""
    return np.arange(len(runs)) - np.searchsorted(runs, runs)


def label_names_of(source: SignalSource, group: str, subjects: Sequence[str], column: str) -> tuple[str, ...]:
    """Labels of an events' column over some subjects, in natural order.

    Raises
    ------
    DataError
        When no subject has the column.
    """
    names: set[str] = set()
    columns: set[str] = set()
    for subject in subjects:
        events = with_joined(source.events(subject, group), column)
        if events is not None:
            columns.update(events.names)
            names.update(events.names.get(column, ()))
    if column not in columns:
        near = nearest_name(column, columns) if columns else " (no subject has events)"
        raise DataError(f"No subject has events with a column {column!r}{near}.")
    return tuple(sorted(names, key=natural_order))
