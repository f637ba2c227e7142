"""Which batches may be learnt from, decided on the device while the host works ahead.

A GPU works ahead of the host, which has to wait for it to see a loss. `DeferredCheck` decides about each batch on the
device, and the host looks at the count of faulty ones every so many batches, before it saves, and after an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dynml.errors import ConfigurationError
from dynml.training.gradients.learning import Step, check_interval
from dynml.training.processes import Processes


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
    def for_run(
        cls, config: Any, device: torch.device, processes: Processes, *, learns_by_itself: bool
    ) -> DeferredCheck | None:
        """Make the check of a run that learns by gradients, or None where the host decides about every batch.

        Parameters
        ----------
        config : TrainerConfig
        device : torch.device
        processes : Processes
        learns_by_itself : bool
            The family has a back_propagation of its own, which knows nothing of flags on the device.

        Raises
        ------
        ConfigurationError
            When a check that cannot be deferred is asked to be.
        """
        every = check_interval(config, device, processes)
        if every > 1 and (learns_by_itself or processes.are_several):
            if config.non_finite_check_every is None:
                return None
            accepted = "1 on several processes" if not learns_by_itself else "1 for a trainer with a step of its own"
            raise ConfigurationError("trainer.non_finite_check_every", every, accepted)
        return cls(every, device, stops=config.non_finite == "stop") if every > 1 else None

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

    def read_count(self) -> int:
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
    modules : sequence of torch.nn.Module
        Those that normalize, on their device already.
    """

    def __init__(self, modules: Sequence[torch.nn.Module]) -> None:
        self._modules = modules
        self._before: list[torch.Tensor] = []

    @classmethod
    def of(cls, model: torch.nn.Module) -> RunningStatistics | None:
        """Make those of a model, or None for a model without batch normalization."""
        kind = torch.nn.modules.batchnorm._NormBase
        modules = [module for module in model.modules() if isinstance(module, kind)]
        return cls(modules) if modules else None

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
