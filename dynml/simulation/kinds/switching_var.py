"""Simulation of autoregressions that switch between hidden states.

Shapes: T samples, C channels, K states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least
from dynml.errors import ConfigurationError, DynmlError
from dynml.recording import Events
from dynml.simulation.config import RANDOM
from dynml.simulation.filters.switching_var import SwitchingVar
from dynml.simulation.kinds.autoregression import (
    AutoregressionConfig,
    draw_autoregression,
    random_coefficients,
    random_noise_covariance,
    rescaled_coefficients,
)
from dynml.simulation.kinds.hmm import HMMSimulationConfig, initial_probabilities, sample_path, transition_matrix
from dynml.simulation.result import Simulation, named_events, simulator
from dynml.stretches import runs_of_equal

STATE = "state"
"""Label column of the visits to states."""


@dataclass(frozen=True, kw_only=True)
class SwitchingVarSimulationConfig(AutoregressionConfig):
    """Hidden states, each with an autoregression of one lag and noise of its own.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_states: int = 4
    """Number of states K."""

    transition_probabilities: str | list[list[float]] = "uniform"
    """"uniform" (stay, or go to any other state with equal probability), "sequence" (stay, or go to the next state, and
    from the last to the first), or numbers (K, K), rows = from-state."""

    stay_probability: float = 0.95
    """Probability of staying in a state from one sample to the next, for "sequence" and "uniform"."""

    initial_probabilities: str | list[float] = "stationary"
    """Initial state probabilities: "uniform", "stationary" (the stationary distribution of the transitions), or K
    numbers."""

    coefficients: str | list[list[list[float]]] = RANDOM
    """"random", or numbers (K, C, C): one matrix per state, row = the driven channel."""

    noise_covariances: str | list[list[list[float]]] = RANDOM
    """"random", or numbers (K, C, C)."""

    mean_deviation: float = 0.0
    """Standard deviation of the channels' means in each state. 0: states differ only in their dynamics."""

    @property
    def chain(self) -> HMMSimulationConfig:
        """The chain of states as an HMM's simulation has it, which checks it."""
        return HMMSimulationConfig(
            n_states=self.n_states,
            transition_probabilities=self.transition_probabilities,
            stay_probability=self.stay_probability,
            initial_probabilities=self.initial_probabilities,
        )

    def _check_own(self) -> None:
        super()._check_own()
        _ = self.chain
        check_at_least("mean_deviation", self.mean_deviation, 0.0)
        shape = (self.n_states, self.n_channels, self.n_channels)
        coefficients = self._check_numbers("coefficients", shape)
        self._check_coefficients(None if coefficients is None else coefficients[:, None])
        self._check_noise("noise_covariances", self._check_numbers("noise_covariances", shape))


@dataclass(frozen=True, kw_only=True)
class SwitchingVarSimulation(Simulation):
    """Signals of many subjects from autoregressions that hidden states switch between, and the truth behind them."""

    kind: ClassVar[str] = "switching_var"
    parameters: ClassVar[tuple[str, ...]] = (
        "coefficients",
        "intercepts",
        "noise_covariances",
        "transition_probabilities",
        "initial_probabilities",
        "initial_means",
        "initial_covariances",
    )
    courses: ClassVar[tuple[str, ...]] = ("states",)

    states: list[NDArray[np.int64]]
    """The state of every sample, one (T,) array per subject."""
    coefficients: NDArray[np.float64]
    """(K, C, C); row = the channel that is driven."""
    intercepts: NDArray[np.float64]
    """(K, C)."""
    noise_covariances: NDArray[np.float64]
    """(K, C, C)."""
    transition_probabilities: NDArray[np.float64]
    """(K, K), rows = from-state."""
    initial_probabilities: NDArray[np.float64]
    """(K,)."""
    initial_means: NDArray[np.float64]
    """(K, C), of a subject's first sample."""
    initial_covariances: NDArray[np.float64]
    """(K, C, C), of a subject's first sample."""
    config: SwitchingVarSimulationConfig

    @property
    def events(self) -> list[Events]:
        """The visits to states, with labels state-0 and so on in the column `state`."""
        return [visits_of(states, len(self.intercepts)) for states in self.states]

    @property
    def process(self) -> SwitchingVar:
        """What the functions of `dynml.simulation.filters.switching_var` take; `process.from_within()` for windows."""
        from dynml.simulation.filters.switching_var import SwitchingVar

        return SwitchingVar(**{name: getattr(self, name) for name in self.parameters})

    def _rescaled(self, mean: NDArray[np.float64], std: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        scale = np.outer(std, std)
        return {
            "coefficients": rescaled_coefficients(self.coefficients, std),
            "intercepts": (self.intercepts + self.coefficients @ mean - mean) / std,
            "noise_covariances": self.noise_covariances / scale,
            "initial_means": (self.initial_means - mean) / std,
            "initial_covariances": self.initial_covariances / scale,
        }


@simulator(SwitchingVarSimulationConfig)
def simulate_switching_var(
    config: SwitchingVarSimulationConfig, generator: np.random.Generator
) -> SwitchingVarSimulation:
    """Simulate a switching autoregression: x_t = A_k x_{t-1} + c_k + e_t, e_t from N(0, Q_k), in state k = s_t.

    Notes
    -----
    States' coefficients, noise covariances and levels are drawn first, then subject after subject: number of samples,
    path, signals. More subjects under the same seed leave the first ones as they were. The first sample comes from the
    distribution that its state would keep to if it never ended. All data sets share the states, sample by sample,
    whatever their rate.
    """
    process = _process(config, generator)
    factors = np.linalg.cholesky(process.noise_covariances)
    initial_factors = np.linalg.cholesky(process.initial_covariances)
    time_series, paths = [], []
    for subject in range(config.n_subjects):
        n_samples = config.number_of_samples(subject, generator)
        path = sample_path(n_samples, process.initial_probabilities, process.transition_probabilities, generator)
        white = generator.normal(size=(n_samples, config.n_channels))
        first = process.initial_means[path[0]] + initial_factors[path[0]] @ white[0]
        noise = (factors[path] @ white[..., None])[..., 0]
        coefficients = process.coefficients[:, None]
        time_series.append(draw_autoregression(first[None], coefficients, process.intercepts, noise, path))
        paths.append(path)
    return SwitchingVarSimulation(
        time_series=time_series,
        states=paths,
        config=config,
        **{name: getattr(process, name) for name in SwitchingVarSimulation.parameters},
    )


def visits_of(states_T: NDArray[np.int64], n_states: int) -> Events:
    """Each stretch of samples in one state as an event, labelled in the column `state`."""
    onsets, stops = runs_of_equal(states_T).T
    return named_events(STATE, STATE, n_states, np.stack([onsets, stops - onsets], axis=1), states_T[onsets])


def _process(config: SwitchingVarSimulationConfig, generator: np.random.Generator) -> SwitchingVar:
    from dynml.simulation.filters.switching_var import SwitchingVar, stationary_moments
    from dynml.simulation.filters.switching_var_masked import var_as_switching

    n_states, n_channels = config.n_states, config.n_channels
    coefficients, noise = config.array("coefficients"), config.array("noise_covariances")
    if coefficients is None:
        coefficients = np.concatenate(
            [
                random_coefficients(1, n_channels, config.density, config.spectral_radius, generator)
                for _ in range(n_states)
            ]
        )
    if noise is None:
        noise = np.stack([random_noise_covariance(n_channels, generator) for _ in range(n_states)])
    levels = config.mean_deviation * generator.normal(size=(n_states, n_channels))
    transitions = transition_matrix(config.chain)
    intercepts = levels - np.einsum("kcd,kd->kc", coefficients, levels)
    of_states = [var_as_switching(own[None], level, q) for own, level, q in zip(coefficients, intercepts, noise)]
    process = SwitchingVar(
        coefficients=coefficients,
        intercepts=intercepts,
        noise_covariances=noise,
        transition_probabilities=transitions,
        initial_probabilities=initial_probabilities(config.chain, transitions),
        initial_means=levels,
        initial_covariances=np.concatenate([own.initial_covariances for own in of_states]),
    )
    try:
        stationary_moments(process)
    except DynmlError as error:
        accepted = "smaller: each state is stable, but switching between them makes variances grow without end"
        raise ConfigurationError("spectral_radius", config.spectral_radius, accepted) from error
    return process
