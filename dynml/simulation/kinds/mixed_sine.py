"""Simulation of soft mixtures: Gaussian modes whose mixing coefficients are the softmax of sinusoids.

Shapes: T samples, C channels, J modes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.errors import ConfigurationError
from dynml.simulation.kinds.gaussian_states import (
    draw_mixed_signals,
    group_gaussians,
    subject_gaussians,
    with_observation_error,
)
from dynml.simulation.kinds.osl_seeding import draw_recording
from dynml.simulation.kinds.sine_mixing import MixedSineSimulationConfig, sinusoidal_logits, softmax_of
from dynml.simulation.result import GaussianSimulation, chosen_config


@dataclass(frozen=True, kw_only=True)
class MixedSineSimulation(GaussianSimulation):
    """Signals of many subjects from a soft mixture of modes, and the truth behind them."""

    kind: ClassVar[str] = "mixed_sine"
    parameters: ClassVar[tuple[str, ...]] = ("means", "covariances", "phases")
    courses: ClassVar[tuple[str, ...]] = ("alpha",)

    alpha: list[NDArray[np.float32]]
    """Mixing coefficients, one (T, J) array per subject; rows sum to 1."""
    logits: list[NDArray[np.float32]]
    """The sinusoids that alpha is the softmax of, one (T, J) array per subject."""
    phases: NDArray[np.float64]
    """(n_subjects, J), phase of each sinusoid at the first sample."""
    config: MixedSineSimulationConfig

    def time_varying_covariances(
        self, subject: int = 0, start: int = 0, stop: int | None = None
    ) -> NDArray[np.float64]:
        """Covariance C_t = sum_j alpha_jt D_j of each sample from start to stop.

        Parameters
        ----------
        subject : int
            Counted from 0.
        start, stop : int, optional
            Samples [start, stop). All of them at once need T x C x C numbers.

        Returns
        -------
        array, (T, C, C)
        """
        varied = self.subject_covariances
        covariances = self.covariances if varied is None else varied[subject]
        return np.tensordot(self.alpha[subject][start:stop].astype(np.float64), covariances, axes=1)


def simulate_mixed_sine(
    config: MixedSineSimulationConfig | None = None, *, generator: np.random.Generator | None = None, **settings: Any
) -> MixedSineSimulation:
    """Simulate a soft mixture: x_t from N(sum_j alpha_jt mu_j, sum_j alpha_jt D_j).

    Parameters
    ----------
    config : MixedSineSimulationConfig, optional
    generator : Generator, optional
        Draws all random numbers; by default a new one from the config's seed.
    **settings
        Fields of the config, when no config is given: `simulate_mixed_sine(n_modes=6, n_channels=20, seed=123)`.

    Returns
    -------
    MixedSineSimulation

    Raises
    ------
    ConfigurationError
        For an unknown setting, with the nearest name, or a value that is not accepted.

    Notes
    -----
    alpha_jt = softmax_j(relative_activation_j + amplitude_j sin(2 pi frequency_j t + phase_j)), t in seconds, with
    phases drawn uniformly for every subject: the simulation of Gohil et al. 2022 (NeuroImage 263). Means and
    covariances are drawn first, then subject after subject: number of samples, covariances, phases, signals. More
    subjects under the same seed leave the first ones as they were.
    """
    config = chosen_config(MixedSineSimulationConfig, config, settings)
    if config.seeding != "dynml":
        if generator is not None:
            raise ConfigurationError("seeding", config.seeding, "'dynml' where a generator is given")
        return _as_osl_dynamics_draws(config)
    generator = generator if generator is not None else np.random.default_rng(config.seed)
    means, group_covariances = group_gaussians(config, generator)
    time_series, alphas, logits, phases, varied = [], [], [], [], []
    for subject in range(config.n_subjects):
        n_samples = config.number_of_samples(subject, generator)
        covariances = subject_gaussians(config, group_covariances, generator)
        own_phases = generator.uniform(0, 2 * np.pi, size=config.n_modes)
        own_logits = sinusoidal_logits(config, np.arange(n_samples) / config.sampling_frequency, own_phases)
        alpha = softmax_of(own_logits)
        time_series.append(draw_mixed_signals(alpha, means, covariances, generator))
        alphas.append(alpha)
        logits.append(own_logits)
        phases.append(own_phases)
        varied.append(covariances)
    return MixedSineSimulation(
        time_series=time_series,
        alpha=alphas,
        logits=logits,
        phases=np.stack(phases),
        means=means,
        covariances=with_observation_error(config, group_covariances),
        config=config,
        subject_covariances=np.stack(varied) if config.covariance_variability > 0 else None,
    )


def _as_osl_dynamics_draws(config: MixedSineSimulationConfig) -> MixedSineSimulation:
    parts = draw_recording(config)
    return MixedSineSimulation(
        time_series=[parts.signals],
        alpha=[parts.alpha],
        logits=[parts.logits],
        phases=parts.phases[None],
        means=parts.means,
        covariances=with_observation_error(config, parts.covariances),
        config=config,
    )
