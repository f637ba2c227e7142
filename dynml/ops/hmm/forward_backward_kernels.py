"""Compiled loops of the forward-backward recursions for a CPU.

Two pairs of kernels do the same sums. The scaled pair works with probabilities and is made for one number of states at
a time, so that the compiler unrolls and vectorises the K loops; it is exact while every transition probability is at
least `SMALLEST_SCALED_PROBABILITY`. The logarithmic pair takes any transition matrix, exact zeros included: where a
state can be reached from few others, a path can lose a factor of e^-1000 against its rivals and still win later, which
no scaled number can hold.

Rows of several segments lie end to end: segment i is `borders[i]:borders[i + 1]`. Rows may begin or end inside a
segment; then `predicted` or `following` carries the message across. Both backward kernels use the smoothing recursion
on the filtered probabilities (Rauch, Tung and Striebel 1965), which needs no likelihoods a second time: with
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

_FAST = {"contract", "nsz", "arcp", "reassoc"}
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


@njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
def _tile_emissions(ll, values, rounded, powers, emission, shifts):  # type: ignore  # noqa
    """Likelihoods of some rows relative to each row's largest; the logarithm of that goes to `shifts`."""
    n_rows, n_states = ll.shape
    for row in range(n_rows):
        largest = ll[row, 0]
        for j in range(1, n_states):
            largest = max(largest, ll[row, j])
        shifts[row] = largest
        for j in range(n_states):
            values[row * n_states + j] = np.float64(ll[row, j]) - np.float64(largest)
    _exponentials(values[: n_rows * n_states], rounded, powers, emission.reshape(-1))


@njit(cache=True, nogil=True, error_model="numpy")
def _possible_weights(ll, expected, weight):  # type: ignore  # noqa
    """Weights of one row relative to the likeliest state that can be here; returns what was taken off, and their sum.

    For the rare row whose likeliest states cannot be here, so that no weight would be left.
    """
    largest = -np.inf
    for j in range(len(ll)):
        if expected[j] > 0.0:
            largest = max(largest, ll[j] + math.log(expected[j]))
    total = 0.0
    for j in range(len(ll)):
        weight[j] = 0.0
        if expected[j] > 0.0:
            weight[j] = math.exp(ll[j] + math.log(expected[j]) - largest)
        total += weight[j]
    return largest, total


@functools.cache
def scaled_kernels(n_states: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Forward and backward kernel for `n_states` states, compiled at their first call and cached on disk.

    forward(log_likelihoods_TK, borders, predicted_K, initial_K, transitions_KK, alpha_TK, segment_log_likelihoods)
        fills alpha (filtered probabilities) and adds log p of each segment's rows. `predicted` is what is expected of
        the first row: the initial probabilities, or the message of the rows before.
    backward(alpha_TK, borders, following_K, continues, transitions_KK, pairs_KK)
        turns alpha into gamma in place and adds the sums of xi / A to `pairs`. With `continues`, the last row is
        followed by a row of the same segment whose gamma is `following`.
    """
    return _scaled_forward(n_states), _scaled_backward(n_states)


# The kernels close over a number only: numba cannot find what closes over another function in its cache again.


def _scaled_forward(n_states: int) -> Callable[..., Any]:  # noqa: C901
    K = n_states  # a constant to the compiler

    @njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
    def forward(ll, borders, predicted, initial, transitions, alpha, segment_log_likelihoods):  # type: ignore  # noqa
        values, rounded, powers = np.empty(_TILE_ROWS * K), np.empty(_TILE_ROWS * K), np.empty(_TILE_ROWS * K)
        emission, shifts = np.empty((_TILE_ROWS, K)), np.empty(_TILE_ROWS)
        expected, weight, ahead = np.empty(K), np.empty(K), np.empty(K)
        for segment in range(len(borders) - 1):
            log_scale, product = 0.0, 1.0
            for j in range(K):
                expected[j] = predicted[j] if segment == 0 else initial[j]
            for tile in range(borders[segment], borders[segment + 1], _TILE_ROWS):
                n_rows = min(_TILE_ROWS, borders[segment + 1] - tile)
                _tile_emissions(ll[tile : tile + n_rows], values, rounded, powers, emission, shifts)
                for row in range(n_rows):
                    total = 0.0
                    for j in range(K):
                        weight[j] = expected[j] * emission[row, j]
                        total += weight[j]
                    if not total > SMALLEST_SCALED_PROBABILITY:
                        shifts[row], total = _possible_weights(ll[tile + row], expected, weight)
                    log_scale += shifts[row]
                    product *= total
                    if product < 1e-200:  # a logarithm once in a while is cheaper than one per row
                        log_scale += math.log(product)
                        product = 1.0
                    inverse = 1.0 / total
                    for j in range(K):
                        alpha[tile + row, j] = weight[j] * inverse
                        ahead[j] = 0.0
                    for i in range(K):
                        for j in range(K):
                            ahead[j] += weight[i] * transitions[i, j]
                    for j in range(K):
                        expected[j] = ahead[j] * inverse
            segment_log_likelihoods[segment] += log_scale + math.log(product)

    return forward


def _scaled_backward(n_states: int) -> Callable[..., Any]:  # noqa: C901
    K = n_states  # a constant to the compiler

    @njit(cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
    def backward(alpha, borders, following, continues, transitions, pairs):  # type: ignore  # noqa
        gamma, ratio, expected = np.empty(K), np.empty(K), np.empty(K)
        columns, sums = transitions.T.copy(), np.zeros((K, K))
        for segment in range(len(borders) - 2, -1, -1):
            first, last = borders[segment], borders[segment + 1]
            if last == first:
                continue
            is_followed = segment == len(borders) - 2 and continues
            last = last if is_followed else last - 1
            for j in range(K):
                gamma[j] = following[j] if is_followed else alpha[last, j]
            for t in range(last - 1, first - 1, -1):
                filtered = alpha[t]
                for j in range(K):
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
                    for j in range(K):
                        sums[i, j] += filtered[i] * ratio[j]
                scale = 1.0
                if (t - first) & 255 == 0:  # rounding would drift over millions of rows
                    total = 0.0
                    for j in range(K):
                        total += gamma[j] * filtered[j]
                    scale = 1.0 / total
                for j in range(K):
                    gamma[j] *= filtered[j] * scale
                    filtered[j] = gamma[j]
        for i in range(K):
            for j in range(K):
                pairs[i, j] += sums[i, j]

    return backward


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def logarithmic_forward(ll, borders, predicted, initial, transitions, alpha, segment_log_likelihoods):  # type: ignore  # noqa
    """As the scaled forward kernel, for logarithms: `predicted`, `initial`, `transitions` and `alpha` hold logs."""
    n_states = ll.shape[1]
    columns = transitions.T.copy()
    expected = predicted.copy()
    for segment in range(len(borders) - 1):
        if segment > 0:
            for j in range(n_states):
                expected[j] = initial[j]
        for t in range(borders[segment], borders[segment + 1]):
            if t > borders[segment]:
                for j in range(n_states):
                    expected[j] = _log_sum(alpha[t - 1], columns[j], n_states)
            total = _log_sum(ll[t], expected, n_states)
            for j in range(n_states):
                alpha[t, j] = expected[j] + ll[t, j] - total
            segment_log_likelihoods[segment] += total


@njit(cache=True, nogil=True, error_model="numpy")
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
            for j in range(n_states):
                gamma[j] = following[j]
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
