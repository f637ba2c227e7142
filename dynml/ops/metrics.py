"""How alike two results are: state time courses, covariances, classes of trials.

Shapes: T samples, C channels, K states or modes. Arrays or CPU tensors in, NumPy arrays or numbers out, float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from dynml.errors import DataError, NotPositiveDefiniteError

Array = NDArray[Any]


def as_path(states: ArrayLike | Tensor) -> Array:
    """State of every sample, (T,): a path as it is, or the likeliest of probabilities (T, K).

    A row of probabilities with NaN, as outside segments, becomes -1; so does NaN in a path.
    """
    array = np.asarray(states)
    if array.ndim == 1:
        return np.where(np.isnan(array), -1, array).astype(np.int64) if array.dtype.kind == "f" else array
    if array.dtype.kind != "f" or not np.isnan(array).any():
        return array.argmax(axis=1)
    known = ~np.isnan(array).any(axis=1)
    path = np.full(len(array), -1, dtype=np.int64)
    path[known] = array[known].argmax(axis=1)
    return path


def known_paths(first: ArrayLike | Tensor, second: ArrayLike | Tensor) -> tuple[Array, Array]:
    """Two time courses as paths, at the samples where both have a state (not NaN, not -1).

    Raises
    ------
    DataError
        When their numbers of samples differ, or no sample has a state in both.
    """
    first_path, second_path = as_path(first), as_path(second)
    _check_lengths(len(first_path), len(second_path))
    known = (first_path >= 0) & (second_path >= 0)
    if not known.any():
        raise DataError("The two time courses have no sample with a state in both, so they cannot be compared.")
    return first_path[known], second_path[known]


def dice_coefficient(first: ArrayLike | Tensor, second: ArrayLike | Tensor) -> float:
    """Dice coefficient of two state time courses: 2 x samples in the same state / (samples + samples).

    Parameters
    ----------
    first, second : (T,) paths or (T, K) probabilities or mixing coefficients
        The latter are taken at their largest. Samples where either has no state (NaN, -1) are left out. The states must
        already be matched.

    Returns
    -------
    float
        1 for equal time courses. Over all states together it is the share of samples that agree.

    Raises
    ------
    DataError
        When their numbers of samples differ, or no sample has a state in both.
    """
    first_path, second_path = known_paths(first, second)
    return float((first_path == second_path).mean())


def alpha_correlation(first_TK: ArrayLike | Tensor, second_TK: ArrayLike | Tensor) -> Array:
    """Pearson correlation over time of each state's or mode's time course with its partner, (K,).

    A constant time course has no correlation: NaN. Samples with NaN in either are left out.

    Raises
    ------
    DataError
        When numbers of samples or of modes differ.
    """
    n_first, n_second = np.shape(first_TK)[1], np.shape(second_TK)[1]
    if n_first != n_second:
        raise DataError(f"The first time courses are of {n_first} modes, the second of {n_second}: match them first.")
    return np.asarray(np.diagonal(pairwise_correlation(first_TK, second_TK)).copy())


def pairwise_correlation(first_TK: ArrayLike | Tensor, second_TK: ArrayLike | Tensor) -> Array:
    """Pearson correlation over time of every time course of `first` with every one of `second`, (K, K).

    Samples with NaN in either are left out.

    Raises
    ------
    DataError
        When their numbers of samples differ, or no sample is without NaN.
    """
    first, second = np.asarray(first_TK, dtype=np.float64), np.asarray(second_TK, dtype=np.float64)
    _check_lengths(len(first), len(second))
    known = ~(np.isnan(first).any(axis=1) | np.isnan(second).any(axis=1))
    if not known.any():
        raise DataError("The two sets of time courses have no sample without NaN, so they cannot be compared.")
    if not known.all():
        first, second = first[known], second[known]
    return np.asarray(_standardized(first).T @ _standardized(second))


def _check_lengths(first: int, second: int) -> None:
    if first != second:
        raise DataError(f"The first time course has {first} samples, the second {second}: they must be the same ones.")


def _standardized(time_courses: Array) -> Array:
    centred = time_courses - time_courses.mean(axis=0)
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
    from scipy.linalg import eigh

    first, second = np.asarray(first_CC, dtype=np.float64), np.asarray(second_CC, dtype=np.float64)
    try:
        eigenvalues = eigh(first, second, eigvals_only=True)
    except np.linalg.LinAlgError:
        eigenvalues = np.array([-1.0])
    return float(_length_of_logarithms(eigenvalues))


def riemannian_distances(first_NCC: ArrayLike | Tensor, second_NCC: ArrayLike | Tensor) -> Array:
    """Riemannian distance of each covariance to its partner, (N,): of modes that are matched, or of samples.

    Parameters
    ----------
    first_NCC, second_NCC : array, (N, C, C)

    Raises
    ------
    NotPositiveDefiniteError
        When one of them is singular.
    """
    first, second = np.asarray(first_NCC, dtype=np.float64), np.asarray(second_NCC, dtype=np.float64)
    assert first.shape == second.shape, (first.shape, second.shape)
    try:
        factors = np.linalg.cholesky(second)
    except np.linalg.LinAlgError:
        raise _not_positive_definite() from None
    halves = np.linalg.solve(factors, first)
    eigenvalues = np.linalg.eigvalsh(np.linalg.solve(factors, np.swapaxes(halves, 1, 2)))
    return np.asarray(_length_of_logarithms(eigenvalues))


def _length_of_logarithms(eigenvalues: Array) -> Array:
    if not (eigenvalues > 0).all():
        raise _not_positive_definite()
    return np.asarray(np.sqrt(np.square(np.log(eigenvalues)).sum(axis=-1)))


def _not_positive_definite() -> NotPositiveDefiniteError:
    return NotPositiveDefiniteError("The Riemannian distance needs two positive definite covariances; one is not.")


def frobenius_distance(first_CC: ArrayLike | Tensor, second_CC: ArrayLike | Tensor) -> float:
    """Frobenius norm of the difference of two matrices."""
    return float(np.linalg.norm(np.asarray(first_CC, dtype=np.float64) - np.asarray(second_CC, dtype=np.float64)))


def rv_coefficient(first_CC: ArrayLike | Tensor, second_CC: ArrayLike | Tensor) -> float:
    """RV coefficient of two symmetric matrices: tr(S1 S2) / sqrt(tr(S1 S1) tr(S2 S2)), 1 for proportional ones.

    Source: Robert and Escoufier 1976.
    """
    first, second = np.asarray(first_CC, dtype=np.float64), np.asarray(second_CC, dtype=np.float64)
    return float((first * second).sum() / np.sqrt((first * first).sum() * (second * second).sum()))


def matrix_correlation(first_CC: ArrayLike | Tensor, second_CC: ArrayLike | Tensor) -> float:
    """Pearson correlation over all entries of two matrices; NaN where all entries of one are equal."""
    first, second = (np.asarray(matrix, dtype=np.float64).reshape(-1, 1) for matrix in (first_CC, second_CC))
    return float((_standardized(first).T @ _standardized(second)).item())


MATRIX_MEASURES: dict[str, Callable[[ArrayLike | Tensor, ArrayLike | Tensor], float]] = {
    "riemannian": riemannian_distance,
    "frobenius": frobenius_distance,
    "rv": rv_coefficient,
    "correlation": matrix_correlation,
}


def pairwise_covariances(
    measure: str, first_KCC: ArrayLike | Tensor, second_KCC: ArrayLike | Tensor | None = None
) -> Array:
    """A measure of every covariance of `first` with every one of `second`, (K, K).

    Parameters
    ----------
    measure : {"riemannian", "frobenius", "rv", "correlation"}
        The first two are distances, the last two similarities.
    first_KCC : array, (K, C, C)
    second_KCC : array, (K, C, C), optional
        Default: the first ones, each with each.
    """
    function = MATRIX_MEASURES[measure]
    first = np.asarray(first_KCC)
    second = first if second_KCC is None else np.asarray(second_KCC)
    return np.array([[function(one, other) for other in second] for one in first])


def balanced_accuracy(truth: ArrayLike, predicted: ArrayLike) -> float | None:
    """Mean over the classes that occur of the share of their trials that is found; None without trials."""
    from sklearn.metrics import recall_score

    occurring = np.unique(np.asarray(truth))
    return float(recall_score(truth, predicted, labels=occurring, average="macro")) if len(occurring) else None


def r_squared(truth: ArrayLike, predicted: ArrayLike) -> float | None:
    """1 - sum of squared errors / sum of squared deviations from the mean of `truth`; None where that is constant."""
    known, said = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if len(known) < 2 or np.ptp(known) == 0:
        return None
    return float(1.0 - np.square(known - said).sum() / np.square(known - known.mean()).sum())


def macro_auc(marks: ArrayLike, scores: ArrayLike) -> float | None:
    """Mean over labels of the area under the ROC curve; None where no label is of some trials and not of others.

    Parameters
    ----------
    marks : array, (n, K)
        1 where a trial has a label, else 0.
    scores : array, (n, K)
        Higher where it is likelier.
    """
    from sklearn.metrics import roc_auc_score

    known, said = np.asarray(marks), np.asarray(scores)
    told = [label for label in range(known.shape[1]) if 0 < known[:, label].sum() < len(known)]
    return float(np.mean([roc_auc_score(known[:, label], said[:, label]) for label in told])) if told else None


def balanced_accuracy_chance(truth: ArrayLike) -> float | None:
    """Balanced accuracy of answers that do not look at a trial: 1 / classes that occur; None without trials."""
    n_occurring = len(np.unique(np.asarray(truth)))
    return 1 / n_occurring if n_occurring else None
