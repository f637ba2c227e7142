"""Compiled loops of the mixture Gaussian for a CPU: many small matrices at once, one in each SIMD lane.

Shapes: n samples, C channels, J modes, P numbers of a packed matrix. A group is as many samples as a vector has lanes.

A packed matrix is the lower triangle in tiles of 4 x 4, row of tiles after row of tiles, each tile by columns; channels
are filled up to a multiple of 4 with a unit matrix. Products of tiles keep 16 vectors in registers. One group goes
through

    mix               M = sum_j alpha_j D_j
    factor            M = L L' (left-looking by tiles), reciprocals on the diagonal
    forward_solve     z = L^-1 r:   log N = -1/2 |z|^2 - log |L| - C/2 log 2 pi
    invert_factor     W = L^-1, in place
    backward_solve    y = W' z = M^-1 r
    gradient          G = 1/2 (y y' - W' W), in place; d alpha_j = <G, D_j>
    accumulate        d D_j += sum_n w_n alpha_nj G_n, for several groups together

Cholesky and inverse by tiles: Golub and Van Loan 2013, chapter 4.2; interleaved matrices: Gates et al., IPDPSW 2017.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dynml.ops.lanes.vectors import VECTOR_BYTES, inverse_root, lane_sum, load, splat, store

LANES_CHECKSUM = "bf9f5ffa"
"""CRC-32 of `ops/lanes/vectors.py`, which is compiled into these kernels; as in `ops/lstm/kernel.py`."""

TILE = 4

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_FACTORS_PER_LOGARITHM = 8  # products of so many diagonal entries between 1e-38 and 1e38 fit float64


@functools.cache
def packed_positions(n_channels: int) -> NDArray[np.int64]:
    """Where each number of a packed matrix stands in the flattened (C, C) matrix, (P,); -1 for filling."""
    n_blocks = -(-n_channels // TILE)
    positions = np.full((n_blocks * (n_blocks + 1) // 2, TILE, TILE), -1, dtype=np.int64)
    within = np.arange(TILE)
    for tile, (block, other) in enumerate((i, k) for i in range(n_blocks) for k in range(i + 1)):
        row, column = TILE * block + within[None, :], TILE * other + within[:, None]
        positions[tile] = np.where((row < n_channels) & (column <= row), row * n_channels + column, -1)
    return positions.reshape(-1)


def lanes_of(dtype: np.dtype[Any]) -> int:
    """Samples in a group."""
    return VECTOR_BYTES // dtype.itemsize


@njit(inline="always")
def _four(array, index, step):  # type: ignore  # noqa
    """Four vectors: a column of a tile (step 1) or a row of it (step 4)."""
    return load(array, index), load(array, index + step), load(array, index + 2 * step), load(array, index + 3 * step)


@njit(inline="always")
def _put(array, index, values):  # type: ignore  # noqa
    store(array, index, values[0])
    store(array, index + 1, values[1])
    store(array, index + 2, values[2])
    store(array, index + 3, values[3])


@njit(inline="always")
def _plus(sums, column, factor):  # type: ignore  # noqa
    return (
        sums[0] + column[0] * factor,
        sums[1] + column[1] * factor,
        sums[2] + column[2] * factor,
        sums[3] + column[3] * factor,
    )


@njit(inline="always")
def _minus(sums, column, factor):  # type: ignore  # noqa
    return (
        sums[0] - column[0] * factor,
        sums[1] - column[1] * factor,
        sums[2] - column[2] * factor,
        sums[3] - column[3] * factor,
    )


@njit(inline="always")
def _times(column, factor):  # type: ignore  # noqa
    return column[0] * factor, column[1] * factor, column[2] * factor, column[3] * factor


@njit(inline="always")
def _plus_dot(total, left, right):  # type: ignore  # noqa
    return total + left[0] * right[0] + left[1] * right[1] + left[2] * right[2] + left[3] * right[3]


@njit(inline="always")
def _splat_four(row, index):  # type: ignore  # noqa
    return splat(row[index]), splat(row[index + 1]), splat(row[index + 2]), splat(row[index + 3])


@njit(inline="always")
def _tile(block, other):  # type: ignore  # noqa
    """Position of a tile of the lower triangle, counted in vectors."""
    return 16 * (block * (block + 1) // 2 + other)


@njit(**_OPTIONS)
def _mix(alpha, packed, tiles, n_channels):  # type: ignore  # noqa
    n_modes, n_packed = packed.shape
    zero = splat(packed.dtype.type(0))
    for p in range(0, n_packed, 4):
        sums = zero, zero, zero, zero
        for j in range(n_modes):
            sums = _plus(sums, _splat_four(packed[j], p), load(alpha, j))
        _put(tiles, p, sums)
    for channel in range(n_channels, -(-n_channels // 4) * 4):
        store(tiles, n_packed - 16 + 5 * (channel & 3), splat(packed.dtype.type(1)))


@njit(**_OPTIONS)
def _factor(tiles, n_blocks, smallest_fraction):  # type: ignore  # noqa
    """Cholesky factors; a pivot that rounding may have made leaves NaN in its lane."""
    fraction = splat(smallest_fraction)
    for block in range(n_blocks):
        row = _tile(block, 0)
        for other in range(block + 1):
            row_other, here = _tile(other, 0), row + 16 * other
            c0, c1, c2, c3 = (
                _four(tiles, here, 1),
                _four(tiles, here + 4, 1),
                _four(tiles, here + 8, 1),
                _four(tiles, here + 12, 1),
            )
            s0, s1, s2, s3 = fraction * c0[0], fraction * c1[1], fraction * c2[2], fraction * c3[3]
            for m in range(0, 16 * other, 4):
                left, right = _four(tiles, row + m, 1), _four(tiles, row_other + m, 1)
                c0, c1 = _minus(c0, left, right[0]), _minus(c1, left, right[1])
                c2, c3 = _minus(c2, left, right[2]), _minus(c3, left, right[3])
            if other < block:
                d = _tile(other, other)
                c0 = _times(c0, load(tiles, d))
                c1 = _times(_minus(c1, c0, load(tiles, d + 1)), load(tiles, d + 5))
                c2 = _minus(_minus(c2, c0, load(tiles, d + 2)), c1, load(tiles, d + 6))
                c2 = _times(c2, load(tiles, d + 10))
                c3 = _minus(_minus(c3, c0, load(tiles, d + 3)), c1, load(tiles, d + 7))
                c3 = _times(_minus(c3, c2, load(tiles, d + 11)), load(tiles, d + 15))
                _put(tiles, here, c0)
                _put(tiles, here + 4, c1)
                _put(tiles, here + 8, c2)
                _put(tiles, here + 12, c3)
            else:
                i0 = inverse_root(c0[0], s0)
                c0 = _times(c0, i0)
                c1 = _minus(c1, c0, c0[1])
                i1 = inverse_root(c1[1], s1)
                c1 = _times(c1, i1)
                c2 = _minus(_minus(c2, c0, c0[2]), c1, c1[2])
                i2 = inverse_root(c2[2], s2)
                c2 = _times(c2, i2)
                c3 = _minus(_minus(_minus(c3, c0, c0[3]), c1, c1[3]), c2, c2[3])
                i3 = inverse_root(c3[3], s3)
                zero = splat(tiles.dtype.type(0))
                _put(tiles, here, (i0, c0[1], c0[2], c0[3]))
                _put(tiles, here + 4, (zero, i1, c1[2], c1[3]))
                _put(tiles, here + 8, (zero, zero, i2, c2[3]))
                _put(tiles, here + 12, (zero, zero, zero, i3))


@njit(**_OPTIONS)
def _forward_solve(tiles, n_blocks, z):  # type: ignore  # noqa
    """Put L^-1 z in place of z."""
    for block in range(n_blocks):
        row = _tile(block, 0)
        sums = _four(z, 4 * block, 1)
        for m in range(4 * block):
            sums = _minus(sums, _four(tiles, row + 4 * m, 1), load(z, m))
        d = row + 16 * block
        z0 = sums[0] * load(tiles, d)
        z1 = (sums[1] - z0 * load(tiles, d + 1)) * load(tiles, d + 5)
        z2 = (sums[2] - z0 * load(tiles, d + 2) - z1 * load(tiles, d + 6)) * load(tiles, d + 10)
        z3 = sums[3] - z0 * load(tiles, d + 3) - z1 * load(tiles, d + 7) - z2 * load(tiles, d + 11)
        _put(z, 4 * block, (z0, z1, z2, z3 * load(tiles, d + 15)))


@njit(**_OPTIONS)
def _invert_factor(tiles, n_blocks):  # type: ignore  # noqa
    """W = L^-1 in place of L, row of tiles by row: W_ik = -W_ii sum_{k <= m < i} L_im W_mk."""
    zero = splat(tiles.dtype.type(0))
    none = zero, zero, zero, zero
    for block in range(n_blocks):
        row = _tile(block, 0)
        d = row + 16 * block
        w00, l10, l20, l30 = _four(tiles, d, 1)
        w11, l21, l31 = load(tiles, d + 5), load(tiles, d + 6), load(tiles, d + 7)
        w22, l32, w33 = load(tiles, d + 10), load(tiles, d + 11), load(tiles, d + 15)
        w10, w21, w32 = zero - w11 * (l10 * w00), zero - w22 * (l21 * w11), zero - w33 * (l32 * w22)
        w20, w31 = zero - w22 * (l20 * w00 + l21 * w10), zero - w33 * (l31 * w11 + l32 * w21)
        w30 = zero - w33 * (l30 * w00 + l31 * w10 + l32 * w20)
        for other in range(block):
            c0, c1, c2, c3 = none, none, none, none
            for middle in range(other, block):
                left_tile, right_tile = row + 16 * middle, _tile(middle, other)
                for m in range(4):
                    left, right = _four(tiles, left_tile + 4 * m, 1), _four(tiles, right_tile + m, 4)
                    c0, c1 = _minus(c0, left, right[0]), _minus(c1, left, right[1])
                    c2, c3 = _minus(c2, left, right[2]), _minus(c3, left, right[3])
            for c in range(4):
                x = c0 if c == 0 else c1 if c == 1 else c2 if c == 2 else c3
                x2, x3 = w20 * x[0] + w21 * x[1] + w22 * x[2], w30 * x[0] + w31 * x[1] + w32 * x[2] + w33 * x[3]
                _put(tiles, row + 16 * other + 4 * c, (w00 * x[0], w10 * x[0] + w11 * x[1], x2, x3))
        _put(tiles, d, (w00, w10, w20, w30))
        _put(tiles, d + 4, (zero, w11, w21, w31))
        _put(tiles, d + 8, (zero, zero, w22, w32))


@njit(**_OPTIONS)
def _backward_solve(tiles, n_blocks, z, y):  # type: ignore  # noqa
    """Put W' z into y."""
    zero = splat(tiles.dtype.type(0))
    for other in range(n_blocks):
        y0, y1, y2, y3 = zero, zero, zero, zero
        for block in range(other, n_blocks):
            here, part = _tile(block, other), _four(z, 4 * block, 1)
            y0, y1 = _plus_dot(y0, _four(tiles, here, 1), part), _plus_dot(y1, _four(tiles, here + 4, 1), part)
            y2, y3 = _plus_dot(y2, _four(tiles, here + 8, 1), part), _plus_dot(y3, _four(tiles, here + 12, 1), part)
        _put(y, 4 * other, (y0, y1, y2, y3))


@njit(**_OPTIONS)
def _gradient(tiles, n_blocks, y, packed, alpha_gradient):  # type: ignore  # noqa
    """In place of W, the gradient for the packed covariance: y y' - W' W below the diagonal, half of it there."""
    zero, half = splat(tiles.dtype.type(0)), splat(tiles.dtype.type(0.5))
    n_modes = packed.shape[0]
    for j in range(n_modes):
        store(alpha_gradient, j, zero)
    for block in range(n_blocks):
        for other in range(block + 1):
            column, here = _four(y, 4 * block, 1), _tile(block, other)
            right = _four(y, 4 * other, 1)
            c0, c1 = _times(column, right[0]), _times(column, right[1])
            c2, c3 = _times(column, right[2]), _times(column, right[3])
            for middle in range(block, n_blocks):
                left_tile, right_tile = _tile(middle, block), _tile(middle, other)
                for m in range(4):
                    left, right = _four(tiles, left_tile + m, 4), _four(tiles, right_tile + m, 4)
                    c0, c1 = _minus(c0, left, right[0]), _minus(c1, left, right[1])
                    c2, c3 = _minus(c2, left, right[2]), _minus(c3, left, right[3])
            if other == block:
                c0, c1 = (c0[0] * half, c0[1], c0[2], c0[3]), (c1[0], c1[1] * half, c1[2], c1[3])
                c2, c3 = (c2[0], c2[1], c2[2] * half, c2[3]), (c3[0], c3[1], c3[2], c3[3] * half)
            _put(tiles, here, c0)
            _put(tiles, here + 4, c1)
            _put(tiles, here + 8, c2)
            _put(tiles, here + 12, c3)
            for j in range(n_modes):
                mode = packed[j]
                s0 = _plus_dot(load(alpha_gradient, j), c0, _splat_four(mode, here))
                s1 = _plus_dot(zero, c1, _splat_four(mode, here + 4))
                s2 = _plus_dot(zero, c2, _splat_four(mode, here + 8))
                s3 = _plus_dot(zero, c3, _splat_four(mode, here + 12))
                store(alpha_gradient, j, (s0 + s1) + (s2 + s3))


@njit(**_OPTIONS)
def _accumulate(tiles, weighted_alpha, n_groups, sums):  # type: ignore  # noqa
    n_modes, n_packed = sums.shape
    zero = splat(tiles.dtype.type(0))
    for p in range(0, n_packed, 4):
        for j in range(n_modes):
            totals = zero, zero, zero, zero
            for group in range(n_groups):
                values = _four(tiles, group * n_packed + p, 1)
                totals = _plus(totals, values, load(weighted_alpha, group * n_modes + j))
            sums[j, p] += lane_sum(totals[0])
            sums[j, p + 1] += lane_sum(totals[1])
            sums[j, p + 2] += lane_sum(totals[2])
            sums[j, p + 3] += lane_sum(totals[3])


@njit(**_OPTIONS)
def _take_group(residuals, alpha, start, n_lanes, z, alpha_lanes):  # type: ignore  # noqa
    """Lay a group's numbers side by side; lanes beyond the last sample repeat it."""
    z[residuals.shape[1] * n_lanes :] = 0
    for lane in range(n_lanes):
        sample = min(start + lane, len(residuals) - 1)
        for channel in range(residuals.shape[1]):
            z[channel * n_lanes + lane] = residuals[sample, channel]
        for j in range(alpha.shape[1]):
            alpha_lanes[j * n_lanes + lane] = alpha[sample, j]


@njit(**_OPTIONS)
def _silence(tiles, y, by_alpha, densities):  # type: ignore  # noqa
    """Zero gradients in the lanes without a log-density."""
    n_lanes = len(densities)
    for lane in range(n_lanes):
        if math.isnan(densities[lane]):
            tiles[lane::n_lanes] = 0
            y[lane::n_lanes] = 0
            by_alpha[lane::n_lanes] = 0


@njit(**_OPTIONS)
def _log_densities(tiles, z, n_channels, output):  # type: ignore  # noqa
    """Log-density of each lane from the reciprocals on the diagonal and z; NaN where it is not a finite number."""
    n_lanes = len(output)
    product = np.ones(n_lanes)
    output[:] = -n_channels * _HALF_LOG_TWO_PI
    for channel in range(n_channels):
        diagonal = (_tile(channel >> 2, channel >> 2) + 5 * (channel & 3)) * n_lanes
        for lane in range(n_lanes):
            deviation = z[channel * n_lanes + lane]
            output[lane] -= 0.5 * deviation * deviation
            product[lane] *= tiles[diagonal + lane]
        if (channel + 1) % _FACTORS_PER_LOGARITHM == 0 or channel == n_channels - 1:
            for lane in range(n_lanes):
                output[lane] += math.log(product[lane])
                product[lane] = 1.0
    for lane in range(n_lanes):
        if not math.isfinite(output[lane]):
            output[lane] = np.nan


@njit(**_OPTIONS)
def mixture_kernel(residuals, alpha, weights, packed, smallest, n_groups, densities, by_residual, by_alpha, sums):  # type: ignore  # noqa
    """Log-densities (n,) of residuals (n, C) under mixed covariances, and what their gradients are made of.

    `by_residual` (n, C) gets M^-1 r, `by_alpha` (n, J) the derivative by alpha, and to `sums` (J, P) is added the
    gradient of sum_n weights_n log N_n by the packed covariances. If `by_alpha` is empty, no gradient is computed; if
    `sums` is, not that one. `smallest` is the least fraction of a channel's variance that the channels before it may
    leave unexplained; `n_groups` groups share a workspace. A sample without a finite log-density gets NaN, and adds
    nothing to any gradient.
    """
    n_samples, n_channels = residuals.shape
    n_modes, n_packed = packed.shape
    n_lanes, n_blocks, dtype = VECTOR_BYTES // packed.itemsize, -(-n_channels // 4), packed.dtype
    workspace = np.empty(n_groups * n_packed * n_lanes, dtype)
    alpha_lanes, weighted = np.empty(n_modes * n_lanes, dtype), np.empty(n_groups * n_modes * n_lanes, dtype)
    by_alpha_lanes, lane_densities = np.empty(n_modes * n_lanes, dtype), np.empty(n_lanes)
    z, y = np.zeros(4 * n_blocks * n_lanes, dtype), np.empty(4 * n_blocks * n_lanes, dtype)
    for first in range(0, n_samples, n_groups * n_lanes):
        n_used = min(n_groups, -(-(n_samples - first) // n_lanes))
        for group in range(n_used):
            start = first + group * n_lanes
            stop = min(start + n_lanes, n_samples)
            tiles = workspace[group * n_packed * n_lanes : (group + 1) * n_packed * n_lanes]
            _take_group(residuals, alpha, start, n_lanes, z, alpha_lanes)
            _mix(alpha_lanes, packed, tiles, n_channels)
            _factor(tiles, n_blocks, smallest)
            _forward_solve(tiles, n_blocks, z)
            _log_densities(tiles, z, n_channels, lane_densities)
            for sample in range(start, stop):
                densities[sample] = lane_densities[sample - start]
            if len(by_alpha) == 0:
                continue
            _invert_factor(tiles, n_blocks)
            _backward_solve(tiles, n_blocks, z, y)
            _gradient(tiles, n_blocks, y, packed, by_alpha_lanes)
            _silence(tiles, y, by_alpha_lanes, lane_densities)
            for sample in range(start, stop):
                for channel in range(n_channels):
                    by_residual[sample, channel] = y[channel * n_lanes + sample - start]
                for j in range(n_modes):
                    by_alpha[sample, j] = by_alpha_lanes[j * n_lanes + sample - start]
            for j in range(n_modes):
                shares = weighted[(group * n_modes + j) * n_lanes : (group * n_modes + j + 1) * n_lanes]
                for lane in range(n_lanes):
                    counts = start + lane < stop and not math.isnan(lane_densities[lane])
                    shares[lane] = alpha_lanes[j * n_lanes + lane] * weights[start + lane] if counts else 0
        if len(sums) > 0:
            _accumulate(workspace, weighted, n_used, sums)
