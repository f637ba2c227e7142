"""Gaussian states of a simulation: their means and covariances, and signals drawn from them.

Shapes: T samples, C channels, K states.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RANDOM_MEAN_SD = 0.2
WEIGHT_SD = 0.1
SMALLEST_VARIANCE = 1e-6


def random_means(n_states: int, n_channels: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Means (K, C) from a normal distribution of standard deviation 0.2."""
    return generator.normal(scale=RANDOM_MEAN_SD, size=(n_states, n_channels))


def random_covariances(n_states: int, n_channels: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Covariances (K, C, C) that look like states of brain networks: some channels of each state vary together.

    Each is W W^T + 1e-6 I, where W (C, C) is normal with standard deviation 0.1, plus 1 / C in all entries of the rows
    of the state's active channels: 2 C / K draws (at least one) out of all channels, with replacement. This is the
    recipe of osl-dynamics' `MVN(covariances="random")` (Apache-2.0), drawn from another stream of random numbers.

    Returns
    -------
    array, (K, C, C), symmetric positive definite; condition numbers of 1e2 to 1e6 are usual
    """
    covariances = np.empty((n_states, n_channels, n_channels))
    n_active = max(1, 2 * n_channels // n_states)
    for state in range(n_states):
        weights = generator.normal(scale=WEIGHT_SD, size=(n_channels, n_channels))
        active = np.unique(generator.integers(n_channels, size=n_active))
        weights[active] += 1.0 / n_channels
        covariances[state] = weights @ weights.T + SMALLEST_VARIANCE * np.eye(n_channels)
    return covariances


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
