"""Simulation of autoregressions that switch between hidden states.

Shapes: T samples, C channels, K states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.errors import ConfigurationError, DynmlError
from dynml.recording import Events
from dynml.simulation.dynamics_config import SwitchingVarSimulationConfig
from dynml.simulation.dynamics_result import DynamicsSimulation, chosen_dynamics, named_events
from dynml.simulation.kinds.autoregression import (
    draw_autoregression,
    random_coefficients,
    random_noise_covariance,
    rescaled_coefficients,
)
from dynml.simulation.kinds.gaussian_states import number_of_samples
from dynml.simulation.kinds.hmm import sample_path, stationary_probabilities, transition_matrix

if TYPE_CHECKING:
    from dynml.simulation.filters.switching_var import SwitchingVar

STATE = "state"
"""Label column of the visits to states."""


@dataclass(frozen=True, kw_only=True)
class SwitchingVarSimulation(DynamicsSimulation):
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
    """The state of every sample, one (T,) array a subject."""
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


def simulate_switching_var(
    config: SwitchingVarSimulationConfig | None = None,
    *,
    generator: np.random.Generator | None = None,
    **settings: Any,
) -> SwitchingVarSimulation:
    """Simulate a switching autoregression: x_t = A_k x_{t-1} + c_k + e_t, e_t from N(0, Q_k), in state k = s_t.

    Parameters
    ----------
    config : SwitchingVarSimulationConfig, optional
    generator : Generator, optional
        Source of all random numbers; by default a new one from the config's seed.
    **settings
        Fields of the config, when no config is given: `simulate_switching_var(n_states=3, n_channels=20, seed=1)`.

    Returns
    -------
    SwitchingVarSimulation

    Raises
    ------
    ConfigurationError
        For an unknown setting, with the nearest name, a value that is not accepted, or states between which variances
        grow without end though each is stable.

    Notes
    -----
    States' coefficients, noise covariances and levels are drawn first, then subject after subject: number of samples,
    path, signals. More subjects under the same seed leave the first ones as they were. The first sample comes from the
    distribution that its state would keep to if it never ended. All data sets share the states, sample by sample,
    whatever their rate.
    """
    config = chosen_dynamics(SwitchingVarSimulationConfig, config, settings)
    generator = generator if generator is not None else np.random.default_rng(config.seed)
    process = _process(config, generator)
    factors = np.linalg.cholesky(process.noise_covariances)
    initial_factors = np.linalg.cholesky(process.initial_covariances)
    time_series, paths = [], []
    for subject in range(config.n_subjects):
        n_samples = number_of_samples(config.lengths, subject, generator)
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
    onsets = np.concatenate([[0], np.flatnonzero(np.diff(states_T)) + 1]).astype(np.int64)
    visits = np.stack([onsets, np.diff(np.append(onsets, len(states_T)))], axis=1)
    return named_events(STATE, STATE, n_states, visits, states_T[onsets])


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
    settled = [var_as_switching(own[None], level, q) for own, level, q in zip(coefficients, intercepts, noise)]
    process = SwitchingVar(
        coefficients=coefficients,
        intercepts=intercepts,
        noise_covariances=noise,
        transition_probabilities=transitions,
        initial_probabilities=_initial_probabilities(config, transitions),
        initial_means=levels,
        initial_covariances=np.concatenate([own.initial_covariances for own in settled]),
    )
    try:
        stationary_moments(process)
    except DynmlError as error:
        accepted = "smaller: each state is stable, but switching between them makes variances grow without end"
        raise ConfigurationError("spectral_radius", config.spectral_radius, accepted) from error
    return process


def _initial_probabilities(
    config: SwitchingVarSimulationConfig, transitions: NDArray[np.float64]
) -> NDArray[np.float64]:
    numbers = config.array("initial_probabilities")
    if numbers is not None:
        return numbers / numbers.sum()
    if config.initial_probabilities == "stationary":
        return stationary_probabilities(transitions)
    return np.full(config.n_states, 1.0 / config.n_states)
