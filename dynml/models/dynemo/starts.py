"""Modes to start from: an HMM's states, or what an HMM with more states than modes is made of.

Initialization decides which optimum training finds. Random modes lose one or two of a soft mixture. The states of an
HMM are averages over moments at which modes mixed alike, so the covariances of many states are mixtures of few modes,
and unmixing them finds these (`ops.unmixing`). A pure function of (seed, number).
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from dynml.batches.whole_segments import PackedSegments, part_of_subset
from dynml.dataset.subset import MultiSubjectSubset
from dynml.models.dynemo.config import DynemoConfig, DynemoInitializationConfig
from dynml.ops.hmm.gaussian_hmm import CovariancePrior, GaussianHMMParameters, Statistics
from dynml.ops.hmm.state_initialization import window_clustering
from dynml.ops.mixture.unmixing import unmix_covariances
from dynml.training.data.em import MStepSettings, PooledMoments, expectation, run_em

START_STREAM = 13
HMM_ITERATIONS = 30
HMM_TOLERANCE = 1e-3
"""Nats per sample: an iteration that gains less ends the HMM."""
HMM_PRIOR_SAMPLES = 1.0
SAMPLES_PER_STATE = 5
"""An HMM has at most one state for so many samples per channel."""

Modes = tuple[Tensor, Tensor | None]
"""Covariances (J, C, C) and means (J, C), float64; None: zero means."""


def modes_from_states(
    number: int,
    subset: MultiSubjectSubset,
    model: DynemoConfig,
    config: DynemoInitializationConfig,
    moments: PooledMoments,
    seed: int,
) -> Modes:
    """Make start `number` (from 0) from the states of an HMM that is fitted to a part of the training data.

    Parameters
    ----------
    number : int
    subset : MultiSubjectSubset
        Training subjects.
    model : DynemoConfig
    config : DynemoInitializationConfig
        With the method "unmixing" or "hmm".
    moments : PooledMoments
        Of the training data.
    seed : int
        The run's seed.
    """
    generator = np.random.default_rng(np.random.SeedSequence((seed, START_STREAM, number)))
    part = part_of_subset(subset, config.max_samples, seed, number)
    wanted = model.n_modes * (config.states_per_mode if config.method == "unmixing" else 1)
    affordable = len(part.signals) // (SAMPLES_PER_STATE * subset.n_channels)
    states, statistics = fitted_states(part, max(model.n_modes, min(wanted, affordable)), model, moments, generator)
    covariances, means = states.full_covariances(), states.means_KC if model.learn_means else None
    if states.n_states == model.n_modes:
        return covariances, means
    unmixed = unmix_covariances(
        covariances, statistics.occupancies_K, model.n_modes, generator=generator, means_SC=means
    )
    return unmixed.covariances_JCC, unmixed.means_JC


def fitted_states(
    part: PackedSegments,
    n_states: int,
    model: DynemoConfig,
    moments: PooledMoments,
    generator: np.random.Generator,
) -> tuple[GaussianHMMParameters, Statistics]:
    """States of an HMM fitted by exact EM, and their statistics."""
    prior = prior_of_states(moments, model)
    parameters = window_clustering(
        part.signals,
        part.starts,
        n_states,
        generator=generator,
        learn_means=model.learn_means,
        covariance_type=model.covariance_type,
        prior=prior,
    )
    settings = MStepSettings(learn_means=model.learn_means, covariance_prior=prior)
    fitted = run_em([part], parameters, settings, n_iterations=HMM_ITERATIONS, tolerance=HMM_TOLERANCE)
    return fitted.parameters, expectation([part], fitted.parameters)


def prior_of_states(moments: PooledMoments, model: DynemoConfig) -> CovariancePrior:
    """Prior of an HMM's states: as strong as that of the modes, and never absent, since states may be small."""
    strength = max(HMM_PRIOR_SAMPLES, model.covariance_prior_samples)
    return CovariancePrior(strength, moments.scatter(about_mean=model.learn_means))
