"""Densities of Gaussians, of which some channels may be hidden, and mean and median of mixtures of them.

Shapes: N components, C channels; any axes before them. NumPy arrays, float64.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]
Statistic = Literal["mean", "median"]

LOG_TWO_PI = float(np.log(2 * np.pi))
BISECTIONS = 50


def log_densities(residuals: Array, covariances_NCC: Array) -> Array:
    """Log-density of residuals under N(0, covariance), in nats.

    Parameters
    ----------
    residuals : array, (..., N, C)
        One residual a component.
    covariances_NCC : array, (N, C, C), symmetric positive definite

    Returns
    -------
    array, (..., N)
    """
    return white_log_densities(residuals, whiteners_of(covariances_NCC))


def whiteners_of(covariances_NCC: Array) -> Array:
    """Inverse Cholesky factors (N, C, C) of covariances."""
    return np.linalg.inv(np.linalg.cholesky(covariances_NCC))


def white_log_densities(residuals: Array, whiteners_NCC: Array) -> Array:
    """The same as `log_densities`, with covariances given by their inverse Cholesky factors."""
    log_scales = np.log(np.diagonal(whiteners_NCC, axis1=1, axis2=2)).sum(axis=1)
    white = np.einsum("ncd,...nd->...nc", whiteners_NCC, residuals, optimize=True)
    return log_scales - 0.5 * (np.square(white).sum(axis=-1) + residuals.shape[-1] * LOG_TWO_PI)


def statistic_of_mixture(weights: Array, means: Array, deviations: Array, statistic: Statistic) -> Array:
    """Mean or median of each channel under a mixture of Gaussians.

    Parameters
    ----------
    weights : array, (..., N)
        Sum to 1.
    means : array, (..., N, C)
    deviations : array, broadcastable to (..., N, C)
        Standard deviations, >= 0; used by the median alone.
    statistic : {"mean", "median"}

    Returns
    -------
    array, (..., C)
    """
    assert statistic in ("mean", "median"), statistic
    if statistic == "mean":
        return np.einsum("...n,...nc->...c", weights, means)
    return medians_of_mixture(weights, means, deviations)


def medians_of_mixture(weights: Array, means: Array, deviations: Array) -> Array:
    """Median of each channel under a mixture of Gaussians, by bisection.

    Returns
    -------
    array, (..., C)
        To 2^-50 of the range of the components' means, in which a median always lies.
    """
    spread = np.maximum(np.broadcast_to(deviations, means.shape), np.finfo(np.float64).tiny)
    low, high = means.min(axis=-2), means.max(axis=-2)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        with np.errstate(over="ignore"):
            distances = (middle[..., None, :] - means) / spread
        below = np.einsum("...n,...nc->...c", weights, ndtr(distances))
        low, high = np.where(below < 0.5, middle, low), np.where(below < 0.5, high, middle)
    return (low + high) / 2


def visible_inverse(covariances: Array, visible: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Inverse of each covariance's block of visible channels.

    Parameters
    ----------
    covariances : array, (..., C, C)
        Positive definite in the visible channels.
    visible : array of bool, (..., C)

    Returns
    -------
    inverses : array, (..., C, C)
        Zeros in the rows and columns of hidden channels.
    log_determinants : array, (...)
        Of the blocks; 0 where nothing is visible.
    """
    both = visible[..., :, None] & visible[..., None, :]
    hidden = np.eye(visible.shape[-1]) * ~visible[..., None, :]
    blocks = np.where(both, covariances, hidden)
    return np.where(both, np.linalg.inv(blocks), 0), np.linalg.slogdet(blocks)[1]


def times_vectors(matrices: Array, vectors: Array) -> Array:
    """Products (..., C) of matrices (..., C, D) and vectors (..., D)."""
    return (matrices @ vectors[..., None])[..., 0]
