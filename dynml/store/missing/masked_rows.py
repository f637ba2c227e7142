"""Masked samples in a store: rows within segments that are NaN in all channels.

Shapes: T samples, C channels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dynml.stretches import stretches_of

ROWS_PER_READING = 65536


def count_masked(signals: NDArray[np.floating], segments: NDArray[np.int64]) -> int:
    """Rows within segments that are masked, known by their first channel."""
    return sum(int(np.isnan(signals[start:stop, 0]).sum()) for start, stop in segments.tolist())


def masked_rows(
    read: Callable[[int, int], NDArray[np.floating]], segments: NDArray[np.int64], n_samples: int
) -> NDArray[np.bool_]:
    """Say of every row whether it is masked, (T,): within a segment, and NaN.

    Parameters
    ----------
    read : callable
        Gives rows [start, stop), (n, C).
    segments : array, (n_segments, 2)
    n_samples : int
        T.
    """
    masked = np.zeros(n_samples, dtype=bool)
    for first, last in segments.tolist():
        for start in range(first, last, ROWS_PER_READING):
            stop = min(start + ROWS_PER_READING, last)
            masked[start:stop] = np.isnan(read(start, stop)[:, 0])
    return masked


def observed_stretches(
    segments: NDArray[np.int64], masked: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stretches of segments without masked rows, (n, 2), and the segment of each, (n,).

    Parameters
    ----------
    segments : array, (n_segments, 2)
    masked : array of bool, (T,)
    """
    stretches, numbers = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
    for number, (start, stop) in enumerate(segments.tolist()):
        found = stretches_of(~masked[start:stop]) + start
        stretches.append(found)
        numbers.append(np.full(len(found), number, dtype=np.int64))
    return np.concatenate(stretches), np.concatenate(numbers)
