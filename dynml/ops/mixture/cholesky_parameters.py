"""Covariances as functions of unconstrained numbers, so that gradient steps never leave the positive definite ones.

Shapes: C channels, J modes, V = C (C + 1) / 2 numbers of a full covariance.

A full covariance is D = L L' + epsilon I with a lower triangular L, whose diagonal is softplus(v) + 1e-5 and whose
other entries are the numbers themselves, row by row. A diagonal one has variances softplus(v) + epsilon. These are the
definitions of osl-dynamics (Gohil et al. 2024), which fills its triangle in another order.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from dynml.errors import NotPositiveDefiniteError

DIAGONAL_SHIFT = 1e-5
"""Added to the softplus on the diagonal of L."""


def n_cholesky_parameters(n_channels: int) -> int:
    """How many numbers describe a full covariance."""
    return n_channels * (n_channels + 1) // 2


def cholesky_factors(vectors_JV: Tensor) -> Tensor:
    """Lower triangular factors L of unconstrained vectors.

    Parameters
    ----------
    vectors_JV : Tensor, (J, V)
        The lower triangle, row by row.

    Returns
    -------
    Tensor, (J, C, C)
        With a positive diagonal.
    """
    n_channels = math.isqrt(2 * vectors_JV.shape[-1])
    assert n_cholesky_parameters(n_channels) == vectors_JV.shape[-1], f"{vectors_JV.shape[-1]} numbers in a triangle"
    positions, diagonal = (index.to(vectors_JV.device) for index in _triangle(n_channels))
    entries = vectors_JV.index_copy(1, diagonal, torch.nn.functional.softplus(vectors_JV[:, diagonal]) + DIAGONAL_SHIFT)
    flat = vectors_JV.new_zeros(len(vectors_JV), n_channels**2).index_copy(1, positions, entries)
    return flat.view(-1, n_channels, n_channels)


def covariances_from_vectors(vectors_JV: Tensor, epsilon: float = 0.0) -> Tensor:
    """Full covariances D = L L' + epsilon I, (J, C, C), of unconstrained vectors (J, V)."""
    factors = cholesky_factors(vectors_JV)
    covariances = factors @ factors.mT
    return covariances + epsilon * torch.eye(factors.shape[-1], dtype=factors.dtype, device=factors.device)


def vectors_from_covariances(covariances_JCC: Tensor, epsilon: float = 0.0) -> Tensor:
    """Unconstrained vectors (J, V) whose covariances are the given ones: `covariances_from_vectors` backwards.

    Parameters
    ----------
    covariances_JCC : Tensor, (J, C, C)
        Factored in float64; the result is of their type.

    Raises
    ------
    NotPositiveDefiniteError
        Names the first mode whose covariance, less epsilon I, has no Cholesky factor with a diagonal above 1e-5.
    """
    covariances = covariances_JCC.detach().double()
    n_channels = covariances.shape[-1]
    identity = torch.eye(n_channels, dtype=torch.float64, device=covariances.device)
    factors, faults = torch.linalg.cholesky_ex(covariances - epsilon * identity)
    diagonals = factors.diagonal(dim1=1, dim2=2)
    unusable = (faults != 0) | ~((diagonals > DIAGONAL_SHIFT) & torch.isfinite(diagonals)).all(1)
    _refuse(unusable, f"less {epsilon:g} on its diagonal, is not positive definite")
    positions, diagonal = (index.to(covariances.device) for index in _triangle(n_channels))
    vectors = factors.flatten(1)[:, positions]
    vectors[:, diagonal] = inverse_softplus(vectors[:, diagonal] - DIAGONAL_SHIFT)
    return vectors.to(covariances_JCC.dtype)


def variances_from_vectors(vectors_JC: Tensor, epsilon: float = 0.0) -> Tensor:
    """Variances of diagonal covariances, softplus(v) + epsilon, (J, C)."""
    return torch.nn.functional.softplus(vectors_JC) + epsilon


def vectors_from_variances(variances_JC: Tensor, epsilon: float = 0.0) -> Tensor:
    """Unconstrained vectors (J, C) whose variances are the given ones: `variances_from_vectors` backwards.

    Raises
    ------
    NotPositiveDefiniteError
        Names the first mode with a variance that is not a finite number above epsilon.
    """
    excess = variances_JC.detach().double() - epsilon
    _refuse(
        ~((excess > 0) & torch.isfinite(excess)).all(1),
        f"diagonal, has a variance that is not finite or not above {epsilon:g}",
    )
    return inverse_softplus(excess).to(variances_JC.dtype)


def inverse_softplus(values: Tensor) -> Tensor:
    """The v with softplus(v) = values, for values above 0; exact to rounding for small and large ones."""
    return values + (-torch.expm1(-values)).log()


def _refuse(unusable_J: Tensor, fault: str) -> None:
    if bool(unusable_J.any()):
        mode = int(unusable_J.nonzero()[0, 0])
        raise NotPositiveDefiniteError(f"Mode {mode + 1} of {len(unusable_J)}: its covariance, {fault}.")


@functools.cache
def _triangle(n_channels: int) -> tuple[Tensor, Tensor]:
    """Positions of the vector's numbers in a flattened matrix, and which of the numbers are on the diagonal."""
    rows, columns = torch.tril_indices(n_channels, n_channels)
    return rows * n_channels + columns, (rows == columns).nonzero()[:, 0]
