"""Spectra of states from pairs of samples that are both in the state: short visits do not smear them.

Shapes: T samples, C channels, K states, L + 1 lags, F frequencies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.ops.spectra.cross_spectra import Complex, CrossSpectra, Real, Stretches, one_sided, positive_semidefinite

FEWEST_PAIRS = 100.0
"""Lags from the first that fewer pairs have are left out."""

LARGEST_CONDITION = 1e8
Block = tuple[int, int, int]


def parzen_window(n_lags: int) -> Real:
    """Parzen's lag window at lags 0 to n_lags, where it is 0, (n_lags + 1,)."""
    u = np.arange(n_lags + 1) / n_lags
    return np.where(u <= 0.5, 1 - 6 * u**2 + 6 * u**3, 2 * (1 - u) ** 3)


def resolution_of_lags(n_lags: int, sampling_frequency: float) -> float:
    """Width in Hz of the rectangle that has the height and the power of Parzen's spectral window."""
    window = parzen_window(n_lags)
    return float(sampling_frequency / (2 * np.square(window).sum() - 1))


def pair_spectra(
    signals_TC: NDArray[np.floating],
    weights_TK: NDArray[np.floating],
    stretches: Stretches,
    n_lags: int,
    sampling_frequency: float,
    frequencies: Real,
) -> CrossSpectra:
    """Cross spectra from lagged products of pairs of samples that are both in the state.

    Parameters
    ----------
    signals_TC : array, (T, C)
    weights_TK : array, (T, K)
        Probabilities of states.
    stretches : array, (n, 2)
        [start, stop) without gaps; no pair reaches from one to another.
    n_lags : int
        Longest lag, in samples.
    sampling_frequency : float
        Hz.
    frequencies : array, (F,)
        Hz.

    Returns
    -------
    CrossSpectra
        Positive semi-definite. A state with fewer than 100 pairs at the first lag is NaN.

    Notes
    -----
    With weights w_k that are 0 or 1, R_k(l) is the mean of x_t x'_{t+l} over pairs that both lie in state k, and S_k
    the transform of Parzen's window times R_k. Nothing is multiplied in time, so that the length of visits does not
    smear the spectrum; it only says how many pairs there are.

    With soft weights, the products of all pairs are regressed on the probabilities p_k(t, l) that both samples are in
    state k, a lag at a time, so that other states do not enter through the small probabilities that they share. Those
    are w_k(t) w_k(t + l) + c_k(l) (v_k(t) v_k(t + l)) with v = (w (1 - w))^1/2: what is unsure now will still be unsure
    alike a little later. c_k, 1 at lag 0, is the square of what makes the sum of p_k that of the most probable states;
    the square, as those switch more rarely than the states do where they are unsure. With weights of 0 and 1, v is 0.

    Of white noise, the estimate is worth 1 / (sum over lags of window^2 sum of p^2 / (sum of p)^2) independent ones.
    """
    n_states = weights_TK.shape[1]
    spans = _blocks(stretches, n_lags)
    shape = (n_states, len(frequencies), signals_TC.shape[1], signals_TC.shape[1])
    values = np.full(shape, np.nan, dtype=np.complex128)
    n_independent, resolution = np.full(n_states, np.nan), np.full(n_states, np.nan)
    pairs = _pairs(weights_TK, spans, n_lags)
    counts, overlaps = pairs.counts, pairs.overlaps
    longest = np.array([_usable(count, n_lags) for count in counts])
    present = np.flatnonzero(longest > 0)
    products = np.empty((len(present), n_lags + 1, *shape[2:]))
    for position, state in enumerate(present):
        products[position] = _lagged_products(signals_TC * weights_TK[:, state, None], spans, n_lags)
        if pairs.unsure.any():
            more = _lagged_products(signals_TC * pairs.unsure[:, state, None], spans, n_lags)
            products[position] += pairs.persistence[state, :, None, None] * more
    shared = int(longest[present].min(initial=n_lags)) + 1
    covariances, condition = _own_covariances(products, overlaps[:, present][:, :, present], shared)
    for position, state in enumerate(present):
        lags = int(longest[state])
        window = parzen_window(lags)
        values[state] = _transform(covariances[position, : lags + 1], window, sampling_frequency, frequencies)
        shares = np.diagonal(overlaps, axis1=1, axis2=2)[: lags + 1, state] / np.square(counts[state, : lags + 1])
        two_sided = np.r_[1.0, np.full(lags, 2.0)]
        n_independent[state] = 1 / (two_sided * np.square(window) * shares).sum()
        resolution[state] = resolution_of_lags(lags, sampling_frequency)
    values, negative_share, negative_share_KF = positive_semidefinite(values)
    return CrossSpectra(
        frequencies=frequencies,
        values=values,
        weight=np.where(longest > 0, counts[:, 0], 0.0),
        n_independent=n_independent,
        resolution=resolution,
        condition=condition,
        negative_share=negative_share,
        negative_share_KF=negative_share_KF,
    )


def _usable(counts: Real, n_lags: int) -> int:
    """Say how many lags have enough pairs; 0 where not even the first has."""
    short = np.flatnonzero(counts < FEWEST_PAIRS)
    return n_lags if not len(short) else max(int(short[0]) - 1, 0)


def _own_covariances(products: Real, overlaps_LKK: Real, n_shared: int) -> tuple[Real, float]:
    """Solve, a lag at a time, for the states' own covariances.

    The largest condition number of the first lags, which all states have enough pairs at, is given as well.
    """
    if not len(products):
        return products, 1.0
    # Symmetric scaling: a rare state alone does not make the equations ill-conditioned.
    own = np.diagonal(overlaps_LKK, axis1=1, axis2=2)
    scale = np.sqrt(np.maximum(own, 1e-9 * own[:1]))
    scaled = overlaps_LKK / (scale[:, :, None] * scale[:, None, :])
    condition = np.linalg.cond(scaled)
    worst = float(condition[:n_shared].max())
    scaled[condition > LARGEST_CONDITION] += np.eye(len(products)) / LARGEST_CONDITION
    n_lags = products.shape[1]
    right = np.moveaxis(products, 0, 1).reshape(n_lags, len(products), -1) / scale[:, :, None]
    solved = np.linalg.solve(scaled, right) / scale[:, :, None]
    return np.moveaxis(solved.reshape(n_lags, len(products), *products.shape[2:]), 0, 1), worst


def _transform(covariances_LCC: Real, window: Real, sampling_frequency: float, frequencies: Real) -> Complex:
    """Fourier transform of R(l) for l >= 0 and of its transpose for l < 0, (F, C, C)."""
    lags = np.arange(len(window))
    phases = np.exp(-2j * np.pi * np.outer(frequencies, lags) / sampling_frequency) * window
    phases[:, 0] /= 2
    n_channels = covariances_LCC.shape[-1]
    half = (phases @ covariances_LCC.reshape(len(window), -1)).reshape(-1, n_channels, n_channels)
    scale = one_sided(frequencies, sampling_frequency) / sampling_frequency
    return (half + np.conj(np.swapaxes(half, 1, 2))) * scale[:, None, None]


def _blocks(stretches: Stretches, n_lags: int) -> list[Block]:
    """Cut stretches into pieces [first, last), each with the row up to which its later partners may lie."""
    length = _length(n_lags) - n_lags
    return [
        (first, min(first + length, stop), min(first + length + n_lags, stop))
        for start, stop in stretches.tolist()
        for first in range(start, stop, length)
    ]


def _length(n_lags: int) -> int:
    from scipy.fft import next_fast_len

    return int(next_fast_len(max(4 * n_lags, 64), real=True))


def _transformed(rows: NDArray[np.floating], spans: list[Block], n_lags: int) -> Iterator[tuple[Complex, Complex]]:
    """Transforms (F, m, columns) of pieces, and of the same pieces with their later partners.

    Rows past a piece are zeros, and pieces so short that no lag wraps around.
    """
    from scipy.fft import rfft

    length, size = _length(n_lags), max(1, 2**21 // (_length(n_lags) * rows.shape[1]))
    for start in range(0, len(spans), size):
        chosen = spans[start : start + size]
        heads = np.zeros((length, len(chosen), rows.shape[1]))
        partners = np.zeros_like(heads)
        for position, (first, last, further) in enumerate(chosen):
            heads[: last - first, position] = rows[first:last]
            partners[: further - first, position] = rows[first:further]
        yield rfft(heads, axis=0, overwrite_x=True), rfft(partners, axis=0, overwrite_x=True)


def _lagged_products(rows: NDArray[np.floating], spans: list[Block], n_lags: int) -> Real:
    """Sum over t of x_i(t) x_j(t + l), (L + 1, C, C)."""
    from scipy.fft import irfft

    length = _length(n_lags)
    total = np.zeros((length // 2 + 1, rows.shape[1], rows.shape[1]), dtype=np.complex128)
    for heads, partners in _transformed(rows, spans, n_lags):
        total += np.conj(np.swapaxes(heads, 1, 2)) @ partners
    return np.asarray(irfft(total, length, axis=0)[: n_lags + 1])


def _lagged_autos(rows: NDArray[np.floating], spans: list[Block], n_lags: int) -> Real:
    """Sum over t of w(t) w(t + l) of each column, (L + 1, columns)."""
    from scipy.fft import irfft

    length = _length(n_lags)
    total = np.zeros((length // 2 + 1, rows.shape[1]), dtype=np.complex128)
    for heads, partners in _transformed(rows, spans, n_lags):
        total += (np.conj(heads) * partners).sum(axis=1)
    return np.asarray(irfft(total, length, axis=0)[: n_lags + 1])


@dataclass(frozen=True)
class _Pairs:
    """How probable it is that pairs of samples are both in a state."""

    counts: Real
    """Sum over pairs, (K, L + 1)."""
    overlaps: Real
    """Sum over pairs of what two states have of them both, (L + 1, K, K)."""
    unsure: NDArray[np.floating]
    """(T, K): the root of w (1 - w)."""
    persistence: Real
    """How much of what is unsure now is so alike later, (K, L + 1)."""


def _pairs(weights_TK: NDArray[np.floating], spans: list[Block], n_lags: int) -> _Pairs:
    counts = _lagged_autos(weights_TK, spans, n_lags).T
    unsure = np.sqrt(np.maximum(weights_TK * (1 - weights_TK), 0.0))
    persistence = np.zeros_like(counts)
    if unsure.any():
        persistence, unsure_counts = _persistence(weights_TK, unsure, counts, spans, n_lags)
        counts = counts + persistence * unsure_counts
    n_states = weights_TK.shape[1]
    first, second = np.triu_indices(n_states)
    factors = persistence.T
    sums = _lagged_autos(weights_TK[:, first] * weights_TK[:, second], spans, n_lags)
    if unsure.any():
        sums += factors[:, second] * _lagged_autos(weights_TK[:, first] * unsure[:, second], spans, n_lags)
        sums += factors[:, first] * _lagged_autos(unsure[:, first] * weights_TK[:, second], spans, n_lags)
        both = _lagged_autos(unsure[:, first] * unsure[:, second], spans, n_lags)
        sums += factors[:, first] * factors[:, second] * both
    overlaps = np.empty((n_lags + 1, n_states, n_states))
    overlaps[:, first, second] = overlaps[:, second, first] = sums
    return _Pairs(counts, overlaps, unsure, persistence)


def _persistence(
    weights_TK: NDArray[np.floating],
    unsure_TK: NDArray[np.floating],
    counts: Real,
    spans: list[Block],
    n_lags: int,
) -> tuple[Real, Real]:
    unsure_counts = _lagged_autos(unsure_TK, spans, n_lags).T
    chosen = np.zeros_like(weights_TK)
    chosen[np.arange(len(weights_TK)), weights_TK.argmax(axis=1)] = weights_TK.any(axis=1)
    size = weights_TK.sum(axis=0) / np.maximum(chosen.sum(axis=0), 1.0)
    expected = _lagged_autos(chosen, spans, n_lags).T * size[:, None]
    known = unsure_counts > 1e-9 * np.maximum(counts[:, :1], 1.0)
    share = np.divide(expected - counts, unsure_counts, out=np.zeros_like(counts), where=known)
    return np.square(np.clip(share, 0.0, 1.0)), unsure_counts
