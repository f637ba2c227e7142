"""Stretches of samples of many subjects, as columns: a hundred thousand of them are a few arrays, not as many objects.

SegmentTable    good segments of a subset, and the windows that are cut out of them
Span, Spans     what a batch is made of: a stretch of one segment, and many of them
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

_N_COLUMNS = 6


@dataclass(frozen=True)
class SegmentTable:
    """Stretches [start, stop) of stored rows, ordered by subject, then segment, then start.

    Parameters
    ----------
    subject : (n,) int64
        Index of the subject in its subset.
    segment : (n,) int64
        Index of the segment among the subject's segments.
    start, stop : (n,) int64
        First sample and the one after the last, in the subject's stored rows.
    """

    subject: NDArray[np.int64]
    segment: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    def __post_init__(self) -> None:
        columns = (self.subject, self.segment, self.start, self.stop)
        assert all(column.dtype == np.int64 and column.shape == self.subject.shape for column in columns)

    def __len__(self) -> int:
        return len(self.subject)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Samples of each stretch, (n,)."""
        return self.stop - self.start

    @property
    def n_samples(self) -> int:
        """Samples of all stretches together."""
        return int(self.lengths.sum())

    def take(self, indices: NDArray) -> SegmentTable:
        """Choose rows by integers or booleans, in their order."""
        return SegmentTable(self.subject[indices], self.segment[indices], self.start[indices], self.stop[indices])

    def of_subject(self, subject: int) -> SegmentTable:
        """Rows of one subject, of a table in the order of its subjects, without looking at those of all others."""
        first, last = np.searchsorted(self.subject, [subject, subject + 1])
        rows = slice(first, last)
        return SegmentTable(self.subject[rows], self.segment[rows], self.start[rows], self.stop[rows])


def segment_table(segments_of_subjects: Sequence[NDArray]) -> SegmentTable:
    """Lay the segments of subjects under one another.

    Parameters
    ----------
    segments_of_subjects : sequence of (n_segments, 2) integer arrays
        [start, stop) of each subject's good stretches.
    """
    counts = np.array([len(segments) for segments in segments_of_subjects], dtype=np.int64)
    if counts.sum() == 0:
        empty = np.zeros(0, np.int64)
        return SegmentTable(empty, empty, empty, empty)
    borders = np.concatenate([np.asarray(segments).reshape(-1, 2) for segments in segments_of_subjects])
    first_of_subject = np.repeat(np.cumsum(counts) - counts, counts)
    return SegmentTable(
        np.repeat(np.arange(len(counts), dtype=np.int64), counts),
        np.arange(len(borders), dtype=np.int64) - first_of_subject,
        borders[:, 0].astype(np.int64),
        borders[:, 1].astype(np.int64),
    )


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of samples [start, stop) of one segment; `subject` and `segment` are indices in the subset."""

    subject: int
    segment: int
    start: int
    stop: int
    trial: int = -1
    """Position in the subset's table of trials; -1 for a window that is none."""
    label: int = -1
    """The trial's label, as a position in `dataset.label_names(column)`; -1 for none."""

    @property
    def length(self) -> int:
        """Samples of the span."""
        return self.stop - self.start


class Spans(Sequence[Span]):
    """Spans as columns, which reads like a list of `Span`: hundreds of windows are one array.

    Parameters
    ----------
    columns : (6, n) int64
        The fields of `Span`, one per row.
    """

    __slots__ = ("columns",)

    def __init__(self, columns: NDArray[np.int64]) -> None:
        assert columns.dtype == np.int64, columns.dtype
        assert columns.shape == (_N_COLUMNS, columns.shape[1]), columns.shape
        self.columns = columns

    @classmethod
    def of(cls, spans: Sequence[Span]) -> Spans:
        """Give spans as columns, if they are not that already."""
        if isinstance(spans, Spans):
            return spans
        rows = [(span.subject, span.segment, span.start, span.stop, span.trial, span.label) for span in spans]
        return cls(np.ascontiguousarray(np.array(rows, dtype=np.int64).reshape(-1, _N_COLUMNS).T))

    @property
    def subject(self) -> NDArray[np.int64]:
        """Index of each span's subject, (n,)."""
        return self.columns[0]

    @property
    def segment(self) -> NDArray[np.int64]:
        """Index of each span's segment among its subject's, (n,)."""
        return self.columns[1]

    @property
    def start(self) -> NDArray[np.int64]:
        """First sample of each span, (n,)."""
        return self.columns[2]

    @property
    def stop(self) -> NDArray[np.int64]:
        """Sample after the last of each span, (n,)."""
        return self.columns[3]

    @property
    def trial(self) -> NDArray[np.int64]:
        """Position of each span in the table of trials, (n,)."""
        return self.columns[4]

    @property
    def label(self) -> NDArray[np.int64]:
        """Label of each trial, (n,)."""
        return self.columns[5]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Samples of each span, (n,)."""
        return self.columns[3] - self.columns[2]

    def starting_at(self, starts: NDArray[np.int64]) -> Spans:
        """Give the same spans moved to other first samples, (n,)."""
        moved = self.columns.copy()
        moved[2], moved[3] = starts, starts + self.lengths
        return Spans(moved)

    def widened(self, margin: int) -> Spans:
        """Give the same spans with so many samples more at each end."""
        wider = self.columns.copy()
        wider[2] -= margin
        wider[3] += margin
        return Spans(wider)

    def __len__(self) -> int:
        return int(self.columns.shape[1])

    @overload
    def __getitem__(self, index: int) -> Span: ...

    @overload
    def __getitem__(self, index: slice) -> Spans: ...

    def __getitem__(self, index: int | slice) -> Span | Spans:
        if isinstance(index, slice):
            return Spans(np.ascontiguousarray(self.columns[:, index]))
        return Span(*self.columns[:, index].tolist())

    def __iter__(self) -> Iterator[Span]:
        return (Span(*row) for row in self.columns.T.tolist())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Spans):
            return np.array_equal(self.columns, other.columns)
        if isinstance(other, (list, tuple)):
            return list(self) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Spans({list(self)})"
