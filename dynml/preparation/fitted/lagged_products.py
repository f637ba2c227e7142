"""Second moments and projections of time-delay embedded signals, without the embedded signals.

An embedding of n samples turns T x C numbers into T x nC, but its second moments are sums of lagged products, of which
there are n, and its projection is a convolution. Both are made here by Fourier transforms of short overlapping blocks
(overlap-save): one small product for each frequency.

Shapes: T samples, C channels, n embeddings, P components.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Signals = NDArray[np.floating[Any]]
FLOAT64: np.dtype[Any] = np.dtype(np.float64)
SHORTEST_BLOCK = 128
BLOCKS_AT_ONCE = 32
"""So many rows has each frequency's product: fewer leave a matrix product slow, more leave the cache."""
ROWS_AT_ONCE = 4096


def lagged_products(signals: Signals, n_lags: int, mean_C: Array | None = None) -> Array:
    """Sums over time of x_t x_{t+d}^T.

    Parameters
    ----------
    signals : array, (T, C)
    n_lags : int
        Lags 0 to n_lags - 1.
    mean_C : array, (C,), optional
        What to subtract first.

    Returns
    -------
    array, (n_lags, C, C)
        Entry [d, p, q] is the sum over t of signals[t, p] signals[t + d, q].
    """
    from scipy.fft import irfft, rfft

    length = _block_length(n_lags)
    n_rows, n_channels = length - n_lags + 1, signals.shape[1]
    spectra, of_blocks = np.zeros((2, length // 2 + 1, n_channels, n_channels), dtype=np.complex128)
    angles = 2 * np.pi / length * np.outer(np.arange(length // 2 + 1), np.arange(n_rows, length))
    waves = np.concatenate([np.cos(angles), np.sin(angles)])
    for _, blocks in _blocks(signals, mean_C, len(signals), n_lags, length):
        later = rfft(blocks, axis=0)
        # The earlier factor ends where its block ends, the later one goes on for the largest lag: what few rows add is
        # taken off again, by a product that is quicker than another transform.
        cosines, sines = (waves @ blocks[n_rows:].reshape(n_lags - 1, later[0].size)).reshape(2, *later.shape)
        earlier = np.empty_like(later)
        np.subtract(later.real, cosines, out=earlier.real)
        np.subtract(-sines, later.imag, out=earlier.imag)  # conjugate
        np.matmul(earlier.transpose(0, 2, 1), later, out=of_blocks)
        spectra += of_blocks
    products: Array = irfft(spectra, length, axis=0)[:n_lags]
    return products


def embedded_second_moment(signals: Signals, n_embeddings: int, mean_C: Array | None = None) -> Array:
    """Sum over windows of the products of all pairs of their samples.

    Parameters
    ----------
    signals : array, (T, C)
        One segment, T at least `n_embeddings`.
    n_embeddings : int
    mean_C : array, (C,), optional
        What to subtract first.

    Returns
    -------
    array, (nC, nC)
        E^T E, where row t of E, (T - n + 1, nC), is the window signals[t : t + n], the earliest sample first.

    Notes
    -----
    Block (i, j) with j >= i is the lagged product at j - i, less the pairs at the ends of the segment that no whole
    window holds at these positions: the first i, and the last n - 1 - j.
    """
    n_samples, n_channels = signals.shape
    products = lagged_products(signals, n_embeddings, mean_C)
    first, last = (
        _centred(rows, mean_C) for rows in (signals[: n_embeddings - 1], signals[n_samples - n_embeddings + 1 :])
    )
    moment = np.empty((n_embeddings, n_channels, n_embeddings, n_channels))
    for i in range(n_embeddings):
        for j in range(i, n_embeddings):
            lag = j - i
            head = first[:i].T @ first[lag : lag + i]
            tail = last[i : n_embeddings - 1 - lag].T @ last[j:]
            moment[i, :, j, :] = products[lag] - head - tail
            moment[j, :, i, :] = moment[i, :, j, :].T
    return moment.reshape(n_embeddings * n_channels, n_embeddings * n_channels)


def project(signals: Signals, filters_nCP: Array, out: Signals, mean_C: Array | None = None) -> None:
    """Project each window of a segment, in the precision of `out`.

    Parameters
    ----------
    signals : array, (T, C)
    filters_nCP : array, (n, C, P)
        Weights of a window's samples, the earliest first.
    out : array, (T - n + 1, P), float32 or float64
        Filled. float32 takes half the time; errors are then some 1e-7 of the largest projection.
    mean_C : array, (C,), optional
        What to subtract first, in float64.
    """
    from scipy.fft import irfft, rfft

    n_lags, _, n_components = filters_nCP.shape
    n_windows = len(signals) - n_lags + 1
    if n_lags == 1:
        for start in range(0, n_windows, ROWS_AT_ONCE):
            stop = start + ROWS_AT_ONCE
            centred = _centred(signals[start:stop], mean_C).astype(out.dtype, copy=False)
            out[start:stop] = centred @ filters_nCP[0].astype(out.dtype, copy=False)
        return
    length = _block_length(n_lags)
    n_rows = length - n_lags + 1
    complex_type = np.result_type(out.dtype, np.complex64)
    spectra = np.conj(rfft(filters_nCP, length, axis=0)).astype(complex_type)
    projected = np.empty((len(spectra), BLOCKS_AT_ONCE, n_components), dtype=complex_type)
    for start, blocks in _blocks(signals, mean_C, n_windows, n_lags, length, out.dtype):
        of_blocks = projected[:, : blocks.shape[1]]
        np.matmul(rfft(blocks, axis=0), spectra, out=of_blocks)
        rows = irfft(of_blocks, length, axis=0)[:n_rows].transpose(1, 0, 2)
        n_whole = min(len(rows), (n_windows - start) // n_rows)
        stop = start + n_whole * n_rows
        out[start:stop].reshape(n_whole, n_rows, n_components)[...] = rows[:n_whole]
        if n_whole < len(rows):
            out[stop:] = rows[n_whole, : n_windows - stop]


def _block_length(n_lags: int) -> int:
    """Power of two of which at least three quarters are new rows."""
    return max(SHORTEST_BLOCK, 1 << (4 * n_lags - 1).bit_length())


def _centred(rows: Signals, mean_C: Array | None) -> Array:
    centred = rows.astype(np.float64)
    if mean_C is not None:
        centred -= mean_C
    return centred


def _blocks(
    signals: Signals,
    mean_C: Array | None,
    n_rows: int,
    n_lags: int,
    length: int,
    dtype: np.dtype[Any] = FLOAT64,
) -> Iterator[tuple[int, Signals]]:
    """Overlapping blocks, (length, at most BLOCKS_AT_ONCE, C), zero beyond the end, and the row where they start."""
    step = length - n_lags + 1
    rows_at_once = BLOCKS_AT_ONCE * step
    for start in range(0, n_rows, rows_at_once):
        n_blocks = -(-min(rows_at_once, n_rows - start) // step)
        needed = n_blocks * step + n_lags - 1
        piece = _centred(signals[start : start + needed], mean_C).astype(dtype, copy=False)
        if len(piece) < needed:
            piece = np.concatenate([piece, np.zeros((needed - len(piece), signals.shape[1]), dtype=dtype)])
        windows = np.lib.stride_tricks.sliding_window_view(piece, length, axis=0)[::step]
        yield start, windows.transpose(2, 0, 1)
