"""Compiled loops over samples: log-densities under the Gaussians of all states, on a CPU.

`fill_full` takes as many samples at a time as four vectors have lanes, and lays them out channel by channel. One tile
of the product with a whitener is then TILE_ROWS whitened channels of all these samples. It runs along the channels that
triangular rows depend on, half of them in the mean, and its squares go into sums that stay in registers: a whitened
channel is never written to memory. The numbers of a sample do not depend on the samples beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from dynml.ops.lstm.lanes import LANES, TILE_ROWS, product_4
from dynml.ops.mixture.mixture_gaussian_lanes import load, splat, store

LANES_CHECKSUM = "cac8c8d0"
"""CRC-32 of `lanes.py` and `mixture_gaussian_lanes.py`, which are compiled into these kernels. numba's cache on disk
looks at this file alone; a test compares, so that a change of theirs changes it too."""

_SAMPLES = 4 * LANES
_FAST: Any = {"contract", "nsz", "arcp", "reassoc"}
_ZERO = np.float32(0)


def whole_tiles(n_channels: int) -> int:
    """Number of channels filled up to whole tiles."""
    return -(-n_channels // TILE_ROWS) * TILE_ROWS


def workspace_size(n_channels: int) -> int:
    """How many numbers `fill_full` needs as its workspace: a tile of samples, one of whitened channels, and sums."""
    return _SAMPLES * (whole_tiles(n_channels) + TILE_ROWS + 1)


@njit(cache=True, nogil=True, error_model="numpy")
def fill_full(signals, whiteners, whitened_means, log_normalizers, workspace, output):  # type: ignore  # noqa
    """Log-densities (T, K) of samples (T, C) under Gaussians of full covariances, all float32.

    whiteners (K, D, D), lower triangular, and whitened_means (K, D), both flat, with D channels filled up to whole
    tiles by zeros; workspace of `workspace_size`.
    """
    n_channels, n_states = signals.shape[1], output.shape[1]
    D = -(-n_channels // TILE_ROWS) * TILE_ROWS
    samples, tile = workspace[: D * _SAMPLES], workspace[D * _SAMPLES :]
    samples[n_channels * _SAMPLES :] = _ZERO
    sums = TILE_ROWS * 4  # where they stand in `tile`, counted in vectors
    for first in range(0, len(signals), _SAMPLES):
        n_samples = min(_SAMPLES, len(signals) - first)
        for t in range(n_samples):
            for c in range(n_channels):
                samples[c * _SAMPLES + t] = signals[first + t, c]
        for state in range(n_states):
            one = two = three = four = splat(_ZERO)
            for row in range(state * D, (state + 1) * D, TILE_ROWS):
                for i in range(TILE_ROWS):
                    start = splat(-whitened_means[row + i])
                    for vector in range(4):
                        store(tile, 4 * i + vector, start)
                depth = row - state * D + TILE_ROWS
                product_4(tile, 0, _SAMPLES, whiteners, row * D, D, 1, samples, 0, _SAMPLES, depth)
                for i in range(TILE_ROWS):
                    deviation = load(tile, 4 * i)
                    one = one + deviation * deviation
                    deviation = load(tile, 4 * i + 1)
                    two = two + deviation * deviation
                    deviation = load(tile, 4 * i + 2)
                    three = three + deviation * deviation
                    deviation = load(tile, 4 * i + 3)
                    four = four + deviation * deviation
            store(tile, sums, one)
            store(tile, sums + 1, two)
            store(tile, sums + 2, three)
            store(tile, sums + 3, four)
            for t in range(n_samples):
                output[first + t, state] = log_normalizers[state] - np.float32(0.5) * tile[sums * LANES + t]


@njit(cache=True, nogil=True, fastmath=_FAST)
def subtract_half_squares(whitened, offset, output):  # type: ignore  # noqa
    """Subtract |whitened - offset|^2 / 2, summed over each state's share of the columns, still in the cache."""
    n_rows, n_states = output.shape
    half = whitened.dtype.type(0.5)
    n_outputs = whitened.shape[1] // n_states
    for row in range(n_rows):
        for state in range(n_states):
            total = whitened.dtype.type(0)
            first = state * n_outputs
            for i in range(n_outputs):  # counted from 0, or the compiler does not vectorise it
                deviation = whitened[row, first + i] - offset[first + i]
                total += deviation * deviation
            output[row, state] -= half * total


@njit(cache=True, nogil=True, fastmath=_FAST)
def fill_diagonal(signals, scales, means, log_normalizers, output):  # type: ignore  # noqa
    """Log-densities of samples under Gaussians of diagonal covariances."""
    half = signals.dtype.type(0.5)
    n_channels = signals.shape[1]
    for row in range(len(signals)):
        for state in range(len(scales)):
            total = signals.dtype.type(0)
            for c in range(n_channels):
                deviation = (signals[row, c] - means[state, c]) * scales[state, c]
                total += deviation * deviation
            output[row, state] = log_normalizers[state] - half * total
