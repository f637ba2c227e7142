"""Which state of one result is which of another: one-to-one matching by the Hungarian algorithm.

Shapes: T samples, C channels, K states or modes. An `order`, (K,), says: state i of the first result is state
`order[i]` of the second, so that `second[:, order]` (time courses) or `second[order]` (covariances) lines up. The
second may have more states than the first; those without a partner are left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dynml.errors import DataError
from dynml.ops.metrics import known_paths, pairwise_correlation, pairwise_covariances

Array = NDArray[Any]
TimeCourses = ArrayLike | Tensor | Sequence[ArrayLike | Tensor]
"""One array (T, K), or several, one per subject."""
Measure = Literal["riemannian", "frobenius", "rv", "correlation"]
SIMILARITIES = ("rv", "correlation")

_FEW = 5
"""Columns whose orders are all tried: importing scipy's optimizers takes half a second of a short training."""


def match_by_similarity(similarities_KK: ArrayLike | Tensor) -> Array:
    """Order of the columns that makes the sum of the matched similarities largest; NaN counts as no similarity.

    Raises
    ------
    DataError
        When there are fewer columns than rows.
    """
    similarities = np.asarray(similarities_KK, dtype=np.float64)
    n_first, n_second = similarities.shape
    if n_second < n_first:
        raise DataError(
            f"The first result has {n_first} states or modes, the second only {n_second}: give the smaller one first."
        )
    worst = np.nanmin(similarities) if np.isfinite(similarities).any() else 0.0
    known = np.where(np.isnan(similarities), worst, similarities)
    likeliest = known.argmax(axis=1)
    if len(np.unique(likeliest)) == n_first:
        # Each has the best that there is for it, and nothing is left to weigh.
        return np.asarray(likeliest)
    if n_second <= _FEW:
        orders = np.array(list(itertools.permutations(range(n_second), n_first)))
        return np.asarray(orders[known[np.arange(n_first), orders].sum(axis=1).argmax()])
    from scipy.optimize import linear_sum_assignment

    _, order = linear_sum_assignment(known, maximize=True)
    return np.asarray(order)


def match_paths(first: ArrayLike | Tensor, second: ArrayLike | Tensor, n_states: int | None = None) -> Array:
    """Match states by the samples that they share; the order gives the largest Dice coefficient there is.

    Parameters
    ----------
    first, second : (T,) paths or (T, K) probabilities
        Samples where either has no state (NaN, -1) are left out.
    n_states : int, optional
        Default: the most that either shows.
    """
    first_path, second_path = known_paths(first, second)
    if n_states is None:
        n_states = max(_n_shown(first), _n_shown(second))
    pairs = first_path.astype(np.int64) * n_states + second_path.astype(np.int64)
    return match_by_similarity(np.bincount(pairs, minlength=n_states**2).reshape(n_states, n_states))


def _n_shown(states: ArrayLike | Tensor) -> int:
    array = np.asarray(states)
    return array.shape[1] if array.ndim == 2 else int(np.nanmax(array)) + 1


def match_posteriors(first_TK: TimeCourses, second_TK: TimeCourses) -> Array:
    """Match states or modes by the correlation of their time courses.

    Parameters
    ----------
    first_TK, second_TK : array (T, K), or sequence of arrays, one per subject
        Samples with NaN in either are left out.

    Returns
    -------
    array, (K,)
        The order.

    Raises
    ------
    DataError
        When numbers of samples differ, or the second has fewer modes.
    """
    return match_by_similarity(pairwise_correlation(_together(first_TK), _together(second_TK)))


def orders_of_modes(first: TimeCourses, *others: TimeCourses) -> list[Array]:
    """Match several sets of time courses with the first: one order for each of the others, by correlation."""
    return [match_posteriors(first, other) for other in others]


def match_modes(first: TimeCourses, *others: TimeCourses) -> list[Any]:
    """Re-order the modes of several sets of time courses so that each lies where its partner in the first does.

    Parameters
    ----------
    first : array (T, K), or sequence of arrays, one per subject
        Stays as it is.
    *others : alike
        Time courses of the same samples.

    Returns
    -------
    list
        The first and the others, in this order: `true_alpha, alpha = match_modes(true_alpha, alpha)`. A sequence of
        arrays comes back as a list of arrays.

    Raises
    ------
    DataError
        When numbers of samples differ, or one of the others has fewer modes than the first.
    """
    matched: list[Any] = [_as_arrays(first)]
    for other, order in zip(others, orders_of_modes(first, *others)):
        arrays = _as_arrays(other)
        matched.append([array[:, order] for array in arrays] if isinstance(arrays, list) else arrays[:, order])
    return matched


def match_covariances(
    first_KCC: ArrayLike | Tensor, second_KCC: ArrayLike | Tensor, measure: Measure = "riemannian"
) -> Array:
    """Match states or modes by their covariances: smallest sum of distances, or largest of similarities.

    Parameters
    ----------
    first_KCC, second_KCC : array, (K, C, C)
    measure : {"riemannian", "frobenius", "rv", "correlation"}

    Returns
    -------
    array, (K,)
        The order.
    """
    values = pairwise_covariances(measure, first_KCC, second_KCC)
    return match_by_similarity(values if measure in SIMILARITIES else -values)


def orders_of_covariances(
    first_KCC: ArrayLike | Tensor, *others_KCC: ArrayLike | Tensor, measure: Measure = "riemannian"
) -> list[Array]:
    """Match several sets of covariances with the first: one order for each of the others."""
    return [match_covariances(first_KCC, other, measure) for other in others_KCC]


def _as_arrays(time_courses: TimeCourses) -> Array | list[Array]:
    if isinstance(time_courses, (list, tuple)) and np.ndim(time_courses[0]) == 2:
        return [np.asarray(own) for own in time_courses]
    return np.asarray(time_courses)


def _together(time_courses: TimeCourses) -> Array:
    arrays = _as_arrays(time_courses)
    return np.concatenate(arrays) if isinstance(arrays, list) else arrays
