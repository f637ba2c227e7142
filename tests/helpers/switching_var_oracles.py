"""Slow, obvious truths about a switching autoregression: all paths of states, and for each the joint Gaussian."""

import itertools

import numpy as np
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from dynml.simulation.filters.switching_var import SwitchingVar


def random_process(n_states, n_channels, seed=0, stay=0.7):
    """A process whose states differ much, with intercepts, impossible transitions for K > 2, and uneven starts."""
    generator = np.random.default_rng(seed)
    coefficients = generator.normal(size=(n_states, n_channels, n_channels))
    coefficients *= 0.9 / np.abs(np.linalg.eigvals(coefficients)).max(axis=1)[:, None, None]
    transitions = generator.dirichlet(np.ones(n_states), size=n_states) * (1 - stay) + stay * np.eye(n_states)
    if n_states > 2:
        transitions[0, 1] = 0
        transitions[0] /= transitions[0].sum()
    return SwitchingVar(
        coefficients=coefficients,
        intercepts=generator.normal(size=(n_states, n_channels)),
        noise_covariances=covariances(generator, n_states, n_channels),
        transition_probabilities=transitions,
        initial_probabilities=generator.dirichlet(np.ones(n_states)),
        initial_means=generator.normal(size=(n_states, n_channels)),
        initial_covariances=2 * covariances(generator, n_states, n_channels),
    )


def covariances(generator, n_states, n_channels):
    factors = generator.normal(size=(n_states, n_channels, 2 * n_channels))
    return factors @ np.swapaxes(factors, 1, 2) / (2 * n_channels)


def sample(process, n_windows, n_samples, seed=1):
    """Windows and their states, drawn sample by sample."""
    generator = np.random.default_rng(seed)
    signals = np.empty((n_windows, n_samples, process.n_channels))
    states = np.empty((n_windows, n_samples), dtype=np.int64)
    for window, t in np.ndindex(n_windows, n_samples):
        if t == 0:
            state = generator.choice(process.n_states, p=process.initial_probabilities)
            mean, covariance = process.initial_means[state], process.initial_covariances[state]
        else:
            state = generator.choice(process.n_states, p=process.transition_probabilities[states[window, t - 1]])
            mean = process.coefficients[state] @ signals[window, t - 1] + process.intercepts[state]
            covariance = process.noise_covariances[state]
        states[window, t] = state
        signals[window, t] = generator.multivariate_normal(mean, covariance)
    return signals, states


def joint_gaussian(process, path):
    """Mean (T C,) and covariance (T C, T C) of a whole window given the path, from x = M noise + offset."""
    n_samples, n_channels = len(path), process.n_channels
    size = n_samples * n_channels
    inverse, offset, noise = np.eye(size), np.empty(size), np.zeros((size, size))
    for t, state in enumerate(path):
        own = slice(t * n_channels, (t + 1) * n_channels)
        offset[own] = process.intercepts[state] if t else process.initial_means[state]
        noise[own, own] = process.noise_covariances[state] if t else process.initial_covariances[state]
        if t:
            inverse[own, (t - 1) * n_channels : t * n_channels] = -process.coefficients[state]
    mixing = np.linalg.inv(inverse)
    return mixing @ offset, mixing @ noise @ mixing.T


def prior(process, path):
    probability = process.initial_probabilities[path[0]]
    for before, after in itertools.pairwise(path):
        probability *= process.transition_probabilities[before, after]
    return probability


def condition(mean, covariance, values, visible):
    """Mean and variances of everything given the visible entries, and their log-density."""
    seen, cross = covariance[np.ix_(visible, visible)], covariance[:, visible]
    if not visible.any():
        return mean, np.diag(covariance), 0.0
    gain = cross @ np.linalg.inv(seen)
    log_density = multivariate_normal(mean[visible], seen).logpdf(values[visible])
    return mean + gain @ (values - mean)[visible], np.diag(covariance - gain @ cross.T), log_density


def posterior(process, window, visible):
    """Paths, their posterior weights, and mean and standard deviation (T, C) under each, given the visible entries."""
    n_samples, n_channels = window.shape
    shown = np.broadcast_to(visible, window.shape).ravel()
    paths, logs, means, deviations = [], [], [], []
    for path in itertools.product(range(process.n_states), repeat=n_samples):
        probability = prior(process, path)
        if probability == 0:
            continue
        mean, variances, log_density = condition(*joint_gaussian(process, path), window.ravel(), shown)
        paths.append(path)
        logs.append(np.log(probability) + log_density)
        means.append(mean.reshape(n_samples, n_channels))
        deviations.append(np.sqrt(variances.clip(0)).reshape(n_samples, n_channels))
    logs = np.array(logs)
    weights = np.exp(logs - logs.max())
    return np.array(paths), weights / weights.sum(), np.array(means), np.array(deviations), logs


def posterior_mean(process, window, visible):
    _, weights, means, _, _ = posterior(process, window, visible)
    return np.tensordot(weights, means, axes=1)


def posterior_medians(process, window, visible, t):
    """Median of each channel of sample t."""
    _, weights, means, deviations, _ = posterior(process, window, visible)
    medians = []
    for own_means, own_deviations in zip(means[:, t].T, deviations[:, t].T):
        medians.append(
            brentq(
                lambda x, m=own_means, s=own_deviations: weights @ norm.cdf(x, m, s) - 0.5,
                own_means.min() - 1,
                own_means.max() + 1,
                xtol=1e-12,
            )
        )
    return np.array(medians)
