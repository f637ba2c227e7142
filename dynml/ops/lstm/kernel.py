"""Compiled loops of an LSTM layer in one direction for a slice of windows, float32.

Shapes: B windows, S of a slice, T steps, C inputs, H units (filled up to U, whole vectors), 4 U gates, K = U + C + 1
what a gate sums over (filled up to whole vectors): the units of the step before, the inputs, a one for the bias.

Gates stand block by block of as many units as a vector has lanes: (block, gate i f g o, lane). One tile of the product
of inputs and weights so holds all gates of some units, and a block of weights stays in the first-level cache while it
meets all windows of the slice. Between rows of gates lie as many unused numbers as a vector has: rows a power of two
apart would take the same lines of the cache.

    forward     a = W (h_t-1, x_t, 1);  i f o = sigmoid(a), g = tanh(a);  c_t = f c_t-1 + i g;  h_t = o tanh(c_t)
    backward    a few steps at a time: gradients by a (in the cache), by h_t-1, by the weights, by x_t

Steps are counted in the order of the recurrence. Arrays without a shape here are flat. Hochreiter and Schmidhuber 1997,
with the forget gates of Gers et al. 2000.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from dynml.ops.lanes.tiles import LANES, TILE_ROWS, copy, fetch, product_1, product_2, product_3, product_4
from dynml.ops.lanes.vectors import VECTOR_BYTES, load, splat, store
from dynml.ops.lstm.activations import hyperbolic_tangent, sigmoid

LANES_CHECKSUM = "7d14e65f"
"""CRC-32 of `ops/lanes` and `activations.py`, which are compiled into these kernels. numba's cache on disk looks at
this file alone; a test compares, so that a change of theirs changes it too."""

SLICE = 8
"""Windows of a slice: a multiple of TILE_ROWS."""

assert SLICE % TILE_ROWS == 0

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_STEPS = 8  # whose gradients by the gates stay in the second-level cache
_ZERO, _ONE = np.float32(0), np.float32(1)


def whole_vectors(n: int) -> int:
    """Fill up a number of float32 to whole vectors."""
    return -(-n // LANES) * LANES


@njit(inline="always")
def _whole(n):  # type: ignore  # noqa
    return -(-n // LANES) * LANES


@njit(inline="always")
def _four(array, index):  # type: ignore  # noqa
    return load(array, index), load(array, index + 1), load(array, index + 2), load(array, index + 3)


@njit(inline="always")
def _put(array, index, first, second, third, fourth):  # type: ignore  # noqa
    store(array, index, first)
    store(array, index + 1, second)
    store(array, index + 2, third)
    store(array, index + 3, fourth)


@njit(**_OPTIONS)
def _zeros(n):  # type: ignore  # noqa
    """Zeros that begin with a line of the cache, since a vector across two lines is read twice."""
    zeros = np.zeros(n + LANES, np.float32)
    first = (-zeros.ctypes.data % VECTOR_BYTES) // 4
    return zeros[first : first + n]


@njit(**_OPTIONS)
def _multiply(sums, at, sums_step, left, row_start, row_step, step, right, start, right_step, depth, n_columns):  # type: ignore  # noqa
    """Tiles of `product` side by side: n_columns of them, whole vectors."""
    for column in range(0, n_columns, 4 * LANES):
        to, begin, vectors = at + column, start + column, (n_columns - column) // LANES
        if vectors >= 4:
            product_4(sums, to, sums_step, left, row_start, row_step, step, right, begin, right_step, depth)
        elif vectors == 3:
            product_3(sums, to, sums_step, left, row_start, row_step, step, right, begin, right_step, depth)
        elif vectors == 2:
            product_2(sums, to, sums_step, left, row_start, row_step, step, right, begin, right_step, depth)
        else:
            product_1(sums, to, sums_step, left, row_start, row_step, step, right, begin, right_step, depth)


@njit(inline="always")
def _fetch_record(gates, cells, step, step_of_cells, n_rows, n_blocks):  # type: ignore  # noqa
    """Ask for what is kept of a step before it is needed: all steps together are too much for the cache."""
    for row in range(n_rows):
        for vector in range(4 * n_blocks):
            fetch(gates, (step * SLICE + row) * (4 * n_blocks + 1) + vector)
        for vector in range(n_blocks):
            fetch(cells, (step_of_cells * SLICE + row) * n_blocks + vector)


@njit(**_OPTIONS)
def forward_kernel(inputs, lengths, weights, where, keep, outputs, gates, cells):  # type: ignore  # noqa
    """Write the units of the slice's windows, from `window` on, to columns from `column` on of outputs (B, T, ..).

    inputs (B, T, C); lengths (B,), beyond which units are zero; weights (block, K, gate, lane); where is (window,
    column, n_units, backwards). If `keep`, gates (T, S, 4 U + lanes) and cells (T, S, U) get what the gradients need;
    else cells is (S, U) and gates is not used.
    """
    window, column, n_units, backwards = where
    n_windows, n_steps, n_inputs = min(SLICE, len(inputs) - window), inputs.shape[1], inputs.shape[2]
    U, depth = _whole(n_units), _whole(n_units) + n_inputs + 1
    K, row_of_gates = _whole(depth), 4 * U + LANES
    summands = _zeros(2 * SLICE * K)  # of this step and of the next
    tile, nothing = _zeros(TILE_ROWS * 4 * LANES), _zeros(n_inputs)
    given, made, zero = inputs.reshape(inputs.size), outputs.reshape(outputs.size), splat(_ZERO)
    for row in range(2 * SLICE):
        summands[row * K + U + n_inputs] = _ONE
    for step in range(n_steps):
        t = n_steps - 1 - step if backwards else step
        here, there = (step & 1) * SLICE * K, (~step & 1) * SLICE * K
        record = step * SLICE if keep else 0
        before = record - SLICE if keep else 0
        if keep and step < n_steps - 1:
            _fetch_record(gates, cells, step + 1, step + 1, n_windows, U // LANES)
        for row in range(n_windows):
            at = ((window + row) * n_steps + t) * n_inputs
            inside = t < lengths[window + row]
            copy(summands, here + row * K + U, given if inside else nothing, at if inside else 0, n_inputs)
        for block in range(U // LANES):
            for first in range(0, n_windows, TILE_ROWS):
                for row in range(TILE_ROWS):
                    _put(tile, 4 * row, zero, zero, zero, zero)
                start = block * K * 4 * LANES
                product_4(tile, 0, 4 * LANES, summands, here + first * K, K, 1, weights, start, 4 * LANES, depth)
                for row in range(TILE_ROWS):
                    units_at = (there + (first + row) * K) // LANES + block
                    cells_at = (record + first + row) * (U // LANES) + block
                    gates_at = (record + first + row) * (row_of_gates // LANES) + 4 * block
                    if first + row >= n_windows or t >= lengths[window + first + row]:
                        store(summands, units_at, zero)
                        store(cells, cells_at, zero)
                        if keep:
                            _put(gates, gates_at, zero, zero, zero, zero)
                        continue
                    a = _four(tile, 4 * row)
                    i, f, g, o = sigmoid(a[0]), sigmoid(a[1]), hyperbolic_tangent(a[2]), sigmoid(a[3])
                    cell = i * g
                    if step > 0:
                        cell = f * load(cells, (before + first + row) * (U // LANES) + block) + cell
                    store(cells, cells_at, cell)
                    store(summands, units_at, o * hyperbolic_tangent(cell))
                    if keep:
                        _put(gates, gates_at, i, f, g, o)
        for row in range(n_windows):
            at = ((window + row) * n_steps + t) * outputs.shape[2] + column
            copy(made, at, summands, there + row * K, n_units)


@njit(**_OPTIONS)
def backward_kernel(inputs, lengths, outputs, upstream, gates, cells, weights, where, by_weights, by_inputs):  # type: ignore  # noqa
    """Add the slice's gradient by the weights to by_weights (4 U, K), and write that by its inputs (B, T, C).

    outputs and upstream, the gradient by them, are (B, T, ..), gates and cells as `forward_kernel` left them, weights
    (4 U, K) in the order of the blocks; where is (window, column, n_units, backwards). A gradient whose array is empty
    is left out.
    """
    window, column, n_units, backwards = where
    n_windows, n_steps, n_inputs = min(SLICE, len(inputs) - window), inputs.shape[1], inputs.shape[2]
    U, K = _whole(n_units), _whole(_whole(n_units) + n_inputs + 1)
    n_rows, row_of_gates = -(-n_windows // TILE_ROWS) * TILE_ROWS, 4 * U + LANES
    by_units, by_cells = _zeros(2 * SLICE * U), _zeros(SLICE * U)
    by_gates, summands = _zeros(_STEPS * n_rows * row_of_gates), _zeros(_STEPS * n_rows * K)
    added, nothing, given = _zeros(SLICE * U), _zeros(n_units), upstream.reshape(upstream.size)
    for row in range(_STEPS * n_rows):
        summands[row * K + U + n_inputs] = _ONE
    for end in range(n_steps, 0, -_STEPS):
        first = max(end - _STEPS, 0)
        for step in range(end - 1, first - 1, -1):
            t = n_steps - 1 - step if backwards else step
            for row in range(n_windows):
                at, inside = ((window + row) * n_steps + t) * upstream.shape[2] + column, t < lengths[window + row]
                copy(added, row * U, given if inside else nothing, at if inside else 0, n_units)
            _one_step_back(gates, cells, weights, step, step - first, n_rows, K, added, by_units, by_cells, by_gates)
        if len(by_weights) > 0:
            _take_summands(inputs, lengths, outputs, where, first, end, n_rows, K, summands)
            for gate in range(0, 4 * U, TILE_ROWS):
                depth = (end - first) * n_rows
                _multiply(by_weights, gate * K, K, by_gates, gate, 1, row_of_gates, summands, 0, K, depth, K)
        if len(by_inputs) > 0:
            _put_slopes(by_gates, weights, where, first, end, n_rows, K, by_inputs)


@njit(**_OPTIONS)
def _take_summands(inputs, lengths, outputs, where, first, end, n_rows, K, summands):  # type: ignore  # noqa
    """Lay what the gates of some steps summed over row by row: units of the step before and inputs."""
    window, column, n_units, backwards = where
    n_steps, n_inputs, n_outputs = inputs.shape[1], inputs.shape[2], outputs.shape[2]
    nothing = _zeros(max(n_units, n_inputs))
    units, given = outputs.reshape(outputs.size), inputs.reshape(inputs.size)
    for step in range(first, end):
        t = n_steps - 1 - step if backwards else step
        past = t + 1 if backwards else t - 1
        for row in range(min(SLICE, len(inputs) - window)):
            to, begin = ((step - first) * n_rows + row) * K, (window + row) * n_steps
            at = (begin + past) * n_outputs + column if step > 0 else 0
            copy(summands, to, units if step > 0 else nothing, at, n_units)
            inside = t < lengths[window + row]
            at = (begin + t) * n_inputs if inside else 0
            copy(summands, to + _whole(n_units), given if inside else nothing, at, n_inputs)


@njit(**_OPTIONS)
def _put_slopes(by_gates, weights, where, first, end, n_rows, K, by_inputs):  # type: ignore  # noqa
    """Write the gradient by the inputs of some steps."""
    window, _, n_units, backwards = where
    n_steps, n_inputs = by_inputs.shape[1], by_inputs.shape[2]
    U, columns = _whole(n_units), _whole(n_inputs)
    slopes, row_of_gates, made = _zeros(n_rows * columns), 4 * U + LANES, by_inputs.reshape(by_inputs.size)
    for step in range(first, end):
        t = n_steps - 1 - step if backwards else step
        slopes[:] = _ZERO
        for row in range(0, n_rows, TILE_ROWS):
            start = ((step - first) * n_rows + row) * row_of_gates
            _multiply(slopes, row * columns, columns, by_gates, start, row_of_gates, 1, weights, U, K, 4 * U, columns)
        for row in range(min(SLICE, len(by_inputs) - window)):
            copy(made, ((window + row) * n_steps + t) * n_inputs, slopes, row * columns, n_inputs)


@njit(**_OPTIONS)
def _one_step_back(gates, cells, weights, step, position, n_rows, K, added, by_units, by_cells, by_gates):  # type: ignore  # noqa
    """Go from gradients by the units of `step`, two parts, to those by its gates' sums and by the units before."""
    U = len(by_cells) // SLICE
    n_blocks, row_of_gates = U // LANES, 4 * U + LANES
    here, there = (step & 1) * SLICE * U, (~step & 1) * SLICE * U
    zero, one = splat(_ZERO), splat(_ONE)
    by_units[there : there + SLICE * U] = _ZERO
    if step > 0:
        _fetch_record(gates, cells, step - 1, max(step - 2, 0), n_rows, n_blocks)
    for block in range(n_blocks):
        for row in range(n_rows):
            slot, cells_at = row * n_blocks + block, (step * SLICE + row) * n_blocks + block
            i, f, g, o = _four(gates, (step * SLICE + row) * (row_of_gates // LANES) + 4 * block)
            bend = hyperbolic_tangent(load(cells, cells_at))
            by_unit = load(by_units, here // LANES + slot) + load(added, slot)
            past = zero if step == 0 else load(cells, cells_at - SLICE * n_blocks)
            by_cell = load(by_cells, slot) + by_unit * o * (one - bend * bend)
            store(by_cells, slot, by_cell * f)
            to = (position * n_rows + row) * (row_of_gates // LANES) + 4 * block
            by_i, by_f = by_cell * g * i * (one - i), by_cell * past * f * (one - f)
            _put(by_gates, to, by_i, by_f, by_cell * i * (one - g * g), by_unit * bend * o * (one - o))
        if step > 0:
            start = block * 4 * LANES
            for first in range(0, n_rows, TILE_ROWS):
                at, rows = there + first * U, (position * n_rows + first) * row_of_gates + start
                _multiply(by_units, at, U, by_gates, rows, row_of_gates, 1, weights, start * K, K, 4 * LANES, U)
