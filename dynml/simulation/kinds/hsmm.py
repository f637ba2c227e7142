"""Simulation of hidden semi-Markov models: Gaussian states whose lifetimes follow Gamma distributions.

Shapes: T samples, C channels, K states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least
from dynml.errors import ConfigurationError
from dynml.simulation.config import is_positive
from dynml.simulation.kinds.gaussian_config import GaussianSimulationConfig
from dynml.simulation.kinds.gaussian_states import (
    draw_signals,
    group_gaussians,
    subject_gaussians,
    with_observation_error,
)
from dynml.simulation.result import StateSimulation, simulator

OFF_DIAGONAL_TRANSITIONS = ("sequence", "uniform", "random")


@dataclass(frozen=True, kw_only=True)
class HSMMSimulationConfig(GaussianSimulationConfig):
    """A hidden semi-Markov model: Gaussian states whose lifetimes follow Gamma distributions.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_states: int = 5
    """Number of states K, at least 2."""

    gamma_shape: float | list[float] = 10.0
    """Shape of the lifetimes' Gamma distribution: one number, or K."""

    gamma_scale: float | list[float] = 5.0
    """Scale of the lifetimes' Gamma distribution in samples: one number, or K. The mean lifetime is shape x scale, its
    standard deviation sqrt(shape) x scale; lifetimes are rounded to at least one sample."""

    transition_probabilities: str | list[list[float]] = "sequence"
    """Next state at the end of a lifetime: "sequence" (the next state, after the last the first), "uniform" (any other
    state with equal probability), "random" (rows drawn uniformly from all distributions over the other states), or
    numbers (K, K), rows = from-state, with zeros on the diagonal."""

    @property
    def n_gaussians(self) -> int:
        """States K."""
        return self.n_states

    def of_each_state(self, key: str) -> np.ndarray:
        """A setting with one number, or K, as K numbers."""
        return np.broadcast_to(np.asarray(getattr(self, key), dtype=np.float64), (self.n_states,))

    def _check_kind(self) -> None:
        check_at_least("n_states", self.n_states, 2)
        for key in ("gamma_shape", "gamma_scale"):
            value = getattr(self, key)
            numbers = value if isinstance(value, list) else [value]
            is_list_of_wrong_length = isinstance(value, list) and len(value) != self.n_states
            if is_list_of_wrong_length or not all(map(is_positive, numbers)):
                accepted = f"a finite number above 0, or a list of {self.n_states} (n_states)"
                raise ConfigurationError(key, value, accepted)
        shape = (self.n_states, self.n_states)
        transitions = self._check_probabilities("transition_probabilities", shape, OFF_DIAGONAL_TRANSITIONS)
        if transitions is not None and np.diagonal(transitions).any():
            accepted = "with zeros on the diagonal: how long a state lasts is drawn from its Gamma distribution"
            raise ConfigurationError("transition_probabilities", self.transition_probabilities, accepted)


@dataclass(frozen=True, kw_only=True)
class HSMMSimulation(StateSimulation):
    """Signals of many subjects from a hidden semi-Markov model, and the truth behind them."""

    kind: ClassVar[str] = "hsmm"
    parameters: ClassVar[tuple[str, ...]] = (
        "means",
        "covariances",
        "transition_probabilities",
        "gamma_shape",
        "gamma_scale",
    )

    transition_probabilities: NDArray[np.float64]
    """(K, K), where a state goes when its lifetime ends; rows = from-state, zeros on the diagonal."""
    gamma_shape: NDArray[np.float64]
    """(K,), of the lifetimes' Gamma distributions."""
    gamma_scale: NDArray[np.float64]
    """(K,), in samples."""
    config: HSMMSimulationConfig

    @property
    def lifetime_mean(self) -> NDArray[np.float64]:
        """Mean of each state's Gamma distribution in samples, (K,)."""
        return self.gamma_shape * self.gamma_scale

    @property
    def lifetime_std(self) -> NDArray[np.float64]:
        """Standard deviation of each state's Gamma distribution in samples, (K,)."""
        return np.sqrt(self.gamma_shape) * self.gamma_scale


@simulator(HSMMSimulationConfig)
def simulate_hsmm(config: HSMMSimulationConfig, generator: np.random.Generator) -> HSMMSimulation:
    """Simulate a hidden semi-Markov model with Gaussian states.

    Notes
    -----
    Means, covariances and transitions are drawn first, then subject after subject: number of samples, covariances,
    path, signals. More subjects under the same seed leave the first ones as they were. A path starts with a whole
    lifetime of a state drawn uniformly; its last lifetime is cut by the end.
    """
    means, group_covariances = group_gaussians(config, generator)
    transitions = off_diagonal_transitions(config, generator)
    shape, scale = config.of_each_state("gamma_shape"), config.of_each_state("gamma_scale")
    time_series, states, varied = [], [], []
    for subject in range(config.n_subjects):
        n_samples = config.number_of_samples(subject, generator)
        covariances = subject_gaussians(config, group_covariances, generator)
        path = sample_semi_markov_path(n_samples, transitions, shape, scale, generator)
        time_series.append(draw_signals(path, means, covariances, generator))
        states.append(path)
        varied.append(covariances)
    return HSMMSimulation(
        time_series=time_series,
        states=states,
        means=means,
        covariances=with_observation_error(config, group_covariances),
        transition_probabilities=transitions,
        gamma_shape=shape.copy(),
        gamma_scale=scale.copy(),
        config=config,
        subject_covariances=np.stack(varied) if config.covariance_variability > 0 else None,
    )


def off_diagonal_transitions(config: HSMMSimulationConfig, generator: np.random.Generator) -> NDArray[np.float64]:
    """Transition probabilities (K, K) between different states that a config asks for."""
    numbers = config.array("transition_probabilities")
    n_states = config.n_states
    if numbers is not None:
        return numbers / numbers.sum(axis=1, keepdims=True)
    if config.transition_probabilities == "sequence":
        return np.roll(np.eye(n_states), 1, axis=1)
    others = ~np.eye(n_states, dtype=bool)
    transitions = np.zeros((n_states, n_states))
    if config.transition_probabilities == "uniform":
        transitions[others] = 1.0 / (n_states - 1)
    else:
        transitions[others] = generator.dirichlet(np.ones(n_states - 1), size=n_states).ravel()
    return transitions


def sample_semi_markov_path(
    n_samples: int,
    transition_probabilities: NDArray[np.float64],
    gamma_shape: NDArray[np.float64],
    gamma_scale: NDArray[np.float64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw a path (n_samples,), its first state uniformly.

    Parameters
    ----------
    n_samples : int
    transition_probabilities : array, (K, K)
        Zeros on the diagonal.
    gamma_shape, gamma_scale : array, (K,)
        Of the lifetimes in samples; a lifetime is rounded, and lasts one sample at least.
    generator : Generator

    Returns
    -------
    array, (n_samples,), int64
    """
    n_states = len(transition_probabilities)
    path = np.empty(n_samples, dtype=np.int64)
    state, position = int(generator.integers(n_states)), 0
    while position < n_samples:
        lifetime = max(1, round(generator.gamma(gamma_shape[state], gamma_scale[state])))
        path[position : position + lifetime] = state
        position += lifetime
        state = int(generator.choice(n_states, p=transition_probabilities[state]))
    return path
