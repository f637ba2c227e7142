"""Nested cross-validation of ridge regression, for a target and all its permutations at once.

A class is predicted by ridge regression on its indicator, divided by its share, which gives rare and frequent classes
the same weight. All that depends on features alone is made once for all permutations, so that the whole pipeline is
permuted at little cost.

Shapes: N participants, F features, A targets (the true one first, then permutations), L classes (1 for numbers).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.prediction.features import FeatureSet, vectors_of_fold
from dynml.analysis.prediction.folds import folds_of, without_confounds
from dynml.errors import ConfigurationError, DataError

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
PENALTIES = 10.0 ** np.arange(-2, 7)
"""Of ridge regression on standardized features."""


@dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """How people are divided."""

    n_folds: int = 5
    n_inner_folds: int = 5
    n_repeats: int = 5
    n_permutations: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for key, least in (("n_folds", 2), ("n_inner_folds", 2), ("n_repeats", 1), ("n_permutations", 99)):
            if getattr(self, key) < least:
                raise ConfigurationError(f"--{key}", getattr(self, key), f"a whole number from {least}")


@dataclass(frozen=True)
class Predicted:
    """What was said of people that were not learnt from."""

    truth: Doubles
    """(repeats, N, A, L) targets of the test people, without confounds; indicators for classes."""
    predicted: Doubles
    """(repeats, N, A, L)"""
    baseline: Doubles
    """(repeats, N, A, L) mean of the training people."""
    fold: Integers
    """(repeats, N)"""


def cross_validated(
    features: FeatureSet, targets: Doubles, confounds: Doubles, groups: Integers, settings: PredictionSettings
) -> Predicted:
    """Predict everybody in the fold that was left out.

    Parameters
    ----------
    features : FeatureSet
    targets : array, (N, A, L)
        Numbers (L = 1) or indicators of classes.
    confounds : array, (N, c)
        c may be 0. Removed from features, and from targets that are numbers, by what the training people tell.
    groups : array, (N,)
        People of one group are in one fold, inner folds included.
    settings : PredictionSettings

    Raises
    ------
    DataError
        When there are fewer groups than folds, or all training people of a fold are of one group.
    """
    shape = (settings.n_repeats, *targets.shape)
    truth, predicted, baseline = (np.full(shape, np.nan) for _ in range(3))
    fold_of = np.zeros(shape[:2], dtype=np.int64)
    for repeat in range(settings.n_repeats):
        generator = np.random.default_rng([settings.seed, repeat])
        for number, (train, test) in enumerate(folds_of(groups, settings.n_folds, generator)):
            own = _fold(features, targets, confounds, train, test)
            n_inner = min(settings.n_inner_folds, len(np.unique(groups[train])))
            if n_inner < 2:
                raise DataError(
                    f"With {settings.n_folds} folds the {len(train)} training people of one belong together, so that "
                    "no penalty can be chosen by others; use more folds."
                )
            inner = list(folds_of(groups[train], n_inner, generator))
            predicted[repeat, test] = _predicted(own, inner, targets.shape[2])
            truth[repeat, test] = own.y_test
            baseline[repeat, test] = own.y_train.mean(axis=0)
            fold_of[repeat, test] = number
    return Predicted(truth, predicted, baseline, fold_of)


@dataclass(frozen=True)
class _Fold:
    x_train: Doubles
    x_test: Doubles
    y_train: Doubles
    """(n, A, L)"""
    y_test: Doubles


def _fold(features: FeatureSet, targets: Doubles, confounds: Doubles, train: Integers, test: Integers) -> _Fold:
    x_train, x_test = vectors_of_fold(features, train, test)
    c_train, c_test = confounds[train], confounds[test]
    x_train, x_test = without_confounds(x_train, x_test, c_train, c_test)
    y_train, y_test = targets[train], targets[test]
    if targets.shape[2] == 1:
        one, other = (y.reshape(len(y), -1) for y in (y_train, y_test))
        one, other = without_confounds(one, other, c_train, c_test)
        y_train, y_test = one.reshape(y_train.shape), other.reshape(y_test.shape)
    return _Fold(x_train, x_test, y_train, y_test)


def _predicted(own: _Fold, inner: list[tuple[Integers, Integers]], n_classes: int) -> Doubles:
    """Of the test people, with the penalty that the inner folds like best, for each target its own."""
    errors = np.zeros((len(PENALTIES), own.y_train.shape[1]))
    for train, test in inner:
        said = _ridge(own.x_train[train], own.y_train[train], own.x_train[test])
        errors += ((said - own.y_train[test]) ** 2).sum(axis=(1, 3))
    best = errors.argmin(axis=0)
    said = _ridge(own.x_train, own.y_train, own.x_test)
    chosen = said[best, :, np.arange(len(best))].transpose(1, 0, 2)
    if n_classes > 1:
        shares = own.y_train.mean(axis=0)
        # A class that the training people lack is never predicted.
        chosen = np.where(shares > 0, chosen / np.where(shares > 0, shares, 1.0), -np.inf)
    return chosen


def _ridge(x_train: Doubles, y_train: Doubles, x_test: Doubles) -> Doubles:
    """Predictions (penalties, n_test, A, L), by one singular value decomposition for all penalties."""
    mean_x, mean_y = x_train.mean(axis=0), y_train.mean(axis=0)
    u, s, vt = np.linalg.svd(x_train - mean_x, full_matrices=False)
    along = u.T @ (y_train - mean_y).reshape(len(y_train), -1)
    projected = (x_test - mean_x) @ vt.T
    found = np.stack([(projected * (s / (s**2 + penalty))) @ along for penalty in PENALTIES])
    return found.reshape(len(PENALTIES), len(x_test), *mean_y.shape) + mean_y
