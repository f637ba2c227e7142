"""Switching autoregression whose parameters are known: its states, and the best prediction of what comes next.

x_t = A_k x_{t-1} + c_k + e_t with e_t from N(0, Q_k), where k = s_t is the state of a Markov chain at sample t; the
first sample of a window comes from N(m_k, V_k). As the past samples are seen, p(s_t | x up to t) follows exactly from
sums over states (Hamilton 1989, Econometrica 57), and with it the prediction that no model can beat on average.

Shapes: B windows, T samples, C channels, K states. NumPy arrays, float64.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from dynml.errors import DynmlError
from dynml.simulation.filters.gaussian_mixtures import Array, Statistic, log_densities, statistic_of_mixture

MOST_STEPS = 100_000
TOLERANCE = 1e-13
MOST_GROWTH = 1e12


@dataclass(frozen=True, kw_only=True)
class SwitchingVar:
    """Parameters of a switching autoregression of one lag; with K = 1 it does not switch."""

    coefficients: Array
    """(K, C, C), A_k: row = the channel that is driven."""
    intercepts: Array
    """(K, C), c_k."""
    noise_covariances: Array
    """(K, C, C), Q_k."""
    transition_probabilities: Array
    """(K, K), rows = from-state."""
    initial_probabilities: Array
    """(K,), of the first sample's state."""
    initial_means: Array
    """(K, C), m_k of the first sample."""
    initial_covariances: Array
    """(K, C, C), V_k of the first sample."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, np.asarray(getattr(self, field.name), dtype=np.float64))
        n_states, n_channels = self.intercepts.shape
        square = (n_states, n_channels, n_channels)
        assert self.coefficients.shape == self.noise_covariances.shape == self.initial_covariances.shape == square
        assert self.transition_probabilities.shape == (n_states, n_states), self.transition_probabilities.shape
        assert self.initial_probabilities.shape == (n_states,), self.initial_probabilities.shape
        assert self.initial_means.shape == (n_states, n_channels), self.initial_means.shape

    @property
    def n_states(self) -> int:
        """K."""
        return len(self.intercepts)

    @property
    def n_channels(self) -> int:
        """C."""
        return int(self.intercepts.shape[1])

    def from_within(self) -> SwitchingVar:
        """The same process, seen from some sample in the middle on: what windows of long recordings need.

        Their first state has the stationary probabilities and, given its state, their first sample the stationary mean
        and covariance. These moments are exact; that the first sample is Gaussian is not, unless K = 1.
        """
        probabilities, means, covariances = stationary_moments(self)
        return dataclasses.replace(
            self, initial_probabilities=probabilities, initial_means=means, initial_covariances=covariances
        )


def stationary_moments(process: SwitchingVar) -> tuple[Array, Array, Array]:
    """Moments of a sample that the process tends to, exact but for rounding.

    Returns
    -------
    probabilities : array, (K,)
        Of the states.
    means : array, (K, C)
        Of the samples in each state.
    covariances : array, (K, C, C)
        Of the samples in each state.

    Raises
    ------
    DynmlError
        When variances grow without end, which switching can bring about though every state on its own is stable.

    Notes
    -----
    One step maps u_k = E[x 1(s = k)] and U_k = E[x x' 1(s = k)] to A_k u + p_k c_k and A_k U A_k' + A_k u c_k' + c_k u'
    A_k' + p_k (c_k c_k' + Q_k), where u and U are the sums over states before, weighted by the transitions into k
    (Costa, Fragoso & Marques 2005, Discrete-Time Markov Jump Linear Systems, ch. 3), applied until nothing changes.
    """
    transitions, coefficients, intercepts = process.transition_probabilities, process.coefficients, process.intercepts
    probabilities = stationary_probabilities(transitions)
    own_first = probabilities[:, None] * intercepts
    squares = intercepts[:, :, None] * intercepts[:, None, :] + process.noise_covariances
    own_second = probabilities[:, None, None] * squares
    first, second = np.zeros_like(own_first), np.zeros_like(own_second)
    limit = MOST_GROWTH * np.abs(squares).max()
    for _ in range(MOST_STEPS):
        driven = np.einsum("kcd,kd->kc", coefficients, transitions.T @ first)
        cross = driven[:, :, None] * intercepts[:, None, :]
        carried = coefficients @ np.tensordot(transitions.T, second, axes=1) @ np.swapaxes(coefficients, 1, 2)
        updated = carried + cross + np.swapaxes(cross, 1, 2) + own_second
        change = np.abs(updated - second).max()
        first, second = driven + own_first, updated
        size = np.abs(second).max()
        if change <= TOLERANCE * size or size > limit:
            break
    if size > limit:
        raise DynmlError("The variance of the switching autoregression grows without end: lower its spectral radius.")
    weights = np.where(probabilities > 0, probabilities, 1.0)
    means = first / weights[:, None]
    return probabilities, means, second / weights[:, None, None] - means[:, :, None] * means[:, None, :]


def stationary_probabilities(transition_probabilities_KK: Array) -> Array:
    """Probabilities (K,) that one step of the chain leaves as they are; of several, the one nearest 0."""
    n_states = len(transition_probabilities_KK)
    equations = np.vstack([transition_probabilities_KK.T - np.eye(n_states), np.ones(n_states)])
    solution = np.linalg.lstsq(equations, np.append(np.zeros(n_states), 1.0), rcond=None)[0].clip(0)
    return solution / solution.sum()


def state_means(process: SwitchingVar, signals_BTC: Array) -> Array:
    """Mean (B, T, K, C) of every sample in each state, given the sample before it."""
    means = np.empty((*signals_BTC.shape[:2], process.n_states, process.n_channels))
    means[:, 0] = process.initial_means
    means[:, 1:] = np.einsum("kcd,btd->btkc", process.coefficients, signals_BTC[:, :-1], optimize=True)
    means[:, 1:] += process.intercepts
    return means


def state_log_densities(process: SwitchingVar, signals_BTC: Array) -> Array:
    """Log-density (B, T, K) of every sample in each state, given the sample before it, in nats."""
    signals = np.asarray(signals_BTC, dtype=np.float64)
    residuals = signals[:, :, None] - state_means(process, signals)
    first = log_densities(residuals[:, :1], process.initial_covariances)
    return np.concatenate([first, log_densities(residuals[:, 1:], process.noise_covariances)], axis=1)


def filtered_states(process: SwitchingVar, signals_BTC: Array) -> tuple[Array, Array, Array]:
    """States given the past: Hamilton's filter, exact.

    Parameters
    ----------
    process : SwitchingVar
    signals_BTC : array, (B, T, C)

    Returns
    -------
    predicted : array, (B, T, K)
        p(s_t | x before t).
    filtered : array, (B, T, K)
        p(s_t | x up to t).
    log_likelihoods : array, (B,)
        log p(x) of each window, nats.
    """
    log_densities_BTK = state_log_densities(process, signals_BTC)
    predicted, filtered = np.empty_like(log_densities_BTK), np.empty_like(log_densities_BTK)
    log_likelihoods = np.zeros(len(log_densities_BTK))
    current = np.broadcast_to(process.initial_probabilities, predicted[:, 0].shape)
    for t in range(predicted.shape[1]):
        predicted[:, t] = current
        highest = log_densities_BTK[:, t].max(axis=1, keepdims=True)
        joint = current * np.exp(log_densities_BTK[:, t] - highest)
        total = joint.sum(axis=1, keepdims=True)
        filtered[:, t] = joint / total
        log_likelihoods += (highest + np.log(total))[:, 0]
        current = filtered[:, t] @ process.transition_probabilities
    return predicted, filtered, log_likelihoods


def smoothed_states(process: SwitchingVar, signals_BTC: Array) -> Array:
    """Probability p(s_t | all x) of each state at every sample, (B, T, K), exact: what no decoder of states can beat.

    Notes
    -----
    As x_{t+1} depends on x_t and s_{t+1} alone, p(s_t | s_{t+1}, all x) = p(s_t | s_{t+1}, x up to t) (Kim 1994,
    Journal of Econometrics 60, where it is an approximation because x is hidden).
    """
    predicted, filtered, _ = filtered_states(process, signals_BTC)
    smoothed = filtered.copy()
    for t in range(smoothed.shape[1] - 2, -1, -1):
        following = predicted[:, t + 1]
        ratio = np.divide(smoothed[:, t + 1], following, out=np.zeros_like(following), where=following > 0)
        smoothed[:, t] = filtered[:, t] * (ratio @ process.transition_probabilities.T)
    return smoothed


def one_step_predictions(process: SwitchingVar, signals_BTC: Array, *, statistic: Statistic = "mean") -> Array:
    """Best prediction of every sample from all samples before it, exact.

    Parameters
    ----------
    process : SwitchingVar
    signals_BTC : array, (B, T, C)
        Samples [:, t:] have no influence on the prediction [:, t], so that padding on the right does no harm.
    statistic : {"mean", "median"}
        Of p(x_t | x before t): the mean has the least squared error, the median of each channel the least absolute one.

    Returns
    -------
    array, (B, T, C)
        [:, t] predicts [:, t]; [:, 0] is what is known of a first sample.
    """
    signals = np.asarray(signals_BTC, dtype=np.float64)
    predicted, _, _ = filtered_states(process, signals)
    means = state_means(process, signals)
    first = _of_first_samples(process, len(signals), statistic)
    deviations = np.sqrt(np.diagonal(process.noise_covariances, axis1=1, axis2=2))
    later = statistic_of_mixture(predicted[:, 1:], means[:, 1:], deviations, statistic)
    return np.concatenate([first, later], axis=1)


def multi_step_means(process: SwitchingVar, signals_BTC: Array, n_steps: int) -> Array:
    """Mean of the samples that follow each sample, given all samples up to it, exact.

    Returns
    -------
    array, (B, T, n_steps, C)
        [:, t, h - 1] predicts sample t + h from the samples up to t.

    Notes
    -----
    No path needs to be summed over: E[x_{t+h} 1(s_{t+h} = k)] follows linearly from the same one step before.
    """
    signals = np.asarray(signals_BTC, dtype=np.float64)
    _, probabilities, _ = filtered_states(process, signals)
    parts = probabilities[..., None] * signals[:, :, None]
    means = np.empty((*signals.shape[:2], n_steps, process.n_channels))
    for step in range(n_steps):
        entering = np.einsum("jk,btjd->btkd", process.transition_probabilities, parts, optimize=True)
        probabilities = probabilities @ process.transition_probabilities
        parts = np.einsum("kcd,btkd->btkc", process.coefficients, entering, optimize=True)
        parts += probabilities[..., None] * process.intercepts
        means[:, :, step] = parts.sum(axis=2)
    return means


def _of_first_samples(process: SwitchingVar, n_windows: int, statistic: Statistic) -> Array:
    deviations = np.sqrt(np.diagonal(process.initial_covariances, axis1=1, axis2=2))
    first = statistic_of_mixture(process.initial_probabilities, process.initial_means, deviations, statistic)
    return np.broadcast_to(first, (n_windows, 1, process.n_channels))
