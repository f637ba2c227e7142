"""Posterior predictive check: whether data that the model draws look like the recordings.

Shapes: T samples, C channels, K states, F frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from dynml.analysis.checks.refitting import alphas_of
from dynml.analysis.checks.stretches import SubjectStretches
from dynml.analysis.checks.verdicts import Verdict, p_of_draws
from dynml.models.registry import Family
from dynml.stretches import runs_of_equal

Array = NDArray[np.float64]
MOST_SAMPLES = 20_000
"""Samples that are drawn at a time, and that the recordings are compared by."""
LEVEL = 0.05
SAMPLES_OF_A_WINDOW = 256
LOOKED_AT = {
    "covariance": "the covariance of all samples",
    "spectra": "the power spectrum of the channels",
    "lifetimes": "how long visits last",
    "switching": "how often they change",
}


@runtime_checkable
class DrawsSignals(Protocol):
    """A model that draws signals, as the HMM does."""

    def sample(self, n_samples: int, generator: torch.Generator | None = None) -> tuple[torch.Tensor, Any]:
        """Signals (n_samples, C), and the states that they were drawn from."""
        ...


@runtime_checkable
class DrawsCoefficients(Protocol):
    """A model that draws mixing coefficients, as DyNeMo does."""

    def sample_alpha(self, n_samples: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Coefficients, (n_samples, K)."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """`means`, (K, C), and `covariances`, (K, C, C), among others."""
        ...


@dataclass(frozen=True)
class Summaries:
    """What recordings and drawn data are compared by."""

    covariance: Array
    """(C (C + 1) / 2,)"""
    spectra: Array
    """(F,): logarithm of the mean power over channels."""
    lifetimes: Array
    """(K,): logarithm of the mean visit in samples; NaN for a state that is never visited."""
    switching: Array
    """(1,): changes per sample."""


def part_to_compare(subjects: Sequence[SubjectStretches]) -> list[SubjectStretches]:
    """Take the first stretches of every subject so that all have about as much and no more than the most together."""
    most = max(MOST_SAMPLES // max(len(subjects), 1), 1)
    found = []
    for one in subjects:
        kept: list[Array] = []
        for own in one.stretches:
            left = most - sum(map(len, kept))
            if left > 1:
                kept.append(own[:left])
        found.append(one.of(kept))
    return found


def can_draw(model: Any) -> bool:
    """Whether the model draws data."""
    return isinstance(model, (DrawsSignals, DrawsCoefficients))


def drawn_like(model: Any, subjects: Sequence[SubjectStretches], generator: torch.Generator) -> list[SubjectStretches]:
    """Draw stretches as long as those of the subjects from the model."""
    with torch.no_grad():
        return [one.of([_drawn(model, len(own), generator) for own in one.stretches]) for one in subjects]


def _drawn(model: Any, n_samples: int, generator: torch.Generator) -> Array:
    if isinstance(model, DrawsSignals):
        return np.asarray(model.sample(n_samples, generator)[0].cpu().numpy(), dtype=np.float64)
    assert isinstance(model, DrawsCoefficients)
    alpha = model.sample_alpha(n_samples, generator).double().cpu()
    arrays = {name: torch.from_numpy(np.asarray(value)).double() for name, value in model.arrays().items()}
    factors = torch.linalg.cholesky(torch.einsum("tk,kij->tij", alpha, arrays["covariances"]))
    noise = torch.randn(n_samples, factors.shape[1], 1, generator=generator, dtype=torch.float64)
    return np.asarray((alpha @ arrays["means"] + (factors @ noise)[..., 0]).numpy())


def summaries_of(family: Family, model: Any, subjects: Sequence[SubjectStretches]) -> Summaries:
    """Summarize stretches, whoever made them; states are those that the model infers."""
    together = np.concatenate([own for one in subjects for own in one.stretches])
    covariance = np.cov(together.T, bias=True).reshape(together.shape[1], -1)
    alphas = alphas_of(family, model, subjects)
    visits = list(_visits(alphas, subjects))
    lengths: list[list[int]] = [[] for _ in range(alphas[0].shape[1])]
    for state, length in visits:
        lengths[state].append(length)
    n_changes = len(visits) - sum(len(one.stretches) for one in subjects)
    return Summaries(
        covariance=covariance[np.tril_indices(len(covariance))],
        spectra=_log_spectrum(subjects),
        lifetimes=np.array([math.log(float(np.mean(own))) if own else math.nan for own in lengths]),
        switching=np.array([n_changes / len(together)]),
    )


def _visits(alphas: Sequence[Array], subjects: Sequence[SubjectStretches]) -> Iterator[tuple[int, int]]:
    """State and length of every visit of the most probable state; none crosses a border."""
    for alpha, one in zip(alphas, subjects, strict=True):
        path = np.nan_to_num(alpha, nan=-1.0).argmax(axis=1)
        start = 0
        for own in one.stretches:
            rows = path[start : start + len(own)]
            start += len(own)
            starts, stops = runs_of_equal(rows).T
            yield from zip(rows[starts].tolist(), (stops - starts).tolist(), strict=True)


def _log_spectrum(subjects: Sequence[SubjectStretches]) -> Array:
    from scipy.signal import welch

    shortest = min(len(own) for one in subjects for own in one.stretches)
    length = min(SAMPLES_OF_A_WINDOW, max(shortest, 8))
    powers = [
        (welch(own, nperseg=min(length, len(own)), nfft=length, axis=0)[1].mean(axis=1), len(own))
        for one in subjects
        for own in one.stretches
    ]
    total = sum(weight * power for power, weight in powers) / sum(weight for _, weight in powers)
    return np.asarray(np.log(np.maximum(total[1:-1], 1e-300)))


def predictive_verdicts(observed: Summaries, drawn: Sequence[Summaries], components: str) -> list[Verdict]:
    """Say for each summary whether the recordings lie among the draws.

    The distance of a summary is its mean squared difference from the mean of the draws; that of a draw is from the mean
    of the other draws.
    """
    found = []
    for name, words in LOOKED_AT.items():
        values = np.array([getattr(one, name) for one in drawn])
        own = getattr(observed, name)
        distance = _distance(own, values)
        others = [_distance(values[position], np.delete(values, position, axis=0)) for position in range(len(values))]
        p = p_of_draws(distance, others)
        fits, can_tell = p > LEVEL, 1 / (1 + len(drawn)) <= LEVEL
        sentence = (
            f"In {words}, the recordings lie {math.sqrt(distance):.3g} from what the model draws, draws lie "
            f"{math.sqrt(float(np.mean(others))):.3g} from each other (p = {p:.2f}, {len(drawn)} draws): "
            + _meaning(fits, can_tell, components)
        )
        found.append(
            Verdict(
                name=f"predictive_{name}",
                value=math.sqrt(distance),
                reference=math.sqrt(float(np.quantile(others, 1 - LEVEL))),
                sentence=sentence,
                holds=fits if can_tell else None,
            )
        )
    return found


def _meaning(fits: bool, can_tell: bool, components: str) -> str:
    if not can_tell:
        return f"too few draws for a test; {math.ceil(1 / LEVEL) - 1} are needed."
    return f"the model's {components} reproduce them." if fits else "the model does not reproduce them."


def _distance(own: Array, others: Array) -> float:
    with np.errstate(invalid="ignore"):
        counted = np.isfinite(others).sum(axis=0)
        centre = np.where(counted > 0, np.nansum(others, axis=0) / np.maximum(counted, 1), np.nan)
        squared = (own - centre) ** 2
    squared = squared[np.isfinite(squared)]
    return float(squared.mean()) if len(squared) else 0.0
