"""The random numbers that osl-dynamics draws under a seed, so that its published soft mixtures come out alike.

Up to version 1.3.0 `random_seed` started two generators from the same seed: one for means, covariances and signals, one
for phases. Later versions draw everything from NumPy's global generator. Signals come from singular value
decompositions: two builds of LAPACK may give some of them other signs, and then about 1 % of the samples differ.

Shapes: T samples, C channels, J modes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.simulation.kinds.gaussian_states import (
    MOST_NUMBERS,
    RANDOM_MEAN_SD,
    SMALLEST_VARIANCE,
    WEIGHT_SD,
    activation_strengths,
    n_active_channels,
)
from dynml.simulation.kinds.sine_mixing import MixedSineSimulationConfig, sinusoidal_logits, softmax_of

AnyGenerator = np.random.Generator | np.random.RandomState


@dataclass(frozen=True, kw_only=True)
class DrawnRecording:
    """One recording and its truth; covariances (J, C, C) are without observation error."""

    signals: NDArray[np.float32]
    alpha: NDArray[np.float32]
    logits: NDArray[np.float32]
    phases: NDArray[np.float64]
    means: NDArray[np.float64]
    covariances: NDArray[np.float64]


def draw_recording(config: MixedSineSimulationConfig) -> DrawnRecording:
    """Draw one soft mixture in the order of osl-dynamics: means, covariances, phases, signals, observation error."""
    n_samples = config.n_samples[0] if isinstance(config.n_samples, list) else config.n_samples
    generator, phase_generator, times = _generators_and_times(config, n_samples)
    means, covariances = _gaussians(config, generator)
    phases = phase_generator.uniform(0, 2 * np.pi, config.n_modes)
    logits = sinusoidal_logits(config, times, phases)
    alpha = softmax_of(logits)
    signals = _signals(alpha, means, covariances, generator)
    signals += generator.normal(scale=config.observation_error, size=signals.shape)
    return DrawnRecording(
        signals=signals.astype(np.float32),
        alpha=alpha,
        logits=logits,
        phases=np.asarray(phases),
        means=means,
        covariances=covariances,
    )


def _generators_and_times(
    config: MixedSineSimulationConfig, n_samples: int
) -> tuple[AnyGenerator, AnyGenerator, NDArray[np.float64]]:
    """Generators of signals and of phases, and times to the last bit: which samples have equal alpha hangs on it."""
    numbers = np.arange(n_samples, dtype=np.float64)
    if config.seeding == "osl_legacy":
        times = numbers * (1.0 / config.sampling_frequency)
        return np.random.default_rng(config.seed), np.random.default_rng(config.seed), times
    generator = np.random.RandomState(config.seed)
    return generator, generator, numbers / config.sampling_frequency


def _gaussians(
    config: MixedSineSimulationConfig, generator: AnyGenerator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n_modes, n_channels = config.n_modes, config.n_channels
    means, covariances = config.array("means"), config.array("covariances")
    if means is None and config.means == "random":
        means = generator.normal(0, RANDOM_MEAN_SD, size=(n_modes, n_channels))
    elif means is None:
        means = np.zeros((n_modes, n_channels))
    if covariances is None:
        draw = generator.integers if isinstance(generator, np.random.Generator) else generator.randint
        weights = generator.normal(0, WEIGHT_SD, size=(n_modes, n_channels, n_channels))
        for strength in activation_strengths(config.n_covariance_activations):
            for mode in range(n_modes):
                active = np.unique(draw(0, n_channels, size=n_active_channels(n_modes, n_channels)))
                weights[mode, active] += strength / n_channels
        covariances = weights @ weights.transpose(0, 2, 1) + SMALLEST_VARIANCE * np.eye(n_channels)
    return means, covariances


def _signals(
    alpha: NDArray[np.float32],
    means: NDArray[np.float64],
    covariances: NDArray[np.float64],
    generator: AnyGenerator,
) -> NDArray[np.float64]:
    """Signals (T, C), drawn for one value of alpha after another in sorted order, by singular value decomposition."""
    values, numbers = np.unique(alpha, axis=0, return_inverse=True)
    numbers = numbers.ravel()
    order = np.argsort(numbers, kind="stable")
    noise = np.empty((len(alpha), means.shape[1]))
    noise[order] = generator.standard_normal(noise.shape)
    signals = np.empty_like(noise)
    chunk = max(1, MOST_NUMBERS // means.shape[1] ** 2)
    for start in range(0, len(alpha), chunk):
        rows = order[start : start + chunk]
        first, last = numbers[rows[0]], numbers[rows[-1]]
        weights = values[first : last + 1].astype(np.float64)
        _, singular_values, directions = np.linalg.svd(_mixed_in_order(weights, covariances))
        factors = np.sqrt(singular_values)[..., None] * directions
        own = numbers[rows] - first
        borders = np.append(np.flatnonzero(np.diff(own, prepend=-1)), len(own))
        for begin, end in itertools.pairwise(borders):
            signals[rows[begin:end]] = noise[rows[begin:end]] @ factors[own[begin]]
        signals[rows] += (weights @ means)[own]
    return signals


def _mixed_in_order(weights: NDArray[np.float64], covariances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mix covariances, mode after mode: the signs of a few singular vectors hang on the last bit of the sum."""
    mixed = weights[:, 0, None, None] * covariances[0]
    for mode in range(1, len(covariances)):
        mixed += weights[:, mode, None, None] * covariances[mode]
    return mixed
