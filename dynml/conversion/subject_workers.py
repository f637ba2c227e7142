"""Maps a function over subjects, on one process or several, with the same results bit for bit.

Libraries of linear algebra may round otherwise on several threads, so that each subject is computed on one, and
several subjects at a time by as many processes.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, TypeVar

from dynml.configuration import check_at_least
from dynml.deferred_signals import DeferredSignals
from dynml.errors import ConfigurationError, DynmlError
from dynml.process_life import die_with_parent

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")
SECONDS_BETWEEN_LOOKS = 0.2
"""At a signal, while the result of another process is waited for."""


class SubjectWorkers:
    """A context whose `map` runs on `n_jobs` processes; with one, on this process.

    A first interruption waits for the end of the subject at hand: amid the callbacks of C libraries it would be lost,
    or worse. A second one does not wait. Other processes are ended at once, and with this one, however it ends.

    Parameters
    ----------
    n_jobs : int
    """

    def __init__(self, n_jobs: int = 1) -> None:
        if not isinstance(n_jobs, int) or isinstance(n_jobs, bool):
            raise ConfigurationError("n_jobs", n_jobs, "a whole number")
        check_at_least("n_jobs", n_jobs, 1)
        self.n_jobs = n_jobs
        self._pool: ProcessPoolExecutor | None = None
        self._signals = DeferredSignals()

    def __enter__(self) -> SubjectWorkers:
        self._signals.__enter__()
        if self.n_jobs > 1:
            of_main_thread = threading.current_thread() is threading.main_thread()
            self._pool = ProcessPoolExecutor(
                self.n_jobs,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin_as_worker,
                initargs=(os.getpid(), of_main_thread),
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, *further: object) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            if kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit)):
                _end_workers(pool)
            pool.shutdown(cancel_futures=True)
        self._signals.__exit__(kind, *further)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in the order of the items, with few under way at a time.

        Raises
        ------
        DynmlError
            When a process was killed.
        """
        if self._pool is None:
            for item in items:
                self._signals.raise_noted()
                yield _on_one_thread(function, item)
            return
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                self._signals.raise_noted()
                pending.append(self._pool.submit(_on_one_thread, function, item))
                if len(pending) > self.n_jobs:
                    yield self._result_of(pending.popleft())
            while pending:
                yield self._result_of(pending.popleft())
        except BrokenProcessPool as error:
            raise DynmlError(
                f"One of {self.n_jobs} processes was killed, perhaps for memory; use a smaller --n_jobs."
            ) from error

    def _result_of(self, future: Future[Result]) -> Result:
        while not wait([future], timeout=SECONDS_BETWEEN_LOOKS).done:
            self._signals.raise_noted()
        return future.result()


def _on_one_thread(function: Callable[[Item], Result], item: Item) -> Result:
    with _libraries().limit(limits=1):
        return function(item)


@functools.cache
def _libraries() -> ThreadpoolController:
    """Find the libraries of linear algebra, once."""
    # Libraries that are loaded later would not be limited.
    import scipy.linalg
    from threadpoolctl import ThreadpoolController

    assert scipy.linalg is not None
    return ThreadpoolController()


def _begin_as_worker(parent: int, of_main_thread: bool) -> None:
    die_with_parent(parent, of_main_thread)
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_workers(pool: ProcessPoolExecutor) -> None:
    """End processes that compute what nobody waits for any more; they hold nothing that could be lost."""
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()
