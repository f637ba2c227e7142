"""Threads for coarse pieces of work, each running torch on one core.

Many small products gain little from torch's own threads, and lose much when other processes share the cores: every
product then waits for the slowest thread. Pieces of a few milliseconds scale better, and, since each is computed on one
thread, the results do not depend on how many there are.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

import torch

Result = TypeVar("Result")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread for a block of small operations, where waking others costs more than it gains."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Workers:
    """A context that maps functions over items on `n_threads` threads; with one, without any thread.

    Parameters
    ----------
    n_threads : int, optional
        Default: torch's number of threads, which is 1 within the context and restored after it.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = torch.get_num_threads() if n_threads is None else n_threads
        self._pool: ThreadPoolExecutor | None = None
        self._threads_before = torch.get_num_threads()

    def __enter__(self) -> Workers:
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(1)
        if self.n_threads > 1:
            self._pool = ThreadPoolExecutor(self.n_threads, initializer=torch.set_num_threads, initargs=(1,))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        torch.set_num_threads(self._threads_before)

    def map(self, function: Callable[..., Result], *items: Iterable[Any]) -> Iterator[Result]:
        """Results in the order of the items (as the built-in `map`), with a few under way at a time."""
        if self._pool is None:
            yield from map(function, *items)
            return
        pending: deque[Future[Result]] = deque()
        for arguments in zip(*items, strict=True):
            pending.append(self._pool.submit(function, *arguments))
            if len(pending) > 2 * self.n_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
