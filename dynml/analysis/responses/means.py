"""Means over trials, subjects and participants.

Shapes: D conditions, W samples of an epoch, K states, N participants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.responses.epochs import Epochs

Doubles = NDArray[np.float64]


@dataclass
class TrialSums:
    """Sums over trials, which add up over the subjects of a participant."""

    n_conditions: int
    n_times: int
    n_states: int
    total: Doubles = field(init=False)
    squares: Doubles = field(init=False)
    count: Doubles = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.n_conditions, self.n_times, self.n_states)
        self.total, self.squares, self.count = np.zeros(shape), np.zeros(shape), np.zeros(shape[:2])

    def add(self, epochs: Epochs) -> None:
        """Add the epochs of a subject."""
        for condition in np.unique(epochs.condition):
            own = epochs.values[epochs.condition == condition].astype(np.float64)
            self.total[condition] += np.nansum(own, axis=0)
            self.squares[condition] += np.nansum(own**2, axis=0)
            self.count[condition] += np.isfinite(own[:, :, 0]).sum(axis=0)

    @property
    def mean(self) -> Doubles:
        """(D, W, K); NaN where there is no trial."""
        count = self.count[:, :, None]
        return np.divide(self.total, count, out=np.full_like(self.total, np.nan), where=count > 0)

    @property
    def standard_error(self) -> Doubles:
        """Over trials, (D, W, K); NaN where there is one trial or none."""
        count = np.broadcast_to(self.count[:, :, None], self.total.shape)
        enough = count > 1
        spread = np.maximum(self.squares - np.nan_to_num(self.mean) * self.total, 0.0)
        variance = np.divide(spread, count * (count - 1), out=np.full_like(spread, np.nan), where=enough)
        return np.sqrt(variance)


def over_participants(means: Sequence[Doubles]) -> tuple[Doubles, Doubles]:
    """Mean over participants and its standard error.

    Parameters
    ----------
    means : sequence of N arrays, (D, W, K)
        NaN where a participant has no trial.

    Returns
    -------
    mean, standard_error : array, (D, W, K)
        Of those who have trials; NaN where nobody has, the error also where one has.
    """
    stacked = np.stack(means)
    seen = np.isfinite(stacked)
    count = seen.sum(axis=0)
    total = np.where(seen, stacked, 0.0).sum(axis=0)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    spread = (np.where(seen, stacked - mean, 0.0) ** 2).sum(axis=0)
    variance = np.divide(spread, count * (count - 1.0), out=np.full_like(total, np.nan), where=count > 1)
    return mean, np.sqrt(variance)
