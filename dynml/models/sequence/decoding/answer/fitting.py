"""Fits the linear answer to training trials, and finds what it says of each when it has not seen it.

Shapes: n trials, K classes, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dynml.models.sequence.decoding.answer.choice import (
    Choice,
    Floats,
    Problem,
    Variant,
    averaged,
    best_choice,
    choices_of,
    coefficients,
)
from dynml.models.sequence.decoding.answer.features import (
    CONNECTIVITY,
    COURSE,
    KINDS,
    POWER,
    SHORTEST,
    STATE_KINDS,
    STATES,
    TANGENT,
    TRANSITIONS,
    connectivity,
    course,
    course_of_states,
    log_power,
    noise_normalizations,
    shrunk,
    spectra,
    state_transitions,
    tangent,
    whitening,
)
from dynml.models.sequence.decoding.answer.folds import drawn_trials, trial_problem
from dynml.models.sequence.decoding.answer.linear_answer import LinearAnswer, trials_of
from dynml.models.sequence.decoding.answer.worth_of_states import weights_without_states, worth_of_states
from dynml.models.sequence.decoding.baselines import CHOICE_TRIALS, principal_axes
from dynml.models.sequence.decoding.evaluation import windows_of_trials
from dynml.models.sequence.decoding.targets import Trials


@dataclass(frozen=True)
class OutOfFold:
    """What is known of training trials by models that have not seen them."""

    logits: Floats
    """Of the linear answer, (n, K)."""

    fold: NDArray[np.int64]
    """(n,), -1 for trials in no fold."""

    problem: Problem
    report: dict[str, Any]
    """What was chosen, and the cross-entropy and accuracy (of numbers: squared error and R^2) of each kind."""


def fit_answer(
    answer: LinearAnswer,
    trials: Trials,
    *,
    by_runs: bool,
    balanced: bool,
    most_trials: int,
    seed: int,
    values: Floats | None = None,
    marks: Floats | None = None,
) -> OutOfFold:
    """Set the buffers of a linear answer.

    For each kind of features their number, and for the course whether channels are whitened, is chosen by the
    cross-entropy (of numbers: the squared error) of held-out trials. The answer is the weighted mean over kinds and
    penalties for which it is least; without states, if these gain no more than one standard error.

    Parameters
    ----------
    answer : LinearAnswer
        With the classes' frequencies as its bias.
    trials : Trials
        Of training.
    by_runs : bool
        Whether subsets are split by runs, so that folds have to be, too.
    balanced : bool
        Whether classes weigh the same.
    most_trials : int
        Of more trials, so many are drawn to fit to.
    seed : int
        Of the draw.
    values : (n,), optional
        Numbers of the trials, standardized, where these are what is predicted.
    marks : (n, K), optional
        1 where a trial has a label, else 0, where each may have several.
    """
    drawn = drawn_trials(len(trials), most_trials, seed)
    log_priors = answer.bias_K.numpy()
    problem, by = trial_problem(
        trials, log_priors, by_runs=by_runs, balanced=balanced, drawn=drawn, values=values, marks=marks
    )
    features = _features(answer, trials)
    in_folds = _in_folds(problem)
    held_out = _of_some(problem, in_folds)
    choices = _choices({kind: _rows(variants, in_folds) for kind, variants in features.items()}, held_out, seed)
    weights = averaged(choices, held_out)
    without, worth = weights, None
    if answer.states is not None:
        without, worth = weights_without_states(choices, held_out), worth_of_states(choices, weights, held_out)
        weights = weights if worth["used"] else without
    logits = _set_weights(answer, answer.weights_FK, features, choices, weights, problem, drawn)
    logits[in_folds] = log_priors + sum(weight * choice.scores for weight, choice in zip(weights, choices))
    report = _report(choices, weights, logits[in_folds], held_out, by, answer)
    if worth is not None:
        _set_weights(answer, answer.without_states_FK, features, choices, without, problem, drawn)
        report["states"] = worth
    return OutOfFold(logits, _fold_of(problem), problem, report)


def _features(answer: LinearAnswer, trials: Trials) -> dict[str, list[Variant]]:
    """Features of all trials by kind, in the ways among which is chosen; sets what covariances are read by."""
    layout = answer.layout
    if layout.n_networks < layout.n_channels:
        axes = principal_axes(trials)[:, : layout.n_networks]
        answer.axes_CP.copy_(torch.from_numpy(np.ascontiguousarray(axes)))
    read = [trial for windows in windows_of_trials(trials, torch.device("cpu")) for trial in trials_of(windows)]
    bins = [size // layout.n_channels for size in layout.variants(COURSE)]
    courses = [torch.stack([course(*trial[:2], n) for trial in read]).numpy() for n in bins]
    found = {COURSE: [Variant(rows, axes.numpy()) for axes in noise_normalizations(read) for rows in courses]}
    if answer.states is not None:
        states = [answer.states(*trial[:2]) for trial in read]
        bins = [size // layout.n_states for size in layout.variants(STATES)]
        found[STATES] = [Variant(torch.stack([course_of_states(one, n) for one in states]).numpy()) for n in bins]
        found[TRANSITIONS] = [Variant(torch.stack([state_transitions(one) for one in states]).numpy())]
    if min(int(known.sum()) for _, known, _ in read) < SHORTEST:
        return found
    moments = [spectra(signals[known], rate, layout, answer.axes_CP) for signals, known, rate in read]
    usable = [one for one in moments if one is not None]
    if len(usable) < len(moments):
        return found
    covariances_NSPP = torch.stack([shrunk(one) for one in usable])
    answer.whitening_SPP.copy_(whitening(covariances_NSPP))
    rows_of = {
        POWER: torch.stack([log_power(one) for one in usable]),
        TANGENT: torch.stack([tangent(one, answer.whitening_SPP) for one in covariances_NSPP]),
        CONNECTIVITY: torch.stack([connectivity(one) for one in usable]),
    }
    for kind, rows in rows_of.items():
        found[kind] = [Variant(rows[:, :size].numpy()) for size in layout.variants(kind)]
    return found


def _choices(features: dict[str, list[Variant]], problem: Problem, seed: int) -> list[Choice]:
    """The best variant of each kind, with each penalty; chosen on some trials where there are very many."""
    part = drawn_trials(len(problem.truth), CHOICE_TRIALS, seed)
    smaller = _of_some(problem, part)
    found: list[Choice] = []
    for kind, variants in features.items():
        best = best_choice(kind, _rows(variants, part), smaller)
        if best is not None:
            found += choices_of(kind, variants, best.variant, problem)
    return found


def _in_folds(problem: Problem) -> NDArray[np.int64]:
    """Trials that are held out in some fold, ascending; all, where there is no fold."""
    held_out = [out for _, out in problem.folds]
    return np.sort(np.concatenate(held_out)) if held_out else np.arange(len(problem.truth))


def _of_some(problem: Problem, part: NDArray[np.int64]) -> Problem:
    """Some of the trials (ascending), in the same folds."""
    sides = [[np.searchsorted(part, side[np.isin(side, part)]) for side in fold] for fold in problem.folds]
    return problem.part(part, [(fit, out) for fit, out in sides if len(fit) and len(out)])


def _rows(variants: list[Variant], part: NDArray[np.int64]) -> list[Variant]:
    return [variant.part(part) for variant in variants]


def _set_weights(
    answer: LinearAnswer,
    into_FK: torch.Tensor,
    features: dict[str, list[Variant]],
    choices: Sequence[Choice],
    weights: Floats,
    problem: Problem,
    drawn: NDArray[np.int64],
) -> Floats:
    """Fit to all drawn trials, with the weights of choices; logits of all trials, (n, K)."""
    logits = np.tile(problem.log_priors, (len(problem.truth), 1))
    for kind in dict.fromkeys(choice.kind for choice in choices):
        own = [(weight, choice) for weight, choice in zip(weights.tolist(), choices) if choice.kind == kind and weight]
        if not any(np.any(choice.factor) for _, choice in own):
            continue
        n_features, variant = own[0][1].n_features, features[kind][own[0][1].variant]
        penalties = [choice.penalty for _, choice in own]
        slopes_of, centre = coefficients(variant.part(drawn), problem.part(drawn, ()), penalties)
        slopes = sum(weight * choice.factor * one for (weight, choice), one in zip(own, slopes_of))
        first = answer.layout.slice_of(kind).start
        into_FK[first : first + n_features] = torch.from_numpy(slopes)
        answer.centre_F[first : first + n_features] = torch.from_numpy(centre)
        if kind == COURSE:
            answer.n_course.fill_(n_features)
        if kind == STATES:
            answer.n_state_course.fill_(n_features)
        logits += (variant.inputs - centre) @ slopes
    return logits


def _fold_of(problem: Problem) -> NDArray[np.int64]:
    fold = np.full(len(problem.truth), -1)
    for number, (_, held_out) in enumerate(problem.folds):
        fold[held_out] = number
    return fold


def _report(
    choices: Sequence[Choice],
    weights: Floats,
    logits: Floats,
    problem: Problem,
    by: str,
    answer: LinearAnswer,
) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(choice.kind for choice in choices):
        own = [number for number, choice in enumerate(choices) if choice.kind == kind]
        best = min((choices[number] for number in own), key=lambda choice: choice.loss)
        kinds[kind] = {
            **problem.scores(problem.log_priors + best.scores),
            "weight": float(weights[own].sum()),
            "penalty": best.penalty,
            "n_features": best.n_features,
        }
        if kind == COURSE:
            kinds[COURSE]["n_bins"] = best.n_features // answer.layout.n_channels
            kinds[COURSE]["whitened"] = best.variant >= len(answer.layout.variants(COURSE))
        if kind == STATES:
            kinds[STATES]["n_bins"] = best.n_features // answer.layout.n_states
    known = [kind for kind in KINDS if answer.states is not None or kind not in STATE_KINDS]
    missing = [kind for kind in known if kind not in kinds]
    return {"held_out": problem.scores(logits), "held_out_by": by, "kinds": kinds, "not_for_these_trials": missing}
