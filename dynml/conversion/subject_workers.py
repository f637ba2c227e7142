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
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from dynml.configuration import check_at_least
from dynml.conversion.handed_over import HandedOver, hand_over, trial
from dynml.deferred_signals import DeferredSignals
from dynml.errors import ConfigurationError, DynmlError
from dynml.host_memory import keep_freed_memory
from dynml.process_life import die_with_parent

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")
PACKAGES_OF_LIBRARIES = ("scipy.linalg", "sklearn", "torch")
LARGEST_AHEAD = 2**28
"""Bytes of an item that is worked on while another one is in memory."""
SECONDS_BETWEEN_LOOKS = 0.2
"""At a signal, while the result of another process is waited for."""


class SubjectWorkers:
    """A context whose `map` runs on `n_jobs` processes, of which this one is the first.

    This one also takes what the others give, and works on items itself while they start or are all busy: on one at a
    time, small ones on a thread, so that what the others give is used meanwhile.

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
        self._started: list[Future[HandedOver]] = []
        self._hands_over = True
        self._tried: set[int] = set()
        self._signals = DeferredSignals()
        self._helper = _Helper()

    def __enter__(self) -> SubjectWorkers:
        self._signals.__enter__()
        if self.n_jobs > 1:
            of_main_thread = threading.current_thread() is threading.main_thread()
            self._pool = ProcessPoolExecutor(
                self.n_jobs - 1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin_as_worker,
                initargs=(os.getpid(), of_main_thread),
            )
            with _scripts_left_out():
                self._started = [self._pool.submit(hand_over, trial, None) for _ in range(self.n_jobs - 1)]
        return self

    def __exit__(self, kind: type[BaseException] | None, *further: object) -> None:
        pool, self._pool = self._pool, None
        interrupted = kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit))
        self._helper.end(wait=not interrupted)
        if pool is not None:
            if interrupted or not all(one.done() for one in self._started):
                _end_workers(pool)
            pool.shutdown(cancel_futures=True)
        self._signals.__exit__(kind, *further)

    @property
    def each(self) -> Callable[[Callable[[Item], Result], Iterable[Item]], Iterator[Result]] | None:
        """`map` where there is more than this process, which goes on as it is elsewhere."""
        return None if self.n_jobs == 1 else self.map

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        n_bytes: Callable[[Item], int] | None = None,
    ) -> Iterator[Result]:
        """Results in the order of the items, with few under way at a time.

        Parameters
        ----------
        function : callable
        items : iterable
        n_bytes : callable, optional
            What an item takes in memory. A thread of this process then works on small items while results are used;
            without it, and on large ones, it works in between.

        Raises
        ------
        DynmlError
            When a process was killed.
        """
        n_bytes = n_bytes or (lambda item: LARGEST_AHEAD + 1)
        if self._pool is None:
            yield from self._one_ahead(function, items, n_bytes)
            return
        try:
            yield from self._shared_out(self._pool, function, items, n_bytes)
        except BrokenProcessPool as error:
            raise DynmlError(
                f"One of {self.n_jobs} processes was killed, perhaps for memory; use a smaller --n_jobs."
            ) from error

    def _shared_out(
        self,
        pool: ProcessPoolExecutor,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        n_bytes: Callable[[Item], int],
    ) -> Iterator[Result]:
        left, pending = deque(items), deque[Future[Result]]()
        own = set[Future[Result]]()
        while left or pending:
            self._signals.raise_noted()
            # Towards the end nobody is given what another one could begin at once.
            ahead = 2 if len(left) > 2 * self.n_jobs else 1
            while left and len(pending) < self.n_jobs + 2:
                own = {one for one in own if not one.done()}
                is_small = n_bytes(left[0]) <= LARGEST_AHEAD
                if self._others_want_work(set(pending) - own, ahead):
                    pending.append(self._submitted(pool, function, left.popleft()))
                elif is_small and len(own) < ahead:
                    pending.append(self._helper.submit(function, left.popleft()))
                    own.add(pending[-1])
                elif not is_small and not own:
                    pending.append(_done_here(function, left.popleft()))
                    if pending[0].done():
                        break
                else:
                    break
            if pending[0].done():
                yield self._result_of(pending.popleft())
            else:
                others: list[Future[Any]] = [*self._started]
                under_way = [one for one in [*pending, *others] if not one.done()]
                wait(under_way, timeout=SECONDS_BETWEEN_LOOKS, return_when=FIRST_COMPLETED)

    def _one_ahead(
        self, function: Callable[[Item], Result], items: Iterable[Item], n_bytes: Callable[[Item], int]
    ) -> Iterator[Result]:
        ahead: Future[Result] | None = None
        for item in items:
            self._signals.raise_noted()
            is_small = n_bytes(item) <= LARGEST_AHEAD
            following = self._helper.submit(function, item) if is_small else None
            if ahead is not None:
                yield self._result_of(ahead)
            ahead = following
            if following is None:
                yield _on_one_thread(function, item)
        if ahead is not None:
            yield self._result_of(ahead)

    def _others_want_work(self, pending: Iterable[Future[Any]], ahead: int) -> bool:
        """Say whether a process that has started has fewer items to go on with than it may have."""
        n_started = 0
        for one in self._started:
            if one.done():
                self._try(one)
                n_started += 1
        return sum(not one.done() for one in pending) < ahead * n_started

    def _try(self, started: Future[HandedOver]) -> None:
        """See once of each other process whether arrays come through its memory."""
        said = started.result()
        if self._hands_over and said.process not in self._tried:
            self._tried.add(said.process)
            try:
                said.take()
            except OSError:
                self._hands_over = False

    def _submitted(self, pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item) -> Future[Any]:
        if self._hands_over:
            return pool.submit(hand_over, functools.partial(_on_one_thread, function), item)
        return pool.submit(_on_one_thread, function, item)

    def _result_of(self, future: Future[Any]) -> Any:
        while not wait([future], timeout=SECONDS_BETWEEN_LOOKS).done:
            self._signals.raise_noted()
        result = future.result()
        if not isinstance(result, HandedOver):
            return result
        try:
            return result.take()
        except OSError as error:
            raise BrokenProcessPool from error


class _Helper:
    """A thread that does one thing after the other, started when it is first asked to; a process can end before it."""

    def __init__(self) -> None:
        self._work: SimpleQueue[tuple[Future[Any], Callable[[Any], Any], Any] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Let a function be applied to an item, with one thread of libraries."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work_on, name="works ahead", daemon=True)
            self._thread.start()
        future: Future[Result] = Future()
        self._work.put((future, function, item))
        return future

    def end(self, wait: bool) -> None:
        """End the thread, when it is done with what it is at."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._work.put(None)
            if wait:
                thread.join()

    def _work_on(self) -> None:
        while (asked := self._work.get()) is not None:
            future, function, item = asked
            _settle(future, function, item)


@contextlib.contextmanager
def _scripts_left_out() -> Iterator[None]:
    """Let processes that are started in the block not run the script of this one, where it is one of dynml's.

    They would import all that its command line takes, and need nothing of it.
    """
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path is None or not Path(path).name.startswith("dynml_"):
        yield
        return
    del main.__file__
    try:
        yield
    finally:
        main.__file__ = path


def _done_here(function: Callable[[Item], Result], item: Item) -> Future[Result]:
    """Do an item on this process; its fault is raised when its turn comes, as those of others are."""
    future: Future[Result] = Future()
    _settle(future, function, item)
    return future


def _settle(future: Future[Result], function: Callable[[Item], Result], item: Item) -> None:
    try:
        future.set_result(_on_one_thread(function, item))
    except Exception as error:
        future.set_exception(error)


def _on_one_thread(function: Callable[[Item], Result], item: Item) -> Result:
    loaded = _loaded()
    with _libraries(loaded).limit(limits=1):
        result = function(item)
    # Libraries that the first item brought along were not limited: it is done again. To load them all before would
    # cost more than many a store.
    return result if _loaded() == loaded else _on_one_thread(function, item)


def _loaded() -> tuple[bool, ...]:
    """Say which packages are loaded that bring libraries of linear algebra of their own."""
    return tuple(name in sys.modules for name in PACKAGES_OF_LIBRARIES)


@functools.lru_cache(maxsize=1)
def _libraries(loaded: tuple[bool, ...]) -> ThreadpoolController:
    """Find the libraries of linear algebra, once for what is loaded."""
    import numpy as np
    from threadpoolctl import ThreadpoolController

    assert np is not None
    return ThreadpoolController()


def _begin_as_worker(parent: int, of_main_thread: bool) -> None:
    die_with_parent(parent, of_main_thread)
    keep_freed_memory()
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_workers(pool: ProcessPoolExecutor) -> None:
    """End processes that compute what nobody waits for any more; they hold nothing that could be lost."""
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()
