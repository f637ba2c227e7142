"""Layer normalization and the linear map that reads it, as one compiled pass over rows on a CPU, float32.

Shapes: N rows, H units, J outputs. With u the units of a row less their mean and s = (|u|^2 / H + epsilon)^-1/2,

    y_j = s <u, w_j> + b_j

torch goes through the units four times forward and more often backward, on one thread where tensors are small.
Numbers do not depend on the number of threads: sums over rows are made piece by piece.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from dynml.ops.workers import over_threads

ROWS_OF_PIECE = 800

_OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz"},  # sums in as many parts as a vector has lanes; NaN stays NaN
}
_ZERO, _ONE = np.float32(0), np.float32(1)
_TOGETHER = 4  # rows that meet a weight while it is in a register


def normalized_linear(hidden: Tensor, weights_JH: Tensor, bias_J: Tensor, epsilon: float) -> Tensor:
    """Linear map of units that are normalized to mean 0 and variance 1 first, over the last dimension.

    Parameters
    ----------
    hidden : Tensor, (..., H), float32, on a CPU
    weights_JH : Tensor, (J, H), float32
        Those of the normalization multiplied in.
    bias_J : Tensor, (J,), float32
    epsilon : float
        Added to the variance.

    Returns
    -------
    Tensor, (..., J), float32
        It agrees with torch's to rounding.
    """
    assert hidden.dtype == weights_JH.dtype == bias_J.dtype == torch.float32, f"{hidden.dtype} units"
    assert hidden.device.type == "cpu", f"units on {hidden.device}"
    outputs: Tensor = _NormalizedLinear.apply(hidden.reshape(-1, hidden.shape[-1]), weights_JH, bias_J, epsilon)
    return outputs.view(*hidden.shape[:-1], len(weights_JH))


class _NormalizedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weights: Tensor, bias: Tensor, epsilon: float) -> Tensor:
        outputs, scales = torch.empty(len(hidden), len(weights)), torch.empty(len(hidden), 2)
        given, fixed = _array(hidden), (_array(weights), _array(bias), np.float32(epsilon))
        made, kept = outputs.numpy(), scales.numpy()
        over_threads(lambda rows: forward_kernel(given[rows], *fixed, made[rows], kept[rows]), _pieces(len(hidden)))
        ctx.save_for_backward(hidden, weights, scales)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weights, scales = ctx.saved_tensors
        slopes, pieces = torch.empty(hidden.shape), _pieces(len(hidden))
        sums = torch.zeros(len(pieces), len(weights), hidden.shape[1] + 1)
        given, factors, kept, above = (_array(tensor) for tensor in (hidden, weights, scales, upstream))
        made, sums_of = slopes.numpy(), sums.numpy()

        def one_piece(number: int) -> None:
            rows = pieces[number]
            backward_kernel(given[rows], factors, kept[rows], above[rows], made[rows], sums_of[number])

        over_threads(one_piece, range(len(pieces)))
        totals = torch.from_numpy(sums_of.sum(axis=0))  # NumPy adds in one order, whatever the threads
        return slopes, totals[:, :-1], totals[:, -1], None


def _pieces(n_rows: int) -> list[slice]:
    return [slice(first, min(first + ROWS_OF_PIECE, n_rows)) for first in range(0, n_rows, ROWS_OF_PIECE)]


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()


@njit(**_OPTIONS)
def forward_kernel(hidden, weights, bias, epsilon, outputs, scales):  # type: ignore  # noqa
    """Write outputs (N, J), and mean and s of each row to scales (N, 2)."""
    n_rows, n_units = hidden.shape
    share, centred = np.float32(1 / n_units), np.empty(n_units, np.float32)
    for n in range(n_rows):
        total = _ZERO
        for h in range(n_units):
            total += hidden[n, h]
        mean, squares = total * share, _ZERO
        for h in range(n_units):
            centred[h] = hidden[n, h] - mean
            squares += centred[h] * centred[h]
        scale = _ONE / np.sqrt(squares * share + epsilon)
        scales[n, 0], scales[n, 1] = mean, scale
        for j in range(len(weights)):
            product = _ZERO
            for h in range(n_units):
                product += centred[h] * weights[j, h]
            outputs[n, j] = scale * product + bias[j]


@njit(**_OPTIONS)
def backward_kernel(hidden, weights, scales, upstream, slopes, sums):  # type: ignore  # noqa
    """Write the gradient by the units to slopes (N, H), and add those by weights and bias to sums (J, H + 1)."""
    n_rows, n_units = hidden.shape
    share, slope = np.float32(1 / n_units), np.empty((_TOGETHER, n_units), np.float32)
    normalized, factors = np.empty((_TOGETHER, n_units), np.float32), np.empty(_TOGETHER, np.float32)
    for start in range(0, n_rows, _TOGETHER):
        n_used = min(_TOGETHER, n_rows - start)
        slope[:], normalized[:], factors[:] = _ZERO, _ZERO, _ZERO
        for r in range(n_used):
            mean, scale = scales[start + r, 0], scales[start + r, 1]
            for h in range(n_units):
                normalized[r, h] = (hidden[start + r, h] - mean) * scale
        for j in range(len(weights)):
            for r in range(n_used):
                factors[r] = upstream[start + r, j]
                sums[j, n_units] += factors[r]
            f0, f1, f2, f3 = factors[0], factors[1], factors[2], factors[3]
            for h in range(n_units):
                weight = weights[j, h]
                slope[0, h] += f0 * weight
                slope[1, h] += f1 * weight
                slope[2, h] += f2 * weight
                slope[3, h] += f3 * weight
                terms = f0 * normalized[0, h] + f1 * normalized[1, h]
                sums[j, h] += terms + (f2 * normalized[2, h] + f3 * normalized[3, h])
        for r in range(n_used):
            scale, first, second = scales[start + r, 1], _ZERO, _ZERO
            for h in range(n_units):
                first += slope[r, h]
                second += slope[r, h] * normalized[r, h]
            first, second = first * share, second * share
            for h in range(n_units):
                slopes[start + r, h] = scale * (slope[r, h] - first - normalized[r, h] * second)
