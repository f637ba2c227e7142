"""What events evoke in a slow signal: regressors like those of nilearn, summed event by event.

nilearn convolves at 50 times the sampling frequency: minutes for a condition at 100 Hz. The response to an event that
lasts is a difference of two sums of the response function, which costs the rows that it reaches.

Shapes: T rows, n events.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
OVERSAMPLING = 50
"""Points of nilearn's grid for one row."""
BEFORE = 24.0
"""Seconds of its grid before the first row."""


def response_regressor(onsets: Doubles, durations: Doubles, n_rows: int, rate: float, response: str) -> Doubles:
    """Regressor of one condition, (T,), on the grid of `nilearn.glm.first_level.compute_regressor`.

    Parameters
    ----------
    onsets : array, (n,)
        Seconds from the first row.
    durations : array, (n,)
        Seconds; an event without one lasts for a point of the grid.
    n_rows : int
    rate : float
        Hz.
    response : str
        glover or spm.
    """
    from nilearn.glm.first_level import hemodynamic_models

    function = getattr(hemodynamic_models, f"{response}_hrf")(1 / rate, OVERSAMPLING)
    sums = np.concatenate([[0.0], np.cumsum(function)])
    grid = _Grid(n_rows, rate)
    frames = grid.positions(np.arange(n_rows) / rate)
    first, last = grid.points(onsets), grid.points(onsets + durations)
    last = np.where((last == first) & (last < grid.n_points - 1), last + 1, last)
    regressor = np.zeros(n_rows)
    for start, stop in zip(first.tolist(), last.tolist()):
        reached = slice(*np.searchsorted(frames, [start - 1, stop + len(function) + 1]).tolist())
        regressor[reached] += _evoked(frames[reached], start, stop, sums)
    return regressor


class _Grid:
    """Equally spaced times, from before the first row to one row after the last."""

    def __init__(self, n_rows: int, rate: float) -> None:
        end = (n_rows - 1) / rate * (1 + 1 / (n_rows - 1))
        self.n_points = int(np.rint(rate * (end + BEFORE) * OVERSAMPLING + 1))
        self._step = (end + BEFORE) / (self.n_points - 1)

    def positions(self, seconds: Doubles) -> Doubles:
        """Where times lie, in points, between two of them."""
        return (seconds + BEFORE) / self._step

    def points(self, seconds: Doubles) -> NDArray[np.int64]:
        """First point that is not before each time."""
        near = np.rint(self.positions(seconds)).astype(np.int64)[:, None] + np.arange(-1, 2)
        point = near[:, 0] + (near * self._step - BEFORE < seconds[:, None]).sum(axis=1)
        return np.clip(point, 0, self.n_points - 1)


def _evoked(frames: Doubles, start: int, stop: int, sums: Doubles) -> Doubles:
    """What an event from one point to another evokes at frames between points, by linear interpolation."""
    below = np.floor(frames).astype(np.int64)
    share, last = frames - below, len(sums) - 1
    lower, upper = (
        sums[np.clip(point + 1 - start, 0, last)] - sums[np.clip(point + 1 - stop, 0, last)]
        for point in (below, below + 1)
    )
    return (1 - share) * lower + share * upper
