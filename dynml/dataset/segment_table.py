"""Stretches of samples of many subjects, as four columns.

One table serves for the good segments of a subset and for the windows that are cut out of them: a hundred thousand
stretches are four arrays, not as many objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
