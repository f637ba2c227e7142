"""Trials whose class is the phase of a slow oscillation at which a fast one is largest, for benchmarks/pretraining.py.

Shapes: T samples, C channels, S sources.

Coupling of phase and amplitude: the products of two samples have the same means in both classes, so that course,
covariances, spectra and connectivity tell nothing; those of three differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
from numpy.typing import NDArray

from dynml.models.sequence.decoding.evaluation import signals_of_trials
from dynml.models.sequence.decoding.targets import Trials
from dynml.simulation.kinds.trials import SourcesSimulation, TrialsSimulationConfig

SLOW, FAST = 4.0, 25.0
"""Hz."""
DEPTH = 0.9
"""How far the fast oscillation's amplitude swings around its mean, of that."""
PHASE_NOISE = 0.1
"""Standard deviation of noise added to each phase at every sample, radians."""
LARGEST_AT = (0.0, np.pi)
"""Slow phase at which the fast amplitude is largest, by class."""
SAMPLES_OF_A_REST = 50
"""After which its phase is drawn anew."""
SETTINGS: dict[str, Any] = {
    "n_samples": 3000,
    "sampling_frequencies": [100.0],
    "n_channels": 4,
    "trial_duration": 1.0,
    "rest_duration": 0.5,
}


@dataclass(frozen=True, kw_only=True)
class AmplitudeSimulationConfig(TrialsSimulationConfig):
    """Settings of trials that differ in the coupling of phase and amplitude."""

    nonlinear_share: float = 0.9
    """Fraction of the variance that is due to the sources; the rest is white noise."""
    n_sources: int = 2

    @property
    def n_classes(self) -> int:
        """One a phase."""
        return len(LARGEST_AT)


@dataclass(frozen=True, kw_only=True)
class AmplitudeSimulation(SourcesSimulation):
    """What was simulated."""

    kind: ClassVar[str] = "phase_amplitude"
    courses: ClassVar[tuple[str, ...]] = ("trials", "phases")
    phases: list[NDArray[np.float64]]
    """Of the slow oscillations, (T, S) a subject."""
    config: AmplitudeSimulationConfig


def simulate(n_subjects: int, nonlinear_share: float, seed: int) -> AmplitudeSimulation:
    """Sources are cos(slow) + (1 + DEPTH cos(slow - its phase of the class)) cos(fast); at rest that phase is drawn."""
    config = AmplitudeSimulationConfig(n_subjects=n_subjects, nonlinear_share=nonlinear_share, seed=seed, **SETTINGS)
    generator = np.random.default_rng(seed)
    n_channels, n_sources, rate = config.n_channels, config.n_sources, config.sampling_frequency_of(0)
    directions = np.linalg.qr(generator.normal(size=(n_channels, n_channels)))[0][:, :n_sources]
    weights = directions * np.sqrt(nonlinear_share * n_channels / n_sources / (1 + DEPTH**2 / 4))
    deviation = float(np.sqrt(1 - nonlinear_share))
    time_series, trials, phases = [], [], []
    for subject in range(n_subjects):
        n_samples = config.number_of_samples(subject, generator)
        own = config.trials_of_run(n_samples, rate, generator)
        slow, fast = (_phases(frequency / rate, n_samples, n_sources, own, generator) for frequency in (SLOW, FAST))
        at_rest = generator.uniform(0, 2 * np.pi, (n_samples // SAMPLES_OF_A_REST + 1, n_sources))
        largest_at = at_rest.repeat(SAMPLES_OF_A_REST, axis=0)[:n_samples]
        for onset, duration, label in own.tolist():
            largest_at[onset : onset + duration] = LARGEST_AT[label]
        sources = np.cos(slow) + (1 + DEPTH * np.cos(slow - largest_at)) * np.cos(fast)
        noise = deviation * generator.normal(size=(n_samples, n_channels))
        time_series.append((sources @ weights.T + noise).astype(np.float32))
        trials.append(own)
        phases.append(slow)
    return AmplitudeSimulation(
        time_series=time_series,
        trials=trials,
        phases=phases,
        source_weights=weights,
        offsets=np.zeros(n_channels),
        noise_deviations=np.full(n_channels, deviation),
        config=config,
    )


def _phases(
    per_sample: float, n_samples: int, n_sources: int, trials: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Phases (T, S) that go on with noise, and begin anew with each trial."""
    steps = 2 * np.pi * per_sample + PHASE_NOISE * generator.normal(size=(n_samples, n_sources))
    steps[trials[:, 0]] += generator.uniform(0, 2 * np.pi, size=(len(trials), n_sources))
    return np.asarray((generator.uniform(0, 2 * np.pi, n_sources) + steps.cumsum(axis=0)) % (2 * np.pi))


def known_by_truth(store: Path, trials: Trials) -> dict[str, float]:
    """Share of trials whose squared fast part follows the slow phase as in their class, sources and phases known."""
    with h5py.File(store) as file:
        truth = file["truth"]
        unmixing, offsets = np.linalg.pinv(truth["source_weights"][()]), truth["offsets"][()]
        onsets, phases = ({name: course[()] for name, course in truth[kind].items()} for kind in ("trials", "phases"))
    right = []
    for position, (subject, number) in enumerate(zip(trials.subjects, trials.number.tolist())):
        onset, duration, label = onsets[subject][number].tolist()
        slow = phases[subject][onset : onset + duration]
        (signals,) = signals_of_trials(trials, np.array([position]))
        fast = (signals - offsets) @ unmixing.T - np.cos(slow)
        fit = [(fast**2 * np.cos(slow - phase)).sum() for phase in LARGEST_AT]
        right.append(int(np.argmax(fit)) == label)
    return {"true_coupling": float(np.mean(right))}
