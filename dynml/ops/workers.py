"""Threads for coarse pieces of work, each running torch on one core.

Many small products gain little from torch's own threads, and lose much when other processes share the cores: every
product then waits for the slowest thread. Pieces of a few milliseconds scale better, and, since each is computed on one
thread, the results do not depend on how many there are.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
_OF_KERNELS: ContextVar[int | None] = ContextVar("threads of compiled kernels", default=None)


@contextlib.contextmanager
def one_thread(*, but_kernels: bool = False) -> Iterator[None]:
    """Let torch use one thread for a block of small operations, where waking others costs more than it gains.

    Parameters
    ----------
    but_kernels : bool
        Compiled kernels (`over_threads`) keep the threads that torch had: their pieces are large, and their results the
        same for any number.
    """
    before = torch.get_num_threads()
    token = _OF_KERNELS.set(before if but_kernels else None)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _OF_KERNELS.reset(token)


def over_threads(
    function: Callable[[Item], Result], pieces: Sequence[Item], n_threads: int | None = None
) -> list[Result]:
    """Results of all pieces of a compiled kernel, in order; this thread takes part, and torch's settings stay.

    Parameters
    ----------
    function : callable
        Releases Python's lock while it computes.
    pieces : sequence
        Whoever is free takes the next one.
    n_threads : int, optional
        Default: torch's number of threads, or what `one_thread` left to kernels.
    """
    if n_threads is None:
        given = _OF_KERNELS.get()
        n_threads = torch.get_num_threads() if given is None else given
    n_helpers = min(n_threads, len(pieces)) - 1
    if n_helpers < 1:
        return [function(piece) for piece in pieces]
    results: dict[int, Result] = {}
    numbers = itertools.count()

    def take_pieces() -> None:
        while (number := next(numbers)) < len(pieces):
            results[number] = function(pieces[number])

    helpers = [_helpers(os.getpid()).submit(take_pieces) for _ in range(n_helpers)]
    take_pieces()
    for helper in helpers:
        # Waking a thread may take longer than all the work: one that has not begun is not waited for.
        if not helper.cancel():
            helper.result()
    return [results[number] for number in range(len(pieces))]


@functools.lru_cache(maxsize=1)
def _helpers(_process: int) -> ThreadPoolExecutor:
    """Threads that stay, since starting them costs more than a kernel; after a fork there are none, so new ones."""
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="kernel")


@functools.lru_cache(maxsize=1)
def _blas_of_numpy() -> list[Any]:
    """NumPy's own OpenBLAS; elsewhere torch's setting is NumPy's, or there is none."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(internal_api="openblas").lib_controllers)


class Workers:
    """A context that maps functions over items on `n_threads` threads; with one, without any thread.

    Parameters
    ----------
    n_threads : int, optional
        Default: torch's number of threads, which is 1 within the context, as NumPy's is, and restored after it.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = torch.get_num_threads() if n_threads is None else n_threads
        self._pool: ThreadPoolExecutor | None = None
        self._threads_before = torch.get_num_threads()
        self._blas_before: list[tuple[Any, int]] = []

    def __enter__(self) -> Workers:
        self._threads_before = torch.get_num_threads()
        torch.set_num_threads(1)
        self._blas_before = [(library, library.num_threads) for library in _blas_of_numpy()]
        for library, _ in self._blas_before:
            library.set_num_threads(1)
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
        for library, n_threads in self._blas_before:
            library.set_num_threads(n_threads)

    def map(self, function: Callable[..., Result], *items: Iterable[Any]) -> Iterator[Result]:
        """Results in the order of the items (as the built-in `map`), with a few under way at a time."""
        if self._pool is None:
            yield from map(function, *items)
            return
        every = zip(*items, strict=True)
        beginning = list(itertools.islice(every, 2))
        if len(beginning) < 2:
            # Nothing to share: handing a single piece over costs more than a small one takes.
            yield from itertools.starmap(function, beginning)
            return
        pending: deque[Future[Result]] = deque()
        for arguments in itertools.chain(beginning, every):
            pending.append(self._pool.submit(function, *arguments))
            if len(pending) > 2 * self.n_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
