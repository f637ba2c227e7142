"""Random coefficients and noise of autoregressions, and signals drawn from them.

Shapes: T samples, C channels, K states, p lags.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynml.simulation.dynamics_config import spectral_radius_of

Array = NDArray[np.float64]

PERSISTENCE = 0.7
"""How much random channels drive themselves; n links of a channel have standard deviation 1 / sqrt(n). Then scaled."""


def random_coefficients(
    n_lags: int, n_channels: int, density: float, spectral_radius: float, generator: np.random.Generator
) -> Array:
    """Coefficients (p, C, C) of a stable autoregression.

    Each channel is driven by itself and by a share `density` of the others (the same ones at all lags, at least one
    where there is one), the later a lag the less. Multiplied by s^l at lag l, coefficients have eigenvalues s times as
    large, so that the spectral radius is exactly the one that is asked for.
    """
    n_links = max(1, round(density * (n_channels - 1)))
    linked = np.zeros((n_channels, n_channels), dtype=bool)
    for channel in range(n_channels if n_channels > 1 else 0):
        others = np.delete(np.arange(n_channels), channel)
        linked[channel, generator.choice(others, size=n_links, replace=False)] = True
    lags = np.arange(1, n_lags + 1)
    coefficients = generator.normal(size=(n_lags, n_channels, n_channels)) / np.sqrt(n_links) * linked
    coefficients += PERSISTENCE * np.eye(n_channels)
    coefficients /= lags[:, None, None] ** 2
    scale = spectral_radius / spectral_radius_of(coefficients)
    return coefficients * scale ** lags[:, None, None]


def random_noise_covariance(n_channels: int, generator: np.random.Generator) -> Array:
    """A full covariance (C, C), G G^T / 2C with G (C, 2C) standard normal: variances of about 1, well conditioned."""
    factor = generator.normal(size=(n_channels, 2 * n_channels))
    return factor @ factor.T / (2 * n_channels)


def draw_autoregression(
    first_pC: Array, coefficients_KpCC: Array, intercepts_KC: Array, noise_TC: Array, states_T: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Signals (T, C), float32, whose first p samples are given.

    Parameters
    ----------
    first_pC : array, (p, C)
    coefficients_KpCC : array, (K, p, C, C)
    intercepts_KC : array, (K, C)
    noise_TC : array, (T, C)
        Of which the first p rows are not used.
    states_T : array, (T,)
    """
    n_samples, n_channels = noise_TC.shape
    n_lags = len(first_pC)
    latest_first = np.swapaxes(coefficients_KpCC, 1, 2).reshape(len(intercepts_KC), n_channels, -1)
    signals = np.empty((max(n_samples, n_lags), n_channels))
    signals[:n_lags] = first_pC
    for t in range(n_lags, n_samples):
        state = states_T[t]
        past = signals[t - n_lags : t][::-1].ravel()
        signals[t] = latest_first[state] @ past + intercepts_KC[state] + noise_TC[t]
    return signals[:n_samples].astype(np.float32)


def rescaled_coefficients(coefficients: Array, std_C: Array) -> Array:
    """Coefficients (..., C, C) of signals divided by their standard deviations."""
    return coefficients * std_C / std_C[:, None]
