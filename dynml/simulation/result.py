"""What every simulation gives back: signals of many subjects, and the truth behind them.

Shapes: T samples, C channels, K states or modes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import config_from
from dynml.errors import ConfigurationError, DataError
from dynml.simulation.gaussian_config import GaussianSimulationConfig

Simulation = TypeVar("Simulation", bound="GaussianSimulation")
ConfigType = TypeVar("ConfigType", bound=GaussianSimulationConfig)


@dataclass(frozen=True, kw_only=True)
class GaussianSimulation:
    """Signals of many subjects, and the truth behind them."""

    kind: ClassVar[str]
    """Name of the kind of simulation, as on the command line."""
    parameters: ClassVar[tuple[str, ...]]
    """Names of the arrays that hold for all subjects."""
    courses: ClassVar[str]
    """Name of the time courses, one array a subject."""

    time_series: list[NDArray[np.float32]]
    """One (T, C) array a subject."""
    means: NDArray[np.float64]
    """(K, C)."""
    covariances: NDArray[np.float64]
    """(K, C, C), of the group; the observation error's variance is part of them."""
    config: GaussianSimulationConfig
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

    def standardize(self: Simulation) -> Simulation:
        """Z-score every channel, and rescale the truth alike.

        Mean and standard deviation are those over all samples of all subjects, so that one truth holds for everyone.

        Returns
        -------
        GaussianSimulation
            A new one of the same kind; this one stays as it is.

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


@dataclass(frozen=True, kw_only=True)
class StateSimulation(GaussianSimulation):
    """A simulation in which one state is active at a time."""

    courses: ClassVar[str] = "states"

    states: list[NDArray[np.int64]]
    """The state of every sample, one (T,) array a subject."""

    @property
    def alpha(self) -> list[NDArray[np.float32]]:
        """The states as time courses of zeros and ones, one (T, K) array a subject."""
        return [one_hot(states, len(self.means)) for states in self.states]


def chosen_config(config_class: type[ConfigType], config: ConfigType | None, settings: dict[str, Any]) -> ConfigType:
    """Give the config, or make it from settings where there is none; both together are refused."""
    if config is not None and settings:
        key = next(iter(settings))
        raise ConfigurationError(f"simulation.{key}", settings[key], "left out where a config is given")
    return config if config is not None else config_from(config_class, settings, "simulation")


def one_hot(states: NDArray[np.int64], n_states: int) -> NDArray[np.float32]:
    """Time course (T, K) of a path (T,): 1 for the state of a sample, 0 for all others."""
    course = np.zeros((len(states), n_states), dtype=np.float32)
    course[np.arange(len(states)), states] = 1
    return course
