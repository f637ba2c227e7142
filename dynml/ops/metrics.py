"""How alike two results are: state time courses, covariances.

Shapes: T samples, C channels, K states or modes. Arrays or CPU tensors in, NumPy arrays or numbers out, float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dynml.errors import NotPositiveDefiniteError

Array = NDArray[Any]


def as_path(states: ArrayLike | Tensor) -> Array:
    """State of every sample, (T,): a path as it is, or the likeliest of probabilities (T, K)."""
    array = np.asarray(states)
    return array if array.ndim == 1 else array.argmax(axis=1)


def dice_coefficient(first: ArrayLike | Tensor, second: ArrayLike | Tensor) -> float:
    """Dice coefficient of two state time courses: 2 x samples in the same state / (samples + samples).

    Parameters
    ----------
    first, second : (T,) paths or (T, K) probabilities
        Probabilities are taken at their likeliest state. The states must already be matched.

    Returns
    -------
    float
        1 for equal time courses. Over all states together it is the share of samples that agree.
    """
    first_path, second_path = as_path(first), as_path(second)
    assert first_path.shape == second_path.shape
    return float((first_path == second_path).mean())


def alpha_correlation(first_TK: ArrayLike | Tensor, second_TK: ArrayLike | Tensor) -> Array:
    """Pearson correlation over time of each state's or mode's time course with its partner, (K,).

    A constant time course has no correlation: NaN.
    """
    return np.asarray(np.diagonal(pairwise_correlation(first_TK, second_TK)).copy())


def pairwise_correlation(first_TK: ArrayLike | Tensor, second_TK: ArrayLike | Tensor) -> Array:
    """Pearson correlation over time of every time course of `first` with every one of `second`, (K, K)."""
    first, second = _standardized(first_TK), _standardized(second_TK)
    return np.asarray(first.T @ second)


def _standardized(time_courses: ArrayLike | Tensor) -> Array:
    centred = np.asarray(time_courses, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    norms = np.linalg.norm(centred, axis=0)
    return centred / np.where(norms > 0, norms, np.nan)


def riemannian_distance(first_CC: ArrayLike | Tensor, second_CC: ArrayLike | Tensor) -> float:
    """Affine-invariant distance of two covariances: sqrt(sum log^2 lambda_i), S1 v = lambda S2 v.

    Source: Pennec, Fillard and Ayache 2006. It is the same in any basis of the channels.

    Raises
    ------
    NotPositiveDefiniteError
        When one of the two is singular.
    """
    first, second = np.asarray(first_CC, dtype=np.float64), np.asarray(second_CC, dtype=np.float64)
    try:
        eigenvalues = scipy.linalg.eigh(first, second, eigvals_only=True)
    except np.linalg.LinAlgError:
        eigenvalues = np.array([-1.0])
    if not (eigenvalues > 0).all():
        raise NotPositiveDefiniteError("The Riemannian distance needs two positive definite covariances; one is not.")
    return float(np.sqrt(np.square(np.log(eigenvalues)).sum()))


def frobenius_distance(first_CC: ArrayLike | Tensor, second_CC: ArrayLike | Tensor) -> float:
    """Frobenius norm of the difference of two matrices."""
    return float(np.linalg.norm(np.asarray(first_CC, dtype=np.float64) - np.asarray(second_CC, dtype=np.float64)))


def rv_coefficient(first_CC: ArrayLike | Tensor, second_CC: ArrayLike | Tensor) -> float:
    """RV coefficient of two symmetric matrices: tr(S1 S2) / sqrt(tr(S1 S1) tr(S2 S2)), 1 for proportional ones.

    Source: Robert and Escoufier 1976.
    """
    first, second = np.asarray(first_CC, dtype=np.float64), np.asarray(second_CC, dtype=np.float64)
    return float((first * second).sum() / np.sqrt((first * first).sum() * (second * second).sum()))


def pairwise_covariances(measure: str, first_KCC: ArrayLike | Tensor, second_KCC: ArrayLike | Tensor) -> Array:
    """A measure of every covariance of `first` with every one of `second`, (K, K).

    Parameters
    ----------
    measure : {"riemannian", "frobenius", "rv"}
        The first two are distances, the last is a similarity.
    """
    function = {"riemannian": riemannian_distance, "frobenius": frobenius_distance, "rv": rv_coefficient}[measure]
    first, second = np.asarray(first_KCC), np.asarray(second_KCC)
    return np.array([[function(one, other) for other in second] for one in first])
