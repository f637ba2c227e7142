"""Simulation of hidden Markov models with Gaussian states.

Shapes: T samples, C channels, K states.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import config_from
from dynml.data.simulation.config import HMMSimulationConfig
from dynml.data.simulation.gaussian_states import draw_signals, random_covariances, random_means, vary_covariances
from dynml.errors import ConfigurationError, DataError


@dataclass(frozen=True, kw_only=True)
class HMMSimulation:
    """Signals of many subjects, and the truth behind them."""

    time_series: list[NDArray[np.float32]]
    """One (T, C) array a subject."""
    states: list[NDArray[np.int64]]
    """The state of every sample, one (T,) array a subject."""
    means: NDArray[np.float64]
    """(K, C)."""
    covariances: NDArray[np.float64]
    """(K, C, C), of the group; the observation error's variance is part of them."""
    transition_probabilities: NDArray[np.float64]
    """(K, K), rows = from-state."""
    initial_probabilities: NDArray[np.float64]
    """(K,)."""
    config: HMMSimulationConfig
    subject_covariances: NDArray[np.float64] | None = None
    """(n_subjects, K, C, C) where subjects differ from the group, else None."""
    mean: NDArray[np.float64] | None = None
    """What `standardize` subtracted, (C,); None before it."""
    std: NDArray[np.float64] | None = None
    """What `standardize` divided by, (C,); None before it."""

    @property
    def subjects(self) -> list[str]:
        """Names of the subjects: sub-001 and so on."""
        n_digits = max(3, len(str(len(self.time_series))))
        return [f"sub-{number:0{n_digits}d}" for number in range(1, len(self.time_series) + 1)]

    @property
    def sampling_frequency(self) -> float:
        """Hz."""
        return self.config.sampling_frequency

    def standardize(self) -> HMMSimulation:
        """Z-score every channel, and rescale the truth alike.

        Mean and standard deviation are those over all samples of all subjects, so that one truth holds for everyone.

        Returns
        -------
        HMMSimulation
            A new one; this one stays as it is.

        Raises
        ------
        DataError
            When there is a single sample, or the simulation is standardized already.
        """
        if self.mean is not None:
            raise DataError("The simulation is standardized already.")
        n_samples = sum(map(len, self.time_series))
        if n_samples < 2:
            raise DataError("The simulation has a single sample, which cannot be standardized: raise n_samples.")
        sums = sum(signals.sum(axis=0, dtype=np.float64) for signals in self.time_series)
        mean = np.asarray(sums) / n_samples
        squares = sum(((signals - mean) ** 2).sum(axis=0) for signals in self.time_series)
        std = np.sqrt(np.asarray(squares) / n_samples)
        scale = np.outer(std, std)
        varied = self.subject_covariances
        return dataclasses.replace(
            self,
            time_series=[((signals - mean) / std).astype(np.float32) for signals in self.time_series],
            means=(self.means - mean) / std,
            covariances=self.covariances / scale,
            subject_covariances=None if varied is None else varied / scale,
            mean=mean,
            std=std,
        )


def simulate_hmm(
    config: HMMSimulationConfig | None = None, *, generator: np.random.Generator | None = None, **settings: Any
) -> HMMSimulation:
    """Simulate a hidden Markov model with Gaussian states.

    Parameters
    ----------
    config : HMMSimulationConfig, optional
    generator : Generator, optional
        Source of all random numbers; by default a new one from the config's seed.
    **settings
        Fields of the config, when no config is given: `simulate_hmm(n_states=6, n_channels=80, seed=1)`. Arrays are
        welcome for transition_probabilities, initial_probabilities, means and covariances.

    Returns
    -------
    HMMSimulation

    Raises
    ------
    ConfigurationError
        For an unknown setting, with the nearest name, or a value that is not accepted.

    Notes
    -----
    States' means and covariances are drawn first, then subject after subject: number of samples, covariances, path,
    signals. More subjects under the same seed leave the first ones as they were. A path starts in a state drawn from
    the initial probabilities.
    """
    if config is not None and settings:
        key = next(iter(settings))
        raise ConfigurationError(f"simulation.{key}", settings[key], "left out where a config is given")
    config = config if config is not None else config_from(HMMSimulationConfig, settings, "simulation")
    generator = generator if generator is not None else np.random.default_rng(config.seed)
    transitions = transition_matrix(config)
    initial = _initial_probabilities(config, transitions)
    means, group_covariances = _gaussian_states(config, generator)
    error = config.observation_error**2 * np.eye(config.n_channels)
    time_series, states, varied = [], [], []
    for subject in range(config.n_subjects):
        n_samples = _n_samples(config, subject, generator)
        covariances = group_covariances
        if config.covariance_variability > 0:
            covariances = vary_covariances(group_covariances, config.covariance_variability, generator)
        path = sample_path(n_samples, initial, transitions, generator)
        time_series.append(draw_signals(path, means, covariances + error, generator))
        states.append(path)
        varied.append(covariances + error)
    return HMMSimulation(
        time_series=time_series,
        states=states,
        means=means,
        covariances=group_covariances + error,
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


def _initial_probabilities(config: HMMSimulationConfig, transitions: NDArray[np.float64]) -> NDArray[np.float64]:
    numbers = config.array("initial_probabilities")
    if numbers is not None:
        return numbers / numbers.sum()
    if config.initial_probabilities == "stationary":
        return stationary_probabilities(transitions)
    return np.full(config.n_states, 1.0 / config.n_states)


def _gaussian_states(
    config: HMMSimulationConfig, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    means, covariances = config.array("means"), config.array("covariances")
    if means is None and config.means == "random":
        means = random_means(config.n_states, config.n_channels, generator)
    elif means is None:
        means = np.zeros((config.n_states, config.n_channels))
    if covariances is None:
        covariances = random_covariances(config.n_states, config.n_channels, generator)
    return means, covariances


def _n_samples(config: HMMSimulationConfig, subject: int, generator: np.random.Generator) -> int:
    if config.n_samples_range is not None:
        shortest, longest = config.n_samples_range
        return int(generator.integers(shortest, longest, endpoint=True))
    return config.n_samples[subject] if isinstance(config.n_samples, list) else config.n_samples
