"""How good predictions are, against the mean, by permutation, and against those of other features.

Shapes: N participants, A targets (the true one first), L classes (1 for numbers).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.prediction.cross_validation import Predicted

Doubles = NDArray[np.float64]
N_BOOTSTRAPS = 1000
ROUNDING = 1e-12


@dataclass(frozen=True)
class Scores:
    """Of one set of features; means over repeats."""

    main: float
    """r, or balanced accuracy."""
    interval: tuple[float, float]
    """Of the main score, 95 %, bootstrap over groups of participants."""
    p: float
    """(1 + b) / (1 + n) over permutations of the whole pipeline."""
    others: dict[str, float]
    """r2 and mae of numbers; accuracy and chance of classes."""


def main_score(truth: Doubles, predicted: Doubles) -> Doubles:
    """R of numbers, balanced accuracy of classes: (N, A, L) each -> (A,)."""
    if truth.shape[2] == 1:
        one, other = truth[:, :, 0], predicted[:, :, 0]
        one, other = one - one.mean(axis=0), other - other.mean(axis=0)
        size, other_size = np.linalg.norm(one, axis=0), np.linalg.norm(other, axis=0)
        # Predictions that vary by no more than rounding are all equal, in whatever unit.
        varies = (size > 0) & (other_size > ROUNDING * size)
        r: Doubles = np.divide((one * other).sum(axis=0), size * other_size, out=np.zeros(len(size)), where=varies)
        return r
    right = predicted.argmax(axis=2) == truth.argmax(axis=2)
    return _balanced(right, truth)


def _balanced(right: NDArray[np.bool_], truth: Doubles) -> Doubles:
    counts = truth.sum(axis=0)
    hits = (right[:, :, None] * truth).sum(axis=0)
    shares = np.divide(hits, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    balanced: Doubles = np.nanmean(shares, axis=1)
    return balanced


def scores_of(predicted: Predicted, groups: NDArray[np.int64], seed: int) -> Scores:
    """Score the true target, and how often a permuted one does as well."""
    truths, saids = _less_the_mean(predicted)
    each = np.stack([main_score(t, p) for t, p in zip(truths, saids)])
    mean = each.mean(axis=0)
    p = (1 + int((mean[1:] >= mean[0] - 1e-12).sum())) / len(mean)
    truth, said, base = (own[:, :, :1] for own in (predicted.truth, predicted.predicted, predicted.baseline))
    others = _of_numbers(truth, said, base) if truth.shape[3] == 1 else _of_classes(truth, said)
    interval = _interval(truths[:, :, :1], saids[:, :, :1], groups, seed)
    return Scores(float(mean[0]), interval, p, others)


def _less_the_mean(predicted: Predicted) -> tuple[Doubles, Doubles]:
    """Numbers less the mean of their training people: it is low where the test people are high, which is no error."""
    if predicted.truth.shape[3] > 1:
        return predicted.truth, predicted.predicted
    return predicted.truth - predicted.baseline, predicted.predicted - predicted.baseline


def _of_numbers(truth: Doubles, said: Doubles, base: Doubles) -> dict[str, float]:
    error, of_mean = ((truth - said) ** 2).sum(), ((truth - base) ** 2).sum()
    r2 = 1 - float(error / of_mean) if of_mean > 0 else math.nan
    mae, mae_of_mean = float(np.abs(truth - said).mean()), float(np.abs(truth - base).mean())
    return {"r2": r2, "mean_absolute_error": mae, "mean_absolute_error_of_the_mean": mae_of_mean}


def _of_classes(truth: Doubles, said: Doubles) -> dict[str, float]:
    right = said.argmax(axis=3) == truth.argmax(axis=3)
    shares = truth[0, :, 0].mean(axis=0)
    return {
        "accuracy": float(right.mean()),
        "accuracy_of_the_most_frequent": float(shares.max()),
        "balanced_accuracy_of_chance": 1 / truth.shape[3],
    }


def _interval(truth: Doubles, said: Doubles, groups: NDArray[np.int64], seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    drawn = []
    for _ in range(N_BOOTSTRAPS):
        chosen = np.concatenate([members[one] for one in generator.integers(0, len(members), len(members))])
        # Repeats side by side are targets of their own: one call for all of them.
        drawn.append(float(main_score(_beside(truth[:, chosen]), _beside(said[:, chosen])).mean()))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _beside(values: Doubles) -> Doubles:
    """(repeats, N, 1, L) -> (N, repeats, L)."""
    return np.moveaxis(values[:, :, 0], 0, 1)


def difference_from(one: Predicted, other: Predicted) -> tuple[float, float]:
    """Mean gain of one over another, by fold, and its p by the corrected resampled t-test (Nadeau and Bengio 2003).

    The gain is in mean squared error (numbers) or in the share of people classified right (classes); training sets
    of folds overlap, so that the variance is multiplied by 1/k + n_test/n_train.
    """
    from scipy.stats import t as students_t

    gains = _losses(other) - _losses(one)
    values, sizes = [], []
    for repeat, folds in enumerate(one.fold):
        for number in np.unique(folds):
            values.append(gains[repeat, folds == number].mean())
            sizes.append((folds == number).sum())
    n, n_test = len(values), float(np.mean(sizes))
    n_train = one.fold.shape[1] - n_test
    variance = float(np.var(values, ddof=1)) * (1 / n + n_test / n_train)
    gain = float(np.mean(values))
    if variance <= 0:
        return gain, math.nan
    return gain, float(2 * students_t.sf(abs(gain) / math.sqrt(variance), n - 1))


def _losses(predicted: Predicted) -> Doubles:
    truth, said = predicted.truth[:, :, 0], predicted.predicted[:, :, 0]
    if truth.shape[2] == 1:
        squares: Doubles = (truth[..., 0] - said[..., 0]) ** 2
        return squares
    return np.asarray(said.argmax(axis=2) != truth.argmax(axis=2), dtype=np.float64)
