"""What a model of brain dynamics must beat: one Gaussian, a mixture of Gaussians without time, an HMM.

All are free energies in nats per observed sample on the same data, so they stand beside the model's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from dynml.batches.whole_segments import PackedSegments
from dynml.ops.hmm.gaussian_hmm import GaussianHMMParameters, Signals
from dynml.ops.masked_samples import observed_if_masked
from dynml.training.data.em import (
    MStepSettings,
    PackedBatch,
    PooledMoments,
    expectation,
    gaussian_free_energy,
    pooled_moments,
    run_em,
)
from dynml.training.processes import Processes

GAUSSIAN, MIXTURE, HMM = "gaussian", "gaussian_mixture", "hmm"
MIXTURE_ITERATIONS = 15
MIXTURE_TOLERANCE = 1e-4

Scores = dict[str, float | None]
"""Free energy of each subset; None where there are no subjects, or the density does not exist."""


class Passes(Protocol):
    """Gives the packed batches of a subset, as often as asked."""

    def __call__(self, context: Literal["training", "validation"], /) -> Iterable[PackedBatch]:
        """Batches of a subset."""


@dataclass(frozen=True)
class SamplesAlone:
    """A batch in which every sample is a segment of its own: an HMM without time, which is a Gaussian mixture."""

    signals: Signals
    starts: torch.Tensor
    groups: torch.Tensor | None


def without_time(batches: Iterable[PackedBatch]) -> Iterator[SamplesAlone]:
    """Batches as `SamplesAlone`; masked samples in memory are left out, since nothing is known of them."""
    for batch in batches:
        assert batch.starts is not None, "EM needs packed batches"
        groups = None if batch.groups is None else batch.starts[batch.groups]
        signals = batch.signals
        observed = observed_if_masked(signals) if isinstance(signals, torch.Tensor) else None
        if isinstance(signals, torch.Tensor) and observed is not None:
            n_before = torch.nn.functional.pad(observed.cpu().cumsum(0), (1, 0))
            signals, groups = signals[observed], None if groups is None else n_before[groups]
        yield SamplesAlone(signals, torch.arange(signals.shape[0] + 1), groups)


def gaussian_baseline(
    passes: Passes, has_validation: bool, moments: PooledMoments, settings: MStepSettings, processes: Processes
) -> Scores:
    """Score one Gaussian with the moments of the training data."""
    epsilon = settings.covariances_epsilon
    held_out = pooled_moments(passes("validation"), len(moments.mean_C), processes) if has_validation else None
    return {
        "training": gaussian_free_energy(moments, moments, epsilon=epsilon),
        "validation": None if held_out is None else gaussian_free_energy(held_out, moments, epsilon=epsilon),
    }


def mixture_baseline(
    passes: Passes, has_validation: bool, mixture: GaussianHMMParameters, processes: Processes
) -> Scores:
    """Score a mixture that was fitted before (`fitted_mixture`)."""
    return {
        "training": expectation(without_time(passes("training")), mixture, processes).free_energy,
        "validation": expectation(without_time(passes("validation")), mixture, processes).free_energy
        if has_validation
        else None,
    }


def fitted_mixture(
    states: GaussianHMMParameters, part: PackedSegments, settings: MStepSettings
) -> GaussianHMMParameters:
    """Fit a mixture of as many Gaussians as a model has states, from which it starts, so that it is a strong baseline.

    Parameters
    ----------
    states : GaussianHMMParameters
    part : PackedSegments
        Training data that the mixture is fitted to; a large data set needs no more than a part of it for so small a
        model.
    settings : MStepSettings
        What is learnt, and the priors: as of the model.
    """
    # Samples are segments of their own here, and a segment's initial probabilities would leave out states for good.
    uniform = torch.full_like(states.initial_probabilities_K, 1 / states.n_states)
    start = dataclasses.replace(states, initial_probabilities_K=uniform)
    batches = list(without_time([part]))
    return run_em(batches, start, settings, n_iterations=MIXTURE_ITERATIONS, tolerance=MIXTURE_TOLERANCE).parameters


def hmm_baseline(passes: Passes, has_validation: bool, states: GaussianHMMParameters, processes: Processes) -> Scores:
    """Score an HMM that was fitted before."""
    return {
        "training": expectation(passes("training"), states, processes).free_energy,
        "validation": expectation(passes("validation"), states, processes).free_energy if has_validation else None,
    }


def names_of_better(own: Mapping[str, float | None], baselines: Mapping[str, Scores], subset: str) -> list[str]:
    """Names of the baselines that are at least as good as the model on a subset."""
    value = own.get(subset)
    if value is None:
        return []
    scores = {name: scores_of[subset] for name, scores_of in baselines.items()}
    return [name for name, score in scores.items() if score is not None and score <= value]


def words_of_better(names: Sequence[str]) -> str:
    """`its baseline gaussian`, or `its baselines gaussian, gaussian mixture and hmm`."""
    said = [name.replace("_", " ") for name in names]
    if len(said) == 1:
        return f"its baseline {said[0]}"
    return f"its baselines {', '.join(said[:-1])} and {said[-1]}"
