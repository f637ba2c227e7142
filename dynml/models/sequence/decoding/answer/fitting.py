"""Fits the linear answer to training trials, and finds what it says of each when it has not seen it.

Shapes: n trials, K classes, F features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.models.sequence.decoding.answer.choice import (
    Choice,
    Floats,
    Problem,
    Variant,
    averaged,
    choices_of,
    coefficients,
)
from dynml.models.sequence.decoding.answer.features import (
    CONNECTIVITY,
    COURSE,
    KINDS,
    MOST_SOURCES,
    OSCILLATIONS,
    POWER,
    STATES,
    TANGENT,
    TRANSITIONS,
    FeatureLayout,
    Waves,
    connectivity,
    course,
    course_of_states,
    log_power,
    network_axes,
    noise_normalizations,
    shares_of_parts,
    shrunk,
    spectra,
    state_transitions,
    tangent,
    waves_of,
    whitening,
)
from dynml.models.sequence.decoding.answer.folds import drawn_trials, trial_problem
from dynml.models.sequence.decoding.answer.linear_answer import LinearAnswer, trials_of
from dynml.models.sequence.decoding.answer.oscillations import bands_with_sources, oscillations, source_axes
from dynml.models.sequence.decoding.answer.worth_of_states import weights_without_states, worth_of_states
from dynml.models.sequence.decoding.baselines import CHOICE_TRIALS
from dynml.models.sequence.decoding.evaluation import windows_of_trials
from dynml.models.sequence.decoding.targets import Trials

LEAST_SHARE_READ = 0.5
"""Of trials that have a spectrum; where fewer do, none is read."""


@dataclass(frozen=True)
class Chosen:
    """Regressions that have a weight, and the best one of each kind."""

    choices: list[Choice]
    weights: Floats
    without_states: Floats
    """Weights as they would be if no states were known."""

    worth: dict[str, Any] | None
    """What states add; None where none are known."""


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

    There is a regression for each kind of features, number of these, penalty, and, of the course, for channels that are
    whitened or not. The answer is the weighted mean of all for which the cross-entropy (of numbers: the squared error)
    of held-out trials is least; with few trials the weights are nearly equal. States have no part in it if they gain no
    more than one standard error.

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
    features, n_without_spectrum = _features(answer, trials)
    in_folds = _in_folds(problem)
    held_out = _of_some(problem, in_folds)
    chosen = _choices(
        {kind: _rows(own, in_folds) for kind, own in features.items()}, held_out, seed, answer.states is not None
    )
    logits = _set_weights(answer, answer.weights_FK, features, chosen.choices, chosen.weights, problem, drawn)
    logits[in_folds] = log_priors + sum(w * choice.scores for w, choice in zip(chosen.weights, chosen.choices))
    report = _report(chosen, logits[in_folds], held_out, by, answer)
    spectra_used = POWER in features
    report |= {"n_trials": len(trials), "n_without_spectrum": n_without_spectrum, "spectra_used": spectra_used}
    if chosen.worth is not None:
        without = chosen.without_states
        _set_weights(answer, answer.without_states_FK, features, chosen.choices, without, problem, drawn)
        report["states"] = chosen.worth
    return OutOfFold(logits, _fold_of(problem), problem, report)


def _features(answer: LinearAnswer, trials: Trials) -> tuple[dict[str, list[Variant]], int]:
    """Features of all trials by kind, in the ways among which is chosen; sets what covariances are read by.

    And the number of trials without a spectrum.
    """
    layout = answer.layout
    read = [trial for windows in windows_of_trials(trials, torch.device("cpu")) for trial in trials_of(windows)]
    answer.axes_CP.copy_(network_axes(read, layout.n_networks))
    found = {COURSE: _courses(layout, read)}
    if answer.states is not None:
        found |= _of_states([answer.states(*trial[:2]) for trial in read], layout)
    all_waves = [waves_of(signals[known], rate) for signals, known, rate in read]
    moments = [None if waves is None else spectra(waves, layout, answer.axes_CP) for waves in all_waves]
    is_read = np.array([one is not None for one in moments])
    n_without = int((~is_read).sum())
    if is_read.mean() < LEAST_SHARE_READ:
        return found, n_without
    usable = [one for one in moments if one is not None]
    covariances_NSPP = torch.stack([shrunk(one) for one in usable])
    answer.whitening_SPP.copy_(whitening(covariances_NSPP))
    varies_C = (answer.axes_CP != 0).any(dim=1)
    rows_of = {
        POWER: torch.stack([log_power(one) for one in usable]) * varies_C.repeat(1 + len(layout.bands)),
        TANGENT: torch.stack([tangent(one, answer.whitening_SPP) for one in covariances_NSPP]),
        CONNECTIVITY: torch.stack([connectivity(one) for one in usable]),
    }
    for kind, rows in rows_of.items():
        found[kind] = [Variant(_of_all(rows[:, :size], is_read)) for size in layout.variants(kind)]
    if layout.source_bands:
        answer.sources_APJ.copy_(source_axes(read, layout, answer.axes_CP))
        usable_waves = [waves for waves, one in zip(all_waves, moments) if waves is not None and one is not None]
        found |= _of_oscillations(answer, usable_waves, is_read)
    return found, n_without


def _of_all(rows: Tensor, is_read: NDArray[np.bool_]) -> Floats:
    """Features of all trials (n, F) from those that have them; the others have their mean, which says nothing."""
    found = np.tile(rows.mean(dim=0).numpy(), (len(is_read), 1))
    found[is_read] = rows.numpy()
    return found


def _of_oscillations(
    answer: LinearAnswer, all_waves: list[Waves], is_read: NDArray[np.bool_]
) -> dict[str, list[Variant]]:
    """Each band by itself: classes differ in few, and there are too many features in all."""
    layout, bands = answer.layout, bands_with_sources(answer.sources_APJ)
    if not bands:
        return {}
    rows = torch.stack(
        [oscillations(one, layout.source_bands, answer.axes_CP, answer.sources_APJ) for one in all_waves]
    )
    size = MOST_SOURCES**2
    of_bands = [_of_all(rows[:, n * size : (n + 1) * size], is_read) for n in bands]
    return {OSCILLATIONS: [Variant(inputs, first=n * size) for inputs, n in zip(of_bands, bands)]}


def _courses(layout: FeatureLayout, read: list[tuple[Tensor, Tensor, float]]) -> list[Variant]:
    """Means over parts of trials; channels scaled or whitened by their noise."""
    bins = [size // layout.n_channels for size in layout.variants(COURSE)]
    finest = torch.stack([course(*trial[:2], bins[-1]) for trial in read])
    plain = _of_parts(finest, bins)
    return [dataclasses.replace(one, axes=axes.numpy()) for axes in noise_normalizations(read) for one in plain]


def _of_states(states: list[Tensor], layout: FeatureLayout) -> dict[str, list[Variant]]:
    """The course of state probabilities, as that of channels, and what follows what."""
    bins = [size // layout.n_states for size in layout.variants(STATES)]
    finest = torch.stack([course_of_states(one, bins[-1]) for one in states])
    transitions = torch.stack([state_transitions(one) for one in states])
    return {STATES: _of_parts(finest, bins), TRANSITIONS: [Variant(transitions.numpy())]}


def _of_parts(finest: Tensor, bins: list[int]) -> list[Variant]:
    """Means over parts; all are means of those over the finest parts, so that weights can be added up."""
    by_part = finest.unflatten(1, (bins[-1], -1))
    shares = [shares_of_parts(n, bins[-1]) for n in bins]
    rows = [torch.einsum("pr,nrc->npc", share, by_part).flatten(1).numpy() for share in shares]
    return [Variant(inputs, parts=share.numpy()) for inputs, share in zip(rows, shares)]


def _choices(features: dict[str, list[Variant]], problem: Problem, seed: int, knows_states: bool) -> Chosen:
    """Choose by held-out trials; where there are very many, by some of them."""
    part = drawn_trials(len(problem.truth), CHOICE_TRIALS, seed)
    smaller = _of_some(problem, part)
    found: list[Choice] = []
    for kind, variants in features.items():
        rows = _rows(variants, part)
        for number in range(len(rows)):
            found += choices_of(kind, rows, number, smaller)
    weights = averaged(found, smaller)
    without, worth = weights, None
    if knows_states:
        without, worth = weights_without_states(found, smaller), worth_of_states(found, weights, smaller)
        weights = weights if worth["used"] else without
    by_loss = sorted(range(len(found)), key=lambda number: found[number].loss, reverse=True)
    best = {found[number].kind: number for number in by_loss}.values()
    kept = [number for number in range(len(found)) if weights[number] or without[number] or number in best]
    chosen = [found[number] for number in kept]
    if len(part) < len(problem.truth):
        chosen = _on_all(chosen, features, problem)
    return Chosen(chosen, weights[kept], without[kept], worth)


def _on_all(chosen: list[Choice], features: dict[str, list[Variant]], problem: Problem) -> list[Choice]:
    """The same choices with what is said of all trials."""
    used = dict.fromkeys((choice.kind, choice.variant) for choice in chosen)
    found = {one: choices_of(one[0], features[one[0]], one[1], problem) for one in used}
    return [
        next(own for own in found[choice.kind, choice.variant] if own.penalty == choice.penalty) for choice in chosen
    ]


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
    into_FK.zero_()
    of_drawn = problem.part(drawn, ())
    share = of_drawn.weights / of_drawn.weights.sum()
    for kind, number in dict.fromkeys((choice.kind, choice.variant) for choice in choices):
        own = [
            (weight, choice)
            for weight, choice in zip(weights.tolist(), choices)
            if (choice.kind, choice.variant) == (kind, number) and weight and np.any(choice.factor)
        ]
        if not own:
            continue
        variant = features[kind][number]
        first = answer.layout.slice_of(kind).start + variant.first
        slopes_of, centre = coefficients(variant.part(drawn), of_drawn, [choice.penalty for _, choice in own])
        slopes = sum(weight * choice.factor * one for (weight, choice), one in zip(own, slopes_of))
        logits += (variant.inputs - centre) @ slopes
        slopes = variant.of_finest(slopes)
        if kind in (COURSE, STATES):
            finest = features[kind][len(answer.layout.variants(kind)) - 1]
            centre = share @ finest.inputs[drawn]
            (answer.n_course if kind == COURSE else answer.n_state_course).fill_(len(slopes))
        into_FK[first : first + len(slopes)] += torch.from_numpy(slopes)
        answer.centre_F[first : first + len(slopes)] = torch.from_numpy(centre)
    return logits


def _fold_of(problem: Problem) -> NDArray[np.int64]:
    fold = np.full(len(problem.truth), -1)
    for number, (_, held_out) in enumerate(problem.folds):
        fold[held_out] = number
    return fold


def _report(chosen: Chosen, logits: Floats, problem: Problem, by: str, answer: LinearAnswer) -> dict[str, Any]:
    choices, weights = chosen.choices, chosen.weights
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
            kinds[COURSE]["whitened"] = best.variant >= answer.layout.n_resolutions
        if kind == OSCILLATIONS:
            number = bands_with_sources(answer.sources_APJ)[best.variant]
            kinds[kind]["band"] = list(answer.layout.source_bands[number])
            kinds[kind]["n_sources"] = int((answer.sources_APJ[number] != 0).any(dim=0).sum())
        if kind == STATES:
            kinds[STATES]["n_bins"] = best.n_features // answer.layout.n_states
    known = [kind for kind in KINDS if answer.layout.size(kind)]
    missing = [kind for kind in known if kind not in kinds]
    return {"held_out": problem.scores(logits), "held_out_by": by, "kinds": kinds, "not_for_these_trials": missing}
