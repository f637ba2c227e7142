"""Forward-backward as a scan over chunks in a handful of launches; see `kernels`.

Shapes: T rows, N chunks of L rows, K states. The scan has the levels of `forward_backward_scan`, and one launch for
each instead of some for every row: operators of the chunks, operators of groups of 32 chunks, of groups of those and
so on, messages down from the last level to the chunks, once from the first row and once from the last, and the forward
and the backward recursion of the chunks.

Scaled probabilities only: transition probabilities are at least 1e-100.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_GROUP = 32
"""Operators that one program goes through."""

_MOST_STATES_OF_A_WARP = 16


@torch.no_grad()
def fused_forward_backward(
    log_likelihoods_TK: Tensor,
    borders: Tensor,
    initial_K: Tensor,
    transitions_KK: Tensor,
    *,
    message_K: Tensor | None = None,
    following_K: Tensor | None = None,
    rows_per_chunk: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Smoothed probabilities of every row; parameters and results as of `scan_forward_backward`.

    K is at most 32. `rows_per_chunk` is about the cube root of T by default, from 16 to 128.
    """
    n_rows, n_states = log_likelihoods_TK.shape
    if n_rows == 0:
        posteriors = log_likelihoods_TK.double()
        return posteriors, posteriors.new_zeros(n_states, n_states), posteriors.new_zeros(len(borders) - 1)
    chain = _Chain.build(log_likelihoods_TK, borders, initial_K, transitions_KK, message_K, rows_per_chunk)
    levels = chain.operators()
    before, filtered_last = chain.messages(levels, chain.uniform)
    last, pairs_beyond = torch.ones_like(chain.uniform), None
    if following_K is not None:
        ratio = following_K.to(last) / (filtered_last @ chain.transitions)
        last = chain.transitions @ ratio
        last, pairs_beyond = last / last.sum(), filtered_last.unsqueeze(1) * chain.transitions * ratio
    after, _ = chain.messages(levels, last, reverse=True)
    posteriors, logs = chain.forward(before, keep=True)
    pairs = chain.smooth_in_place(posteriors, before, after)
    return posteriors, pairs if pairs_beyond is None else pairs + pairs_beyond, _segment_sums(logs, borders)


@torch.no_grad()
def fused_forward(
    log_likelihoods_TK: Tensor,
    borders: Tensor,
    initial_K: Tensor,
    transitions_KK: Tensor,
    *,
    message_K: Tensor | None = None,
    rows_per_chunk: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Forward half; parameters and results as of `scan_forward`."""
    if len(log_likelihoods_TK) == 0:
        device = log_likelihoods_TK.device
        return torch.zeros(len(borders) - 1, dtype=torch.float64, device=device), initial_K.to(device)
    chain = _Chain.build(log_likelihoods_TK, borders, initial_K, transitions_KK, message_K, rows_per_chunk)
    before, filtered_last = chain.messages(chain.operators(), chain.uniform)
    _, logs = chain.forward(before, keep=False)
    return _segment_sums(logs, borders), filtered_last @ chain.transitions


def _segment_sums(logs_T: Tensor, borders: Tensor) -> Tensor:
    return torch.segment_reduce(logs_T, "sum", lengths=borders.diff().to(logs_T.device), initial=0.0)


@dataclass(frozen=True)
class _Chain:
    likelihoods: Tensor
    is_start: Tensor
    """(T,), uint8: whether a row is the first of a segment; the very first row is one, too."""
    initial: Tensor
    first: Tensor
    """What is expected of the very first row, which may continue a segment."""
    transitions: Tensor
    length: int

    @classmethod
    def build(
        cls,
        likelihoods: Tensor,
        borders: Tensor,
        initial: Tensor,
        transitions: Tensor,
        message: Tensor | None,
        rows_per_chunk: int | None,
    ) -> _Chain:
        device, n_rows = likelihoods.device, len(likelihoods)
        is_start = torch.zeros(n_rows, dtype=torch.uint8, device=device)
        is_start[borders[:-1][borders.diff() > 0].to(device)] = 1
        is_start[:1] = 1
        length = rows_per_chunk or max(16, min(128, round(n_rows ** (1 / 3))))
        initial, transitions = (part.to(device, torch.float64).contiguous() for part in (initial, transitions))
        first = initial if message is None else message.to(device, torch.float64).contiguous()
        return cls(likelihoods.contiguous(), is_start, initial, first, transitions, length)

    @property
    def n_chunks(self) -> int:
        return -(-len(self.likelihoods) // self.length)

    @property
    def uniform(self) -> Tensor:
        return torch.full_like(self.initial, 1 / len(self.initial))

    def empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.float64, device=self.likelihoods.device)

    def run(self, name: str, grid: tuple[int, ...], *tensors_and_sizes: Any, **constants: bool) -> None:
        """Launch a kernel; `kernels` is looked up here, since Triton may be missing."""
        from dynml.ops.hmm.fused import kernels

        device, n_states = self.likelihoods.device, len(self.initial)
        filled = 1 << (n_states - 1).bit_length()
        n_warps = 1 if filled <= _MOST_STATES_OF_A_WARP else 4
        # Fused products and sums by name, since Triton warns of a default that is going to change.
        options = {"num_warps": n_warps, "enable_fp_fusion": True}
        kernel: Any = getattr(kernels, name)
        with contextlib.nullcontext() if device.type == "cpu" else torch.cuda.device(device):
            kernel[grid](*tensors_and_sizes, K=n_states, FILLED=filled, **constants, **options)

    def operators(self) -> list[tuple[Tensor, Tensor]]:
        """Operators and log-scales of their rows: of the chunks, of groups, and so on until one group is left."""
        K, n = len(self.initial), self.n_chunks
        levels = [(self.empty(n, K, K), self.empty(n, K))]
        unused = self.initial
        parts = self.likelihoods, self.is_start, self.initial, self.first, self.transitions
        outputs, sizes = (*levels[0], unused, unused), (len(self.likelihoods), self.length)
        self.run("forward_kernel", (n, K), *parts, unused, *outputs, *sizes, OPERATORS=True, KEEP=False)
        while n > _GROUP:
            sizes, n = (n, _GROUP), -(-n // _GROUP)
            groups = self.empty(n, K, K), self.empty(n, K)
            tensors = (*levels[-1], unused, unused, *groups)
            self.run("through_kernel", (n, K), *tensors, *sizes, REVERSE=False, OPERATORS=True)
            levels.append(groups)
        return levels

    def messages(
        self, levels: list[tuple[Tensor, Tensor]], entry_K: Tensor, *, reverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """What enters every chunk (N, K), from its first side or (reverse) from its last, and what leaves them all."""
        K = len(entry_K)
        kept = entry_K.unsqueeze(0)
        for matrices, scales in reversed(levels):
            n, entries = len(matrices), kept
            kept, ends = self.empty(n, K), self.empty(len(entries), K)
            tensors = matrices, scales, entries, kept, ends, self.initial
            self.run("through_kernel", (len(entries), 1), *tensors, n, _GROUP, REVERSE=reverse, OPERATORS=False)
        return kept, ends[0 if reverse else -1]

    def forward(self, before: Tensor, *, keep: bool) -> tuple[Tensor, Tensor]:
        """Filtered probabilities (T, K), of one row without `keep`, and log p of each row given those before it."""
        n_rows, K = self.likelihoods.shape
        filtered, logs = self.empty(n_rows if keep else 1, K), self.empty(n_rows)
        unused = self.initial
        parts = self.likelihoods, self.is_start, self.initial, self.first, self.transitions
        outputs, sizes = (unused, unused, filtered, logs), (n_rows, self.length)
        self.run("forward_kernel", (self.n_chunks, 1), *parts, before, *outputs, *sizes, OPERATORS=False, KEEP=keep)
        return filtered, logs

    def smooth_in_place(self, filtered: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Turn filtered into smoothed probabilities; returns the sum of xi, (K, K)."""
        n_rows, K = self.likelihoods.shape
        pairs = self.empty(self.n_chunks, K, K)
        tensors = filtered, self.is_start, before, after, self.transitions, pairs
        self.run("backward_kernel", (self.n_chunks,), *tensors, n_rows, self.length)
        return pairs.sum(0)
