"""Forward-backward as a two-level scan, for a GPU (any torch device with float64).

Shapes: T rows, N chunks of L rows, K states. The rows of all segments, end to end, are cut into equal chunks whatever
the segments: a border is only a rank-one step (whatever the state before, the next is drawn from the initial
distribution). Rows that fill up the first chunk stand before the first segment, where nothing can depend on them. Three
loops of L steps and two of log N replace T steps, and nothing waits for the host:

1. for all chunks at once, the K x K operator that maps the filtered probabilities before a chunk to those after it,
   with a log-scale a row, so that operators of any length stay in range;
2. products of the operators from the first to each, and from each to the last, by doubling, give the messages at
   every chunk border;
3. for all chunks at once, the forward and the backward recursion, from the right messages.

All float64. With `in_logarithms` the same in the log-sum-exp semiring, exact for transition matrices with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dynml.ops.gaussian import full_float32_precision

_LARGEST_CHUNK = 256

_MOST_TERMS = 2**24
"""Of sums that are held at once while products of operators are made."""


def scan_forward_backward(
    log_likelihoods_TK: Tensor,
    borders: Tensor,
    initial_K: Tensor,
    transitions_KK: Tensor,
    *,
    in_logarithms: bool = False,
    message_K: Tensor | None = None,
    following_K: Tensor | None = None,
    rows_per_chunk: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Smoothed probabilities of every row by a two-level scan.

    Parameters
    ----------
    log_likelihoods_TK : Tensor, (T, K), on any device
    borders : Tensor, (n_segments + 1,), int64
        Row borders of the segments, from 0 to T.
    initial_K, transitions_KK : Tensor, float64
    in_logarithms : bool
        Needed when a transition probability is (nearly) zero.
    message_K : Tensor, optional
        When the first row continues a segment: the message of `scan_forward` for the rows before it.
    following_K : Tensor, optional
        When the last row is followed by another of its segment: the smoothed probabilities of that row.
    rows_per_chunk : int, optional
        Default: the square root of T, at most 256.

    Returns
    -------
    posteriors : Tensor, (T, K), float64, on the device, as all results
    pairs : Tensor, (K, K), float64
        Sum of xi over the transitions within segments, and of that to the following row.
    log_likelihoods : Tensor, (n_segments,), float64
    """
    n_rows, n_states = log_likelihoods_TK.shape
    if n_rows == 0:
        posteriors = log_likelihoods_TK.double()
        return posteriors, posteriors.new_zeros(n_states, n_states), posteriors.new_zeros(len(borders) - 1)
    with full_float32_precision(log_likelihoods_TK.device):
        chain = _Chain.build(
            log_likelihoods_TK, borders, initial_K, transitions_KK, message_K, rows_per_chunk, in_logarithms
        )
        before, after, pairs_beyond, _ = _messages_at_borders(chain, following_K)
        alpha, log_sums = _forward(chain, before)
        beta = _backward(chain, after)
        posteriors = _in_row_order(_posteriors(chain, alpha, beta))[chain.n_padding :]
        pairs = _pairs(chain, alpha, beta) + pairs_beyond
        logs = _segment_sums(chain, log_sums, borders)
    return posteriors.contiguous(), pairs, logs


def scan_forward(
    log_likelihoods_TK: Tensor,
    borders: Tensor,
    initial_K: Tensor,
    transitions_KK: Tensor,
    *,
    in_logarithms: bool = False,
    message_K: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Forward half of the scan; parameters as in `scan_forward_backward`.

    Returns
    -------
    log_likelihoods : Tensor, (n_segments,), float64, on the device, as all results
    message : Tensor, (K,), float64
        What these rows predict for the next row of their last segment; logarithms with `in_logarithms`.
    """
    if len(log_likelihoods_TK) == 0:
        device = log_likelihoods_TK.device
        return torch.zeros(len(borders) - 1, dtype=torch.float64, device=device), initial_K.to(device)
    with full_float32_precision(log_likelihoods_TK.device):
        chain = _Chain.build(log_likelihoods_TK, borders, initial_K, transitions_KK, message_K, None, in_logarithms)
        before, _, _, predicted = _messages_at_borders(chain, None)
        _, log_sums = _forward(chain, before)
        logs = _segment_sums(chain, log_sums, borders)
    return logs, predicted if in_logarithms else predicted.exp()


@dataclass(frozen=True)
class _Chain:
    """The chain cut into chunks; rows are step-major, (L, N, ...), so that a step's rows lie together."""

    logs: bool
    """Whether weights are logarithms."""
    emission_LNK: Tensor
    """Weight of each row under each state, largest 1."""
    shifts_LN: Tensor
    """What was taken off the log-likelihoods for that."""
    is_start_LN: Tensor
    entry_K: Tensor
    """Weights of the states at a start."""
    first_entry_K: Tensor
    """The same for the very first row, which may continue a segment."""
    transitions_KK: Tensor
    n_padding: int

    @classmethod
    def build(
        cls,
        log_likelihoods: Tensor,
        borders: Tensor,
        initial: Tensor,
        transitions: Tensor,
        message: Tensor | None,
        rows_per_chunk: int | None,
        logs: bool,
    ) -> _Chain:
        device, (n_rows, n_states) = log_likelihoods.device, log_likelihoods.shape
        length = rows_per_chunk or max(1, min(_LARGEST_CHUNK, int(n_rows**0.5)))
        n_chunks = -(-n_rows // length)
        n_padding = n_chunks * length - n_rows
        likelihoods = torch.zeros(n_chunks * length, n_states, dtype=torch.float64, device=device)
        likelihoods[n_padding:] = log_likelihoods
        is_start = torch.zeros(n_chunks * length, dtype=torch.bool, device=device)
        is_start[: n_padding + 1] = True
        is_start[borders[:-1][borders.diff() > 0].to(device) + n_padding] = True
        initial, transitions = initial.to(device, torch.float64), transitions.to(device, torch.float64)
        entry = initial.log() if logs else initial
        first = entry if message is None else message.to(device, torch.float64)
        # At a start only states that can be there count, or the shift could leave nothing but underflow.
        impossible = is_start[:, None] & (initial == 0)
        impossible[n_padding] = (first == -torch.inf) if logs else (first == 0)
        possible = likelihoods.masked_fill(impossible, -torch.inf)
        shifts = possible.amax(1)
        emission = possible - shifts[:, None]
        return cls(
            logs=logs,
            emission_LNK=_in_step_order(emission if logs else emission.exp(), length),
            shifts_LN=_in_step_order(shifts, length),
            is_start_LN=_in_step_order(is_start, length),
            entry_K=entry,
            first_entry_K=first,
            transitions_KK=transitions.log() if logs else transitions,
            n_padding=n_padding,
        )

    def propagate(self, weights: Tensor, step: int) -> Tensor:
        """Expected weights at `step` of normalised weights (N, ..., K) at the step before."""
        expected = _log_product(weights, self.transitions_KK) if self.logs else weights @ self.transitions_KK
        is_start = self.is_start_LN[step].view(-1, *[1] * (weights.ndim - 1))
        expected = torch.where(is_start, self.entry_K, expected)
        if step == self.n_padding:
            expected[0] = self.first_entry_K
        return expected

    def normalized(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weights whose sum over the last axis is one, and the logarithm of that sum."""
        if self.logs:
            log_total = weights.logsumexp(-1)
            # A state that leads nowhere has no weight at all: it must stay so, not become a NaN.
            return weights - torch.where(log_total.isfinite(), log_total, 0.0).unsqueeze(-1), log_total
        total = weights.sum(-1)
        return weights / total.unsqueeze(-1), total.log()

    def times(self, left: Tensor, right: Tensor) -> Tensor:
        return left + right if self.logs else left * right


def _in_step_order(rows: Tensor, length: int) -> Tensor:
    return rows.view(-1, length, *rows.shape[1:]).transpose(0, 1).contiguous()


def _in_row_order(steps: Tensor) -> Tensor:
    return steps.transpose(0, 1).flatten(0, 1)


def _log_product(weights: Tensor, log_matrix: Tensor) -> Tensor:
    return (weights.unsqueeze(-1) + log_matrix).logsumexp(-2)


def _log_operators(chain: _Chain) -> Tensor:
    """Logarithms of the chunk operators, (N, K, K): row = state before the chunk, column = state at its last row."""
    _, n_chunks, n_states = chain.emission_LNK.shape
    identity = torch.eye(n_states, dtype=torch.float64, device=chain.emission_LNK.device)
    operators = (identity.log() if chain.logs else identity).expand(n_chunks, -1, -1)
    log_scales = torch.zeros(n_chunks, n_states, dtype=torch.float64, device=identity.device)
    for step, emission in enumerate(chain.emission_LNK):
        expected = chain.propagate(operators, step)
        operators, log_sums = chain.normalized(chain.times(expected, emission.unsqueeze(1)))
        log_scales = log_scales + log_sums
    return (operators if chain.logs else operators.log()) + log_scales.unsqueeze(-1)


def _messages_at_borders(chain: _Chain, following: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights before and after every chunk, (N, K) each; xi (K, K) of the step to the following row; log prediction."""
    operators = _log_operators(chain)
    transitions = chain.transitions_KK if chain.logs else chain.transitions_KK.log()
    uniform, pairs = torch.zeros_like(operators[:1, 0]), torch.zeros_like(transitions)
    filtered = _log_normalized(torch.cat([uniform, _products_from_first(operators).logsumexp(1)]))
    predicted = (filtered[-1].unsqueeze(1) + transitions).logsumexp(0)
    last = uniform[0]
    if following is not None:
        log_following = following.to(operators).log()
        ratio = torch.where(log_following > -torch.inf, log_following - predicted, -torch.inf)
        last = (transitions + ratio).logsumexp(1)
        pairs = (filtered[-1].unsqueeze(1) + transitions + ratio).exp()
    earlier = (_products_to_last(operators[1:]) + last).logsumexp(2)
    before, after = filtered[:-1], _log_normalized(torch.cat([earlier, last.unsqueeze(0)]))
    if not chain.logs:
        before, after = before.exp(), after.exp()
    return before, after, pairs, predicted


def _products_from_first(operators: Tensor) -> Tensor:
    """Log-products of operators (N, K, K) from the first up to each, but for a factor, in log N steps."""
    products, width = operators, 1
    while width < len(operators):
        products = torch.cat([products[:width], _operator_products(products[:-width], products[width:])])
        width *= 2
    return products


def _products_to_last(operators: Tensor) -> Tensor:
    """Log-products of operators (N, K, K) from each up to the last, but for a factor, in log N steps."""
    products, width = operators, 1
    while width < len(operators):
        products = torch.cat([_operator_products(products[:-width], products[width:]), products[-width:]])
        width *= 2
    return products


def _operator_products(earlier: Tensor, later: Tensor) -> Tensor:
    """Products, in logarithms, of pairs of operators (N, K, K), divided by their largest entries."""
    n_at_once = max(1, _MOST_TERMS // earlier.shape[-1] ** 3)
    pairs = zip(earlier.split(n_at_once), later.split(n_at_once), strict=True)
    products = torch.cat([(left.unsqueeze(3) + right.unsqueeze(1)).logsumexp(2) for left, right in pairs])
    # Or their logarithms would grow with the number of chunks and lose digits.
    return products - products.amax((1, 2), keepdim=True)


def _log_normalized(logs: Tensor) -> Tensor:
    return logs - logs.logsumexp(-1, keepdim=True)


def _forward(chain: _Chain, weights: Tensor) -> tuple[Tensor, Tensor]:
    alpha, log_sums = torch.empty_like(chain.emission_LNK), torch.empty_like(chain.shifts_LN)
    for step, emission in enumerate(chain.emission_LNK):
        weights, log_sums[step] = chain.normalized(chain.times(chain.propagate(weights, step), emission))
        alpha[step] = weights
    return alpha, log_sums + chain.shifts_LN


def _backward(chain: _Chain, weights: Tensor) -> Tensor:
    beta = torch.empty_like(chain.emission_LNK)
    transposed = chain.transitions_KK.T.contiguous()
    free = torch.zeros_like(chain.entry_K) if chain.logs else torch.ones_like(chain.entry_K)
    for step in range(len(beta) - 1, -1, -1):
        beta[step] = weights
        ahead = chain.times(weights, chain.emission_LNK[step])
        weights = _log_product(ahead, transposed) if chain.logs else ahead @ transposed
        weights = torch.where(chain.is_start_LN[step].unsqueeze(1), free, chain.normalized(weights)[0])
    return beta


def _segment_sums(chain: _Chain, log_sums: Tensor, borders: Tensor) -> Tensor:
    rows = _in_row_order(log_sums)[chain.n_padding :].contiguous()
    return torch.segment_reduce(rows, "sum", lengths=borders.diff().to(rows.device), initial=0.0)


def _posteriors(chain: _Chain, alpha: Tensor, beta: Tensor) -> Tensor:
    product = chain.times(alpha, beta)
    return product.softmax(-1) if chain.logs else product / product.sum(-1, keepdim=True)


def _pairs(chain: _Chain, alpha: Tensor, beta: Tensor) -> Tensor:
    ahead = chain.times(beta, chain.emission_LNK)
    # The row before a chunk's first one is the last row of the chunk before it.
    alpha_rows, ahead_rows = _in_row_order(alpha)[:-1], _in_row_order(ahead)[1:]
    # Rows at a start are left out by a factor: to pick the others, the host would have to know how many they are.
    inside = ~_in_row_order(chain.is_start_LN)[1:].unsqueeze(1)
    if not chain.logs:
        scale = ((alpha_rows @ chain.transitions_KK) * ahead_rows).sum(1, keepdim=True)
        return torch.where(inside, alpha_rows / scale, 0.0).T @ ahead_rows * chain.transitions_KK
    pairs = torch.zeros_like(chain.transitions_KK)
    parts = zip(alpha_rows.split(65536), ahead_rows.split(65536), inside.split(65536), strict=True)
    for some_alpha, some_ahead, some_inside in parts:
        joint = some_alpha.unsqueeze(2) + chain.transitions_KK + some_ahead.unsqueeze(1)
        pairs += torch.where(some_inside, joint.flatten(1).softmax(1), 0.0).sum(0).view_as(pairs)
    return pairs
