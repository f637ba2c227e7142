"""One step of learning by gradients, on one process or on several with DistributedDataParallel.

The loss of a step is the mean over the samples of all processes, so each process scales its own mean by its share of
the samples: DistributedDataParallel then averages the gradients to that of one process with the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from dynml.training.batch import Batch
from dynml.training.processes import Processes


class ParallelStep:
    """Computes a batch's result so that gradients are shared between processes, whatever a family does inside.

    Parameters
    ----------
    model : torch.nn.Module
    run_one_batch : callable
        Batch to BatchResult, with `model` inside.
    processes : Processes
    """

    def __init__(self, model: torch.nn.Module, run_one_batch: Callable[[Batch], Any], processes: Processes) -> None:
        device = next(model.parameters()).device
        self._parallel = DistributedDataParallel(
            _Step(model, run_one_batch), device_ids=[device] if device.type == "cuda" else None
        )
        self._processes = processes

    def __call__(self, batch: Batch, n_own: int) -> Any:
        """Result of a batch.

        Parameters
        ----------
        batch : Batch
            This process's share of the step, or a stand-in where its share is empty.
        n_own : int
            Spans of the share: 0 for a stand-in, which takes part with weight 0.
        """
        result = self._parallel(batch)
        if not n_own:
            result.n = 0.0
            # A stand-in only takes part in the exchange; its own loss may be anything, also NaN.
            result.loss = torch.nan_to_num(result.loss) * 0.0
        return result

    def scale(self, n: float, device: torch.device) -> torch.Tensor:
        """What this process's mean loss over `n` samples is to be multiplied by."""
        own = torch.tensor(float(n), dtype=torch.float64, device=device)
        return (own * self._processes.world_size / self._processes.sum(own)).float()


class _Step(torch.nn.Module):
    """A whole step as the forward of a module, which is what DistributedDataParallel wraps."""

    def __init__(self, model: torch.nn.Module, run_one_batch: Callable[[Batch], Any]) -> None:
        super().__init__()
        self.model = model
        self._run_one_batch = run_one_batch

    def forward(self, batch: Batch) -> Any:
        return self._run_one_batch(batch)
