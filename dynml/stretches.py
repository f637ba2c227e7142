"""Stretches [start, stop) of rows that are good: found in signals, and what two lists of them have in common.

Shapes: T samples, C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS_PER_BLOCK = 4096


def good_stretches(signals: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Longest stretches [start, stop) of rows that are finite in every channel, (n, 2)."""
    return stretches_of(np.concatenate([np.zeros(0, dtype=bool), *map(rows_are_finite, blocks_of_rows(signals))]))


def stretches_of(rows: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Longest stretches [start, stop) in which all rows are chosen, (n, 2), ascending."""
    borders = np.flatnonzero(np.diff(rows, prepend=False, append=False))
    return borders.reshape(-1, 2).astype(np.int64)


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
        place = np.searchsorted(stretches[:, 0], starts, side="right") - 1
        stops = np.minimum(stops, np.where(place >= 0, stretches[place, 1], 0)) if len(stretches) else starts
    return np.stack([starts, stops], axis=1)[stops > starts]


def blocks_of_rows(signals: NDArray[Any]) -> list[NDArray[Any]]:
    """Cut signals into blocks of rows that stay in cache."""
    return [signals[first : first + ROWS_PER_BLOCK] for first in range(0, len(signals), ROWS_PER_BLOCK)]


def is_finite(signals: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Whether each value is a number that float32 can hold."""
    # The comparison is false for NaN; float64 values beyond float32 would become infinite when stored.
    return np.asarray(np.abs(signals) <= np.finfo(np.float32).max)


def rows_are_finite(signals: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Whether each row is finite in every channel, (T,)."""
    return np.asarray(is_finite(signals).all(axis=1))
