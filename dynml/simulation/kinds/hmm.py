"""Simulation of hidden Markov models with Gaussian states.

Shapes: T samples, C channels, K states.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least, check_fraction
from dynml.simulation.kinds.gaussian_config import GaussianSimulationConfig
from dynml.simulation.kinds.gaussian_states import (
    draw_signals,
    group_gaussians,
    subject_gaussians,
    with_observation_error,
)
from dynml.simulation.result import StateSimulation, simulator

TRANSITIONS = ("sequence", "uniform")
INITIALS = ("uniform", "stationary")


@dataclass(frozen=True, kw_only=True)
class HMMSimulationConfig(GaussianSimulationConfig):
    """A hidden Markov model with Gaussian states.

    Where a name or numbers are accepted, numbers come as an array or nested lists in Python, and on the command line as
    JSON lists or the path of a .npy file.
    """

    n_states: int = 5
    """Number of states K."""

    transition_probabilities: str | list[list[float]] = "sequence"
    """"sequence" (stay, or go to the next state, and from the last to the first), "uniform" (stay, or go to any other
    state with equal probability), or numbers (K, K), rows = from-state."""

    stay_probability: float = 0.9
    """Probability of staying in a state from one sample to the next, for "sequence" and "uniform"."""

    initial_probabilities: str | list[float] = "uniform"
    """Initial state probabilities: "uniform", "stationary" (the stationary distribution of the transitions), or K
    numbers."""

    @property
    def n_gaussians(self) -> int:
        """States K."""
        return self.n_states

    def _check_kind(self) -> None:
        check_at_least("n_states", self.n_states, 1)
        check_fraction("stay_probability", self.stay_probability)
        self._check_probabilities("transition_probabilities", (self.n_states, self.n_states), TRANSITIONS)
        self._check_probabilities("initial_probabilities", (self.n_states,), INITIALS)


@dataclass(frozen=True, kw_only=True)
class HMMSimulation(StateSimulation):
    """Signals of many subjects from a hidden Markov model, and the truth behind them."""

    kind: ClassVar[str] = "hmm"
    parameters: ClassVar[tuple[str, ...]] = (
        "means",
        "covariances",
        "transition_probabilities",
        "initial_probabilities",
    )

    transition_probabilities: NDArray[np.float64]
    """(K, K), rows = from-state."""
    initial_probabilities: NDArray[np.float64]
    """(K,)."""
    config: HMMSimulationConfig


@simulator(HMMSimulationConfig)
def simulate_hmm(config: HMMSimulationConfig, generator: np.random.Generator) -> HMMSimulation:
    """Simulate a hidden Markov model with Gaussian states.

    Notes
    -----
    States' means and covariances are drawn first, then subject after subject: number of samples, covariances, path,
    signals. More subjects under the same seed leave the first ones as they were. A path starts in a state drawn from
    the initial probabilities.
    """
    transitions = transition_matrix(config)
    initial = initial_probabilities(config, transitions)
    means, group_covariances = group_gaussians(config, generator)
    time_series, states, varied = [], [], []
    for subject in range(config.n_subjects):
        n_samples = config.number_of_samples(subject, generator)
        covariances = subject_gaussians(config, group_covariances, generator)
        path = sample_path(n_samples, initial, transitions, generator)
        time_series.append(draw_signals(path, means, covariances, generator))
        states.append(path)
        varied.append(covariances)
    return HMMSimulation(
        time_series=time_series,
        states=states,
        means=means,
        covariances=with_observation_error(config, group_covariances),
        transition_probabilities=transitions,
        initial_probabilities=initial,
        config=config,
        subject_covariances=np.stack(varied) if config.covariance_variability > 0 else None,
    )


def transition_matrix(config: HMMSimulationConfig) -> NDArray[np.float64]:
    """Transition probabilities (K, K) that a config asks for; rows sum to 1 exactly to rounding."""
    numbers = config.array("transition_probabilities")
    n_states, stay = config.n_states, config.stay_probability
    if numbers is not None:
        return numbers / numbers.sum(axis=1, keepdims=True)
    if n_states == 1:
        return np.ones((1, 1))
    if config.transition_probabilities == "sequence":
        return stay * np.eye(n_states) + (1 - stay) * np.roll(np.eye(n_states), 1, axis=1)
    leave = (1 - stay) / (n_states - 1)
    return np.full((n_states, n_states), leave) + (stay - leave) * np.eye(n_states)


def initial_probabilities(config: HMMSimulationConfig, transitions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (K,) of the first state that a config asks for, with its transition probabilities (K, K)."""
    numbers = config.array("initial_probabilities")
    if numbers is not None:
        return numbers / numbers.sum()
    if config.initial_probabilities == "stationary":
        return stationary_probabilities(transitions)
    return np.full(config.n_states, 1.0 / config.n_states)


def stationary_probabilities(transitions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (K,) that one step of the transitions (K, K) leaves as they are; of several, the one nearest 0."""
    n_states = len(transitions)
    equations = np.vstack([transitions.T - np.eye(n_states), np.ones(n_states)])
    solution = np.linalg.lstsq(equations, np.append(np.zeros(n_states), 1.0), rcond=None)[0]
    positive = np.clip(solution, 0, None)
    return positive / positive.sum()


def sample_path(
    n_samples: int,
    initial_probabilities: NDArray[np.float64],
    transition_probabilities: NDArray[np.float64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw a path (n_samples,) of a Markov chain, its first state from the initial probabilities."""
    cumulative = np.cumsum(np.vstack([initial_probabilities, transition_probabilities]), axis=1)
    # Divided by its own end, a row of cumulated probabilities ends in exactly 1: rounding reaches no impossible state.
    first, *rows = (cumulative / cumulative[:, -1:]).tolist()
    uniform = generator.random(n_samples).tolist()
    path = [bisect_right(first, uniform[0])]
    for number in uniform[1:]:
        path.append(bisect_right(rows[path[-1]], number))
    return np.array(path, dtype=np.int64)
