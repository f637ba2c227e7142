"""What simulations of dynamics give back: signals of many subjects, their events, and the truth behind them.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import config_from
from dynml.errors import ConfigurationError, DataError
from dynml.recording import Events
from dynml.simulation.dynamics_config import DynamicsSimulationConfig

Simulation = TypeVar("Simulation", bound="DynamicsSimulation")
ConfigType = TypeVar("ConfigType", bound=DynamicsSimulationConfig)


@dataclass(frozen=True, kw_only=True)
class DynamicsSimulation(ABC):
    """Signals of many subjects, and the truth behind them."""

    kind: ClassVar[str]
    """Name of the kind of simulation, as on the command line."""
    parameters: ClassVar[tuple[str, ...]]
    """Names of the arrays that hold for all subjects."""
    courses: ClassVar[tuple[str, ...]] = ()
    """Names of the lists of arrays, one a subject."""

    time_series: list[NDArray[np.float32]]
    """One (T, C) array a subject."""
    config: DynamicsSimulationConfig
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
        n_datasets = len(self.config.sampling_frequencies)
        if n_datasets == 1:
            return None
        return [f"dataset-{number % n_datasets}" for number in range(len(self.time_series))]

    @property
    def events(self) -> list[Events] | None:
        """What happened when, one a subject; None where nothing does."""
        return None

    def standardize(self: Simulation) -> Simulation:
        """Z-score every channel, and rescale the truth alike.

        Mean and standard deviation are those over all samples of all subjects, so that one truth holds for everyone.

        Returns
        -------
        DynamicsSimulation
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
    def _rescaled(self, mean: NDArray[np.float64], std: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Parameters of (signals - mean) / std, those that differ."""


def chosen_dynamics(config_class: type[ConfigType], config: ConfigType | None, settings: dict[str, Any]) -> ConfigType:
    """Give the config, or make it from settings where there is none; both together are refused."""
    if config is not None and settings:
        key = next(iter(settings))
        raise ConfigurationError(f"simulation.{key}", settings[key], "left out where a config is given")
    return config if config is not None else config_from(config_class, settings, "simulation")


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
