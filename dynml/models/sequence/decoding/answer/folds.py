"""Which training trials are fitted to and which held out.

Shapes: n trials, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.models.sequence.decoding.answer.choice import Floats, LabelProblem, NumberProblem, Problem
from dynml.models.sequence.decoding.targets import Trials, cross_validation_groups

N_FOLDS = 5
_STREAM = 37


def drawn_trials(n_trials: int, most: int, seed: int, stream: tuple[int, ...] = (_STREAM,)) -> NDArray[np.int64]:
    """Which of the trials are fitted to, ascending: all, or so many."""
    if n_trials <= most:
        return np.arange(n_trials)
    generator = np.random.default_rng(np.random.SeedSequence((seed, *stream)))
    return np.sort(generator.choice(n_trials, most, replace=False))


def trial_problem(
    trials: Trials,
    log_priors: Floats,
    *,
    by_runs: bool,
    balanced: bool,
    drawn: NDArray[np.int64],
    values: Floats | None = None,
    marks: Floats | None = None,
) -> tuple[Problem, str]:
    """Classes of trials, or their numbers or labels, with folds; and the name of what is held out together.

    Parameters
    ----------
    trials : Trials
    log_priors : (K,)
    by_runs : bool
        Whether subsets are split by runs, so that folds have to be, too.
    balanced : bool
        Whether classes weigh the same.
    drawn : int array
        Trials that are fitted to.
    values : (n,), optional
        Numbers of the trials, standardized, where these are what is predicted.
    marks : (n, K), optional
        1 where a trial has a label, else 0, where each may have several.
    """
    if values is not None:
        return number_problem(trials, values, by_runs=by_runs, drawn=drawn)
    if marks is not None:
        people, parts, by = _grouped(trials, by_runs=by_runs, drawn=drawn)
        return LabelProblem(trials.truth, np.ones(len(marks)), log_priors, people, parts, marks), by
    truth = trials.truth
    counts = np.bincount(truth, minlength=len(log_priors))
    weights = len(truth) / (len(counts) * counts[truth]) if balanced else np.ones(len(truth))
    groups, by = cross_validation_groups(trials, by_runs=by_runs)
    own = np.arange(len(truth)) if groups is None else groups
    folds = [(drawn[fit], drawn[out]) for fit, out in folds_of(truth[drawn], None if groups is None else groups[drawn])]
    return Problem(truth, weights, log_priors, own, folds), by


def number_problem(
    trials: Trials, values: Floats, *, by_runs: bool, drawn: NDArray[np.int64]
) -> tuple[NumberProblem, str]:
    """Numbers of trials with folds of participants, of runs, or of stretches of trials; and the name of what they are.

    Parameters
    ----------
    trials : Trials
    values : (n,)
        Standardized.
    by_runs : bool
    drawn : int array
        Trials that are fitted to.
    """
    groups, folds, by = _grouped(trials, by_runs=by_runs, drawn=drawn)
    return NumberProblem(trials.truth, np.ones(len(values)), np.zeros(1), groups, folds, values), by


def _grouped(
    trials: Trials, *, by_runs: bool, drawn: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[tuple[NDArray[np.int64], NDArray[np.int64]]], str]:
    """Groups of trials, and folds that look at nothing else."""
    groups, by = cross_validation_groups(trials, by_runs=by_runs)
    alike = np.zeros(len(drawn), dtype=np.int64)
    folds = folds_of(alike, None if groups is None else groups[drawn], n_least=1)
    own = np.arange(len(trials)) if groups is None else groups
    return own, [(drawn[fit], drawn[out]) for fit, out in folds], by


def folds_of(truth: NDArray[np.int64], groups: NDArray[np.int64] | None, *, n_least: int = 2) -> Any:
    """Folds of groups, or of stretches of the trials of each class; at least `n_least` classes are fitted to."""
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    with warnings.catch_warnings():
        # Classes with fewer trials than folds are no fault here: they are said when the data are settled.
        warnings.simplefilter("ignore")
        if groups is not None and len(np.unique(groups)) > 1:
            n_folds = min(N_FOLDS, len(np.unique(groups)))
            found = list(StratifiedGroupKFold(n_folds).split(truth, truth, groups))
        else:
            n_folds = min(N_FOLDS, int(np.bincount(truth).max()))
            found = list(StratifiedKFold(n_folds).split(truth, truth)) if n_folds > 1 else []
    return [(fit, out) for fit, out in found if len(out) and len(np.unique(truth[fit])) >= n_least]
