"""What is said of a trained HMM: exact free energies per subset, its baselines, and findings in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from dynml.ops.gaussian_hmm import GaussianHMMParameters, Signals, Statistics
from dynml.training.batch import Batch
from dynml.training.em import (
    MStepSettings,
    PooledMoments,
    expectation,
    gaussian_free_energy,
    pooled_moments,
    run_em,
)
from dynml.training.processes import Processes

Batches = Callable[[], Iterable[Batch]]
MIXTURE_ITERATIONS = 15
SELDOM = 0.01
"""A state with less than this share of the samples is named among the findings."""

ADVICE = "Consider fewer states, a stronger covariance prior, or more data."


@dataclass(frozen=True)
class SamplesAlone:
    """A batch in which every sample is a segment of its own: an HMM without time, which is a Gaussian mixture."""

    signals: Signals
    starts: torch.Tensor
    groups: torch.Tensor


class WithoutTime:
    """Batches as `SamplesAlone`; can be gone through again and again."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[SamplesAlone]:
        for batch in self._batches():
            assert batch.starts is not None, "EM needs packed batches"
            yield SamplesAlone(
                batch.signals, torch.arange(batch.signals.shape[0] + 1), batch.starts.cpu()[batch.groups]
            )


def baselines(
    training: Batches,
    validation: Batches | None,
    parameters: GaussianHMMParameters,
    moments: PooledMoments,
    settings: MStepSettings,
    processes: Processes | None = None,
) -> dict[str, dict[str, float | None]]:
    """Free energy of one Gaussian and of a mixture of K Gaussians on the same data, nats per sample.

    Parameters
    ----------
    training, validation : callable
        Give the batches of a subset; None: there are no such subjects.
    parameters : GaussianHMMParameters
        The trained HMM: the mixture starts from its states, so that it is a strong baseline.
    moments : PooledMoments
        Of the training data.
    settings : MStepSettings
        The mixture is fitted with the same priors.
    processes : Processes, optional
        Those that hold the other parts of the data.
    """
    held_out = None if validation is None else pooled_moments(validation(), len(moments.mean_C), processes)
    gaussian = {
        "training": gaussian_free_energy(moments, moments, epsilon=settings.covariances_epsilon),
        "validation": None
        if held_out is None
        else gaussian_free_energy(held_out, moments, epsilon=settings.covariances_epsilon),
    }
    mixture = run_em(
        WithoutTime(training),
        parameters,
        settings,
        n_iterations=MIXTURE_ITERATIONS,
        tolerance=1e-4,
        processes=processes,
    )
    of_mixture = {
        "training": mixture.free_energy,
        "validation": None
        if validation is None
        else expectation(WithoutTime(validation), mixture.parameters, processes).free_energy,
    }
    return {"gaussian": gaussian, "gaussian_mixture": of_mixture}


def findings(statistics: Statistics, report: dict[str, Any], rank: int) -> list[str]:
    """Say what a statistician would point out: states that hardly occur, baselines that win, missing dimensions."""
    shares = statistics.occupancies_K / statistics.occupancies_K.sum()
    seldom = [f"{state} ({share:.2%})" for state, share in enumerate(shares.tolist(), start=1) if share < SELDOM]
    said = [f"These states hardly occur: {', '.join(seldom)}. Consider fewer states."] if seldom else []
    n_channels = statistics.first_moments_KC.shape[1]
    if rank < n_channels:
        said.append(
            f"The data have rank {rank} of {n_channels}: missing dimensions were given a small variance, so compare "
            "free energies with runs on the same data only."
        )
    model = report["free_energy"]
    for subset in ("training", "validation"):
        worse = [
            name
            for name, values in report["baselines"].items()
            if model[subset] is not None and values[subset] is not None and values[subset] <= model[subset]
        ]
        if worse:
            names = " and ".join(name.replace("_", " ") for name in worse)
            said.append(f"On {subset} data the HMM is no better than one of its baselines ({names}). {ADVICE}")
    return said
