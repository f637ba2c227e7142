"""Simulation of vector autoregressions.

Shapes: T samples, C channels, p lags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.simulation.dynamics_config import VarSimulationConfig
from dynml.simulation.dynamics_result import DynamicsSimulation, chosen_dynamics
from dynml.simulation.kinds.autoregression import (
    draw_autoregression,
    random_coefficients,
    random_noise_covariance,
    rescaled_coefficients,
)
from dynml.simulation.kinds.gaussian_states import number_of_samples


@dataclass(frozen=True, kw_only=True)
class VarSimulation(DynamicsSimulation):
    """Signals of many subjects from one autoregression, and the truth behind them."""

    kind: ClassVar[str] = "var"
    parameters: ClassVar[tuple[str, ...]] = ("coefficients", "intercepts", "noise_covariances")

    coefficients: NDArray[np.float64]
    """(p, C, C), the matrix of lag l at [l - 1]; row = the channel that is driven."""
    intercepts: NDArray[np.float64]
    """(C,)."""
    noise_covariances: NDArray[np.float64]
    """(C, C)."""
    config: VarSimulationConfig

    def _rescaled(self, mean: NDArray[np.float64], std: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {
            "coefficients": rescaled_coefficients(self.coefficients, std),
            "intercepts": (self.intercepts + self.coefficients.sum(axis=0) @ mean - mean) / std,
            "noise_covariances": self.noise_covariances / np.outer(std, std),
        }


def simulate_var(
    config: VarSimulationConfig | None = None, *, generator: np.random.Generator | None = None, **settings: Any
) -> VarSimulation:
    """Simulate a vector autoregression: x_t = sum_l A_l x_{t-l} + e_t with e_t from N(0, Q).

    Parameters
    ----------
    config : VarSimulationConfig, optional
    generator : Generator, optional
        Source of all random numbers; by default a new one from the config's seed.
    **settings
        Fields of the config, when no config is given: `simulate_var(n_lags=2, n_channels=20, seed=1)`.

    Returns
    -------
    VarSimulation

    Raises
    ------
    ConfigurationError
        For an unknown setting, with the nearest name, or a value that is not accepted.

    Notes
    -----
    Coefficients and noise covariance are drawn first, then subject after subject: number of samples, signals. More
    subjects under the same seed leave the first ones as they were. The first samples are drawn from the distribution
    that the autoregression keeps to. All data sets share it, sample by sample, whatever their rate.
    """
    from dynml.simulation.filters.switching_var_masked import var_as_switching

    config = chosen_dynamics(VarSimulationConfig, config, settings)
    generator = generator if generator is not None else np.random.default_rng(config.seed)
    n_lags, n_channels = config.n_lags, config.n_channels
    coefficients, noise = config.array("coefficients"), config.array("noise_covariance")
    if coefficients is None:
        coefficients = random_coefficients(n_lags, n_channels, config.density, config.spectral_radius, generator)
    if noise is None:
        noise = random_noise_covariance(n_channels, generator)
    stationary = np.linalg.cholesky(var_as_switching(coefficients, np.zeros(n_channels), noise).initial_covariances[0])
    factor = np.linalg.cholesky(noise)
    time_series = []
    for subject in range(config.n_subjects):
        n_samples = number_of_samples(config.lengths, subject, generator)
        first = (stationary @ generator.normal(size=n_lags * n_channels)).reshape(n_lags, n_channels)[::-1]
        noise_TC = generator.normal(size=(n_samples, n_channels)) @ factor.T
        states = np.zeros(n_samples, dtype=np.int64)
        zeros = np.zeros((1, n_channels))
        time_series.append(draw_autoregression(first, coefficients[None], zeros, noise_TC, states))
    return VarSimulation(
        time_series=time_series,
        coefficients=coefficients,
        intercepts=np.zeros(n_channels),
        noise_covariances=noise,
        config=config,
    )
