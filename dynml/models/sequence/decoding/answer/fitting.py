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
    best_choice,
    coefficients,
    held_out_scores,
    stacked,
)
from dynml.models.sequence.decoding.answer.features import (
    CONNECTIVITY,
    COURSE,
    KINDS,
    POWER,
    SHORTEST,
    TANGENT,
    connectivity,
    course,
    log_power,
    shrunk,
    spectra,
    tangent,
    whitening,
)
from dynml.models.sequence.decoding.answer.folds import drawn_trials, trial_problem
from dynml.models.sequence.decoding.answer.linear_answer import LinearAnswer, trials_of
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

    For each kind of features, number of features and penalty are chosen by the cross-entropy (of numbers: the squared
    error) of held-out trials; then the best kind is taken, or a sum of several where that is better by more than one
    standard error.

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
    choices = _choices(features, problem, seed)
    weights = stacked(choices, problem)
    in_no_fold = _set_weights(answer, features, choices, weights, problem, drawn)
    logits = problem.log_priors + sum(weight * choice.scores for weight, choice in zip(weights, choices))
    fold = _fold_of(problem)
    logits[fold < 0] = in_no_fold[fold < 0]
    return OutOfFold(logits, fold, problem, _report(choices, weights, logits, problem, by, answer))


def _features(answer: LinearAnswer, trials: Trials) -> dict[str, list[tuple[int, Floats]]]:
    """Features of all trials by kind, in the numbers among which is chosen; sets what covariances are read by."""
    layout = answer.layout
    if layout.n_networks < layout.n_channels:
        axes = principal_axes(trials)[:, : layout.n_networks]
        answer.axes_CP.copy_(torch.from_numpy(np.ascontiguousarray(axes)))
    read = [trial for windows in windows_of_trials(trials, torch.device("cpu")) for trial in trials_of(windows)]
    found: dict[str, list[tuple[int, Floats]]] = {COURSE: []}
    for size in layout.variants(COURSE):
        n_bins = size // layout.n_channels
        rows = torch.stack([course(signals, known, n_bins) for signals, known, _ in read])
        found[COURSE].append((size, rows.numpy()))
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
        found[kind] = [(size, rows[:, :size].numpy()) for size in layout.variants(kind)]
    return found


def _choices(features: dict[str, list[tuple[int, Floats]]], problem: Problem, seed: int) -> list[Choice]:
    """The best of each kind, with the scores of all trials; chosen on some of them where there are very many."""
    in_folds = np.concatenate([out for _, out in problem.folds]) if problem.folds else np.arange(len(problem.truth))
    part = np.sort(in_folds)[drawn_trials(len(in_folds), CHOICE_TRIALS, seed)]
    position = {trial: number for number, trial in enumerate(part.tolist())}
    chosen = np.isin(np.arange(len(problem.truth)), part)
    folds = [
        tuple(np.array([position[trial] for trial in side[chosen[side]].tolist()], dtype=np.int64) for side in fold)
        for fold in problem.folds
    ]
    smaller = problem.part(part, [(fit, out) for fit, out in folds if len(fit) and len(out)])
    found = []
    for kind, variants in features.items():
        best = best_choice(kind, [(size, inputs[part]) for size, inputs in variants], smaller)
        if best is not None:
            inputs = dict(variants)[best.n_features]
            scores = held_out_scores(inputs, problem, [best.penalty])[0]
            whole = problem.part(np.sort(in_folds), ())
            factor, loss = whole.calibrated(scores[np.sort(in_folds)])
            found.append(Choice(kind, best.n_features, best.penalty, factor, factor * scores, loss))
    return found


def _set_weights(
    answer: LinearAnswer,
    features: dict[str, list[tuple[int, Floats]]],
    choices: Sequence[Choice],
    weights: Floats,
    problem: Problem,
    drawn: NDArray[np.int64],
) -> Floats:
    """Fit to all drawn trials; logits of all trials, (n, K)."""
    logits = np.tile(problem.log_priors, (len(problem.truth), 1))
    for weight, choice in zip(weights.tolist(), choices):
        if not np.any(weight * choice.factor):
            continue
        inputs = dict(features[choice.kind])[choice.n_features]
        slopes, centre = coefficients(inputs[drawn], problem.part(drawn, ()), [choice.penalty])
        slopes = weight * choice.factor * slopes[0]
        first = answer.layout.slice_of(choice.kind).start
        answer.weights_FK[first : first + choice.n_features] = torch.from_numpy(slopes)
        answer.centre_F[first : first + choice.n_features] = torch.from_numpy(centre)
        if choice.kind == COURSE:
            answer.n_course.fill_(choice.n_features)
        logits += (inputs - centre) @ slopes
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
    for weight, choice in zip(weights.tolist(), choices):
        kinds[choice.kind] = {
            **problem.scores(problem.log_priors + choice.scores),
            "weight": weight,
            "penalty": choice.penalty,
            "n_features": choice.n_features,
        }
        if choice.kind == COURSE:
            kinds[COURSE]["n_bins"] = choice.n_features // answer.layout.n_channels
    missing = [kind for kind in KINDS if kind not in kinds]
    return {"held_out": problem.scores(logits), "held_out_by": by, "kinds": kinds, "not_for_these_trials": missing}
