"""Results of other processes, whose arrays come through memory without a name instead of a pipe.

A pipe takes 64 KiB at a time, and for each the receiving process waits for its own lock on Python, which others may
have for long. Memory without a name is gone with the processes that have it open, however these end.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FEWEST_BYTES = 2**18
"""Smaller arrays go with the rest."""


@dataclass(frozen=True)
class HandedOver:
    """A result on its way."""

    process: int
    content: bytes
    """Pickled, without its large arrays."""
    memories: tuple[tuple[int, int], ...]
    """File descriptor in `process`, and bytes, of each large array."""

    def take(self) -> Any:
        """Give the result, once; its memory is free then.

        Raises
        ------
        OSError
            When the memory cannot be had: its process has ended, or the system does not let others have it.
        """
        return pickle.loads(self.content, buffers=[_taken(self.process, *memory) for memory in self.memories])


def hand_over(function: Callable[[Any], Any], item: Any) -> HandedOver:
    """Do an item, and make its result ready for another process."""
    _close_those_taken()
    result, memories = function(item), list[tuple[int, int]]()

    def stays(buffer: pickle.PickleBuffer) -> bool:
        with buffer.raw() as content:
            descriptor = _kept(content) if content.nbytes >= FEWEST_BYTES else None
            if descriptor is not None:
                memories.append((descriptor, content.nbytes))
        return descriptor is None

    return HandedOver(os.getpid(), pickle.dumps(result, protocol=5, buffer_callback=stays), tuple(memories))


def trial(_: Any = None) -> Any:
    """What is handed over to see whether it arrives."""
    return np.zeros(FEWEST_BYTES, dtype=np.uint8)


_waiting: list[int] = []
"""Descriptors of what may not have been taken yet."""


def _kept(content: memoryview) -> int | None:
    """Put bytes into memory without a name; None where the system has none."""
    try:
        descriptor = os.memfd_create("dynml")
    except (AttributeError, OSError):
        return None
    _waiting.append(descriptor)
    written = 0
    while written < len(content):
        written += os.write(descriptor, content[written:])
    return descriptor


def _taken(process: int, descriptor: int, n_bytes: int) -> np.ndarray[Any, Any]:
    content = np.empty(n_bytes, dtype=np.uint8)
    with Path(f"/proc/{process}/fd/{descriptor}").open("r+b", buffering=0) as memory:
        view, n_read = content.data, 0
        while n_read < n_bytes:
            n_read += memory.readinto(view[n_read:]) or _cut_short()
        memory.truncate(0)
    return content


def _cut_short() -> int:
    raise OSError("the memory of another process ended too early")


def _close_those_taken() -> None:
    for descriptor in [one for one in _waiting if os.fstat(one).st_size == 0]:
        os.close(descriptor)
        _waiting.remove(descriptor)
