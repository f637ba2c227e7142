"""Settings of autoregressions, their random coefficients and noise, and signals drawn from them.

Shapes: T samples, C channels, K states, p lags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_fraction, check_positive
from dynml.errors import ConfigurationError
from dynml.simulation.config import check_covariance
from dynml.simulation.kinds.dynamics_config import DynamicsSimulationConfig

Array = NDArray[np.float64]

PERSISTENCE = 0.7
"""How much random channels drive themselves; n links of a channel have standard deviation 1 / sqrt(n). Then scaled."""


@dataclass(frozen=True, kw_only=True)
class AutoregressionConfig(DynamicsSimulationConfig):
    """Settings of autoregressions, with or without states.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    spectral_radius: float = 0.9
    """Largest absolute eigenvalue of random coefficients, below 1: the higher, the slower the signals."""

    density: float = 1.0
    """Fraction of the other channels that drive each channel, for random coefficients."""

    def _check_own(self) -> None:
        check_positive("spectral_radius", self.spectral_radius)
        if self.spectral_radius >= 1:
            raise ConfigurationError("spectral_radius", self.spectral_radius, "below 1, so that signals stay finite")
        check_fraction("density", self.density)

    def _check_coefficients(self, given: NDArray[np.float64] | None) -> None:
        """Refuse coefficients (N, p, C, C) of which some are not stable."""
        for position, lags in enumerate([] if given is None else given):
            radius = spectral_radius_of(lags)
            if radius >= 1:
                where = f"coefficients[{position}]" if len(given) > 1 else "coefficients"  # type: ignore[arg-type]
                raise ConfigurationError(where, f"an array with spectral radius {radius:.4g}", "below 1: stable")

    def _check_noise(self, key: str, given: NDArray[np.float64] | None) -> None:
        """Refuse covariances (N, C, C) of which some are none."""
        for covariance in [] if given is None else given:
            check_covariance(key, covariance)


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


def spectral_radius_of(coefficients_pCC: NDArray[np.float64]) -> float:
    """Size of the largest eigenvalue of an autoregression of p lags: below 1 where it is stable."""
    n_lags, n_channels, _ = coefficients_pCC.shape
    companion = np.eye(n_lags * n_channels, k=-n_channels)
    companion[:n_channels] = np.concatenate(list(coefficients_pCC), axis=1)
    return float(np.abs(np.linalg.eigvals(companion)).max())
