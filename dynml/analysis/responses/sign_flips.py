"""Whether participants' responses differ from nothing: sign flips with the maximum statistic.

Shapes: N participants, cells: whatever is tested at once (times and states).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
N_FLIPS = 5000
LEAST_DEVIATION = 1e-9
"""Smallest standard deviation, relative to the largest value, that is a spread and not rounding."""
CELLS_AT_ONCE = 2**22


def sign_flip_p(effects: Doubles, *, n_flips: int = N_FLIPS, seed: int = 0) -> tuple[Doubles, int]:
    """p-values of "the mean over participants is zero", corrected over all cells.

    The statistic is |t|, so that cells of much and of little variance count alike, and its maximum over cells is
    compared. All 2^N flips are gone through where they are few enough.

    Parameters
    ----------
    effects : array, (N, cells)
        NaN where a participant has none; such a cell is tested on the others.
    n_flips : int
        Flips that are drawn where all are more than that.
    seed : int

    Returns
    -------
    p : array, (cells,)
        (1 + b) / (1 + n), where b of n flips have a maximum that is no smaller; never 0. NaN where fewer than two
        participants have a value, or all values are the same 0.
    n : int
        Flips, the data as they are not counted.
    """
    n_participants = len(effects)
    seen = np.isfinite(effects)
    values = np.where(seen, effects, 0.0)
    count = seen.sum(axis=0)
    squares = (values**2).sum(axis=0)
    tested = (count > 1) & (squares > 0)
    flips = _flips(n_participants, n_flips, seed)
    p = np.full(effects.shape[1], np.nan)
    if not tested.any():
        return p, len(flips)
    values, count, squares = values[:, tested], count[tested], squares[tested]
    observed = _t(values.sum(axis=0), squares, count)
    at_once = max(1, CELLS_AT_ONCE // values.shape[1])
    maxima = np.concatenate(
        [
            _t(flips[first : first + at_once] @ values, squares, count).max(axis=1)
            for first in range(0, len(flips), at_once)
        ]
    )
    # Equal up to rounding counts as equal: the opposite flip of all participants is the data again.
    reached = np.sort(maxima) * (1 + 1e-9)
    n_larger = len(maxima) - np.searchsorted(reached, observed, side="left")
    p[tested] = (1 + n_larger) / (1 + len(maxima))
    return p, len(flips)


def smallest_p(n_participants: int) -> float:
    """The smallest p-value that all sign flips of so many participants can give, two-sided."""
    return 2.0 ** (1 - n_participants)


def _flips(n_participants: int, n_flips: int, seed: int) -> Doubles:
    """Signs (n, N), without the one that leaves the data as they are where all are gone through."""
    if 2**n_participants <= n_flips:
        numbers = np.arange(1, 2**n_participants)
        bits = (numbers[:, None] >> np.arange(n_participants)) & 1
        return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)
    return np.random.default_rng(seed).choice([-1.0, 1.0], size=(n_flips, n_participants))


def _t(sums: Doubles, squares: Doubles, count: NDArray[np.int64]) -> Doubles:
    """|t| of sums over participants; flips leave sums of squares as they are."""
    mean = sums / count
    variance = (squares / count - mean**2) / (count - 1.0)
    floor = LEAST_DEVIATION**2 * squares / count
    statistic: Doubles = np.abs(mean) / np.sqrt(np.maximum(variance, floor))
    return statistic
