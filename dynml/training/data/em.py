"""EM for Gaussian hidden Markov models over any iterable of batches, and many starts of which the best is kept.

Families share this: the HMM trains by it, and others start from it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Protocol

import torch

from dynml.ops.hmm.gaussian_hmm import CovariancePrior, EmptyStates, Signals, e_step, log_prior, m_step, revive_state
from dynml.ops.hmm.m_step import constrained
from dynml.ops.hmm.statistics import GaussianHMMParameters, Statistics
from dynml.ops.moments.pooled import CentredSums, centred_sums
from dynml.ops.moments.shared_directions import SharedDirections
from dynml.training.processes import Processes

RANK_TOLERANCE = 1e-6
"""Share of the largest eigenvalue; float32 products leave about 1e-7."""


class PackedBatch(Protocol):
    """What EM needs of a batch: whole segments laid end to end, and their row borders."""

    @property
    def signals(self) -> Signals:
        """(n, C), or a reader of it."""

    @property
    def starts(self) -> torch.Tensor | None:
        """(n_segments + 1,) row borders."""

    @property
    def groups(self) -> torch.Tensor | None:
        """(n_groups + 1,) first segments of the blocks whose sums must not depend on each other, or None."""


@dataclass(frozen=True, kw_only=True)
class MStepSettings:
    """What an M-step learns, and its priors."""

    learn_means: bool = True
    learn_covariances: bool = True
    learn_transitions: bool = True
    covariances_epsilon: float = 0.0
    covariance_prior: CovariancePrior | None = None
    transition_prior: float | torch.Tensor = 0.0
    """Pseudo-counts of every transition, or (K, K)."""
    allowed_transitions: torch.Tensor | None = None
    """(K, K) bool; None: all."""
    tied_covariance: bool = False
    shared_directions: SharedDirections | None = None
    """Where all states share the covariance of all data; full covariances only."""


@dataclass(frozen=True)
class PooledMoments:
    """Mean and covariance of all observed samples of a subset, segments' borders aside."""

    n_samples: float
    mean_C: torch.Tensor
    covariance_CC: torch.Tensor

    def scatter(self, *, about_mean: bool) -> torch.Tensor:
        """Covariance (C, C), or, for models without means, the second moment about zero."""
        if about_mean:
            return self.covariance_CC
        return self.covariance_CC + torch.outer(self.mean_C, self.mean_C)

    @cached_property
    def rank(self) -> int:
        """Dimensions that the samples fill, as far as sums of float32 products can tell."""
        return int(torch.linalg.matrix_rank(self.covariance_CC, hermitian=True, rtol=RANK_TOLERANCE))


@dataclass
class EMResult:
    """Where a run of EM arrived."""

    parameters: GaussianHMMParameters
    free_energy: float
    """Of `parameters`, nats per observed sample."""
    n_samples: float
    """Observed samples of the data."""
    curve: list[float] = field(default_factory=list)
    """Free energy before each M-step, then of the result."""


def summed(statistics: Statistics, processes: Processes) -> Statistics:
    """Sum the statistics of all processes, in float64."""
    if not processes.are_several:
        return statistics
    tensors = statistics.to_dictionary()
    flat = processes.sum(torch.cat([tensor.reshape(-1) for tensor in tensors.values()]))
    parts = flat.split([tensor.numel() for tensor in tensors.values()])
    return Statistics.from_dictionary(
        {name: part.reshape(tensor.shape) for (name, tensor), part in zip(tensors.items(), parts, strict=True)}
    )


def expectation(
    batches: Iterable[PackedBatch], parameters: GaussianHMMParameters, processes: Processes | None = None
) -> Statistics:
    """Sum the statistics of all batches under `parameters`, over all processes if some are given."""
    total = Statistics.zeros(parameters.n_states, parameters.n_channels, parameters.covariance_type)
    for batch in batches:
        assert batch.starts is not None, "EM needs packed batches"
        total += e_step(batch.signals, batch.starts, parameters, groups=batch.groups)[0]
    return total if processes is None else summed(total, processes)


def maximization(
    statistics: Statistics, previous: GaussianHMMParameters, settings: MStepSettings
) -> tuple[GaussianHMMParameters, EmptyStates]:
    """Closed-form M-step; also the states that no sample belongs to (they keep their parameters)."""
    parameters, empty = m_step(
        statistics,
        previous,
        learn_means=settings.learn_means,
        learn_covariances=settings.learn_covariances,
        learn_transitions=settings.learn_transitions,
        covariance_prior=settings.covariance_prior,
        transition_prior=settings.transition_prior,
        covariances_epsilon=settings.covariances_epsilon,
        tied_covariance=settings.tied_covariance,
    )
    return shared(parameters, settings), empty


def within_constraints(parameters: GaussianHMMParameters, settings: MStepSettings) -> GaussianHMMParameters:
    """Parameters that were not made by an M-step, with the constraints that the settings name."""
    if settings.allowed_transitions is None and not settings.tied_covariance:
        return parameters
    return constrained(parameters, allowed_KK=settings.allowed_transitions, tied_covariance=settings.tied_covariance)


def log_prior_of(parameters: GaussianHMMParameters, settings: MStepSettings) -> float:
    """Log-density of the parameters under the priors of the settings, up to a constant, in nats."""
    return log_prior(
        parameters,
        covariance_prior=settings.covariance_prior,
        transition_prior=settings.transition_prior,
        tied_covariance=settings.tied_covariance,
    )


def shared(parameters: GaussianHMMParameters, settings: MStepSettings) -> GaussianHMMParameters:
    """Parameters whose covariances are those of all data in the directions that the settings share."""
    directions = settings.shared_directions
    if directions is None or not settings.learn_covariances or parameters.covariance_type == "diagonal":
        return parameters
    return dataclasses.replace(parameters, covariances_KCC=directions.covariances(parameters.covariances_KCC))


def run_em(
    batches: Iterable[PackedBatch],
    parameters: GaussianHMMParameters,
    settings: MStepSettings,
    *,
    n_iterations: int,
    tolerance: float = 0.0,
    processes: Processes | None = None,
) -> EMResult:
    """Iterate EM from `parameters`; states that empty are revived.

    Parameters
    ----------
    batches : iterable
        Gone through once an iteration, so a list or an object that can be iterated again.
    parameters : GaussianHMMParameters
    settings : MStepSettings
    n_iterations : int
        M-steps at most.
    tolerance : float
        Stop when the free energy falls by less than this, in nats per sample.
    processes : Processes, optional
        Those that hold the other parts of the data.
    """
    curve: list[float] = []
    statistics = expectation(batches, parameters, processes)
    for _ in range(n_iterations):
        curve.append(statistics.free_energy)
        parameters, empty = maximization(statistics, parameters, settings)
        for state in empty.states:
            parameters = revive_state(parameters, state, statistics.occupancies_K, learn_means=settings.learn_means)
            parameters = within_constraints(parameters, settings)
        statistics = expectation(batches, parameters, processes)
        if not empty and curve[-1] - statistics.free_energy < tolerance:
            break
    return EMResult(parameters, statistics.free_energy, statistics.n_samples, [*curve, statistics.free_energy])


def pooled_moments(
    batches: Iterable[PackedBatch], n_channels: int, processes: Processes | None = None
) -> PooledMoments:
    """Mean and covariance of all observed samples in one pass, in float64, however far from zero they lie."""
    total = CentredSums.zeros(n_channels)
    for batch in batches:
        total = total.merged(centred_sums(batch.signals))
    if processes is not None:
        total = reduce(CentredSums.merged, processes.gather(total))
    return PooledMoments(float(total.n_samples), total.mean_C, total.scatter_CC / max(total.n_samples, 1))


def gaussian_free_energy(moments: PooledMoments, model: PooledMoments, *, epsilon: float = 0.0) -> float | None:
    """Free energy of data with `moments` under the Gaussian that has the moments of `model`, in nats per sample.

    Parameters
    ----------
    moments : PooledMoments
        Of the data.
    model : PooledMoments
        Of the data that the Gaussian was fitted to.
    epsilon : float
        Added to the diagonal of its covariance, as to the states' that it is compared with.

    Returns
    -------
    float or None
        None when the covariance is singular: the density does not exist.
    """
    covariance = model.covariance_CC + epsilon * torch.eye(len(model.mean_C), dtype=torch.float64)
    factor, fault = torch.linalg.cholesky_ex(covariance)
    if int(fault):
        return None
    difference = moments.mean_C - model.mean_C
    scatter = moments.covariance_CC + torch.outer(difference, difference)
    trace = torch.cholesky_solve(scatter, factor).diagonal().sum()
    return float(0.5 * (trace + 2 * factor.diagonal().log().sum() + len(difference) * math.log(2 * math.pi)))
