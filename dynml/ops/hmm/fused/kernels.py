"""Triton kernels of the scaled forward-backward recursions: loops over rows that stay in a program's registers.

Shapes: T rows (all segments end to end), N chunks of rows, K states, filled up to a power of two with states that
nothing enters. Every program goes through one chunk, on one warp where K allows, with all numbers in float64.

The recursions are those of the compiled loops for a CPU (`forward_backward_kernels`): filtered probabilities, then
smoothing of these in place, which needs no likelihoods a second time. Between chunks stand operators (K, K): row i
holds the filtered probabilities after a chunk that state i was before, and its log-scale beside it. Transition
probabilities are at least 1e-100, and so are all rows of an operator against each other, after scaling.

Importing this module needs Triton, which torch for CUDA and ROCm brings along.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

_options: Any = {"do_not_specialize": ["n_rows", "length", "n_matrices", "size"]}
"""Or another kernel would be compiled for sizes that 16 divides."""


@triton.jit
def _load_matrix(start, states, K: tl.constexpr):  # type: ignore
    inside = (states[:, None] < K) & (states[None, :] < K)
    return tl.load(start + states[:, None] * K + states[None, :], mask=inside, other=0.0)


@triton.jit(**_options)
def forward_kernel(  # type: ignore
    likelihoods,
    is_start,
    initial,
    first,
    transitions,
    entries,
    ends,
    scales,
    filtered,
    logs,
    n_rows,
    length,
    K: tl.constexpr,
    FILLED: tl.constexpr,
    OPERATORS: tl.constexpr,
    KEEP: tl.constexpr,
):
    """Take filtered probabilities through a chunk; grid (N, K) with OPERATORS, (N, 1) else.

    With OPERATORS, from each state alone: fills ends (N, K, K) and scales (N, K). Else from entries (N, K): fills logs
    (T,), log p of each row given those before it, and with KEEP filtered (T, K).
    """
    chunk, state = tl.program_id(0), tl.program_id(1)
    states = tl.arange(0, FILLED)
    inside = states < K
    begin = chunk.to(tl.int64) * length
    end = tl.minimum(begin + length, n_rows)
    matrix = _load_matrix(transitions, states, K)
    at_start = tl.load(initial + states, mask=inside, other=0.0)
    at_first = tl.load(first + states, mask=inside, other=0.0)
    log_scale = tl.full((), 0.0, tl.float64)
    if OPERATORS:
        weights = tl.where(states == state, 1.0, 0.0).to(tl.float64)
    else:
        weights = tl.load(entries + chunk * K + states, mask=inside, other=0.0)
    # A row is asked for while the one before it is worked on.
    next_row = tl.load(likelihoods + begin * K + states, mask=inside, other=-float("inf"))
    next_starts = tl.load(is_start + begin)
    for row in range(begin, end):
        likelihood, starts = next_row.to(tl.float64), next_starts != 0
        following = tl.minimum(row + 1, end - 1)
        next_row = tl.load(likelihoods + following * K + states, mask=inside, other=-float("inf"))
        next_starts = tl.load(is_start + following)
        expected = tl.sum(weights[:, None] * matrix, axis=0)
        expected = tl.where(starts, tl.where(row == 0, at_first, at_start), expected)
        # At a start only states that can be there count, or the shift could leave nothing but underflow.
        likelihood = tl.where(expected == 0, tl.where(starts, -float("inf"), likelihood), likelihood)
        shift = tl.max(likelihood, axis=0)
        weights = expected * tl.exp(likelihood - shift)
        total = tl.sum(weights, axis=0)
        weights = weights / total
        if OPERATORS:
            log_scale += tl.log(total)  # shifts are the same for all states, and left out
        else:
            tl.store(logs + row, tl.log(total) + shift)
            if KEEP:
                tl.store(filtered + row * K + states, weights, mask=inside)
    if OPERATORS:
        place = chunk.to(tl.int64) * K + state
        tl.store(ends + place * K + states, weights, mask=inside)
        tl.store(scales + place, log_scale)


@triton.jit(**_options)
def through_kernel(  # type: ignore
    matrices,
    scales,
    entries,
    kept,
    ends,
    end_scales,
    n_matrices,
    size,
    K: tl.constexpr,
    FILLED: tl.constexpr,
    REVERSE: tl.constexpr,
    OPERATORS: tl.constexpr,
):
    """Take vectors through groups of `size` neighbouring operators; grid (groups, K) with OPERATORS, (groups, 1) else.

    With OPERATORS, from each state alone: fills ends (groups, K, K) and end_scales (groups, K), an operator of each
    group. Else from entries (groups, K): fills kept (N, K), what enters each operator, and ends (groups, K). With
    REVERSE, from the last operator to the first, by their transposes.
    """
    group, state = tl.program_id(0), tl.program_id(1)
    states = tl.arange(0, FILLED)
    inside = states < K
    begin = group.to(tl.int64) * size
    n_steps = tl.minimum(begin + size, n_matrices) - begin
    log_scale = tl.full((), 0.0, tl.float64)
    if OPERATORS:
        weights = tl.where(states == state, 1.0, 0.0).to(tl.float64)
    else:
        weights = tl.load(entries + group * K + states, mask=inside, other=0.0)
    for step in range(n_steps):
        place = begin + step
        if REVERSE:
            place = begin + n_steps - 1 - step
        if not OPERATORS:
            tl.store(kept + place * K + states, weights, mask=inside)
        matrix = _load_matrix(matrices + place * K * K, states, K)
        of_rows = tl.load(scales + place * K + states, mask=inside, other=-float("inf"))
        of_rows = tl.exp(of_rows - tl.max(of_rows, axis=0))
        if REVERSE:
            weights = of_rows * tl.sum(matrix * weights[None, :], axis=1)
        else:
            weights = tl.sum((weights * of_rows)[:, None] * matrix, axis=0)
        total = tl.sum(weights, axis=0)
        weights = weights / total
        log_scale += tl.log(total)
    if OPERATORS:
        tl.store(end_scales + group * K + state, log_scale)
        tl.store(ends + (group * K + state) * K + states, weights, mask=inside)
    else:
        tl.store(ends + group * K + states, weights, mask=inside)


@triton.jit(**_options)
def backward_kernel(  # type: ignore
    filtered, is_start, before, after, transitions, pairs, n_rows, length, K: tl.constexpr, FILLED: tl.constexpr
):
    """Turn filtered (T, K) into smoothed probabilities in place; grid (N,).

    before (N, K) are the filtered probabilities of the row before each chunk, after (N, K) the weights of the states at
    its last row by all that follows. pairs (N, K, K) gets the sum of xi over the steps to the chunk's rows.
    """
    chunk = tl.program_id(0)
    states = tl.arange(0, FILLED)
    inside = states < K
    begin = chunk.to(tl.int64) * length
    end = tl.minimum(begin + length, n_rows)
    matrix = _load_matrix(transitions, states, K)
    of_chunk_before = tl.load(before + chunk * K + states, mask=inside, other=0.0)
    smoothed = tl.load(filtered + (end - 1) * K + states, mask=inside, other=0.0)
    smoothed *= tl.load(after + chunk * K + states, mask=inside, other=0.0)
    smoothed = smoothed / tl.sum(smoothed, axis=0)
    tl.store(filtered + (end - 1) * K + states, smoothed, mask=inside)
    sums = tl.zeros((FILLED, FILLED), tl.float64)
    for step in range(end - begin):
        row = end - 1 - step
        has_earlier = row > begin
        starts = tl.load(is_start + row) != 0
        there = filtered + tl.maximum(row - 1, begin) * K + states
        earlier = tl.where(has_earlier, tl.load(there, mask=inside, other=0.0), of_chunk_before)
        expected = tl.sum(earlier[:, None] * matrix, axis=0)
        ratio = smoothed / tl.where(inside, expected, 1.0)
        smoothed = earlier * tl.sum(matrix * ratio[None, :], axis=1)
        smoothed = tl.where(starts, earlier, smoothed / tl.sum(smoothed, axis=0))
        sums += tl.where(starts, 0.0, earlier[:, None] * ratio[None, :])
        tl.store(there, smoothed, mask=states < tl.where(has_earlier, K, 0))
    cells = states[:, None] * K + states[None, :]
    is_cell = inside[:, None] & inside[None, :]
    tl.store(pairs + chunk.to(tl.int64) * K * K + cells, sums * matrix, mask=is_cell)
