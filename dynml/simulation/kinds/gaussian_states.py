"""Gaussian states or modes of a simulation: their means and covariances, and signals drawn from them.

Shapes: T samples, C channels, K states, J modes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynml.simulation.kinds.gaussian_config import GaussianSimulationConfig

RANDOM_MEAN_SD = 0.2
WEIGHT_SD = 0.1
SMALLEST_VARIANCE = 1e-6
STRONGEST_ACTIVATION = 5.0
MOST_NUMBERS = 1_000_000
"""Of the noise that is drawn at a time: what a simulation needs beside its signals stays small."""


def group_gaussians(
    config: GaussianSimulationConfig, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means (K, C) and covariances (K, C, C) that a config asks for, without observation error."""
    means, covariances = config.array("means"), config.array("covariances")
    if means is None and config.means == "random":
        means = random_means(config.n_gaussians, config.n_channels, generator)
    elif means is None:
        means = np.zeros((config.n_gaussians, config.n_channels))
    if covariances is None:
        covariances = random_covariances(
            config.n_gaussians, config.n_channels, generator, config.n_covariance_activations
        )
    return means, covariances


def subject_gaussians(
    config: GaussianSimulationConfig, covariances: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Covariances (K, C, C) of one subject, varied around the group's as the config asks, with observation error."""
    if config.covariance_variability > 0:
        covariances = vary_covariances(covariances, config.covariance_variability, generator)
    return with_observation_error(config, covariances)


def with_observation_error(config: GaussianSimulationConfig, covariances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariances (K, C, C) with the variance of the white noise upon the signals."""
    return covariances + config.observation_error**2 * np.eye(config.n_channels)


def random_means(n_states: int, n_channels: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Means (K, C) from a normal distribution of standard deviation 0.2."""
    return generator.normal(scale=RANDOM_MEAN_SD, size=(n_states, n_channels))


def random_covariances(
    n_states: int, n_channels: int, generator: np.random.Generator, n_activations: int = 1
) -> NDArray[np.float64]:
    """Covariances (K, C, C) that look like states of brain networks: some channels of each state vary together.

    Each is W W^T + 1e-6 I, where W (C, C) is normal with standard deviation 0.1, plus 1 / C in all entries of the rows
    of the state's active channels: 2 C / K draws (at least one) out of all channels, with replacement. Several
    activations, each with channels of its own, add from 1 / C up to 5 / C at even steps. This is the recipe of
    osl-dynamics' `MVN(covariances="random")` (Apache-2.0), drawn from another stream of random numbers.

    Returns
    -------
    array, (K, C, C), symmetric positive definite; condition numbers of 1e2 to 1e6 are usual
    """
    covariances = np.empty((n_states, n_channels, n_channels))
    for state in range(n_states):
        weights = generator.normal(scale=WEIGHT_SD, size=(n_channels, n_channels))
        for strength in activation_strengths(n_activations):
            active = np.unique(generator.integers(n_channels, size=n_active_channels(n_states, n_channels)))
            weights[active] += strength / n_channels
        covariances[state] = weights @ weights.T + SMALLEST_VARIANCE * np.eye(n_channels)
    return covariances


def activation_strengths(n_activations: int) -> list[float]:
    """What each activation of channels adds to their weights, in units of 1 / C."""
    return np.linspace(1.0, STRONGEST_ACTIVATION, n_activations).tolist()


def n_active_channels(n_states: int, n_channels: int) -> int:
    """Draws of active channels for a state; some may coincide."""
    return max(1, 2 * n_channels // n_states)


def vary_covariances(
    covariances: NDArray[np.float64], variability: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Draw covariances around given ones, the same relative distance off whatever their scale and shape.

    L exp(S) L^T, with L the Cholesky factor and S a random symmetric matrix (variance 1 / (C + 1) off its diagonal and
    2 / (C + 1) on it, times variability^2), so that the squared Riemannian distance is C variability^2 on average.

    Parameters
    ----------
    covariances : array, (K, C, C)
    variability : float
        Root mean square of the logarithms of the relative eigenvalues.
    generator : Generator

    Returns
    -------
    array, (K, C, C), symmetric positive definite
    """
    n_channels = covariances.shape[-1]
    noise = generator.normal(size=covariances.shape)
    symmetric = (noise + np.swapaxes(noise, 1, 2)) * (variability / np.sqrt(2.0 * (n_channels + 1)))
    eigenvalues, eigenvectors = np.linalg.eigh(symmetric)
    halves = np.linalg.cholesky(covariances) @ (eigenvectors * np.exp(eigenvalues / 2)[:, None, :])
    return halves @ np.swapaxes(halves, 1, 2)


def draw_signals(
    states: NDArray[np.int64],
    means: NDArray[np.float64],
    covariances: NDArray[np.float64],
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """Draw each sample from the Gaussian of its state.

    Parameters
    ----------
    states : array, (T,)
    means : array, (K, C)
    covariances : array, (K, C, C)
    generator : Generator

    Returns
    -------
    array, (T, C), float32
    """
    factors = np.linalg.cholesky(covariances)
    noise = generator.normal(size=(len(states), means.shape[1]))
    signals = np.empty(noise.shape, dtype=np.float32)
    for state in range(len(means)):
        rows = np.flatnonzero(states == state)
        signals[rows] = noise[rows] @ factors[state].T + means[state]
    return signals


def draw_mixed_signals(
    alpha: NDArray[np.floating],
    means: NDArray[np.float64],
    covariances: NDArray[np.float64],
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """Draw each sample from N(sum_j alpha_jt mu_j, sum_j alpha_jt D_j).

    Parameters
    ----------
    alpha : array, (T, J), >= 0
        Mixing coefficients.
    means : array, (J, C)
    covariances : array, (J, C, C)
    generator : Generator

    Returns
    -------
    array, (T, C), float32

    Notes
    -----
    The sum of independent normal vectors sqrt(alpha_jt) L_j z_jt, with L_j L_j^T = D_j, has the covariance of the
    mixture: J Cholesky factors serve all samples.
    """
    factors = np.linalg.cholesky(covariances)
    n_modes, n_channels = means.shape
    signals = np.empty((len(alpha), n_channels), dtype=np.float32)
    chunk = max(1, MOST_NUMBERS // (n_modes * n_channels))
    for start in range(0, len(alpha), chunk):
        weights = alpha[start : start + chunk].astype(np.float64)
        noise = generator.normal(size=(len(weights), n_modes, n_channels)) * np.sqrt(weights)[..., None]
        mixed = sum(noise[:, mode] @ factors[mode].T for mode in range(n_modes))
        signals[start : start + chunk] = mixed + weights @ means
    return signals
