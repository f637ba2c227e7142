"""Log-densities of residuals under mixed covariances, with the parts of their gradients: compiled, or by torch.

Shapes: n samples, C channels, J modes. The compiled loops serve the CPU; the same by batched linear algebra serves any
other device, and is what the tests hold the loops against. Both go through the samples in chunks, and what is made of
a chunk, a (C, C) matrix for every sample, does not outlive it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dynml.ops.gaussian import full_float32_precision
from dynml.ops.memory import in_smaller_pieces, smaller
from dynml.ops.mixture.mixture_gaussian_kernel import lanes_of, mixture_kernel, packed_positions
from dynml.ops.workers import over_threads

COMPILED_MEMORY = 2**20
"""Default bytes of a thread's workspace on a CPU: about its second-level cache."""

TORCH_MEMORY = {"cpu": 2**24, "gpu": 2**30}
"""Default bytes of a chunk's matrices in torch."""

SMALLEST_RESIDUAL_VARIANCE = 4
"""Machine epsilons of a channel's variance that the channels before it must leave unexplained. Rounding alone leaves up
to 3 of a channel that is a sum of others."""

_MOST_GROUPS = 16
_MOST_PIECES = 32
_FLOPS_PER_PIECE = 3e7  # about a quarter of a millisecond: below that a thread costs more than it gains
_MATRICES_AT_A_TIME = 5  # a sample's covariance, factor, inverse, and two on the way


@dataclass
class MixtureTerms:
    """What one pass over the samples gives; gradients are None unless asked for."""

    log_densities: Tensor
    """(n,); NaN where the covariance is not positive definite or a number not finite. Gradients there are zero."""

    by_residual: Tensor | None = None
    """(n, C): M^-1 r, minus the gradient of a sample's log-density by its residual."""

    by_alpha: Tensor | None = None
    """(n, J): gradient of a sample's log-density by its own alpha, through the covariance."""

    by_covariances: Tensor | None = None
    """(J, C, C), symmetric: gradient of the weighted sum of log-densities."""


Backend = Callable[..., MixtureTerms]


def terms_of(device: torch.device) -> Backend:
    """`compiled_terms` on a CPU, `torch_terms` elsewhere."""
    return compiled_terms if device.type == "cpu" else torch_terms


def groups_together(n_channels: int, dtype: torch.dtype, memory: int | None = None) -> int:
    """How many groups of samples share a workspace of `memory` bytes, at least one."""
    bytes_of_lanes = lanes_of(_numpy_type(dtype)) * dtype.itemsize
    bytes_of_group = len(packed_positions(n_channels)) * bytes_of_lanes
    return max(1, min(_MOST_GROUPS, (COMPILED_MEMORY if memory is None else memory) // bytes_of_group))


def compiled_terms(
    residuals_NC: Tensor,
    alpha_NJ: Tensor,
    covariances_JCC: Tensor,
    weights_N: Tensor,
    *,
    gradients: bool = False,
    covariance_gradient: bool = False,
    memory: int | None = None,
) -> MixtureTerms:
    """Terms by the compiled loops, over threads (`over_threads`); the numbers do not depend on how many.

    Parameters
    ----------
    residuals_NC : Tensor, (n, C), float32 or float64, on a CPU
        Signals minus mixed means.
    alpha_NJ : Tensor, (n, J), of the same type
    covariances_JCC : Tensor, (J, C, C), of the same type
        Taken as the symmetric part.
    weights_N : Tensor, (n,), of the same type
        Of the samples in `by_covariances`.
    gradients : bool
        Fill `by_residual` and `by_alpha`.
    covariance_gradient : bool
        Fill `by_covariances` too.
    memory : int, optional
        Bytes of each thread's workspace, held to at least one group. Default: `COMPILED_MEMORY`.
    """
    n_samples, n_channels = residuals_NC.shape
    n_modes, dtype = alpha_NJ.shape[1], residuals_NC.dtype
    gradients = gradients or covariance_gradient
    residuals, alpha, weights = (_as_array(tensor) for tensor in (residuals_NC, alpha_NJ, weights_N))
    packed = _packed(covariances_JCC)
    densities = np.empty(n_samples, packed.dtype)
    by_residual = np.empty((n_samples if gradients else 0, n_channels), packed.dtype)
    by_alpha = np.empty((n_samples if gradients else 0, n_modes), packed.dtype)
    n_groups = groups_together(n_channels, dtype, memory)
    smallest = packed.dtype.type(SMALLEST_RESIDUAL_VARIANCE * torch.finfo(dtype).eps)

    def compute(rows: slice) -> Any:
        sums = np.zeros((n_modes if covariance_gradient else 0, packed.shape[1]), packed.dtype)
        inputs = residuals[rows], alpha[rows], weights[rows], packed, smallest, n_groups
        mixture_kernel(*inputs, densities[rows], by_residual[rows], by_alpha[rows], sums)
        return sums.astype(np.float64)

    pieces = _pieces(n_samples, n_channels, n_modes, n_groups * lanes_of(packed.dtype))
    sums = sum(over_threads(compute, pieces))
    terms = MixtureTerms(torch.from_numpy(densities))
    if gradients:
        terms.by_residual, terms.by_alpha = torch.from_numpy(by_residual), torch.from_numpy(by_alpha)
    if covariance_gradient:
        terms.by_covariances = _unpacked(np.broadcast_to(sums, packed.shape), n_channels).to(dtype)
    return terms


def _numpy_type(dtype: torch.dtype) -> np.dtype[Any]:
    return np.dtype(np.float64 if dtype == torch.float64 else np.float32)


def _as_array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()


def _packed(covariances_JCC: Tensor) -> Any:
    matrices = covariances_JCC.detach()
    symmetric = (0.5 * (matrices + matrices.mT)).flatten(1).contiguous().numpy()
    positions = packed_positions(covariances_JCC.shape[-1])
    return np.where(positions >= 0, symmetric[:, positions], symmetric.dtype.type(0))


def _unpacked(sums: Any, n_channels: int) -> Tensor:
    """Gradient by a whole matrix, from that by the numbers of its lower triangle."""
    positions = packed_positions(n_channels)
    lower = np.zeros((len(sums), n_channels**2))
    lower[:, positions[positions >= 0]] = sums[:, positions >= 0]
    halves = torch.from_numpy(lower).view(-1, n_channels, n_channels)
    return 0.5 * (halves + halves.mT)


def _pieces(n_samples: int, n_channels: int, n_modes: int, block: int) -> list[slice]:
    """Rows for one thread at a time: whole blocks, cut at the same rows whatever the threads."""
    flops = n_channels**3 + 6 * n_modes * n_channels**2
    rows = max(math.ceil(_FLOPS_PER_PIECE / flops), math.ceil(n_samples / _MOST_PIECES))
    rows = math.ceil(rows / block) * block
    return [slice(first, min(first + rows, n_samples)) for first in range(0, n_samples, rows)]


@in_smaller_pieces
def torch_terms(
    residuals_NC: Tensor,
    alpha_NJ: Tensor,
    covariances_JCC: Tensor,
    weights_N: Tensor,
    *,
    gradients: bool = False,
    covariance_gradient: bool = False,
    memory: int | None = None,
) -> MixtureTerms:
    """Terms by torch's batched linear algebra, on any device; arguments as for `compiled_terms`.

    `memory` bounds the bytes of a chunk's matrices, held to at least one sample. Default: `TORCH_MEMORY`.
    """
    n_samples, n_channels = residuals_NC.shape
    gradients = gradients or covariance_gradient
    kind = "cpu" if residuals_NC.device.type == "cpu" else "gpu"
    bytes_of_sample = _MATRICES_AT_A_TIME * n_channels**2 * residuals_NC.element_size()
    rows = max(1, smaller(TORCH_MEMORY[kind] if memory is None else memory) // bytes_of_sample)
    terms = MixtureTerms(residuals_NC.new_empty(n_samples))
    if gradients:
        terms.by_residual, terms.by_alpha = torch.empty_like(residuals_NC), torch.empty_like(alpha_NJ)
    if covariance_gradient:
        terms.by_covariances = torch.zeros_like(covariances_JCC, memory_format=torch.contiguous_format)
    with full_float32_precision(residuals_NC.device):
        symmetric = (0.5 * (covariances_JCC + covariances_JCC.mT)).flatten(1)
        for first in range(0, n_samples, rows):
            chunk = slice(first, first + rows)
            _fill_chunk(terms, chunk, residuals_NC[chunk], alpha_NJ[chunk], symmetric, weights_N[chunk])
    return terms


def _fill_chunk(
    terms: MixtureTerms, chunk: slice, residuals: Tensor, alpha: Tensor, symmetric: Tensor, weights: Tensor
) -> None:
    n_channels = residuals.shape[1]
    mixed = (alpha @ symmetric).view(-1, n_channels, n_channels)
    factors, _ = torch.linalg.cholesky_ex(mixed)
    diagonal = factors.diagonal(dim1=1, dim2=2)
    smallest = SMALLEST_RESIDUAL_VARIANCE * torch.finfo(mixed.dtype).eps * mixed.diagonal(dim1=1, dim2=2)
    sound = (diagonal.square() > smallest).all(1) & torch.isfinite(mixed).flatten(1).all(1)
    identity = torch.eye(n_channels, dtype=mixed.dtype, device=mixed.device)
    factors = torch.where(sound[:, None, None], factors, identity)
    if terms.by_alpha is None:
        whitened = torch.linalg.solve_triangular(factors, residuals.unsqueeze(2), upper=False)
        distances = whitened.square().sum((1, 2))
    else:
        inverses = torch.cholesky_inverse(factors) if mixed.device.type == "cpu" else inverses_by_whitening(factors)
        solved = (inverses @ residuals.unsqueeze(2)).squeeze(2)
        distances = (solved * residuals).sum(1)
    densities = -0.5 * distances - factors.diagonal(dim1=1, dim2=2).log().sum(1)
    densities = densities - 0.5 * n_channels * math.log(2 * math.pi)
    sound &= torch.isfinite(densities)
    terms.log_densities[chunk] = torch.where(sound, densities, torch.nan)
    if terms.by_residual is None or terms.by_alpha is None:
        return
    solved = torch.where(sound[:, None], solved, 0.0)
    slopes = torch.where(sound[:, None, None], inverses, 0.0)
    slopes = slopes.mul_(-0.5).baddbmm_(solved.unsqueeze(2), solved.unsqueeze(1), alpha=0.5).flatten(1)
    terms.by_residual[chunk], terms.by_alpha[chunk] = solved, slopes @ symmetric.T
    if terms.by_covariances is not None:
        shares = torch.where(sound[:, None], alpha * weights.unsqueeze(1), 0.0)
        terms.by_covariances.flatten(1).addmm_(shares.T, slopes)


def inverses_by_whitening(factors_NCC: Tensor) -> Tensor:
    """Inverse covariances from Cholesky factors by one batched solve and product.

    On a GPU torch's `cholesky_inverse` may go matrix by matrix; on a CPU it is the faster one.
    """
    identity = torch.eye(factors_NCC.shape[-1], dtype=factors_NCC.dtype, device=factors_NCC.device)
    whiteners = torch.linalg.solve_triangular(factors_NCC, identity.expand_as(factors_NCC), upper=False)
    return whiteners.mT @ whiteners
