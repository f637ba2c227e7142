"""How well classes are separated: accuracy with its uncertainty, and what accuracy alone hides.

Shapes: n trials, K classes, P participants. Classes are numbers from 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.ops.metrics import balanced_accuracy, balanced_accuracy_chance

BOOTSTRAP_DRAWS = 10_000
_DRAWS_AT_ONCE = 1_000


def wilson_interval(n_correct: int, n_trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share by Wilson's score, which stays within 0 and 1 and serves small numbers.

    Parameters
    ----------
    n_correct, n_trials : int
        At least one trial.
    confidence : float

    Returns
    -------
    low, high : float

    Notes
    -----
    It takes trials for independent, which trials of one participant seldom are: the bootstrap over participants does
    not.
    """
    from scipy.stats import binomtest

    interval = binomtest(n_correct, n_trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def most_frequent(truth: ArrayLike) -> tuple[NDArray[np.int64], float | None]:
    """Most frequent classes of trials (several where they tie), and the share of the trials that each of them has."""
    counts = np.bincount(np.asarray(truth, dtype=np.int64))
    if not counts.any():
        return np.zeros(0, dtype=np.int64), None
    return most_frequent_of_counts(counts), float(counts.max() / counts.sum())


def most_frequent_of_counts(counts: ArrayLike) -> NDArray[np.int64]:
    """Classes with the largest count, several where they tie."""
    counts = np.asarray(counts)
    return np.flatnonzero(counts == counts.max())


def share_per_group(values: ArrayLike, groups: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Mean of values (n,) in every group, in the order in which groups first come.

    Returns
    -------
    dict
        Group to {"accuracy", "n_trials"}.
    """
    values, names = np.asarray(values, dtype=np.float64), list(dict.fromkeys(groups))
    totals, counts = _sums_of_groups(values, groups, names)
    return {
        name: {"accuracy": total / count, "n_trials": int(count)}
        for name, total, count in zip(names, totals.tolist(), counts.tolist())
    }


def bootstrap_interval(
    values: ArrayLike,
    groups: Sequence[str],
    *,
    confidence: float = 0.95,
    n_draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Interval of the mean of values (n,) when whole groups are drawn anew with replacement.

    Trials of one participant are alike, so participants are what must be drawn. Plain percentiles are too narrow for
    few groups; this is the expanded percentile interval (Hesterberg 2015, "What teachers should know about the
    bootstrap"): with P groups, the tails are those of the normal distribution beyond sqrt(P / (P - 1)) times the
    quantile of Student's t with P - 1 degrees of freedom. With very few groups it ends at the worst and the best one.

    Parameters
    ----------
    values : array, (n,)
        1 for a correct trial, 0 for a wrong one; or differences of two models on the same trials.
    groups : sequence of n str
        Participant (or run) of each trial.
    confidence : float
    n_draws : int
    seed : int

    Returns
    -------
    (low, high), or None with fewer than two groups.
    """
    from scipy.special import stdtrit

    names = list(dict.fromkeys(groups))
    if len(names) < 2:
        return None
    totals, counts = _sums_of_groups(np.asarray(values, dtype=np.float64), groups, names)
    generator = np.random.default_rng(np.random.SeedSequence((seed, len(names))))
    even, means = np.full(len(names), 1 / len(names)), []
    for first in range(0, n_draws, _DRAWS_AT_ONCE):
        times_drawn = generator.multinomial(len(names), even, size=min(_DRAWS_AT_ONCE, n_draws - first))
        means.append(times_drawn @ totals / (times_drawn @ counts))
    degrees = len(names) - 1
    tail = NormalDist().cdf(float(stdtrit(degrees, (1 - confidence) / 2)) * math.sqrt(len(names) / degrees))
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return float(low), float(high)


def classification_metrics(
    truth: ArrayLike,
    predicted: ArrayLike,
    class_names: Sequence[str],
    participants: Sequence[str],
    *,
    n_draws: int = BOOTSTRAP_DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that is said of predictions, as plain values.

    Parameters
    ----------
    truth, predicted : array, (n,), int
        Positions in `class_names`; at least one trial.
    class_names : sequence of K str
    participants : sequence of n str
    n_draws, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        n_trials, n_participants, accuracy, accuracy_wilson_interval [low, high], accuracy_bootstrap_interval (over
        participants; None with one), balanced_accuracy, balanced_accuracy_chance, most_frequent_classes (of these
        trials; several where they tie) and most_frequent_share, f1_macro (of classes that occur or were predicted),
        confusion_matrix {class_names, counts: rows = truth}, confusion_intervals (Wilson's of each count's share of its
        row; None in rows without trials), per_participant.
    """
    from sklearn.metrics import confusion_matrix, f1_score

    truth, predicted = np.asarray(truth, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    assert truth.shape == predicted.shape == (len(participants),), (truth.shape, predicted.shape, len(participants))
    correct = truth == predicted
    low, high = wilson_interval(int(correct.sum()), len(correct))
    bootstrap = bootstrap_interval(correct, participants, n_draws=n_draws, seed=seed)
    confusion = confusion_matrix(truth, predicted, labels=range(len(class_names)))
    per_participant = share_per_group(correct, participants)
    commonest, share = most_frequent(truth)
    return {
        "n_trials": len(correct),
        "n_participants": len(per_participant),
        "accuracy": float(correct.mean()),
        "accuracy_wilson_interval": [low, high],
        "accuracy_bootstrap_interval": None if bootstrap is None else list(bootstrap),
        "balanced_accuracy": balanced_accuracy(truth, predicted),
        "balanced_accuracy_chance": balanced_accuracy_chance(truth),
        "most_frequent_classes": [class_names[number] for number in commonest],
        "most_frequent_share": share,
        "f1_macro": float(f1_score(truth, predicted, average="macro", zero_division=0)),
        "confusion_matrix": {
            "class_names": list(class_names),
            "counts": confusion.tolist(),
        },
        "confusion_intervals": [
            [list(wilson_interval(count, sum(row))) if sum(row) else None for count in row]
            for row in confusion.tolist()
        ],
        "per_participant": per_participant,
    }


def _sums_of_groups(
    values: NDArray[np.float64], groups: Sequence[str], names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of the values of each group, (P,)."""
    number = {name: position for position, name in enumerate(names)}
    of_trial = np.array([number[group] for group in groups], dtype=np.int64)
    totals = np.bincount(of_trial, weights=values, minlength=len(names)).astype(np.float64)
    return totals, np.bincount(of_trial, minlength=len(names)).astype(np.float64)
