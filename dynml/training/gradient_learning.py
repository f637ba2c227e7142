"""Learning by gradients, on one process or on several with DistributedDataParallel.

The loss of a step is the mean over the samples of all processes, so each process scales its own mean by its share of
the samples: DistributedDataParallel then averages the gradients to that of one process with the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from dynml.training.batch import Batch
from dynml.training.config import TrainerConfig
from dynml.training.optimization import build_optimizer, learning_rate_at, set_learning_rate
from dynml.training.processes import Processes

RunOneBatch = Callable[[Batch], Any]
"""Batch to BatchResult, with the model inside."""


class GradientLearner:
    """Optimizer, learning rate, clipping and accumulation of one model.

    Parameters
    ----------
    model : torch.nn.Module
    config : TrainerConfig
    processes : Processes
    optimizer : torch.optim.Optimizer
    """

    def __init__(
        self,
        model: torch.nn.Module,
        config: TrainerConfig,
        processes: Processes,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self._model, self._config, self._processes, self.optimizer = model, config, processes, optimizer
        self._parallel: DistributedDataParallel | None = None

    @classmethod
    def for_model(cls, model: torch.nn.Module, config: Any, processes: Processes) -> GradientLearner | None:
        """Make the learner of a model, or None where nothing is learnt by gradients."""
        if not isinstance(config, TrainerConfig):
            return None
        optimizer = build_optimizer(config, model.parameters())
        return None if optimizer is None else cls(model, config, processes, optimizer)

    @property
    def learning_rate(self) -> float:
        """In force."""
        return float(self.optimizer.param_groups[0]["lr"])

    def start_of_epoch(self, epoch: int, schedule_length: int, constant_epochs: int = 0) -> None:
        """Set the learning rate of an epoch, from 0; it is constant for the first `constant_epochs`."""
        rate = learning_rate_at(self._config, epoch, schedule_length, constant_epochs)
        set_learning_rate(self.optimizer, rate)

    def result(self, batch: Batch, run_one_batch: RunOneBatch, stand_in: Callable[[], Batch]) -> Any:
        """Result of a training batch.

        Parameters
        ----------
        batch : Batch
            This process's share of the step.
        run_one_batch : callable
        stand_in : callable
            Gives a batch for a process whose share is empty: it takes part in the exchange with weight 0.
        """
        if not self._processes.are_several:
            return run_one_batch(batch)
        if self._parallel is None:
            device = next(self._model.parameters()).device
            step = _Step(self._model, run_one_batch)
            self._parallel = DistributedDataParallel(step, device_ids=[device] if device.type == "cuda" else None)
        if batch.n_spans:
            return self._parallel(batch)
        result = self._parallel(stand_in())
        # A stand-in's own loss may be anything, also NaN.
        result.loss, result.n = torch.nan_to_num(result.loss) * 0.0, 0.0
        return result

    def learn(self, result: Any, position: int, n_batches: int) -> torch.Tensor | None:
        """Backward, and after the last batch of an accumulated group clip, step, and clear the gradients.

        Parameters
        ----------
        result : BatchResult
        position : int
            Number of the batch in its epoch, from 0.
        n_batches : int
            Of the epoch: its last group may be smaller.

        Returns
        -------
        Tensor or None
            Norm of the gradient before clipping, when a step was made.
        """
        every = self._config.accumulate_gradients
        first = position - position % every
        size = min(every, n_batches - first)
        loss = result.loss * self._share(result) if self._processes.are_several else result.loss
        (loss / size).backward()
        if position + 1 < first + size:
            return None
        limit = self._config.clip_gradient or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), limit)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _share(self, result: Any) -> torch.Tensor:
        """What this process's mean loss is to be multiplied by, so that the average of all is that of all samples."""
        own = torch.tensor(float(result.n), dtype=torch.float64, device=result.loss.device)
        return (own * self._processes.world_size / self._processes.sum(own)).float()


class _Step(torch.nn.Module):
    """A whole step as the forward of a module, which is what DistributedDataParallel wraps."""

    def __init__(self, model: torch.nn.Module, run_one_batch: RunOneBatch) -> None:
        super().__init__()
        self.model = model
        self._run_one_batch = run_one_batch

    def forward(self, batch: Batch) -> Any:
        return self._run_one_batch(batch)
