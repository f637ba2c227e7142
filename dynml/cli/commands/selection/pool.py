"""A pool of processes that carries out the runs of a selection; one that dies takes none of the others with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from dynml.cli.commands.selection.planned_run import PlannedRun
from dynml.deferred_signals import DeferredSignals
from dynml.models.registry import Family, load
from dynml.process_life import die_with_parent

SECONDS_BETWEEN_LOOKS = 0.2
OF_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
Result = tuple[PlannedRun, dict[str, Any]]
CarryOut = Callable[[PlannedRun], dict[str, Any]]


def carried_out(carry_out: CarryOut, runs: Sequence[PlannedRun], n_jobs: int) -> Iterator[Result]:
    """Carry out runs, and give each with its row as it is finished.

    Parameters
    ----------
    carry_out : callable
        Does one run and gives its row.
    runs : sequence of PlannedRun
    n_jobs : int
        Processes; each computes on one thread. 1: this process does it.
    """
    if n_jobs <= 1 or len(runs) <= 1:
        with _one_thread():
            for run in runs:
                yield run, carry_out(run)
        return
    _import_family(runs[0].request.family)
    waiting, under_way = list(range(len(runs))), list[int]()
    while waiting:
        killed: list[int] = []
        yield from _by_one_pool(carry_out, runs, waiting, n_jobs, killed)
        under_way += killed
    # One of them may have ended the process: each has one for itself now, and all the memory.
    for position in under_way:
        killed = []
        yield from _by_one_pool(carry_out, runs, [position], 1, killed)
        if killed:
            yield runs[position], {"failed": "its process was killed, perhaps for memory; use a smaller --n_jobs"}


def _by_one_pool(
    carry_out: CarryOut, runs: Sequence[PlannedRun], waiting: list[int], n_jobs: int, killed: list[int]
) -> Iterator[Result]:
    """Take what is `waiting` until all is done or a process of the pool dies; what was under way then is `killed`."""
    pool = ProcessPoolExecutor(
        min(n_jobs, len(waiting)),
        mp_context=multiprocessing.get_context(_how_to_start()),
        initializer=_begin_as_worker,
        initargs=(os.getpid(), threading.current_thread() is threading.main_thread()),
    )
    pending = dict[Future[Any], int]()
    with DeferredSignals() as signals:
        try:
            while (waiting or pending) and not killed:
                while waiting and len(pending) < n_jobs:
                    pending[pool.submit(carry_out, runs[waiting[0]])] = waiting[0]
                    del waiting[0]
                for future in wait(pending, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED).done:
                    position = pending.pop(future)
                    try:
                        row = future.result()
                    except BrokenProcessPool:
                        killed += [position, *pending.values()]
                        break
                    yield runs[position], row
                signals.raise_noted()
        except BrokenProcessPool:  # of submit, whose run is still waiting
            killed += pending.values()
        except BaseException:
            _end(pool)
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _import_family(family: Family) -> None:
    """Import what runs need before there are workers, that they all have it by a fork."""
    parts = (family.model, family.trainer, family.inference, family.held_out_scores, family.n_free_parameters)
    for part in parts:
        if part is not None:
            load(part)


def _how_to_start() -> str:
    """By a fork where that is safe: a worker then has all that this process has imported, which takes seconds anew."""
    import torch

    is_forking = sys.platform.startswith("linux") and not torch.cuda.is_initialized()
    return "fork" if is_forking and threading.active_count() == 1 else "spawn"


def _begin_as_worker(parent: int, of_main_thread: bool) -> None:
    die_with_parent(parent, of_main_thread)
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for name in ("SIGTERM", "SIGHUP"):  # what a fork has of its parent's handlers would wait for ever
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    for name in OF_TORCHRUN:
        os.environ.pop(name, None)
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute as a worker of a pool does, so that the numbers are the same however many there are."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _end(pool: ProcessPoolExecutor) -> None:
    """End processes that compute what nobody waits for; each saves a checkpoint first."""
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()
