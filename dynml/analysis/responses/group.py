"""Responses of all participants together, and the sentences that the numbers make.

Shapes: D conditions, W samples of an epoch, K states, N participants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.responses.means import over_participants
from dynml.analysis.responses.participants import ConditionLocking, ParticipantResponses, ResponseSettings
from dynml.analysis.responses.sign_flips import sign_flip_p, smallest_p

Doubles = NDArray[np.float64]
LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class GroupResponses:
    """Mean over participants, or the responses of the only one."""

    mean: Doubles
    """(D, W, K)."""
    standard_error: Doubles
    """Over participants, or over the trials of the only one, (D, W, K)."""
    n_trials: Doubles
    """Of all participants, (D, W)."""
    p: Doubles
    """Corrected over the times and states of a condition, (D, W, K); NaN where nothing could be tested."""
    p_of_effects: Doubles | None
    """Of the effects of a haemodynamic model over participants, corrected over states, (D, K)."""
    effects: Doubles | None
    """Mean of these effects, (D, K)."""
    n_participants: NDArray[np.int64]
    """Who have trials, (D,)."""
    method: str


def group_responses(participants: Sequence[ParticipantResponses], settings: ResponseSettings) -> GroupResponses:
    """Average over participants and test by flipping signs; of one participant, take its own test."""
    if len(participants) == 1:
        return _of_one(participants[0])
    mean, error = over_participants([one.mean for one in participants])
    deviations = np.stack([one.deviation for one in participants])
    p = np.full(mean.shape, np.nan)
    for condition in range(len(mean)):
        cells = deviations[:, condition].reshape(len(participants), -1)
        p[condition] = sign_flip_p(cells, seed=settings.seed)[0].reshape(mean.shape[1:])
    seen = np.stack([np.isfinite(one.mean).any(axis=(1, 2)) for one in participants])
    effects = _effects(participants, mean.shape) if settings.haemodynamic else None
    p_of_effects = None if effects is None else np.stack([sign_flip_p(own, seed=settings.seed)[0] for own in effects])
    return GroupResponses(
        mean=mean,
        standard_error=error,
        n_trials=sum((one.n_trials for one in participants), np.zeros(mean.shape[:2])),
        p=p,
        p_of_effects=p_of_effects,
        effects=None if effects is None else _mean(effects),
        n_participants=np.asarray(seen.sum(axis=0), dtype=np.int64),
        method="sign flips over participants",
    )


def _of_one(only: ParticipantResponses) -> GroupResponses:
    p = np.full(only.mean.shape, np.nan)
    for condition, locking in only.locking.items():
        if locking.p_of_times is not None:
            p[condition] = locking.p_of_times
    return GroupResponses(
        mean=only.mean,
        standard_error=only.standard_error,
        n_trials=only.n_trials,
        p=p,
        p_of_effects=None,
        effects=None,
        n_participants=np.asarray(np.isfinite(only.mean).any(axis=(1, 2)), dtype=np.int64),
        method=" or ".join(sorted({one.surrogates for one in only.locking.values()})) or "none",
    )


def _effects(participants: Sequence[ParticipantResponses], shape: tuple[int, ...]) -> Doubles:
    """Haemodynamic effects, (D, N, K); NaN where a participant has none."""
    effects = np.full((shape[0], len(participants), shape[2]), np.nan)
    for number, one in enumerate(participants):
        for condition, locking in one.locking.items():
            if _is_modelled(locking):
                effects[condition, number] = locking.effect
    return effects


def _mean(effects: Doubles) -> Doubles:
    seen = np.isfinite(effects)
    count = seen.sum(axis=1)
    total = np.where(seen, effects, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def findings(
    group: GroupResponses, participants: Sequence[ParticipantResponses], settings: ResponseSettings
) -> list[str]:
    """Say in sentences what was found, and what could not be tested."""
    sentences = []
    for condition, name in enumerate(settings.conditions):
        if group.n_participants[condition]:
            if not _is_described_by_a_model(condition, participants):
                reference = _mean(np.stack([_reference(one, condition) for one in participants])[None])[0]
                sentences.append(_of_condition(condition, name, group, settings, reference))
            sentences += _of_participants(condition, name, settings.component, participants)
        for one in participants:
            if condition in one.untested:
                sentences.append(
                    f"{name}: locking of participant {one.participant} was not tested: {one.untested[condition]}."
                )
    n_fewest = int(group.n_participants[group.n_participants > 0].min(initial=len(participants)))
    if len(participants) > 1 and smallest_p(n_fewest) > LEVEL:
        sentences.append(
            f"With {n_fewest} participants no p-value of the group can be below {smallest_p(n_fewest):.3g}; look at "
            "each participant instead (locking.tsv)."
        )
    return sentences


def _reference(participant: ParticipantResponses, condition: int) -> Doubles:
    """What a participant's response is compared with, (K,); NaN of one without trials."""
    seen = np.isfinite(participant.mean[condition]).any()
    return participant.reference if seen else np.full_like(participant.reference, np.nan)


def _of_condition(
    condition: int, name: str, group: GroupResponses, settings: ResponseSettings, reference: Doubles
) -> str:
    p = group.p[condition]
    if not np.isfinite(p).any():
        return f"{name}: no test over times."
    filled = np.where(np.isfinite(p), p, np.inf)
    deviation = np.abs(group.mean[condition] - reference)
    time, state = np.unravel_index(np.lexsort((-np.nan_to_num(deviation).ravel(), filled.ravel()))[0], p.shape)
    seconds = settings.window.times[time]
    p_words = f"p = {p[time, state]:.3g}, {group.method}, corrected over times and {settings.component}s"
    if p[time, state] > LEVEL:
        return f"{name}: no {settings.component} responds (smallest {p_words})."
    responding = [str(number + 1) for number in np.flatnonzero((filled <= LEVEL).any(axis=0))]
    word, numbers = settings.component, ", ".join(responding)
    words = f"{word} {numbers} responds" if len(responding) == 1 else f"{word}s {numbers} respond"
    value, usual = group.mean[condition, time, state], reference[state]
    if settings.baseline is not None:
        change = f"changes by {value:.3g} at {seconds:.3g} s"
    else:
        change = f"is at {value:.3g} at {seconds:.3g} s, against {usual:.3g} over all samples"
    return f"{name}: {words}; {word} {state + 1} {change} ({p_words})."


def _is_described_by_a_model(condition: int, participants: Sequence[ParticipantResponses]) -> bool:
    """Whether a haemodynamic model of a single participant says more than epochs, which hold neighbouring events."""
    locking = participants[0].locking.get(condition) if len(participants) == 1 else None
    return locking is not None and _is_modelled(locking)


def _is_modelled(locking: ConditionLocking) -> bool:
    """Whether the effects are those of a haemodynamic model."""
    return bool(np.isnan(locking.time).all())


def _of_model(name: str, word: str, locking: ConditionLocking) -> str:
    if not np.isfinite(locking.p).any():
        return f"{name}: no {word} varies, so that none can be locked to it."
    state = int(np.nanargmin(np.nan_to_num(locking.p, nan=2.0)))
    is_locked = locking.p[state] <= LEVEL
    said = "is locked to it" if is_locked else "comes nearest to being locked to it, but is not"
    words = f"{word} {state + 1} {said}"
    return (
        f"{name}: {words} (effect {locking.effect[state]:.3g}, t = {locking.t[state]:.3g}, p = {locking.p[state]:.3g}, "
        f"corrected over {word}s; {locking.method})."
    )


def _of_participants(condition: int, name: str, word: str, participants: Sequence[ParticipantResponses]) -> list[str]:
    tested = [one.locking[condition] for one in participants if condition in one.locking]
    if not tested:
        return []
    if len(participants) == 1:
        return [_of_model(name, word, tested[0])] if _is_modelled(tested[0]) else []
    n_locked = sum(bool((np.nan_to_num(own.p, nan=1.0) <= LEVEL).any()) for own in tested)
    method = tested[0].method
    return [
        f"{name}: in {n_locked} of {len(tested)} participants a {word} is locked to it (p <= {LEVEL:g} each; by chance "
        f"{LEVEL * len(tested):.2g}; {method})."
    ]
