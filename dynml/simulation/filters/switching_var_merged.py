"""Switching autoregression whose parameters are known: hidden channels from the visible ones, the states being unknown.

The exact posterior of hidden channels is a mixture with a Gaussian for each of K^T paths of states. Here paths that
agree in their last n states are merged, so that one Gaussian is left for each of K^n. That is an approximation, the
closer the larger n. The lowest error that a model can reach lies between two that can be computed (squared errors, on
average): error given the states <= lowest error of any model <= error of the approximation.

Shapes: B windows, T samples, C channels, K states, n memory, M = K^n recent paths, of which each has K predecessors.
NumPy arrays, float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynml.simulation.filters.gaussian_mixtures import (
    LOG_TWO_PI,
    Array,
    Statistic,
    statistic_of_mixture,
    times_vectors,
    visible_inverse,
)
from dynml.simulation.filters.switching_var import SwitchingVar

MEMORY = 2
MOST_NUMBERS = 2**24
"""Of the covariances that are held at a time."""
TINY = float(np.finfo(np.float64).tiny)

Merged = tuple[Array, Array, Array]
"""Weights (B, M), means (B, M, C) and covariances (B, M, C, C) of one sample."""


def masked_predictions(
    process: SwitchingVar,
    signals_BTC: Array,
    visible_BTC: NDArray[np.bool_],
    *,
    statistic: Statistic = "mean",
    memory: int = MEMORY,
) -> Array:
    """Prediction of the hidden entries from the visible ones, the states being unknown: an approximation.

    Parameters
    ----------
    process : SwitchingVar
        With noise covariances that are positive definite.
    signals_BTC : array, (B, T, C)
        What stands at hidden entries has no influence.
    visible_BTC : array of bool, broadcastable to (B, T, C)
        Padding on the right: hidden.
    statistic : {"mean", "median"}
        The mean has the least squared error, the median of each channel the least absolute one.
    memory : int
        n, at least 1: paths are merged that agree in so many states. Time and memory needed grow as K^n.

    Returns
    -------
    array, (B, T, C)
        Visible entries as they are.

    Notes
    -----
    With n = 1 the filter and smoother of Kim (1994, Journal of Econometrics 60), but for one thing: he takes p(s_t |
    s_{t+1}, all) as p(s_t | s_{t+1}, visible up to t), here it is taken as p(s_t | s_{t+1}, visible up to t + 1), since
    what is visible at t + 1 says much about x_t and so about the state before. With n > 1 the same for the chain of the
    last n states. Exact with one state, and where nothing is hidden before the last visible entry.
    """
    assert memory >= 1, memory
    visible = np.broadcast_to(visible_BTC, signals_BTC.shape)
    signals = np.where(visible, signals_BTC, 0).astype(np.float64)
    chain = _RecentPaths(process, memory)
    predictions = np.empty(signals.shape)
    n_windows = max(1, MOST_NUMBERS // (signals.shape[1] * chain.n_paths * process.n_channels**2))
    for start in range(0, len(signals), n_windows):
        own = slice(start, start + n_windows)
        predictions[own] = _smoothed(chain, signals[own], visible[own], statistic)
    return np.where(visible, signals, predictions)


class _RecentPaths:
    """Markov chain of the last n states: path m goes on to (m mod K^(n-1)) K + k.

    Attributes
    ----------
    process : SwitchingVar
    n_paths : int
        M.
    predecessors : array, (K, M)
    pairs_of : array, (K, M)
        For each path, the positions of its successions among all (K, M) successions, flattened.
    transitions : array, (K, M)
        From each predecessor.
    states : array, (M,)
        The latest state of each path.
    """

    def __init__(self, process: SwitchingVar, memory: int) -> None:
        n_states = process.n_states
        self.process, self.n_paths = process, n_states**memory
        paths = np.arange(self.n_paths)
        self.states = paths % n_states
        oldest = np.arange(n_states)[:, None] * n_states ** (memory - 1)
        self.predecessors = oldest + paths // n_states
        self.pairs_of = np.argsort(self.predecessors.ravel(), kind="stable").reshape(self.n_paths, n_states).T
        self.transitions = process.transition_probabilities[self.predecessors % n_states, self.states]

    def first(self, n_windows: int) -> tuple[Array, Array, Array]:
        """Probabilities (B, 1, M), means and covariances of a first sample; earlier states are all alike."""
        process, own = self.process, self.states
        share = process.initial_probabilities[own] * process.n_states / self.n_paths
        arrays = share, process.initial_means[own], process.initial_covariances[own]
        return tuple(np.broadcast_to(array, (n_windows, 1, *array.shape)) for array in arrays)  # type: ignore[return-value]

    def ahead(self, means: Array, covariances: Array) -> tuple[Array, Array, Array]:
        """Means (B, K, M, C) and covariances of the next sample, and A V, for every succession of paths."""
        process, own = self.process, self.states
        matrices = process.coefficients[own]
        crossed = matrices @ covariances[:, self.predecessors]
        following = times_vectors(matrices, means[:, self.predecessors]) + process.intercepts[own]
        return following, crossed @ np.swapaxes(matrices, 1, 2) + process.noise_covariances[own], crossed


def _smoothed(chain: _RecentPaths, signals: Array, visible: NDArray[np.bool_], statistic: Statistic) -> Array:
    filtered, joints = _filtered(chain, signals, visible)
    predictions = np.empty(signals.shape)
    current = filtered[-1]
    predictions[:, -1] = _summary(current, statistic)
    for t in range(signals.shape[1] - 2, -1, -1):
        smoothed = _one_step_back(chain, filtered[t], joints[t + 1], current)
        # Without anything visible later the filter is final: padding leaves no trace.
        later = visible[:, t + 1 :].any(axis=(1, 2))
        current = tuple(  # type: ignore[assignment]
            np.where(later.reshape(-1, *[1] * (new.ndim - 1)), new, old) for new, old in zip(smoothed, filtered[t])
        )
        predictions[:, t] = _summary(current, statistic)
    return predictions


def _filtered(chain: _RecentPaths, signals: Array, visible: NDArray[np.bool_]) -> tuple[list[Merged], list[Array]]:
    """Merged Gaussians of each sample, and probabilities (B, K, M) of the successions into it, given all up to it."""
    joint, current = _updated(*chain.first(len(signals)), signals[:, 0], visible[:, 0])
    filtered, joints = [current], [joint]
    for t in range(1, signals.shape[1]):
        weights, means, covariances = current
        following, spread, _ = chain.ahead(means, covariances)
        prior = weights[:, chain.predecessors] * chain.transitions
        joint, current = _updated(prior, following, spread, signals[:, t], visible[:, t])
        filtered.append(current)
        joints.append(joint)
    return filtered, joints


def _updated(
    prior: Array, means: Array, covariances: Array, signals_BC: Array, visible_BC: NDArray[np.bool_]
) -> tuple[Array, Merged]:
    """Probabilities given a sample's visible channels, and what the successions into each path are merged to."""
    shown = np.broadcast_to(visible_BC[:, None, None], means.shape)
    inverse, log_determinant = visible_inverse(covariances, shown)
    residuals = np.where(shown, signals_BC[:, None, None] - means, 0)
    weighted = times_vectors(inverse, residuals)
    n_visible = visible_BC.sum(axis=1)[:, None, None]
    logs = -0.5 * ((residuals * weighted).sum(axis=-1) + log_determinant + n_visible * LOG_TWO_PI)
    joint = prior * np.exp(logs - np.where(prior > 0, logs, -np.inf).max(axis=(1, 2), keepdims=True))
    joint = joint / joint.sum(axis=(1, 2), keepdims=True)
    means = means + times_vectors(covariances, weighted)
    return joint, _merged(joint, means, covariances - covariances @ inverse @ covariances)


def _merged(joint: Array, means: Array, covariances: Array) -> Merged:
    """One Gaussian (B, M) out of K each (B, K, M), with their mean and covariance."""
    weights = joint.sum(axis=1)
    shares = joint / np.maximum(weights, TINY)[:, None]
    mean = (shares[..., None] * means).sum(axis=1)
    off = means - mean[:, None]
    spread = covariances + off[..., :, None] * off[..., None, :]
    return weights, mean, (shares[..., None, None] * spread).sum(axis=1)


def _one_step_back(chain: _RecentPaths, filtered: Merged, joint: Array, later: Merged) -> Merged:
    _, means, covariances = filtered
    following, spread, crossed = chain.ahead(means, covariances)
    gains = np.swapaxes(np.linalg.solve(spread, crossed), -1, -2)
    later_weights, later_means, later_covariances = later
    smoothed = means[:, chain.predecessors] + times_vectors(gains, later_means[:, None] - following)
    difference = later_covariances[:, None] - spread
    own = covariances[:, chain.predecessors] + gains @ difference @ np.swapaxes(gains, -1, -2)
    both = joint * (later_weights / np.maximum(joint.sum(axis=1), TINY))[:, None]
    both = both / both.sum(axis=(1, 2), keepdims=True)
    return _merged(*(_by_predecessor(chain, array) for array in (both, smoothed, own)))


def _by_predecessor(chain: _RecentPaths, successions: Array) -> Array:
    """Successions (B, K, M, ...), ordered by the path that they lead to, as ordered by the one that they come from."""
    flat = successions.reshape(len(successions), -1, *successions.shape[3:])
    return flat[:, chain.pairs_of]


def _summary(merged: Merged, statistic: Statistic) -> Array:
    weights, means, covariances = merged
    deviations = np.sqrt(np.diagonal(covariances, axis1=-2, axis2=-1).clip(0))
    return statistic_of_mixture(weights, means, deviations, statistic)
