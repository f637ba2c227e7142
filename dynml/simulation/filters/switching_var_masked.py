"""Switching autoregression whose parameters are known: hidden channels from the visible ones of a whole window.

Any pattern of hidden entries will do. Here the path of states is known, or there is one state only, and the results
are exact: a Kalman filter and smoother. For unknown states see `switching_var_merged`.

Shapes: B windows, T samples, C channels, K states, p lags. NumPy arrays, float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynml.simulation.filters.gaussian_mixtures import Array, times_vectors, visible_inverse
from dynml.simulation.filters.switching_var import SwitchingVar


def masked_means_given_states(
    process: SwitchingVar, signals_BTC: Array, visible_BTC: NDArray[np.bool_], states_BT: NDArray[np.int64]
) -> Array:
    """Mean of the hidden entries given the visible ones and the path of states, exact.

    Parameters
    ----------
    process : SwitchingVar
        Noise covariances may be singular as long as visible channels can be distinguished.
    signals_BTC : array, (B, T, C)
        What stands at hidden entries has no influence.
    visible_BTC : array of bool, broadcastable to (B, T, C)
        Padding on the right: hidden.
    states_BT : array, (B, T)
        In padding, any state.

    Returns
    -------
    array, (B, T, C)
        Visible entries as they are. Given the states all is Gaussian, so that this is the median too.

    Notes
    -----
    Smoothed backward by the modified Bryson-Frazier recursions (Bierman 1973, Automatica 9), which invert covariances
    of visible channels alone.
    """
    visible = np.broadcast_to(visible_BTC, signals_BTC.shape)
    signals = np.where(visible, signals_BTC, 0).astype(np.float64)
    mean, covariance = process.initial_means[states_BT[:, 0]], process.initial_covariances[states_BT[:, 0]]
    passed = []
    for t in range(signals.shape[1]):
        if t:
            own = states_BT[:, t]
            mean = times_vectors(process.coefficients[own], mean) + process.intercepts[own]
            covariance = _carried(process.coefficients[own], covariance) + process.noise_covariances[own]
        inverse, _ = visible_inverse(covariance, visible[:, t])
        residual = np.where(visible[:, t], signals[:, t] - mean, 0)
        passed.append((mean, covariance, inverse, residual))
        mean = mean + times_vectors(covariance, times_vectors(inverse, residual))
        covariance = covariance - covariance @ inverse @ covariance
    return np.where(visible, signals, _smoothed_backward(process, passed, states_BT))


def var_as_switching(coefficients_pCC: Array, intercept_C: Array, noise_covariance_CC: Array) -> SwitchingVar:
    """An autoregression of p lags as one of one lag and one state, seen from within.

    Its sample (p C,) holds the sample of the autoregression (C,) and the p - 1 before it.
    """
    n_lags, n_channels, _ = coefficients_pCC.shape
    n_all = n_lags * n_channels
    companion = np.eye(n_all, k=-n_channels)
    companion[:n_channels] = np.concatenate(list(coefficients_pCC), axis=1)
    intercept, noise = np.zeros(n_all), np.zeros((n_all, n_all))
    intercept[:n_channels], noise[:n_channels, :n_channels] = intercept_C, noise_covariance_CC
    return SwitchingVar(
        coefficients=companion[None],
        intercepts=intercept[None],
        noise_covariances=noise[None],
        transition_probabilities=np.ones((1, 1)),
        initial_probabilities=np.ones(1),
        initial_means=np.zeros((1, n_all)),
        initial_covariances=np.eye(n_all)[None],
    ).from_within()


def var_masked_means(
    coefficients_pCC: Array,
    intercept_C: Array,
    noise_covariance_CC: Array,
    signals_BTC: Array,
    visible_BTC: NDArray[np.bool_],
) -> Array:
    """Mean of the hidden entries of windows of an autoregression of p lags given the visible ones, exact.

    Parameters
    ----------
    coefficients_pCC : array, (p, C, C)
        The matrix of lag l at [l - 1]; row = the channel that is driven.
    intercept_C : array, (C,)
    noise_covariance_CC : array, (C, C)
    signals_BTC : array, (B, T, C)
    visible_BTC : array of bool, broadcastable to (B, T, C)
        Whole samples, whole channels or any other pattern; padding on the right: hidden.

    Returns
    -------
    array, (B, T, C)
        Visible entries as they are.
    """
    process = var_as_switching(coefficients_pCC, intercept_C, noise_covariance_CC)
    visible = np.broadcast_to(visible_BTC, signals_BTC.shape)
    n_channels = signals_BTC.shape[2]
    further = ((0, 0), (0, 0), (0, process.n_channels - n_channels))
    states = np.zeros(signals_BTC.shape[:2], dtype=np.int64)
    means = masked_means_given_states(process, np.pad(signals_BTC, further), np.pad(visible, further), states)
    return means[..., :n_channels]


def var_one_step_means(
    coefficients_pCC: Array, intercept_C: Array, noise_covariance_CC: Array, signals_BTC: Array
) -> Array:
    """Mean of every sample of windows of an autoregression of p lags given all samples before it, exact.

    Within the first p samples of a window too: what stands before the window is then summed over.

    Returns
    -------
    array, (B, T, C)
        [:, t] predicts [:, t].
    """
    signals = np.asarray(signals_BTC, dtype=np.float64)
    n_lags, n_samples = len(coefficients_pCC), signals.shape[1]
    means = np.broadcast_to(np.asarray(intercept_C, dtype=np.float64), signals.shape).copy()
    for lag, matrix in enumerate(coefficients_pCC, start=1):
        means[:, lag:] += signals[:, : n_samples - lag] @ matrix.T
    for t in range(min(n_lags, n_samples)):
        visible = np.zeros(signals[:, : t + 1].shape, dtype=bool)
        visible[:, :t] = True
        known = (coefficients_pCC, intercept_C, noise_covariance_CC)
        means[:, t] = var_masked_means(*known, signals[:, : t + 1], visible)[:, t]
    return means


def _smoothed_backward(
    process: SwitchingVar, passed: list[tuple[Array, Array, Array, Array]], states_BT: NDArray[np.int64]
) -> Array:
    smoothed = np.empty((*states_BT.shape, process.n_channels))
    adjoint = np.zeros_like(smoothed[:, 0])
    for t in range(len(passed) - 1, -1, -1):
        mean, covariance, inverse, residual = passed[t]
        adjoint = adjoint - times_vectors(inverse, times_vectors(covariance, adjoint) + residual)
        smoothed[:, t] = mean - times_vectors(covariance, adjoint)
        adjoint = times_vectors(np.swapaxes(process.coefficients[states_BT[:, t]], 1, 2), adjoint)
    return smoothed


def _carried(matrices: Array, covariances: Array) -> Array:
    return matrices @ covariances @ np.swapaxes(matrices, -1, -2)
