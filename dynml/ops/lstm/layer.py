"""A layer of long short-term memory on a CPU: a compiled recurrence, gradients in closed form.

Shapes: B windows, T samples, C inputs, H units, D directions (1 or 2).

A small LSTM is a chain of small products, where general routines spend much of their time on packing and waiting. Here
slices of a few windows go through all samples by themselves, each on one thread and in one direction, with the weights
in the cache; see `kernel.py`. Numbers do not depend on the number of threads, and a window's outputs do not depend
on the other windows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dynml.ops.lanes.tiles import LANES
from dynml.ops.lstm.kernel import SLICE, backward_kernel, forward_kernel, whole_vectors
from dynml.ops.workers import over_threads

_MOST_GROUPS = 8  # of slices: each sums its own gradient by the weights


class LstmWeights(NamedTuple):
    """Weights of one direction, gates in torch's order: input, forget, candidate, output."""

    by_inputs: Tensor
    """(4 H, C)."""

    by_units: Tensor
    """(4 H, H)."""

    bias: Tensor
    """(4 H,)."""


def lstm_layer(inputs_BTC: Tensor, directions: Sequence[LstmWeights], lengths_B: Tensor | None = None) -> Tensor:
    """Outputs of an LSTM that begins with zeros.

    Parameters
    ----------
    inputs_BTC : Tensor, (B, T, C), float32, on a CPU
    directions : one or two LstmWeights, float32
        The second direction goes from a window's last sample to its first.
    lengths_B : Tensor, (B,), int64, optional
        Samples of each window, where some are shorter than T; what follows is not read, and outputs there are 0.

    Returns
    -------
    Tensor, (B, T, D H), float32
        The directions side by side. Gradients by inputs and weights exist once, not twice.

    Notes
    -----
    Sums are float32, and so agree with torch's to rounding: 1e-6 in outputs between -1 and 1 after 200 samples.
    """
    assert inputs_BTC.dtype == torch.float32, f"{inputs_BTC.dtype} inputs"
    assert inputs_BTC.device.type == "cpu", f"inputs on {inputs_BTC.device}"
    if lengths_B is None:
        lengths_B = torch.full((len(inputs_BTC),), inputs_BTC.shape[1])
    tensors = [inputs_BTC, *(tensor for direction in directions for tensor in direction)]
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        outputs: Tensor = _LstmLayer.apply(lengths_B, *tensors)
        return outputs
    return _run(lengths_B, inputs_BTC, _grouped(tensors[1:]), keep=False).outputs


class _Run(NamedTuple):
    outputs: Tensor
    gates: Tensor
    """Of every direction and slice."""

    cells: Tensor
    rows: Tensor
    """Packed weights of every direction, (D, 4 U, K)."""


class _LstmLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, lengths: Tensor, inputs: Tensor, *weights: Tensor) -> Tensor:
        run = _run(lengths, inputs, _grouped(weights), keep=True)
        ctx.save_for_backward(inputs, lengths, *run)
        return run.outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        inputs, lengths, outputs, gates, cells, rows = ctx.saved_tensors
        n_directions, n_windows, n_inputs = len(rows), len(inputs), inputs.shape[2]
        n_units = outputs.shape[2] // n_directions
        slices = range(0, n_windows, SLICE)
        n_groups = min(_MOST_GROUPS, len(slices))
        by_first, by_second = ctx.needs_input_grad[1], any(ctx.needs_input_grad[2:])
        by_inputs = torch.empty(n_directions, *(inputs.shape if by_first else (0, 0, 0)))
        by_weights = torch.zeros(n_directions, n_groups, rows[0].numel() if by_second else 0)
        given = [_array(tensor) for tensor in (inputs, lengths, outputs, upstream)]
        gates_of, cells_of, weights_of, slopes_of, sums_of = (
            tensor.numpy() for tensor in (gates, cells, rows.flatten(1), by_inputs, by_weights)
        )

        def one_group(piece: tuple[int, int]) -> None:
            direction, group = piece
            made = sums_of[direction, group], slopes_of[direction]
            for number in range(group, len(slices), n_groups):
                kept = gates_of[direction, number], cells_of[direction, number], weights_of[direction]
                backward_kernel(*given, *kept, (slices[number], direction * n_units, n_units, direction == 1), *made)

        over_threads(one_group, list(itertools.product(range(n_directions), range(n_groups))))
        slopes: list[Tensor | None] = [None] * (3 * n_directions)
        if by_second:
            # NumPy adds in one order, whatever the threads.
            totals = torch.from_numpy(sums_of.sum(axis=1)).view(rows.shape)
            slopes = [slope for total in totals for slope in _unpacked(total, n_inputs, n_units)]
        return None, by_inputs.sum(dim=0) if by_first else None, *slopes


def _run(lengths: Tensor, inputs: Tensor, directions: list[LstmWeights], *, keep: bool) -> _Run:
    n_windows, n_steps, _ = inputs.shape
    n_units, n_directions = directions[0].by_units.shape[1], len(directions)
    filled, slices = whole_vectors(n_units), range(0, n_windows, SLICE)
    rows = torch.stack([_packed(direction) for direction in directions])
    blocks = rows.view(n_directions, -1, 4 * LANES, rows.shape[2]).transpose(2, 3).contiguous()
    numbers = (n_steps if keep else 1) * SLICE
    run = _Run(
        outputs=torch.empty(n_windows, n_steps, n_directions * n_units),
        gates=torch.empty(n_directions, len(slices), numbers * (4 * filled + LANES) if keep else 0),
        cells=torch.empty(n_directions, len(slices), numbers * filled),
        rows=rows,
    )
    given = _array(inputs), _array(lengths)
    weights_of, outputs, gates_of, cells_of = (
        tensor.numpy() for tensor in (blocks.flatten(1), run.outputs, run.gates, run.cells)
    )

    def one_slice(piece: tuple[int, int]) -> None:
        direction, number = piece
        where = slices[number], direction * n_units, n_units, direction == 1
        kept = gates_of[direction, number], cells_of[direction, number]
        forward_kernel(*given, weights_of[direction], where, keep, outputs, *kept)

    over_threads(one_slice, list(itertools.product(range(n_directions), range(len(slices)))))
    return run


def _grouped(weights: Sequence[Tensor]) -> list[LstmWeights]:
    return [LstmWeights(*weights[first : first + 3]) for first in range(0, len(weights), 3)]


def _packed(weights: LstmWeights) -> Tensor:
    """Weights (4 U, K) in the order of the kernel."""
    n_units, n_inputs = weights.by_units.shape[1], weights.by_inputs.shape[1]
    filled = whole_vectors(n_units)
    rows = torch.zeros(4, filled, whole_vectors(filled + n_inputs + 1))
    rows[:, :n_units, :n_units] = weights.by_units.detach().view(4, n_units, n_units)
    rows[:, :n_units, filled : filled + n_inputs] = weights.by_inputs.detach().view(4, n_units, n_inputs)
    rows[:, :n_units, filled + n_inputs] = weights.bias.detach().view(4, n_units)
    return rows.view(4, filled // LANES, LANES, -1).transpose(0, 1).reshape(4 * filled, -1)


def _unpacked(rows: Tensor, n_inputs: int, n_units: int) -> LstmWeights:
    filled = whole_vectors(n_units)
    gates = rows.view(filled // LANES, 4, LANES, -1).transpose(0, 1).reshape(4, filled, -1)[:, :n_units]
    return LstmWeights(
        gates[:, :, filled : filled + n_inputs].reshape(4 * n_units, n_inputs),
        gates[:, :, :n_units].reshape(4 * n_units, n_units),
        gates[:, :, filled + n_inputs].reshape(4 * n_units),
    )


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()
