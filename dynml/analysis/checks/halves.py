"""Whether the same states come back in the other half of the participants.

Shapes: T samples, K states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.checks.stretches import SubjectStretches
from dynml.analysis.checks.verdicts import Verdict, p_of_draws
from dynml.analysis.selection.agreement import shifted_in_time, similarity

Array = NDArray[np.float64]
N_SHIFTS = 99
FEWEST_PARTICIPANTS = 4
BELOW_CHANCE, AGREES = 1e-9, 0.5


@dataclass(frozen=True)
class Agreement:
    """How alike the time courses of two models are."""

    similarity: float
    """S: sum over states of the mean of the smaller of both probabilities, between 0 and 1."""
    of_states: list[float]
    """The same for each state, as a share of the larger of its two occupancies; NaN for a state that neither visits."""
    by_chance: list[float]
    """S where the second model's time courses are shifted in time."""


def halves(subjects: Sequence[SubjectStretches], seed: int) -> tuple[list[SubjectStretches], list[SubjectStretches]]:
    """Deal participants out to two halves at random; all recordings of a participant go to the same."""
    people = sorted({one.participant for one in subjects})
    order = np.random.default_rng(seed).permutation(len(people))
    first = {people[position] for position in order[: len(people) // 2]}
    return [one for one in subjects if one.participant in first], [
        one for one in subjects if one.participant not in first
    ]


def agreement(first: Sequence[Array], second: Sequence[Array], seed: int) -> Agreement:
    """Match the states of two models by what they say of the same samples, and of samples shifted in time.

    Parameters
    ----------
    first, second : sequence of arrays (T, K)
        One per subject.
    """
    generator = np.random.default_rng(seed)
    known = [
        np.isfinite(one).all(axis=1) & np.isfinite(other).all(axis=1) for one, other in zip(first, second, strict=True)
    ]
    ours = [one[rows] for one, rows in zip(first, known, strict=True)]
    others = [other[rows] for other, rows in zip(second, known, strict=True)]
    whole, order = similarity(ours, others)
    together, matched = np.concatenate(ours), np.concatenate(others)[:, order]
    larger = np.maximum(together.mean(axis=0), matched.mean(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        of_states = np.where(larger > 0, np.minimum(together, matched).mean(axis=0) / larger, np.nan)
    by_chance = [similarity(ours, shifted_in_time(others, generator))[0] for _ in range(N_SHIFTS)]
    return Agreement(whole, of_states.tolist(), by_chance)


def halves_verdict(found: Agreement, kind: str) -> Verdict:
    """Say whether the states come back."""
    chance = float(np.mean(found.by_chance))
    p = p_of_draws(found.similarity, found.by_chance)
    beyond = (found.similarity - chance) / max(1 - chance, BELOW_CHANCE)
    comes_back = p <= 0.05 and beyond >= AGREES
    sentence = (
        f"Models of two halves of the participants agree on {found.similarity:.0%} of the time (their {kind} matched), "
        f"shifted in time on {chance:.0%} (p = {p:.2f}): "
        + (
            f"the same {kind} come back."
            if comes_back
            else f"the {kind} of the halves agree only in part."
            if p <= 0.05
            else f"the {kind} of the halves agree no better than shifted ones."
        )
    )
    return Verdict(name="split_half", value=found.similarity, reference=chance, sentence=sentence, holds=comes_back)
