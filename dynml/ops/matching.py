"""Which state of one result is which of another: one-to-one matching by the Hungarian algorithm.

Shapes: T samples, C channels, K states or modes. Every function gives an `order`, (K,): state i of the first result is
state `order[i]` of the second, so that `second[:, order]` (time courses) or `second[order]` (covariances) lines up.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dynml.ops.metrics import as_path, pairwise_correlation, pairwise_covariances

Array = NDArray[Any]


def match_by_similarity(similarities_KK: ArrayLike | Tensor) -> Array:
    """Order of the columns that makes the sum of the matched similarities largest; NaN counts as no similarity."""
    from scipy.optimize import linear_sum_assignment

    similarities = np.asarray(similarities_KK, dtype=np.float64)
    worst = np.nanmin(similarities) if np.isfinite(similarities).any() else 0.0
    _, order = linear_sum_assignment(np.where(np.isnan(similarities), worst, similarities), maximize=True)
    return np.asarray(order)


def match_paths(first: ArrayLike | Tensor, second: ArrayLike | Tensor, n_states: int | None = None) -> Array:
    """Match states by the samples that they share; the order gives the largest Dice coefficient there is.

    Parameters
    ----------
    first, second : (T,) paths or (T, K) probabilities
    n_states : int, optional
        Default: the most that either shows.
    """
    first_path, second_path = as_path(first), as_path(second)
    assert first_path.shape == second_path.shape
    if n_states is None:
        n_states = max(_n_shown(first), _n_shown(second))
    pairs = first_path.astype(np.int64) * n_states + second_path.astype(np.int64)
    return match_by_similarity(np.bincount(pairs, minlength=n_states**2).reshape(n_states, n_states))


def _n_shown(states: ArrayLike | Tensor) -> int:
    array = np.asarray(states)
    return array.shape[1] if array.ndim == 2 else int(array.max()) + 1


def match_posteriors(first_TK: ArrayLike | Tensor, second_TK: ArrayLike | Tensor) -> Array:
    """Match states or modes by the correlation of their time courses."""
    return match_by_similarity(pairwise_correlation(first_TK, second_TK))


def match_covariances(
    first_KCC: ArrayLike | Tensor,
    second_KCC: ArrayLike | Tensor,
    measure: Literal["riemannian", "frobenius", "rv"] = "riemannian",
) -> Array:
    """Match states or modes by their covariances: smallest sum of distances, or largest of RV coefficients."""
    values = pairwise_covariances(measure, first_KCC, second_KCC)
    return match_by_similarity(values if measure == "rv" else -values)
