"""Results of other processes, whose arrays come through memory without a name instead of a pipe.

A pipe takes 64 KiB at a time, and for each the receiving process waits for its own lock on Python, which others may
have for long. Memory without a name is gone with the processes that have it open, however these end. It is looked at
where it is, not copied, and used again when nobody looks any more: to get new memory of the system takes several times
as long as to write to it.
"""

from __future__ import annotations

import mmap
import os
import pickle
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from typing import Any

import numpy as np

FEWEST_BYTES = 2**18
"""Smaller arrays go with the rest."""
MOST_LOOKED_AT = 16
"""Arrays that a process keeps beyond so many are copied, so that files do not stay open without number."""
LARGEST_WASTE = 4
"""Memory so many times as large as what is to be kept is given back."""
_FREE, _IN_USE = b"\0", b"\1"


@dataclass(frozen=True)
class HandedOver:
    """A result on its way."""

    process: int
    content: bytes
    """Pickled, without its large arrays."""
    memories: tuple[tuple[int, int, int], ...]
    """File descriptor in `process`, its bytes, and those of the array, of each large array."""

    def take(self) -> Any:
        """Give the result, once; its memory is free when the last of its arrays is.

        Raises
        ------
        OSError
            When the memory cannot be had: its process has ended, or the system does not let others have it.
        """
        return pickle.loads(self.content, buffers=[_taken(self.process, *memory) for memory in self.memories])


def hand_over(function: Callable[[Any], Any], item: Any) -> HandedOver:
    """Do an item, and make its result ready for another process."""
    result, memories = function(item), list[tuple[int, int, int]]()

    def stays(buffer: pickle.PickleBuffer) -> bool:
        with buffer.raw() as content:
            memory = _kept(content) if content.nbytes >= FEWEST_BYTES else None
            if memory is not None:
                memories.append((memory.descriptor, memory.n_bytes, content.nbytes))
        return memory is None

    return HandedOver(os.getpid(), pickle.dumps(result, protocol=5, buffer_callback=stays), tuple(memories))


def trial(_: Any = None) -> Any:
    """What is handed over to see whether it arrives."""
    return np.zeros(FEWEST_BYTES, dtype=np.uint8)


@dataclass(frozen=True)
class _Memory:
    """A file in memory, behind whose bytes one says whether they are in use."""

    descriptor: int
    n_bytes: int

    def is_free(self) -> bool:
        return os.pread(self.descriptor, 1, self.n_bytes) == _FREE

    def fill(self, content: memoryview) -> None:
        os.pwrite(self.descriptor, _IN_USE, self.n_bytes)
        written = 0
        while written < len(content):
            written += os.pwrite(self.descriptor, content[written:], written)


_memories: list[_Memory] = []
"""Those of this process."""
_looked_at: set[int] = set()
"""Descriptors of those of others that this process has arrays in."""


def _kept(content: memoryview) -> _Memory | None:
    """Put bytes into memory without a name; None where the system has none."""
    n_bytes = content.nbytes
    free = [one for one in _memories if one.is_free()]
    fitting = [one for one in free if n_bytes <= one.n_bytes <= LARGEST_WASTE * n_bytes]
    if not fitting:
        for one in free:
            os.close(one.descriptor)
            _memories.remove(one)
        try:
            fitting = [_Memory(os.memfd_create("dynml"), n_bytes)]
        except (AttributeError, OSError):
            return None
        _memories.extend(fitting)
    fitting[0].fill(content)
    return fitting[0]


def _taken(process: int, descriptor: int, n_bytes_there: int, n_bytes: int) -> np.ndarray[Any, Any]:
    file = FileIO(f"/proc/{process}/fd/{descriptor}", "r+")
    try:
        # What is written to it stays with this process.
        content = np.frombuffer(mmap.mmap(file.fileno(), n_bytes, access=mmap.ACCESS_COPY), dtype=np.uint8)
    except BaseException:
        file.close()
        raise
    if len(_looked_at) >= MOST_LOOKED_AT:
        copy = content.copy()
        _set_free(file, n_bytes_there)
        return copy
    _looked_at.add(file.fileno())
    weakref.finalize(content, _set_free, file, n_bytes_there)
    return content


def _set_free(file: FileIO, n_bytes: int) -> None:
    _looked_at.discard(file.fileno())
    os.pwrite(file.fileno(), _FREE, n_bytes)
    file.close()
