"""Summaries of one subject: how evenly states are visited, how regularly, and soft counterparts of what visits say.

Shapes: T samples, K states, N windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.analysis.state_statistics.visits import Visits, all_visits

Doubles = NDArray[np.float64]


def soft_occupancy(alpha: ArrayLike, rows: NDArray[np.bool_]) -> Doubles:
    """Mean of alpha over some rows, (K,): not what the most probable state alone says."""
    return np.asarray(np.asarray(alpha)[rows].mean(axis=0, dtype=np.float64))


def occupancy_entropy(occupancy: ArrayLike) -> float:
    """Entropy of occupancies divided by log K: 0 where all time is spent in one state, 1 where all states are alike.

    NaN for a single state.
    """
    shares = np.asarray(occupancy, dtype=np.float64)
    if len(shares) < 2:
        return float("nan")
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum() / np.log(len(shares)))


@dataclass(frozen=True, kw_only=True)
class SoftVisits:
    """Expected numbers under a posterior, (K,) each."""

    n_visits: Doubles
    lifetime: Doubles
    """Seconds; NaN for a state without any expected visit."""


def soft_visits(alpha: ArrayLike, segments: ArrayLike, transitions: ArrayLike, sampling_frequency: float) -> SoftVisits:
    """Expected visits and lifetimes: a visit begins with a segment, or with a transition from another state.

    Of posteriors that are 0 or 1 these are the numbers of the path.

    Parameters
    ----------
    alpha : array, (T, K)
        Posterior probabilities.
    segments : array, (n_segments, 2)
    transitions : array, (K, K)
        Sums over time of the posterior of each pair of states, row = from.
    sampling_frequency : float
        Hz.
    """
    values, borders = np.asarray(alpha, dtype=np.float64), np.asarray(segments, dtype=np.int64).reshape(-1, 2)
    borders = borders[borders[:, 1] > borders[:, 0]]
    pairs = np.asarray(transitions, dtype=np.float64)
    n_visits = values[borders[:, 0]].sum(axis=0) + pairs.sum(axis=0) - np.diag(pairs)
    samples = np.sum([values[start:stop].sum(axis=0) for start, stop in borders], axis=0)
    # Expected visits below a millionth are rounding of a state that never occurs.
    lifetime = np.divide(samples, n_visits, out=np.full_like(samples, np.nan), where=n_visits > 1e-6)
    return SoftVisits(n_visits=n_visits, lifetime=lifetime / sampling_frequency)


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Summaries in windows of one length, side by side within segments; what is left at a segment's end is not seen."""

    start: NDArray[np.int64]
    """First row of each, (N,)."""
    length: int
    """Samples."""
    occupancy: Doubles
    """Share of each window that the most probable state has, (N, K)."""
    n_onsets: NDArray[np.int64]
    """Visits that begin in each window, (N, K); not those that begin with a segment, whose onset was not seen."""

    @property
    def fano_factor(self) -> Doubles:
        """Variance of the number of onsets over windows, divided by its mean, (K,): 1 for visits that come at random.

        NaN where there are fewer than two windows or no onset.
        """
        if len(self.start) < 2:
            return np.full(self.n_onsets.shape[1], np.nan)
        mean = self.n_onsets.mean(axis=0)
        return np.divide(self.n_onsets.var(axis=0, ddof=1), mean, out=np.full(len(mean), np.nan), where=mean > 0)


def in_windows(
    states_or_alpha: ArrayLike, segments: ArrayLike | None, length: int, *, n_states: int | None = None
) -> Windows:
    """Cut segments into windows and count; arguments and errors as of `state_statistics`.

    Parameters
    ----------
    states_or_alpha, segments, n_states
        As for `state_statistics`.
    length : int
        Samples of a window.
    """
    assert length > 0, length
    visits = all_visits(states_or_alpha, segments, n_states=n_states)
    firsts = [np.arange(start, stop - length + 1, length) for start, stop in _borders_of(visits)]
    starts = np.concatenate([np.zeros(0, dtype=np.int64), *firsts])
    occupancy, onsets = np.zeros((len(starts), visits.n_states)), np.zeros((len(starts), visits.n_states), np.int64)
    begins = np.append(False, visits.segment[1:] == visits.segment[:-1])
    for number, first in enumerate(starts):
        inside = np.clip(visits.stop, first, first + length) - np.clip(visits.start, first, first + length)
        np.add.at(occupancy[number], visits.state, inside / length)
        own = begins & (visits.start >= first) & (visits.start < first + length)
        np.add.at(onsets[number], visits.state[own], 1)
    return Windows(start=starts, length=length, occupancy=occupancy, n_onsets=onsets)


def _borders_of(visits: Visits) -> list[tuple[int, int]]:
    """First row of each segment, and the one after its last."""
    first = np.flatnonzero(np.diff(visits.segment, prepend=-1))
    last = np.append(first[1:], len(visits.segment)) - 1
    return list(zip(visits.start[first].tolist(), visits.stop[last].tolist()))
