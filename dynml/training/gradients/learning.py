"""Learning by gradients, on one process or on several with DistributedDataParallel.

The loss of a step is the mean over the samples of all processes, so each process scales its own mean by its share of
the samples: DistributedDataParallel then averages the gradients to that of one process with the whole batch.

A step is made only if every loss of its batches and the norm of its gradient are finite. That is decided on the host,
or, where a result carries its `usable` on the device, there: the optimizer then leaves parameters and its own state as
they are, and the host has waited for nothing.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from dynml.batches.batch import Batch
from dynml.errors import CheckpointError, DataWarning
from dynml.ops.memory import is_out_of_memory, release_device_memory
from dynml.training.config import TrainerConfig
from dynml.training.gradients.halving import can_be_halved, halved_result
from dynml.training.gradients.optimization import (
    FUSED,
    build_optimizer,
    learning_rate_at,
    learning_rate_at_step,
    set_learning_rate,
)
from dynml.training.processes import Processes
from dynml.training.progress import Progress

RunOneBatch = Callable[[Batch], Any]
"""Batch to BatchResult, with the model inside."""

CHECK_EVERY_ON_A_GPU = 50
"""Batches between two looks at whether losses are finite, on a device that the host would have to wait for."""


@dataclass(frozen=True)
class Step:
    """The end of an accumulated group of batches."""

    norm: torch.Tensor
    """Of the gradient, before clipping."""

    usable: torch.Tensor | bool
    """Whether all losses of the group were finite."""

    made: torch.Tensor | bool
    """Whether the gradient was finite, too, so that the step was made."""


class GradientLearner:
    """Optimizer, learning rate, clipping and accumulation of one model.

    Parameters
    ----------
    model : torch.nn.Module
    config : TrainerConfig
    processes : Processes
    optimizer : torch.optim.Optimizer

    Attributes
    ----------
    constant_epochs : int
        Epochs before the learning rate begins to fall.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        config: TrainerConfig,
        processes: Processes,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self.constant_epochs = 0
        self._model, self._config, self._processes, self.optimizer = model, config, processes, optimizer
        self._parallel: DistributedDataParallel | None = None
        self._group_is_usable: torch.Tensor | bool = True
        self._halves = False
        self._in_halves: functools.partial[Any] | None = None

    @classmethod
    def for_model(cls, model: torch.nn.Module, config: Any, processes: Processes) -> GradientLearner | None:
        """Make the learner of a model, or None where nothing is learnt by gradients."""
        if not isinstance(config, TrainerConfig):
            return None
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        fused = check_interval(config, device, processes) > 1
        optimizer = build_optimizer(config, model, fused=fused)
        return None if optimizer is None else cls(model, config, processes, optimizer)

    @property
    def learning_rate(self) -> float:
        """In force, before the factors of parameter groups."""
        return float(self.optimizer.param_groups[0]["learning_rate"])

    def start_of_epoch(self, progress: Progress) -> None:
        """Set the learning rate of an epoch, if the schedule is by epochs."""
        if self._config.schedule_by == "epoch":
            n_epochs, constant = progress.schedule_length, self.constant_epochs
            set_learning_rate(self.optimizer, learning_rate_at(self._config, progress.epoch, n_epochs, constant))

    def start_of_step(self, progress: Progress) -> None:
        """Set the learning rate of a training batch, if the schedule is by steps."""
        if self._config.schedule_by == "step":
            step, epoch, n_steps = progress.step, progress.epoch, progress.schedule_length
            constant, per_epoch = self.constant_epochs, progress.steps_per_epoch
            rate = learning_rate_at_step(self._config, step, epoch, n_steps, per_epoch, constant)
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
            self._in_halves = functools.partial(self._halved, batch, run_one_batch)
            return self._or_in_halves(lambda: run_one_batch(batch))
        if self._parallel is None:
            device = next(self._model.parameters()).device
            step = _Step(self._model, run_one_batch)
            self._parallel = DistributedDataParallel(step, device_ids=None if device.type == "cpu" else [device])
        if batch.n_spans:
            return self._parallel(batch)
        result = self._parallel(stand_in())
        # A stand-in's own loss may be anything, also NaN.
        result.loss, result.n = torch.nan_to_num(result.loss) * 0.0, 0.0
        return result

    def wrap_anew(self) -> None:
        """Exchange other gradients between processes from now on: other parameters learn."""
        self._parallel = None

    def learn(self, result: Any, position: int, n_batches: int) -> Step | None:
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
        Step or None
            None when the group is not complete.
        """
        first, size = self._group_of(position, n_batches)
        self._backward(result, size, is_first=position == first)
        if result.usable is not None:
            self._group_is_usable = result.usable & self._group_is_usable
        return self._end_group() if position + 1 == first + size else None

    def _halved(self, batch: Batch, run_one_batch: RunOneBatch) -> Any:
        parameters = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        return halved_result(batch, run_one_batch, parameters)

    def _can_be_halved(self) -> bool:
        return self._in_halves is not None and can_be_halved(self._in_halves.args[0])

    def _or_in_halves(self, run: Callable[[], Any]) -> Any:
        """Run a batch whole; in halves from the first time on that memory runs out over it."""
        if not (self._halves and self._can_be_halved()):
            try:
                return run()
            except Exception as error:
                if not is_out_of_memory(error) or not self._can_be_halved():
                    raise
            # The error is gone here, and with it what its traceback held of the memory.
            self._begin_with_halves()
        assert self._in_halves is not None
        return self._in_halves()

    def _backward(self, result: Any, size: int, *, is_first: bool) -> None:
        try:
            loss = result.loss * self._share(result) if self._processes.are_several else result.loss
            (loss / size).backward()
            return
        except Exception as error:
            # Gradients of earlier batches of the group would have been changed by then.
            if self._halves or not is_first or not is_out_of_memory(error) or not self._can_be_halved():
                raise
        result.loss = result.loss.detach()  # without the graph that memory ran out over
        self.optimizer.zero_grad(set_to_none=True)
        self._begin_with_halves()
        assert self._in_halves is not None
        (self._in_halves().loss / size).backward()

    def _begin_with_halves(self) -> None:
        self._halves = True
        release_device_memory()
        warnings.warn(
            "Memory ran out in a training batch; batches are learnt from in two halves from now on, with the same "
            "gradients (a smaller sampler.batch_size_training avoids that).",
            DataWarning,
            stacklevel=2,
        )

    def leave_out(self, position: int, n_batches: int, *, faulty: bool) -> Step | None:
        """Pass over a batch without samples, or give up the step that a faulty one belongs to; returns as `learn`."""
        first, size = self._group_of(position, n_batches)
        if faulty:
            self._group_is_usable = False
        return self._end_group() if position + 1 == first + size else None

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over the state of an optimizer and its learning rates; other settings stay as they are configured.

        Raises
        ------
        CheckpointError
            When its parameters are not those of this model.
        """
        own = self.optimizer.state_dict()["param_groups"]
        groups = [
            mine | {name: group[name] for name in ("lr", "learning_rate") if name in group}
            for mine, group in zip(own, state["param_groups"])
        ]
        there, here = ([len(group["params"]) for group in listed] for listed in (state["param_groups"], own))
        if there != here:
            raise CheckpointError(
                f"The checkpoint's optimizer has groups of {there} parameters, this model's has groups of {here}."
            )
        self.optimizer.load_state_dict({"state": state["state"], "param_groups": groups})

    def _group_of(self, position: int, n_batches: int) -> tuple[int, int]:
        """First batch of an accumulated group, and how many it has."""
        every = self._config.accumulate_gradients
        first = position - position % every
        return first, min(every, n_batches - first)

    def _end_group(self) -> Step | None:
        usable, self._group_is_usable = self._group_is_usable, True
        has_gradient = any(parameter.grad is not None for parameter in self._model.parameters())
        step = self._step(usable) if has_gradient and usable is not False else None
        self.optimizer.zero_grad(set_to_none=True)
        return step

    def _step(self, usable: torch.Tensor | bool) -> Step:
        limit = self._config.clip_gradient or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self._model.parameters(), limit)
        if isinstance(usable, torch.Tensor):
            made = usable & torch.isfinite(norm)
            optimizer: Any = self.optimizer
            optimizer.found_inf, optimizer.grad_scale = (~made).float(), None
            self.optimizer.step()
            del optimizer.found_inf, optimizer.grad_scale
            return Step(norm, usable, made)
        is_finite = bool(torch.isfinite(norm))
        if is_finite:
            self.optimizer.step()
        return Step(norm, True, is_finite)

    def _share(self, result: Any) -> torch.Tensor:
        """What this process's mean loss is to be multiplied by, so that the average of all is that of all samples."""
        own = torch.as_tensor(result.n, dtype=torch.float64, device=result.loss.device)
        return (own * self._processes.world_size / self._processes.sum(own)).float()


def check_interval(config: TrainerConfig, device: torch.device, processes: Processes) -> int:
    """Batches between two looks at whether losses are finite; 1 where the host has to decide about each step."""
    if config.non_finite_check_every is not None:
        return config.non_finite_check_every
    can_be_deferred = device.type != "cpu" and config.optimizer in FUSED and not processes.are_several
    return CHECK_EVERY_ON_A_GPU if can_be_deferred else 1


class _Step(torch.nn.Module):
    """A whole step as the forward of a module, which is what DistributedDataParallel wraps."""

    def __init__(self, model: torch.nn.Module, run_one_batch: RunOneBatch) -> None:
        super().__init__()
        self.model = model
        self._run_one_batch = run_one_batch

    def forward(self, batch: Batch) -> Any:
        return self._run_one_batch(batch)
