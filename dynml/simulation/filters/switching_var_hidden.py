"""Switching autoregression whose parameters are known: hidden samples from the visible ones on both sides.

Between two visible samples, and given the path of states from one to the other, hidden samples are Gaussian: their mean
is linear in the samples at both ends, and the density of the sample at the end weighs the path. All paths of a stretch
are enumerated, and a forward-backward pass over the visible samples sums over everything else. So the result is exact
as long as the K^(k + 1) paths of a stretch of k hidden samples are no more than `max_paths`. Of a longer stretch only
the paths of largest prior probability are kept, which is an approximation.

Shapes: B windows, T samples, C channels, K states, N paths, k hidden samples of a stretch. NumPy arrays, float64.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.simulation.filters.gaussian_mixtures import Array, Statistic, statistic_of_mixture
from dynml.simulation.filters.switching_var import SwitchingVar, state_log_densities
from dynml.simulation.filters.switching_var_paths import PathTable, path_table

MAX_PATHS = 1024


def longest_exact_stretch(n_states: int, max_paths: int = MAX_PATHS) -> int:
    """Hidden samples in a row, between visible ones, up to which `hidden_sample_predictions` is exact; K > 1."""
    assert n_states > 1, "one state has one path, whatever the stretch"
    length = 0
    while n_states ** (length + 2) <= max_paths:
        length += 1
    return length


def hidden_sample_predictions(
    process: SwitchingVar,
    signals_BTC: Array,
    visible_BT: NDArray[np.bool_],
    *,
    lengths_B: NDArray[np.int64] | None = None,
    statistic: Statistic = "mean",
    max_paths: int = MAX_PATHS,
) -> Array:
    """Best prediction of hidden samples from all visible samples of their window.

    Parameters
    ----------
    process : SwitchingVar
    signals_BTC : array, (B, T, C)
        What stands at hidden samples has no influence.
    visible_BT : array of bool, (B, T)
    lengths_B : array, (B,), optional
        Real samples of each window; what follows is padding.
    statistic : {"mean", "median"}
        Of p(x_t | visible samples): the mean has the least squared error, the median of each channel the least absolute
        one.
    max_paths : int
        Paths of states that are followed through a stretch of hidden samples, see `longest_exact_stretch`; at a
        window's edge, where paths have one state less, one hidden sample more is exact. The memory that a stretch
        needs grows as max_paths x k x C^2.

    Returns
    -------
    array, (B, T, C)
        Visible samples as they are; 0 in padding.
    """
    signals = np.where(visible_BT[..., None], signals_BTC, 0).astype(np.float64)
    log_densities_BTK = state_log_densities(process, signals)
    lengths = np.full(len(signals), signals.shape[1]) if lengths_B is None else np.asarray(lengths_B)
    tables = _Tables(process, max_paths)
    predictions = np.zeros(signals.shape)
    for window, length in enumerate(lengths.tolist()):
        visible = np.flatnonzero(visible_BT[window, :length])
        stretches = _stretches(process, signals[window, :length], visible, tables)
        predictions[window, visible] = signals[window, visible]
        for (start, stop), weights, stretch in _posteriors(process, log_densities_BTK[window], visible, stretches):
            predictions[window, start:stop] = stretch.statistic(weights, statistic)
    return predictions


class _Tables:
    """Path tables, each made once."""

    def __init__(self, process: SwitchingVar, max_paths: int) -> None:
        self.process, self.max_paths = process, max_paths
        self._made: dict[tuple[int, bool, bool], PathTable] = {}

    def get(self, length: int, entered: bool, left: bool) -> PathTable:
        """Table of a stretch of `length` hidden samples, with or without a visible one before and after it."""
        key = (length, entered, left)
        if key not in self._made:
            self._made[key] = path_table(self.process, length, entered, left, self.max_paths)
        return self._made[key]


@dataclass(frozen=True, kw_only=True)
class _Stretch:
    """Hidden samples [start, stop) of a window, under every path through them."""

    start: int
    stop: int
    table: PathTable
    means: Array
    """(k, N, C), of the hidden samples given path and ends."""
    evidence: Array
    """(N,), transitions within the path times density of the sample that follows, up to a factor."""

    def statistic(self, weights_N: Array, statistic: Statistic) -> Array:
        """Mean or median (k, C) of the hidden samples, the paths weighted."""
        return statistic_of_mixture(weights_N, self.means, self.table.deviations, statistic)


def _stretches(
    process: SwitchingVar, signals_TC: Array, visible: NDArray[np.int64], tables: _Tables
) -> dict[int, _Stretch]:
    """Stop of every stretch of hidden samples to what its paths say of it."""
    n_samples = len(signals_TC)
    ends = [-1, *visible.tolist(), n_samples]
    stretches = {}
    for before, after in itertools.pairwise(ends):
        if after - before < 2:
            continue
        entered, left = before >= 0, after < n_samples
        table = tables.get(after - before - 1, entered, left)
        means, evidence = table.given_ends(
            process, signals_TC[before] if entered else None, signals_TC[after] if left else None
        )
        stretches[after] = _Stretch(start=before + 1, stop=after, table=table, means=means, evidence=evidence)
    return stretches


def _posteriors(
    process: SwitchingVar, log_densities_TK: Array, visible: NDArray[np.int64], stretches: dict[int, _Stretch]
) -> list[tuple[tuple[int, int], Array, _Stretch]]:
    """Posterior probabilities (N,) of the paths of every stretch."""
    forward = _forward(process, log_densities_TK, visible, stretches)
    backward = _backward(process, log_densities_TK, visible, stretches)
    posteriors = []
    for stop, stretch in stretches.items():
        joint = forward[stretch.start - 1][stretch.table.first] * stretch.evidence
        if stop in backward:
            joint = joint * backward[stop][stretch.table.last]
        posteriors.append(((stretch.start, stop), joint / joint.sum(), stretch))
    return posteriors


def _forward(
    process: SwitchingVar, log_densities_TK: Array, visible: NDArray[np.int64], stretches: dict[int, _Stretch]
) -> dict[int, Array]:
    """Visible sample (and -1, the start) to the probabilities (K,) of the state after it, given all up to it."""
    entering = {-1: process.initial_probabilities}
    before = -1
    for t in visible.tolist():
        stretch = stretches.get(t)
        if stretch is None:
            state = entering[before] * _densities(log_densities_TK[t])
        else:
            joint = entering[before][stretch.table.first] * stretch.evidence
            state = _sums(stretch.table.last, joint, process.n_states)
        entering[t] = (state / state.sum()) @ process.transition_probabilities
        before = t
    return entering


def _backward(
    process: SwitchingVar, log_densities_TK: Array, visible: NDArray[np.int64], stretches: dict[int, _Stretch]
) -> dict[int, Array]:
    """Visible sample to the density (K,) of all visible ones after it, given its state, up to a factor."""
    later: dict[int, Array] = {}
    following = np.ones(process.n_states)
    for position in range(len(visible) - 1, -1, -1):
        t = int(visible[position])
        later[t] = following
        stretch = stretches.get(t)
        if stretch is None:
            entered = _densities(log_densities_TK[t]) * following
        else:
            joint = stretch.evidence * following[stretch.table.last]
            entered = _sums(stretch.table.first, joint, process.n_states)
        following = process.transition_probabilities @ entered
        following = following / following.max()
    return later


def _sums(states_N: NDArray[np.int64], joint_N: Array, n_states: int) -> Array:
    return np.asarray(np.bincount(states_N, weights=joint_N, minlength=n_states), dtype=np.float64)


def _densities(log_densities_K: Array) -> Array:
    return np.exp(log_densities_K - log_densities_K.max())
