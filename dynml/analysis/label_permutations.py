"""What scores come to when labels say nothing: the labels of trials are permuted within participants or runs.

Shapes: n trials, R permutations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.ops.metrics import r_squared

Doubles = NDArray[np.float64]
N_PERMUTATIONS = 1000
AT_ONCE = 100


def chance_of_classes(
    truth: ArrayLike, predicted: ArrayLike, participants: Sequence[str], runs: Sequence[str]
) -> dict[str, Any] | None:
    """Accuracy and balanced accuracy of the same predictions with labels that were permuted.

    Parameters
    ----------
    truth, predicted : array, (n,), int
    participants, runs : sequence of n str
        Labels stay within a run where some run has several, else within the participant.

    Returns
    -------
    dict or None
        within ("runs" or "participants"), n_permutations, and for accuracy and balanced_accuracy: mean, quantile_95 and
        p = (1 + b) / (1 + R), where b permutations reach the score. None where nobody's trials have several labels.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    counts = np.bincount(truth)
    weights = 1.0 / (len(np.unique(truth)) * np.maximum(counts, 1))

    def scores(labels: NDArray[Any]) -> dict[str, Doubles]:
        right = labels == predicted
        return {"accuracy": right.mean(axis=-1), "balanced_accuracy": (right * weights[labels]).sum(axis=-1)}

    return _compared(truth, scores, participants, runs)


def chance_of_numbers(
    truth: ArrayLike, predicted: ArrayLike, participants: Sequence[str], runs: Sequence[str]
) -> dict[str, Any] | None:
    """R^2 of the same predictions with numbers that were permuted; as `chance_of_classes`."""
    truth, predicted = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if r_squared(truth, predicted) is None:
        return None
    total = np.square(truth - truth.mean()).sum()

    def scores(numbers: NDArray[Any]) -> dict[str, Doubles]:
        return {"r_squared": 1.0 - np.square(numbers - predicted).sum(axis=-1) / total}

    return _compared(truth, scores, participants, runs)


def chance_of_labels(
    marks: ArrayLike, scores: ArrayLike, participants: Sequence[str], runs: Sequence[str]
) -> dict[str, Any] | None:
    """Mean area under the ROC curve of the same scores when trials have each other's labels, all of them together.

    Parameters
    ----------
    marks, scores : array, (n, K)
        See `dynml.ops.metrics.macro_auc`.
    participants, runs : sequence of n str
        As for `chance_of_classes`, which says what is returned.
    """
    from scipy.stats import rankdata

    known = np.asarray(marks, dtype=np.float64)
    known_NK, ranks_NK = (
        array[:, (known.sum(axis=0) > 0) & (known.sum(axis=0) < len(known))]
        for array in (known, rankdata(scores, axis=0))
    )
    if not known_NK.shape[1]:
        return None
    rows, codes = np.unique(known_NK, axis=0, return_inverse=True)
    n_positive = known_NK.sum(axis=0)
    n_pairs = n_positive * (len(known) - n_positive)

    def areas(codes: NDArray[Any]) -> dict[str, Doubles]:
        sums = (rows[codes] * ranks_NK).sum(axis=-2)  # Mann-Whitney's statistic
        return {"macro_auc": ((sums - n_positive * (n_positive + 1) / 2) / n_pairs).mean(axis=-1)}

    return _compared(codes.reshape(-1), areas, participants, runs)


def _compared(
    truth: NDArray[Any],
    scores: Callable[[NDArray[Any]], dict[str, Doubles]],
    participants: Sequence[str],
    runs: Sequence[str],
) -> dict[str, Any] | None:
    kept = {"runs": _members(truth, runs), "participants": _members(truth, participants)}
    within = next((name for name, members in kept.items() if members), None)
    if within is None:
        return None
    generator, own = np.random.default_rng(0), scores(truth)
    drawn: dict[str, list[Doubles]] = {name: [] for name in own}
    for first in range(0, N_PERMUTATIONS, AT_ONCE):
        permuted = np.tile(truth, (min(AT_ONCE, N_PERMUTATIONS - first), 1))
        for rows in kept[within]:
            permuted[:, rows] = generator.permuted(permuted[:, rows], axis=1)
        for name, values in scores(permuted).items():
            drawn[name].append(values)
    found: dict[str, Any] = {"within": within, "n_permutations": N_PERMUTATIONS}
    for name, parts in drawn.items():
        values = np.concatenate(parts)
        # Equal up to rounding counts as reached.
        n_reached = int((values >= own[name] - 1e-12).sum())
        found[name] = {
            "mean": float(np.mean(values)),
            "quantile_95": float(np.quantile(values, 0.95)),
            "p": (1 + n_reached) / (1 + N_PERMUTATIONS),
        }
    return found


def _members(truth: NDArray[Any], groups: Sequence[str]) -> list[NDArray[np.int64]]:
    """Trials of each group that has several labels."""
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    found = [np.flatnonzero(codes == code) for code in range(codes.max(initial=-1) + 1)]
    return [rows for rows in found if len(np.unique(truth[rows])) > 1]
