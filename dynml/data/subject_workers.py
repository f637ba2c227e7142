"""Maps a function over subjects, on one process or several, with the same results bit for bit.

Libraries of linear algebra may round otherwise on several threads, so that each subject is computed on one, and
several subjects at a time by as many processes.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, TypeVar

from dynml.configuration import check_at_least
from dynml.errors import ConfigurationError, DynmlError

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")


class SubjectWorkers:
    """A context whose `map` runs on `n_jobs` processes; with one, on this process.

    A first interruption waits for the end of the subject at hand: amid the callbacks of C libraries it would be lost,
    or worse. A second one does not wait.

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
        self._interrupted = False
        self._handler_before: Any = None

    def __enter__(self) -> SubjectWorkers:
        if threading.current_thread() is threading.main_thread():
            self._handler_before = signal.signal(signal.SIGINT, self._note_interruption)
        if self.n_jobs > 1:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.n_jobs, mp_context=context, initializer=_ignore_interruption)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._handler_before is not None:
            signal.signal(signal.SIGINT, self._handler_before)
            self._handler_before = None
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        if kind is None:
            self._end_if_interrupted()

    def _note_interruption(self, *_: object) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

    def _end_if_interrupted(self) -> None:
        if self._interrupted:
            raise KeyboardInterrupt

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in the order of the items, with few under way at a time.

        Raises
        ------
        DynmlError
            When a process was killed.
        """
        if self._pool is None:
            for item in items:
                self._end_if_interrupted()
                yield _on_one_thread(function, item)
            return
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                self._end_if_interrupted()
                pending.append(self._pool.submit(_on_one_thread, function, item))
                if len(pending) > self.n_jobs:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise DynmlError(
                f"One of {self.n_jobs} processes was killed, perhaps for memory; use a smaller --n_jobs."
            ) from error


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


def _ignore_interruption() -> None:
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
