"""Simulation of trials whose class lies in a nonlinear map from sample to sample, and nowhere else.

Shapes: T samples, C channels, S sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least, check_fraction, check_positive
from dynml.errors import ConfigurationError
from dynml.simulation.kinds.trials import SourcesSimulation, TrialsSimulationConfig
from dynml.simulation.result import simulator


@dataclass(frozen=True, kw_only=True)
class PhaseMultiplicationSimulationConfig(TrialsSimulationConfig):
    """Trials of classes that differ in the map from one sample of a source to the next, which is not linear.

    Distribution and spectrum of each source are the same in all classes and at rest, and so are means, covariances and
    cross-spectra of channels. At rest, between trials, each sample has phases of its own.
    """

    n_channels: int = 4
    """Number of channels C."""

    n_sources: int = 2
    """Number of sources S, mixed onto the channels by the same orthogonal weights in all subjects."""

    nonlinear_share: float = 0.9
    """Fraction of the signals' variance that is due to the sources, averaged over channels; the rest is white noise."""

    multipliers: list[int] = field(default_factory=lambda: [2, 3])
    """One whole number of at least 2 per class, by which phases are multiplied from sample to sample."""

    phase_noise: float = 0.1
    """Standard deviation of noise added to each phase at every sample, radians."""

    @property
    def n_classes(self) -> int:
        """As many as there are multipliers."""
        return len(self.multipliers)

    def _check_own(self) -> None:
        numbers = self.multipliers
        whole = isinstance(numbers, list) and all(isinstance(own, int) and own > 1 for own in numbers)
        if not whole or len(numbers) < 2 or len(set(numbers)) < len(numbers):
            raise ConfigurationError("multipliers", numbers, "two or more different whole numbers above 1")
        check_at_least("n_sources", self.n_sources, 1)
        if self.n_sources > self.n_channels:
            raise ConfigurationError("n_sources", self.n_sources, f"at most n_channels ({self.n_channels})")
        check_fraction("nonlinear_share", self.nonlinear_share)
        # Doubling shifts the digits of a number out: without noise a phase is 0 after some fifty samples.
        check_positive("phase_noise", self.phase_noise)
        super()._check_own()


@dataclass(frozen=True, kw_only=True)
class PhaseMultiplicationSimulation(SourcesSimulation):
    """Trials of many subjects whose class lies in a nonlinear map, and the truth behind them."""

    kind: ClassVar[str] = "phase_multiplication"
    courses: ClassVar[tuple[str, ...]] = ("trials", "sources")

    sources: list[NDArray[np.float64]]
    """Cosines of the phases, one (T, S) array per subject."""
    config: PhaseMultiplicationSimulationConfig


@simulator(PhaseMultiplicationSimulationConfig)
def simulate_phase_multiplication(
    config: PhaseMultiplicationSimulationConfig, generator: np.random.Generator
) -> PhaseMultiplicationSimulation:
    """Simulate sources that are cosines of phases, which are multiplied from sample to sample.

    Notes
    -----
    phase_t = m phase_(t-1) + noise, source_t = cos(phase_t), m by class: without noise source_t is the Chebyshev
    polynomial T_m of source_(t-1), 2 x^2 - 1 or 4 x^3 - 3 x. Phases are uniform, so that no two samples of a source are
    correlated, whatever m; the mean of T_m(source_(t-1)) source_t is 1/2 (less by the noise) in the class of m, else 0.
    The weights of sources are drawn first, then subject after subject: number of samples, order of the classes (all
    equally often, but for a remainder), phases, noise. More subjects under the same seed leave the first ones as they
    were.
    """
    n_channels, n_sources = config.n_channels, config.n_sources
    directions = np.linalg.qr(generator.normal(size=(n_channels, n_channels)))[0][:, :n_sources]
    # The variance of a source is 1/2, the sum of squares of a direction 1.
    weights = directions * np.sqrt(2 * config.nonlinear_share * n_channels / n_sources)
    noise_deviation = float(np.sqrt(1 - config.nonlinear_share))
    time_series, trials, sources = [], [], []
    for subject in range(config.n_subjects):
        n_samples = config.number_of_samples(subject, generator)
        own = config.trials_of_run(n_samples, config.sampling_frequency_of(subject), generator)
        sources.append(np.cos(_phases(config, n_samples, own, generator)))
        noise = noise_deviation * generator.normal(size=(n_samples, n_channels))
        time_series.append((sources[-1] @ weights.T + noise).astype(np.float32))
        trials.append(own)
    return PhaseMultiplicationSimulation(
        time_series=time_series,
        trials=trials,
        sources=sources,
        source_weights=weights,
        offsets=np.zeros(n_channels),
        noise_deviations=np.full(n_channels, noise_deviation),
        config=config,
    )


def _phases(
    config: PhaseMultiplicationSimulationConfig,
    n_samples: int,
    trials: NDArray[np.int64],
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Phases (T, S): of their own at each sample of a rest and at the onset of each trial, multiplied within trials."""
    phases = generator.uniform(0, 2 * np.pi, size=(n_samples, config.n_sources))
    added = config.phase_noise * generator.normal(size=phases.shape)
    for onset, duration, label in trials.tolist():
        for time in range(onset + 1, onset + duration):
            phases[time] = (config.multipliers[label] * phases[time - 1] + added[time]) % (2 * np.pi)
    return phases
