"""What every simulation gives back: signals of many subjects, their events, and the truth behind them.

Shapes: T samples, C channels, K states or modes.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import config_from
from dynml.errors import ConfigurationError, DataError
from dynml.recording import Events
from dynml.simulation.config import SimulationConfig
from dynml.simulation.kinds.gaussian_config import GaussianSimulationConfig

ConfigType = TypeVar("ConfigType", bound=SimulationConfig)
ConfigType_contra = TypeVar("ConfigType_contra", bound=SimulationConfig, contravariant=True)
SimulationType = TypeVar("SimulationType", bound="Simulation")
SimulationType_co = TypeVar("SimulationType_co", bound="Simulation", covariant=True)
SECTIONS = """
Parameters
----------
config : {config}, optional
generator : Generator, optional
    Of all random numbers; by default a new one from the config's seed.
**settings
    Fields of the config, when no config is given. Arrays are welcome where it takes lists of numbers.

Returns
-------
Simulation
    Of this kind.

Raises
------
ConfigurationError
    For an unknown setting, with the nearest name, or a value that is not accepted.
"""


@dataclass(frozen=True, kw_only=True)
class Simulation(ABC):
    """Signals of many subjects, and the truth behind them."""

    kind: ClassVar[str]
    """Name of the kind of simulation, as on the command line."""
    parameters: ClassVar[tuple[str, ...]]
    """Names of the arrays that hold for all subjects."""
    courses: ClassVar[tuple[str, ...]] = ()
    """Names of the lists of arrays, one per subject."""

    time_series: list[NDArray[np.float32]]
    """One (T, C) array per subject."""
    config: SimulationConfig
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
    def sampling_frequencies(self) -> list[float]:
        """Samples per second of each subject, Hz."""
        return [self.config.sampling_frequency_of(number) for number in range(len(self.time_series))]

    @property
    def datasets(self) -> list[str] | None:
        """Name of each subject's data set; None where there is one only."""
        n_datasets = len(getattr(self.config, "sampling_frequencies", ()))
        if n_datasets < 2:
            return None
        return [f"dataset-{number % n_datasets}" for number in range(len(self.time_series))]

    @property
    def events(self) -> list[Events] | None:
        """What happened when, one per subject; None where nothing does."""
        return None

    def standardize(self) -> Self:
        """Z-score every channel, and rescale the truth alike.

        Mean and standard deviation are those over all samples of all subjects, so that one truth holds for everyone.

        Returns
        -------
        Simulation
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
        mean = np.asarray(sum(signals.sum(axis=0, dtype=np.float64) for signals in self.time_series)) / n_samples
        squares = sum(((signals - mean) ** 2).sum(axis=0) for signals in self.time_series)
        std = np.sqrt(np.asarray(squares) / n_samples)
        changed: dict[str, Any] = dict(self._rescaled(mean, std), mean=mean, std=std)
        changed["time_series"] = [((signals - mean) / std).astype(np.float32) for signals in self.time_series]
        return dataclasses.replace(self, **changed)

    @abstractmethod
    def _rescaled(self, mean: NDArray[np.float64], std: NDArray[np.float64]) -> dict[str, Any]:
        """Parameters of (signals - mean) / std, those that differ."""


@dataclass(frozen=True, kw_only=True)
class GaussianSimulation(Simulation):
    """A simulation whose signals come from Gaussians, one for each state or mode."""

    means: NDArray[np.float64]
    """(K, C)."""
    covariances: NDArray[np.float64]
    """(K, C, C), of the group; the observation error's variance is part of them."""
    config: GaussianSimulationConfig
    subject_covariances: NDArray[np.float64] | None = None
    """(n_subjects, K, C, C) where subjects differ from the group, else None."""

    @property
    def sampling_frequency(self) -> float:
        """Hz."""
        return self.config.sampling_frequency

    def _rescaled(self, mean: NDArray[np.float64], std: NDArray[np.float64]) -> dict[str, Any]:
        scale, varied = np.outer(std, std), self.subject_covariances
        return {
            "means": (self.means - mean) / std,
            "covariances": self.covariances / scale,
            "subject_covariances": None if varied is None else varied / scale,
        }


@dataclass(frozen=True, kw_only=True)
class StateSimulation(GaussianSimulation):
    """A simulation in which one state is active at a time."""

    courses: ClassVar[tuple[str, ...]] = ("states",)

    states: list[NDArray[np.int64]]
    """The state of every sample, one (T,) array per subject."""

    @property
    def alpha(self) -> list[NDArray[np.float32]]:
        """The states as time courses of zeros and ones, one (T, K) array per subject."""
        return [one_hot(states, len(self.means)) for states in self.states]


class Simulator(Protocol[ConfigType_contra, SimulationType_co]):
    """A function that simulates, as a user calls it."""

    def __call__(
        self, config: ConfigType_contra | None = None, *, generator: np.random.Generator | None = None, **settings: Any
    ) -> SimulationType_co:
        """Simulate."""
        ...


def simulator(
    config_class: type[ConfigType],
) -> Callable[[Callable[[ConfigType, np.random.Generator], SimulationType]], Simulator[ConfigType, SimulationType]]:
    """Make a function of a config and a generator one that is called with either, neither, or settings of the config.

    Its docstring is completed by what all of them have in common, before its notes.
    """

    def decorated(
        drawn: Callable[[ConfigType, np.random.Generator], SimulationType],
    ) -> Simulator[ConfigType, SimulationType]:
        def simulate(
            config: ConfigType | None = None, *, generator: np.random.Generator | None = None, **settings: Any
        ) -> SimulationType:
            chosen = chosen_config(config_class, config, settings)
            return drawn(chosen, np.random.default_rng(chosen.seed) if generator is None else generator)

        for name in ("__module__", "__name__", "__qualname__"):
            setattr(simulate, name, getattr(drawn, name))
        simulate.__doc__ = _completed(drawn.__doc__ or "", config_class.__name__)
        return simulate

    return decorated


def _completed(docstring: str, config_name: str) -> str:
    """Put the sections that all simulators have before the notes of a docstring."""
    summary, notes, rest = inspect.cleandoc(docstring).partition("\nNotes\n")
    return summary + SECTIONS.format(config=config_name) + notes + rest


def chosen_config(config_class: type[ConfigType], config: ConfigType | None, settings: dict[str, Any]) -> ConfigType:
    """Give the config, or make it from settings where there is none; both together are refused."""
    if config is not None and settings:
        key = next(iter(settings))
        raise ConfigurationError(key, settings[key], "left out where a config is given")
    return config if config is not None else config_from(config_class, settings, "")


def one_hot(states: NDArray[np.int64], n_states: int) -> NDArray[np.float32]:
    """Time course (T, K) of a path (T,): 1 for the state of a sample, 0 for all others."""
    course = np.zeros((len(states), n_states), dtype=np.float32)
    course[np.arange(len(states)), states] = 1
    return course


def named_events(
    column: str, prefix: str, n_classes: int, trials: NDArray[np.int64], classes: NDArray[np.int64]
) -> Events:
    """Events (onset and duration in samples, (n, 2)) of some classes (n,), whose labels are prefix-0 and so on."""
    n_digits = len(str(n_classes - 1))
    found, labels = np.unique(classes, return_inverse=True)
    return Events(
        onset=trials[:, 0],
        duration=trials[:, 1],
        labels={column: labels.astype(np.int64)},
        names={column: tuple(f"{prefix}-{number:0{n_digits}d}" for number in found)},
    )
