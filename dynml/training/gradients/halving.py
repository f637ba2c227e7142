"""A batch that does not fit into memory, learnt from as two halves that together give the gradient of the whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dynml.batches.batch import Batch
from dynml.training.batch_result import BatchResult


def can_be_halved(batch: Batch) -> bool:
    """Say whether a batch has two spans, and its signals in memory."""
    return batch.n_spans > 1 and isinstance(batch.signals, Tensor)


def halved_result(
    batch: Batch, run_one_batch: Callable[[Batch], BatchResult], parameters: Sequence[Tensor]
) -> BatchResult:
    """Result of a batch whose halves were run one after the other; gradients are there already, as sums of both.

    Parameters
    ----------
    batch : Batch
        See `can_be_halved`.
    run_one_batch : callable
    parameters : sequence of Tensor
        Those that learn.

    Returns
    -------
    BatchResult
        Loss and metrics are means weighted by the samples of each half. Backward from the loss gives the gradients.
    """
    torch.manual_seed(torch.initial_seed())  # what was drawn before memory ran out must not matter
    total, sums, parts = 0.0, [None] * len(parameters), []
    for half in halves_of(batch):
        part = run_one_batch(half)
        n = float(part.n)
        if n:
            _add(sums, torch.autograd.grad(part.loss * n, parameters, allow_unused=True))
            parts.append((n, part.loss.detach(), {name: _plain(value) for name, value in part.metrics.items()}))
            total += n
        empty = part
        del part
    if not parts:
        return empty
    gradients = [None if gradient is None else gradient / total for gradient in sums]
    loss: Any = sum(n * loss for n, loss, _ in parts) / total
    metrics = {name: sum(n * values[name] for n, _, values in parts) / total for name in parts[0][2]}
    return BatchResult(_KnownGradients.apply(loss, gradients, *parameters), total, metrics)  # type: ignore[no-untyped-call]


def halves_of(batch: Batch) -> list[Batch]:
    """Give the first and the second half of a batch's spans, each as a batch."""
    middle = batch.n_spans // 2
    return [_part(batch, 0, middle), _part(batch, middle, batch.n_spans)]


def _part(batch: Batch, first: int, stop: int) -> Batch:
    rows, starts = slice(first, stop), None
    if batch.starts is not None:
        begin, end = int(batch.starts[first]), int(batch.starts[stop])
        rows, starts = slice(begin, end), batch.starts[first : stop + 1] - begin
    names = ("subject", "segment", "start_sample", "lengths", "trial", "classes")
    columns = {name: getattr(batch, name)[first:stop] for name in names}
    return dataclasses.replace(
        batch,
        signals=batch.signals[rows],
        mask=None if batch.mask is None else batch.mask[rows],
        starts=starts,
        spans=batch.spans[first:stop],
        sampled=batch.sampled[first:stop],
        labels=None if batch.labels is None else {name: column[rows] for name, column in batch.labels.items()},
        **columns,
    )


def _add(sums: list[Any], gradients: Sequence[Tensor | None]) -> None:
    for position, gradient in enumerate(gradients):
        if gradient is not None:
            sums[position] = gradient if sums[position] is None else sums[position] + gradient


def _plain(value: Tensor | float) -> Tensor | float:
    return value.detach() if isinstance(value, Tensor) else value


class _KnownGradients(torch.autograd.Function):
    """A value whose gradients are known."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor | None], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        (factor,) = upstream
        return None, None, *(None if gradient is None else gradient * factor for gradient in ctx.gradients)
