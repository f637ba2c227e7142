"""Simulations of trials in several classes: their settings, when trials begin, and their events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least, check_positive
from dynml.errors import ConfigurationError
from dynml.recording import Events
from dynml.simulation.kinds.dynamics_config import DynamicsSimulationConfig
from dynml.simulation.result import Simulation, named_events

TRIAL_TYPE = "trial_type"
"""Label column of the trials."""


@dataclass(frozen=True, kw_only=True)
class TrialsSimulationConfig(DynamicsSimulationConfig):
    """Settings of every simulation of trials."""

    trial_duration: float = 40.0
    """Duration of a trial in seconds."""

    rest_duration: float = 20.0
    """Seconds between trials; half of it before the first."""

    @property
    def n_classes(self) -> int:
        """Number of classes of trials."""
        raise NotImplementedError

    def trials_of_run(self, n_samples: int, rate: float, generator: np.random.Generator) -> NDArray[np.int64]:
        """Onset and duration in samples, and class of trials in random order, (n_trials, 3)."""
        period = self.trial_duration + self.rest_duration
        n_trials = int(n_samples / rate / period + 1e-9)
        duration = round(self.trial_duration * rate)
        if n_trials == 0 or duration < 2:
            accepted = f"enough for one trial of at least 2 samples and its rest ({period:g} s) at {rate:g} Hz"
            raise ConfigurationError("n_samples", n_samples, accepted)
        starts = np.arange(n_trials) * period + self.rest_duration / 2
        onsets = np.minimum(np.round(starts * rate).astype(np.int64), n_samples - duration)
        classes = generator.permutation(np.arange(n_trials) % self.n_classes)
        return np.stack([onsets, np.full(n_trials, duration), classes], axis=1)

    def _check_own(self) -> None:
        check_positive("trial_duration", self.trial_duration)
        check_at_least("rest_duration", self.rest_duration, 0.0)


@dataclass(frozen=True, kw_only=True)
class TrialsSimulation(Simulation):
    """Trials of many subjects, and the truth behind them."""

    offsets: NDArray[np.float64]
    """(C,), what signals are around."""
    noise_deviations: NDArray[np.float64]
    """(C,)."""
    trials: list[NDArray[np.int64]]
    """Onset and duration in samples, and class, one (n_trials, 3) array per subject."""
    config: TrialsSimulationConfig

    @property
    def events(self) -> list[Events]:
        """The trials, with labels class-0 and so on in the column `trial_type`."""
        n_classes = self.config.n_classes
        return [named_events(TRIAL_TYPE, "class", n_classes, own[:, :2], own[:, 2]) for own in self.trials]

    def _rescaled(self, mean: NDArray[np.float64], std: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {"offsets": (self.offsets - mean) / std, "noise_deviations": self.noise_deviations / std}


@dataclass(frozen=True, kw_only=True)
class SourcesSimulation(TrialsSimulation):
    """Trials of sources that reach all channels by the same weights in all subjects, under white noise."""

    parameters: ClassVar[tuple[str, ...]] = ("source_weights", "offsets", "noise_deviations")

    source_weights: NDArray[np.float64]
    """(C, S), what a source adds to each channel."""

    def _rescaled(self, mean: NDArray[np.float64], std: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {"source_weights": self.source_weights / std[:, None], **super()._rescaled(mean, std)}
