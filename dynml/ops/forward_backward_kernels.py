"""Compiled loops of the forward-backward recursions for a CPU.

Two pairs of kernels do the same sums. The scaled pair works with probabilities and is made for one number of states at
a time, so that the compiler unrolls and vectorises the K loops; it is exact while every transition probability is at
least `SMALLEST_SCALED_PROBABILITY`. The logarithmic pair takes any transition matrix, exact zeros included: where a state can
be reached from few others, a path can lose a factor of e^-1000 against its rivals and still win later, which no scaled
number can hold.

Rows of several segments lie end to end: segment i is `borders[i]:borders[i + 1]`. A stretch may begin or end inside a
segment; then `predicted` or `following` carries the message across. Both backward kernels use the smoothing recursion
on the filtered probabilities (Rauch, Tung and Striebel), which needs no likelihoods a second time: with
pred_t+1(j) = sum_i alpha_t(i) A_ij,

    xi_t(i, j) = alpha_t(i) A_ij gamma_t+1(j) / pred_t+1(j),    gamma_t(i) = sum_j xi_t(i, j).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

SMALLEST_SCALED_PROBABILITY = 1e-100

_TILE_ROWS = 64
_LOG_2_E = math.log2(math.e)
_LN_2_HIGH = 6.93147180369123816490e-01  # ln 2 in two parts, so that n ln 2 is exact for every n needed
_LN_2_LOW = 1.90821492927058770002e-10
_ROUNDING = 6755399441055744.0  # 1.5 * 2^52: adding it leaves the nearest whole number in the low bits
_SMALLEST_EXPONENT = -700.0
_NEGLIGIBLE_LOG = -45.0  # e^-45 = 3e-20 is below the rounding of a sum in float64


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp"})
def _exponentials(values, rounded, powers, output):  # type: ignore  # noqa
    """Vectorisable exp for values in [-700, 0], relative error 3e-16; below that, zero.

    2^n p(r) with |r| <= ln 2 / 2; the power of two is put together in the exponent bits.
    """
    n_values = len(values)
    bits = rounded.view(np.int64)
    power_bits = powers.view(np.int64)
    for i in range(n_values):
        rounded[i] = max(values[i], _SMALLEST_EXPONENT) * _LOG_2_E + _ROUNDING
    for i in range(n_values):
        power_bits[i] = (bits[i] + 1023) << 52
    for i in range(n_values):
        value = max(values[i], _SMALLEST_EXPONENT)
        whole = rounded[i] - _ROUNDING
        r = (value - whole * _LN_2_HIGH) - whole * _LN_2_LOW
        p = 1.0 / 6227020800.0
        p = p * r + 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
        p = p * r + 1.0 / 120.0
        p = p * r + 1.0 / 24.0
        p = p * r + 1.0 / 6.0
        p = p * r + 0.5
        p = p * r + 1.0
        p = p * r + 1.0
        output[i] = p * powers[i] if values[i] > _SMALLEST_EXPONENT else 0.0


@functools.cache
def scaled_kernels(n_states: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Forward and backward kernel for `n_states` states, compiled at their first call and cached on disk.

    forward(log_likelihoods_TK, borders, predicted_K, initial_K, transitions_KK, alpha_TK, segment_log_likelihoods)
        fills alpha (filtered probabilities) and adds log p of each segment's rows. `predicted` is what is expected of the
        first row: the initial probabilities, or the message of the rows before.
    backward(alpha_TK, borders, following_K, continues, transitions_KK, pairs_KK)
        turns alpha into gamma in place and adds the sums of xi / A to `pairs`. With `continues`, the last row is followed
        by a row of the same segment whose gamma is `following`.
    """
    K = n_states

    @njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp", "reassoc"})
    def forward(ll, borders, predicted, initial, transitions, alpha, segment_log_likelihoods):  # type: ignore  # noqa
        values = np.empty(_TILE_ROWS * K)
        rounded = np.empty(_TILE_ROWS * K)
        powers = np.empty(_TILE_ROWS * K)
        emission = np.empty((_TILE_ROWS, K))
        shifts = np.empty(_TILE_ROWS)
        expected = np.empty(K)
        weight = np.empty(K)
        nxt = np.empty(K)
        for j in range(K):
            expected[j] = predicted[j]
        for segment in range(len(borders) - 1):
            log_scale = 0.0
            product = 1.0
            if segment > 0:
                for j in range(K):
                    expected[j] = initial[j]
            for tile in range(borders[segment], borders[segment + 1], _TILE_ROWS):
                n_rows = min(_TILE_ROWS, borders[segment + 1] - tile)
                for row in range(n_rows):
                    largest = ll[tile + row, 0]
                    for j in range(1, K):
                        largest = max(largest, ll[tile + row, j])
                    shifts[row] = largest
                    for j in range(K):
                        values[row * K + j] = np.float64(ll[tile + row, j]) - np.float64(largest)
                _exponentials(values[: n_rows * K], rounded, powers, emission.reshape(-1))
                for row in range(n_rows):
                    total = 0.0
                    for j in range(K):
                        weight[j] = expected[j] * emission[row, j]
                        total += weight[j]
                    if not total > SMALLEST_SCALED_PROBABILITY:
                        # The likeliest state is one that cannot be here: shift by the likeliest that can.
                        largest = -np.inf
                        for j in range(K):
                            if expected[j] > 0.0:
                                largest = max(largest, ll[tile + row, j] + math.log(expected[j]))
                        shifts[row] = largest
                        total = 0.0
                        for j in range(K):
                            weight[j] = 0.0
                            if expected[j] > 0.0:
                                weight[j] = math.exp(ll[tile + row, j] + math.log(expected[j]) - largest)
                            total += weight[j]
                    product *= total
                    if product < 1e-200:
                        log_scale += math.log(product)
                        product = 1.0
                    log_scale += shifts[row]
                    inverse = 1.0 / total
                    for j in range(K):
                        nxt[j] = 0.0
                        alpha[tile + row, j] = weight[j] * inverse
                    for i in range(K):
                        for j in range(K):
                            nxt[j] += weight[i] * transitions[i, j]
                    for j in range(K):
                        expected[j] = nxt[j] * inverse
            segment_log_likelihoods[segment] += log_scale + math.log(product)

    @njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp", "reassoc"})
    def backward(alpha, borders, following, continues, transitions, pairs):  # type: ignore  # noqa
        gamma = np.empty(K)
        ratio = np.empty(K)
        filtered = np.empty(K)
        expected = np.empty(K)
        sums = np.zeros((K, K))
        columns = transitions.T.copy()
        for segment in range(len(borders) - 2, -1, -1):
            first, last = borders[segment], borders[segment + 1]
            if last == first:
                continue
            begin = last - 1
            if segment == len(borders) - 2 and continues:
                for j in range(K):
                    gamma[j] = following[j]
            else:
                for j in range(K):
                    gamma[j] = alpha[last - 1, j]
                begin = last - 2
            for t in range(begin, first - 1, -1):
                for j in range(K):
                    filtered[j] = alpha[t, j]
                    expected[j] = 0.0
                for i in range(K):
                    for j in range(K):
                        expected[j] += filtered[i] * transitions[i, j]
                for j in range(K):
                    ratio[j] = gamma[j] / expected[j]
                    gamma[j] = 0.0
                for j in range(K):
                    for i in range(K):
                        gamma[i] += ratio[j] * columns[j, i]
                for i in range(K):
                    gamma[i] *= filtered[i]
                for i in range(K):
                    for j in range(K):
                        sums[i, j] += filtered[i] * ratio[j]
                if t & 255 == 0:
                    total = 0.0
                    for j in range(K):
                        total += gamma[j]
                    for j in range(K):
                        gamma[j] /= total
                for j in range(K):
                    alpha[t, j] = gamma[j]
        for i in range(K):
            for j in range(K):
                pairs[i, j] += sums[i, j]

    return forward, backward


@njit(cache=True, nogil=True)
def _log_sum(values, weights, n_values):  # type: ignore  # noqa
    """Log sum exp(values + weights); terms below the rounding of the sum are skipped."""
    largest = -np.inf
    for i in range(n_values):
        largest = max(largest, values[i] + weights[i])
    if largest == -np.inf:
        return largest
    total = 0.0
    for i in range(n_values):
        difference = values[i] + weights[i] - largest
        if difference > _NEGLIGIBLE_LOG:
            total += math.exp(difference)
    return largest + math.log(total)


@njit(cache=True, nogil=True)
def logarithmic_forward(ll, borders, predicted, initial, transitions, alpha, segment_log_likelihoods):  # type: ignore  # noqa
    """As the scaled forward kernel, for logarithms: `predicted`, `initial`, `transitions` and `alpha` hold logs."""
    n_states = ll.shape[1]
    columns = transitions.T.copy()
    expected = predicted.copy()
    for segment in range(len(borders) - 1):
        if segment > 0:
            expected[:] = initial
        for t in range(borders[segment], borders[segment + 1]):
            if t > borders[segment]:
                for j in range(n_states):
                    expected[j] = _log_sum(alpha[t - 1], columns[j], n_states)
            total = _log_sum(ll[t], expected, n_states)
            for j in range(n_states):
                alpha[t, j] = expected[j] + ll[t, j] - total
            segment_log_likelihoods[segment] += total


@njit(cache=True, nogil=True)
def logarithmic_backward(alpha, borders, following, continues, transitions, pairs):  # type: ignore  # noqa
    """As the scaled backward kernel, for log alpha and log transitions; gamma, `following` and `pairs` are no logs.

    `pairs` gets the sums of xi themselves, not of xi / A.
    """
    n_states = alpha.shape[1]
    columns = transitions.T.copy()
    gamma = np.empty(n_states)
    before = np.empty(n_states)
    for segment in range(len(borders) - 2, -1, -1):
        first, last = borders[segment], borders[segment + 1]
        if last == first:
            continue
        begin = last - 1
        if segment == len(borders) - 2 and continues:
            gamma[:] = following
        else:
            begin = last - 2
            for j in range(n_states):
                gamma[j] = math.exp(alpha[last - 1, j])
                alpha[last - 1, j] = gamma[j]
        for t in range(begin, first - 1, -1):
            before[:] = 0.0
            total = 0.0
            for j in range(n_states):
                if gamma[j] > 0.0:
                    expected = _log_sum(alpha[t], columns[j], n_states)
                    for i in range(n_states):
                        difference = alpha[t, i] + columns[j, i] - expected
                        if difference > _SMALLEST_EXPONENT:
                            pair = gamma[j] * math.exp(difference)
                            pairs[i, j] += pair
                            before[i] += pair
                            total += pair
            for i in range(n_states):
                gamma[i] = before[i] / total
                alpha[t, i] = gamma[i]


@njit(cache=True, nogil=True)
def chunk_messages(operators, transitions, following, continues):  # type: ignore  # noqa
    """Short pass of the two-level scan, in logarithms throughout.

    Parameters
    ----------
    operators : (N, K, K)
        Log-operators of the chunks, row = state before, column = state at the last row.
    transitions : (K, K)
        Log transition probabilities.
    following : (K,)
        With `continues`: log gamma of the row after the last chunk.

    Returns
    -------
    before : (N, K)
        Log filtered probabilities before each chunk (uniform before the first, which begins with a start).
    after : (N, K)
        Log backward messages at the last row of each chunk.
    pairs : (K, K)
        xi (no logarithm) of the step to the following row; zeros without one.
    predicted : (K,)
        Log probabilities that the filtered ones after the last chunk predict for the next row.
    """
    n_chunks, n_states, _ = operators.shape
    before = np.zeros((n_chunks, n_states))
    after = np.zeros((n_chunks, n_states))
    pairs = np.zeros((n_states, n_states))
    nothing = np.zeros(n_states)
    filtered = np.full(n_states, -math.log(n_states))
    for chunk in range(n_chunks):
        before[chunk] = filtered
        columns = operators[chunk].T.copy()
        updated = np.empty(n_states)
        for j in range(n_states):
            updated[j] = _log_sum(filtered, columns[j], n_states)
        filtered = updated - _log_sum(updated, nothing, n_states)
    columns = transitions.T.copy()
    predicted = np.empty(n_states)
    for j in range(n_states):
        predicted[j] = _log_sum(filtered, columns[j], n_states)
    if continues:
        ratio = np.full(n_states, -np.inf)
        for j in range(n_states):
            if following[j] > -np.inf:
                ratio[j] = following[j] - predicted[j]
        for i in range(n_states):
            after[n_chunks - 1, i] = _log_sum(transitions[i], ratio, n_states)
            for j in range(n_states):
                pairs[i, j] = math.exp(filtered[i] + transitions[i, j] + ratio[j])
    after[n_chunks - 1] -= _log_sum(after[n_chunks - 1], nothing, n_states)
    for chunk in range(n_chunks - 1, 0, -1):
        for i in range(n_states):
            after[chunk - 1, i] = _log_sum(operators[chunk, i], after[chunk], n_states)
        after[chunk - 1] -= _log_sum(after[chunk - 1], nothing, n_states)
    return before, after, pairs, predicted
