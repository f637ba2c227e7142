"""The processes that train together: started by torchrun, joined by torch.distributed (gloo on CPUs, NCCL on GPUs).

Every process runs the same script on its own share of the subjects. What must be the same everywhere (sums, decisions,
what was read from disk) goes through this room; a run of one process passes through it unchanged.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from dynml.errors import DataError, DynmlError
from dynml.ops.devices import accelerator

SECONDS_BETWEEN_LOOKS = 0.05
Value = TypeVar("Value")


class Processes:
    """Stands for this process among those of a run.

    Parameters
    ----------
    rank : int
        Number of this process, from 0.
    world_size : int
        How many there are.
    """

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        assert 0 <= rank < world_size
        self.rank, self.world_size = rank, world_size

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def are_several(self) -> bool:
        """Whether there is anybody to talk to."""
        return self.world_size > 1

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum a tensor over all processes, in its own type, on its own device."""
        return self._reduce(values, dist.ReduceOp.SUM)

    def largest(self, values: Sequence[int]) -> list[int]:
        """Largest of whole numbers, one by one, over all processes."""
        if not self.are_several:
            return list(values)
        return [int(value) for value in self._reduce(torch.tensor(values, dtype=torch.int64), dist.ReduceOp.MAX)]

    def gather(self, value: Value) -> list[Value]:
        """Values of all processes, by rank, in every process."""
        if not self.are_several:
            return [value]
        values: list[Any] = [None] * self.world_size
        self._together(lambda: dist.all_gather_object(values, value))
        return values

    def from_first(self, make: Callable[[], Value]) -> Value:
        """Call `make` in the first process and give its value to all."""
        if not self.are_several:
            return make()
        values: list[Any] = [make() if self.is_first else None]
        self._together(lambda: dist.broadcast_object_list(values, src=0))
        return values[0]

    def check_same(self, what: str, value: str) -> None:
        """Refuse to go on when processes see different things.

        Raises
        ------
        DataError
            Names the processes that differ from the first.
        """
        values = self.gather(value)
        different = [rank for rank, other in enumerate(values) if other != values[0]]
        if different:
            raise DataError(
                f"The processes of this run see different {what}: "
                f"{', '.join(f'process {rank} has {values[rank]}' for rank in (0, *different[:3]))}."
            )

    def _reduce(self, values: torch.Tensor, operation: Any) -> torch.Tensor:
        if not self.are_several:
            return values
        total = values.detach().clone()
        self._together(lambda: dist.all_reduce(total, op=operation))
        return total

    def _together(self, collective: Callable[[], Any]) -> None:
        try:
            collective()
        except RuntimeError as error:
            raise DynmlError(
                f"Process {self.rank} ends because another process of this run ended or cannot be reached. The last "
                "checkpoint is valid: resume from it."
            ) from error


def join_processes(device: str = "auto") -> Processes:
    """Join the processes that torchrun started; without torchrun this process is alone.

    Parameters
    ----------
    device : str
        trainer.device: where it may be an accelerator, what torch has for its kind is used (NCCL for cuda).
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1 or "RANK" not in os.environ:
        return Processes()
    if not dist.is_initialized():
        dist.init_process_group(_backends(device))
    return Processes(dist.get_rank(), dist.get_world_size())


def _backends(device: str) -> str:
    kind = accelerator()
    if device == "cpu" or kind is None:
        return "gloo"
    return f"cpu:gloo,{kind.type}:{dist.Backend.default_device_backend_map.get(kind.type, 'gloo')}"


def leave_processes() -> None:
    """Let go of the others at the end of a script.

    Gloo's threads end with the group, but torch keeps a group that DistributedDataParallel has used. Such a thread lets
    go of a tensor only after its result has been taken; where Python has begun to end by then, it aborts the process,
    as if the run had failed. Hence the wait for it.
    """
    if dist.is_initialized():
        gc.collect()
        dist.destroy_process_group()
        wait_for_threads()


def wait_for_threads(at_most: float = 10.0) -> None:
    """Wait until no other thread of this process computes, or is kept from it by other processes.

    Parameters
    ----------
    at_most : float
        In seconds.
    """
    end = time.monotonic() + at_most
    time.sleep(SECONDS_BETWEEN_LOOKS)  # lets those go on that wait for the interpreter
    while _other_threads_compute() and time.monotonic() < end:
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _other_threads_compute() -> bool:
    """As Linux says; elsewhere the one wait has to do."""
    own = threading.get_native_id()
    for path in Path("/proc/self/task").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state = path.read_text().rpartition(")")[2].split()[0]
            if int(path.parent.name) != own and state in "RD":
                return True
    return False
