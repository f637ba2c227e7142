"""Simulation of vector autoregressions.

Shapes: T samples, C channels, p lags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least
from dynml.simulation.config import RANDOM
from dynml.simulation.kinds.autoregression import (
    AutoregressionConfig,
    draw_autoregression,
    random_coefficients,
    random_noise_covariance,
    rescaled_coefficients,
)
from dynml.simulation.result import Simulation, simulator


@dataclass(frozen=True, kw_only=True)
class VarSimulationConfig(AutoregressionConfig):
    """An autoregression: each sample is driven by the p samples before it.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_lags: int = 1
    """Number of lags p."""

    coefficients: str | list[list[list[float]]] = RANDOM
    """"random", or numbers (p, C, C): one matrix per lag, row = the driven channel."""

    noise_covariance: str | list[list[float]] = RANDOM
    """"random", or numbers (C, C)."""

    def _check_own(self) -> None:
        super()._check_own()
        check_at_least("n_lags", self.n_lags, 1)
        square = (self.n_channels, self.n_channels)
        coefficients = self._check_numbers("coefficients", (self.n_lags, *square))
        self._check_coefficients(None if coefficients is None else coefficients[None])
        noise = self._check_numbers("noise_covariance", square)
        self._check_noise("noise_covariance", None if noise is None else noise[None])


@dataclass(frozen=True, kw_only=True)
class VarSimulation(Simulation):
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


@simulator(VarSimulationConfig)
def simulate_var(config: VarSimulationConfig, generator: np.random.Generator) -> VarSimulation:
    """Simulate a vector autoregression: x_t = sum_l A_l x_{t-l} + e_t with e_t from N(0, Q).

    Notes
    -----
    Coefficients and noise covariance are drawn first, then subject after subject: number of samples, signals. More
    subjects under the same seed leave the first ones as they were. The first samples are drawn from the distribution
    that the autoregression keeps to. All data sets share it, sample by sample, whatever their rate.
    """
    from dynml.simulation.filters.switching_var_masked import var_as_switching

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
        n_samples = config.number_of_samples(subject, generator)
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
