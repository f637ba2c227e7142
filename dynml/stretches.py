"""Stretches [start, stop) of rows that are good: found in signals, and what two lists of them have in common.

Shapes: T samples, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS_PER_BLOCK = 4096
BYTES_IN_CACHE = 2**19
"""Of signals in blocks that are gone through several times; in smaller ones the calls of NumPy would cost more."""
MISSING = ("error", "segment", "mask")
"""What may be done with samples that are not finite: refuse them, cut them out, or mask them."""


def good_stretches(signals: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Longest stretches [start, stop) of rows that are finite in every channel, (n, 2)."""
    return stretches_of(finite_rows(signals))


def stretches_of(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Longest stretches [start, stop) in which all rows are chosen, (n, 2), ascending."""
    borders = np.flatnonzero(np.diff(rows, prepend=False, append=False))
    return borders.reshape(-1, 2).astype(np.int64)


def runs_of_equal(values: NDArray[Any]) -> NDArray[np.int64]:
    """Longest stretches [start, stop) of one value each, (n, 2), ascending; all values lie in one."""
    borders = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1, [len(values)]]).astype(np.int64)
    return np.stack([borders[:-1], borders[1:]], axis=1)


def common_stretches(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Stretches [start, stop) that lie in one of the first and one of the second, (n, 2), ascending.

    Borders between touching stretches of either stay borders.

    Parameters
    ----------
    first, second : array, (n, 2)
        Ascending, without overlap.
    """
    starts = np.unique(np.concatenate([first[:, 0], second[:, 0]]))
    stops = np.full(len(starts), np.iinfo(np.int64).max)
    for stretches in (first, second):
        position = np.searchsorted(stretches[:, 0], starts, side="right") - 1
        stops = np.minimum(stops, np.where(position >= 0, stretches[position, 1], 0)) if len(stretches) else starts
    return np.stack([starts, stops], axis=1)[stops > starts]


def blocks_of_rows(signals: NDArray[Any]) -> list[NDArray[Any]]:
    """Cut signals into blocks of rows that stay in cache."""
    return [signals[first : first + ROWS_PER_BLOCK] for first in range(0, len(signals), ROWS_PER_BLOCK)]


def rows_in_cache(n_channels: int, n_bytes: int = 8) -> int:
    """Rows of a small block, of numbers of so many bytes."""
    return max(1, BYTES_IN_CACHE // max(1, n_bytes * n_channels))


def blocks_in_cache(signals: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """First row and rows of one small block after another."""
    n_rows = rows_in_cache(signals.shape[1], signals.itemsize)
    for first in range(0, len(signals), n_rows):
        yield first, signals[first : first + n_rows]


def is_finite(signals: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Whether each value is a number that float32 can hold."""
    # The comparison is false for NaN; float64 values beyond float32 would become infinite when stored.
    return np.asarray(np.abs(signals) <= np.finfo(np.float32).max)


def finite_rows(signals: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Whether each row is finite in every channel, (T,), of signals of any length."""
    rows, largest = np.ones(len(signals), dtype=bool), np.finfo(np.float32).max
    for first, block in blocks_in_cache(signals):
        # Most blocks are finite as a whole, which takes a fraction of the time to see. Comparisons with NaN are false.
        if block.size and not (block.max() <= largest and block.min() >= -largest):
            rows[first : first + len(block)] = rows_are_finite(block)
    return rows


def rows_are_finite(signals: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Whether each row is finite in every channel, (T,)."""
    return np.asarray(is_finite(signals).all(axis=1))


def split_at_gaps(
    signals: NDArray[np.floating[Any]], segments: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the finite stretches of at least two samples within segments, and the segment of each.

    Returns
    -------
    stretches : array, (n, 2)
    segment : array, (n,)
    """
    stretches, numbers = [], []
    for number, (start, stop) in enumerate(segments.tolist()):
        found = good_stretches(signals[start:stop]) + start
        found = found[found[:, 1] - found[:, 0] > 1]
        stretches.append(found)
        numbers.append(np.full(len(found), number))
    return np.concatenate(stretches), np.concatenate(numbers)


def source_samples_of_stretches(
    source_samples: NDArray[np.int64],
    segments: NDArray[np.int64],
    stretches: NDArray[np.int64],
    segment: NDArray[np.int64],
    source_step: float,
) -> NDArray[np.int64]:
    """Original sample where each stretch starts, and its run, (n, 2).

    Parameters
    ----------
    source_samples, segments : array, (n_segments, 2)
    stretches : array, (n, 2)
        Within segments.
    segment : array, (n,)
        The segment of each.
    source_step : float
        Original samples from one row to the next.
    """
    found = source_samples[segment]
    moved = (stretches[:, 0] - segments[segment, 0]) * source_step
    found[:, 0] += np.floor(moved + 0.5).astype(np.int64)
    return found
