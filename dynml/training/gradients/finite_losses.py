"""Whether losses and gradients are finite: asked on the host after every batch, or counted on the device meanwhile.

A GPU works ahead of the host, which has to wait for it to see a loss. `DeferredCheck` decides about each batch on the
device, and the host looks at the count of faulty ones every so many batches, before it saves, and after an epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from dynml.errors import ConfigurationError, NonFiniteLossError
from dynml.training.gradients.learning import Step, check_interval

if TYPE_CHECKING:
    from dynml.batches.batch import Batch
    from dynml.training.trainer import BatchResult, Trainer


class DeferredCheck:
    """Says, on the device, which batches may be learnt from, and counts those that may not.

    Parameters
    ----------
    every : int
        Batches between two looks of the host.
    device : torch.device
    stops : bool
        After a fault nothing is learnt any more, so that the model stays as it was before.
    """

    def __init__(self, every: int, device: torch.device, *, stops: bool) -> None:
        self._every, self._stops = every, stops
        self._n_faulty = torch.zeros((), dtype=torch.int64, device=device)
        self.n_unseen = 0

    @classmethod
    def for_trainer(cls, trainer: Trainer, *, learns_by_itself: bool) -> DeferredCheck | None:
        """Make the check of a trainer, or None where the host decides about every batch.

        Parameters
        ----------
        trainer : Trainer
        learns_by_itself : bool
            The family has a back_propagation of its own, which knows nothing of flags on the device.

        Raises
        ------
        ConfigurationError
            When a check that cannot be deferred is asked to be.
        """
        config: Any = trainer.config
        if trainer.learner is None:
            return None
        every = check_interval(config, trainer.device, trainer.processes)
        if every > 1 and (learns_by_itself or trainer.processes.are_several):
            if config.non_finite_check_every is None:
                return None
            accepted = "1 on several processes" if not learns_by_itself else "1 for a trainer with a step of its own"
            raise ConfigurationError("trainer.non_finite_check_every", every, accepted)
        return cls(every, trainer.device, stops=config.non_finite == "stop") if every > 1 else None

    @property
    def is_due(self) -> bool:
        """Whether it is time to look."""
        return self.n_unseen >= self._every

    def usable(self, loss: torch.Tensor, n: torch.Tensor | float) -> torch.Tensor:
        """Whether to learn from a batch of `n` samples, a bool on the device; a batch with a faulty loss is counted."""
        self.n_unseen += 1
        has_samples = n > 0
        is_finite = torch.isfinite(loss.detach())
        self._n_faulty += ~is_finite & has_samples
        usable = is_finite & has_samples
        return usable & (self._n_faulty == 0) if self._stops else usable

    def add(self, step: Step) -> None:
        """Count a step whose losses were finite, but not its gradient."""
        assert isinstance(step.made, torch.Tensor)
        self._n_faulty += step.usable & ~step.made

    def look(self) -> int:
        """Read the count, which waits for the device, and start anew."""
        if not self.n_unseen:
            return 0
        n_faulty, self.n_unseen = int(self._n_faulty), 0
        self._n_faulty.zero_()
        return n_faulty


class RunningStatistics:
    """Statistics of batch normalization, which a forward pass changes, whatever becomes of its loss.

    Parameters
    ----------
    model : torch.nn.Module
        On its device already.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        kind = torch.nn.modules.batchnorm._NormBase
        self._modules = [module for module in model.modules() if isinstance(module, kind)]
        self._before: list[torch.Tensor] = []

    def remember(self) -> None:
        """Keep what they are before a forward pass."""
        self._before = [buffer.clone() for buffer in self._buffers()]

    def keep_if(self, usable: torch.Tensor | bool) -> None:
        """Let them be what the pass made of them, or what they were before it, as may be known on the device alone."""
        if usable is True:
            return
        for buffer, before in zip(self._buffers(), self._before):
            buffer.copy_(before if usable is False else torch.where(usable, buffer, before))

    def _buffers(self) -> list[torch.Tensor]:
        return [buffer for module in self._modules for buffer in module.buffers(recurse=False)]


def look_at_losses(trainer: Trainer) -> None:
    """Read what a deferred check counted since the last look: stop, or count what was left out.

    Raises
    ------
    NonFiniteLossError
        When something was counted and `non_finite` is "stop".
    """
    check = trainer.deferred_check
    if check is None:
        return
    n_seen, n_faulty = check.n_unseen, check.look()
    if n_faulty and trainer.config.non_finite == "stop":
        raise NonFiniteLossError(
            f"A loss or its gradient is not finite in epoch {trainer.progress.epoch + 1}, among its last {n_seen} "
            "batches; the model was left as it was before that step (trainer.non_finite_check_every 1 names the batch)."
        )
    trainer.progress.n_skipped += n_faulty


def is_usable(trainer: Trainer, result: BatchResult, batch: Batch) -> bool:
    """Whether to learn from a batch: some process has samples of it, and no loss is NaN or infinite.

    Raises
    ------
    NonFiniteLossError
        When a loss is not finite and `non_finite` is "stop"; names the spans.
    """
    is_faulty = bool(result.n) and not bool(torch.isfinite(result.loss))
    has_samples, faulty = trainer.processes.largest([int(bool(result.n)), int(is_faulty)])
    if not faulty:
        return bool(has_samples)
    if trainer.config.non_finite == "stop":
        subjects = trainer.dataset.training_set.subjects
        spans = [f"{subjects[s.subject]} samples {s.start} to {s.stop}" for s in trainer.spans_at_fault(batch)[:3]]
        faults = trainer.processes.gather((result.loss.item(), ", ".join(spans)) if is_faulty else None)
        loss, where = next(fault for fault in faults if fault is not None)
        raise NonFiniteLossError(
            f"The loss is {loss} in {_place(trainer)} ({where}); the model was left as it was before this step."
        )
    trainer.progress.n_skipped += 1
    return False


def refuse_gradient(trainer: Trainer, step: Step) -> None:
    """Stop at a gradient that is not finite, or count the step that was left out.

    Raises
    ------
    NonFiniteLossError
        When `non_finite` is "stop".
    """
    if trainer.config.non_finite == "stop":
        raise NonFiniteLossError(
            f"The norm of the gradient is {step.norm.item()} in {_place(trainer)}; the model was left as it was before "
            "this step."
        )
    trainer.progress.n_skipped += 1


def _place(trainer: Trainer) -> str:
    return f"epoch {trainer.progress.epoch + 1}, batch {trainer.progress.position + 1}"
