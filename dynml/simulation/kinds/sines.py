"""Simulation of trials in which every channel is a sine, whose period depends on the class of the trial.

Shapes: T samples, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least
from dynml.errors import ConfigurationError
from dynml.simulation.config import is_positive
from dynml.simulation.kinds.trials import TrialsSimulation, TrialsSimulationConfig
from dynml.simulation.result import simulator


@dataclass(frozen=True, kw_only=True)
class SinesSimulationConfig(TrialsSimulationConfig):
    """Trials of several classes: every channel is a sine, whose period depends on the class of the trial.

    The lag of every channel is drawn anew in every trial, so that a class shows in the periods alone. Between trials
    there is noise alone.
    """

    periods: list[list[float]] = field(default_factory=lambda: [[8.0, 12.0, 16.0], [24.0, 32.0, 40.0]])
    """Periods in seconds, one list per class; each channel has one of them in all trials of the class."""

    max_lag: float = 4.0
    """Maximum lag of a channel after the onset of its trial, in seconds."""

    noise: float = 0.5
    """Standard deviation of white noise added to the signals, in units of the sines' amplitude."""

    @property
    def n_classes(self) -> int:
        """As many as there are lists of periods."""
        return len(self.periods)

    def _check_own(self) -> None:
        lists = self.periods
        if not isinstance(lists, list) or not all(isinstance(own, list) and own for own in lists) or len(lists) < 2:
            raise ConfigurationError("periods", lists, "at least two lists of seconds, one per class")
        shortest = 2 / min(self.sampling_frequencies)
        for own in [period for periods in lists for period in periods]:
            if not is_positive(own) or own <= shortest:
                accepted = f"seconds above {shortest:g}, two samples at the lowest of sampling_frequencies"
                raise ConfigurationError("periods", own, accepted)
        super()._check_own()
        for key in ("max_lag", "noise"):
            check_at_least(key, getattr(self, key), 0.0)


@dataclass(frozen=True, kw_only=True)
class SinesSimulation(TrialsSimulation):
    """Trials of sines of many subjects, and the truth behind them."""

    kind: ClassVar[str] = "sines"
    parameters: ClassVar[tuple[str, ...]] = ("periods", "amplitudes", "offsets", "noise_deviations")
    courses: ClassVar[tuple[str, ...]] = ("trials", "lags")

    periods: NDArray[np.float64]
    """(n_classes, C), seconds."""
    amplitudes: NDArray[np.float64]
    """(C,)."""
    lags: list[NDArray[np.float64]]
    """Seconds that each channel lags behind the onset, one (n_trials, C) array per subject."""
    config: SinesSimulationConfig

    def clean_signals(self, subject: int = 0) -> NDArray[np.float64]:
        """Signals (T, C) of a subject, counted from 0, without their noise."""
        clean = np.tile(self.offsets, (len(self.time_series[subject]), 1))
        rate = self.config.sampling_frequency_of(subject)
        for (onset, duration, label), lags in zip(self.trials[subject].tolist(), self.lags[subject]):
            sines = trial_of(duration, rate, self.periods[label], lags)
            clean[onset : onset + duration] += self.amplitudes * sines
        return clean

    def _rescaled(self, mean: NDArray[np.float64], std: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {"amplitudes": self.amplitudes / std, **super()._rescaled(mean, std)}


@simulator(SinesSimulationConfig)
def simulate_sines(config: SinesSimulationConfig, generator: np.random.Generator) -> SinesSimulation:
    """Simulate trials of sines: sin(2 pi (t - lag) / period), t in seconds since the onset of the trial.

    Notes
    -----
    The period of every channel in every class is drawn first, then subject after subject: number of samples, order of
    the classes (all equally often, but for a remainder), lags, noise. More subjects under the same seed leave the first
    ones as they were. Periods are seconds, whatever the rate of a data set.
    """
    n_channels = config.n_channels
    periods = np.stack([generator.choice(np.asarray(own, dtype=np.float64), n_channels) for own in config.periods])
    time_series, trials, all_lags = [], [], []
    for subject in range(config.n_subjects):
        n_samples = config.number_of_samples(subject, generator)
        rate = config.sampling_frequency_of(subject)
        own = config.trials_of_run(n_samples, rate, generator)
        lags = generator.uniform(0, config.max_lag, size=(len(own), n_channels))
        signals = config.noise * generator.normal(size=(n_samples, n_channels))
        for (onset, duration, label), own_lags in zip(own.tolist(), lags):
            signals[onset : onset + duration] += trial_of(duration, rate, periods[label], own_lags)
        time_series.append(signals.astype(np.float32))
        trials.append(own)
        all_lags.append(lags)
    return SinesSimulation(
        time_series=time_series,
        trials=trials,
        lags=all_lags,
        periods=periods,
        amplitudes=np.ones(n_channels),
        offsets=np.zeros(n_channels),
        noise_deviations=np.full(n_channels, float(config.noise)),
        config=config,
    )


def trial_of(
    n_samples: int, sampling_frequency: float, periods_C: NDArray[np.float64], lags_C: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sines (n_samples, C) from the onset of a trial on; periods and lags in seconds."""
    seconds = np.arange(n_samples)[:, None] / sampling_frequency
    return np.sin(2 * np.pi * (seconds - lags_C) / periods_C)
