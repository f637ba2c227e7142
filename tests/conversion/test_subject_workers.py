"""Subjects are worked on in turn, by this process and others, with one thread each."""

import contextlib
import os
import pickle
import platform
import resource
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from dynml.conversion import subject_workers
from dynml.conversion.handed_over import FEWEST_BYTES, MOST_LOOKED_AT, HandedOver, hand_over
from dynml.conversion.subject_workers import LARGEST_AHEAD, SubjectWorkers
from dynml.errors import DataError


def square_of(number):
    if number == 7:
        raise DataError("Subject seven is faulty.")
    return number * number, os.getpid()


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(n_jobs):
    with SubjectWorkers(n_jobs) as workers:
        assert [square for square, _ in workers.map(square_of, [3, 1, 2, 0, 5])] == [9, 1, 4, 0, 25]
        with pytest.raises(DataError, match="seven"):
            list(workers.map(square_of, range(9)))


@pytest.mark.parametrize("n_bytes", [None, abs], ids=["large", "small"])
def test_others_take_part_once_they_have_started(n_bytes):
    with SubjectWorkers(2) as workers:
        for started in workers._started:
            started.result()
        processes = {process for _, process in workers.map(square_of, [1] * 6, n_bytes)}
    assert os.getpid() in processes
    assert len(processes) == 2


def waited_for(item):
    """Wait for the file that the last item makes."""
    kind, file = item
    if kind == "last":
        file.touch()
    ends = time.monotonic() + 20
    while not file.exists() and time.monotonic() < ends:
        time.sleep(0.01)
    return file.exists()


@pytest.mark.parametrize("n_bytes", [None, len], ids=["large", "small"])
def test_towards_the_end_items_wait_behind_no_other(n_bytes, tmp_path):
    with SubjectWorkers(2) as workers:
        for started in workers._started:
            started.result()
        assert all(workers.map(waited_for, [("first", tmp_path / "made"), ("last", tmp_path / "made")], n_bytes))


def large_of(number):
    return {"signals": np.full((300_000, 2), number, dtype=np.float32), "small": np.arange(number), "words": "text"}


def small_of(number):
    return np.full(FEWEST_BYTES // 4, number, dtype=np.float32)


def memories():
    """Memory without a name that this process has open."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the folder itself
            found += "memfd:dynml" in os.readlink(f"/proc/self/fd/{name}")
    return found


def open_memories(_):
    return memories()


NO_MEMORY = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the system has no memory without a name")


@NO_MEMORY
@pytest.mark.parametrize("is_refused", [False, True])
def test_large_arrays_of_other_processes_arrive_whole(is_refused, monkeypatch):
    def refused(self):
        raise PermissionError

    if is_refused:
        monkeypatch.setattr(HandedOver, "take", refused)
    with SubjectWorkers(2) as workers:
        for started in workers._started:
            started.result()
        results = list(workers.map(large_of, range(6)))
        assert workers._hands_over is not is_refused
    for number, result in enumerate(results):
        assert (result["signals"] == number).all()
        assert result["signals"].shape == (300_000, 2)
        assert result["signals"].flags.writeable
        assert result["small"].tolist() == list(range(number))


@NO_MEMORY
def test_memory_is_used_again_once_nobody_has_its_arrays():
    with SubjectWorkers(2) as workers:
        for started in workers._started:
            started.result().take()
        taken = [workers._pool.submit(hand_over, large_of, number).result().take() for number in range(3)]
        while taken:
            assert (taken.pop()["signals"] == len(taken)).all()
        for number in range(20):
            result = workers._pool.submit(hand_over, large_of, number).result().take()
            result["signals"][0] = -1  # is seen here only
            assert (result["signals"][1:] == number).all()
            del result
        there = pickle.loads(workers._pool.submit(hand_over, open_memories, None).result().content)
        assert there == 3
        # What does not fit into it takes its place.
        workers._pool.submit(hand_over, small_of, 0).result().take()
        assert pickle.loads(workers._pool.submit(hand_over, open_memories, None).result().content) == 1
    assert not memories()


@NO_MEMORY
def test_of_many_arrays_that_are_kept_most_are_copied():
    with SubjectWorkers(2) as workers:
        for started in workers._started:
            started.result().take()
        kept = [workers._pool.submit(hand_over, small_of, number).result().take() for number in range(40)]
        there = pickle.loads(workers._pool.submit(hand_over, open_memories, None).result().content)
        assert there <= MOST_LOOKED_AT + 1
    assert [int(one[0]) for one in kept] == list(range(40))
    assert all((one == one[0]).all() for one in kept)
    del kept
    assert not memories()


def pages_taken_anew(_):
    """Pages that the system gives for arrays of the size of those before."""
    taken = []
    for _ in range(10):
        arrays = [np.ones(3 * 2**20, dtype=np.uint8) for _ in range(4)]
        taken.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
        del arrays
    return taken[-1] - taken[4]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library keeps memory when asked to")
def test_other_processes_use_the_memory_of_earlier_arrays_again():
    with SubjectWorkers(2) as workers:
        assert workers._pool.submit(pages_taken_anew, None).result() < 100


def test_a_process_that_ends_before_its_result_was_taken_counts_as_killed():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    future = Future()
    future.set_result(HandedOver(ended.pid, pickle.dumps(None), ((3, 2**20, 2**20),)))
    with pytest.raises(BrokenProcessPool):
        SubjectWorkers(2)._result_of(future)


def thread_of(item):
    if item == "faulty":
        raise DataError("This one is faulty.")
    return item, threading.current_thread() is threading.main_thread()


def test_small_items_are_begun_while_the_result_before_is_used():
    begun, used = threading.Event(), []

    def noted(item):
        if item == "second":
            begun.set()
        return item

    with SubjectWorkers(1) as workers:
        for result in workers.map(noted, ["first", "second"], n_bytes=len):
            assert begun.wait(10)
            used.append(result)
    assert used == ["first", "second"]


def test_this_process_begins_small_items_while_it_uses_results_and_others_start():
    begun, used = threading.Event(), []

    def noted(item):
        if item == "second":
            begun.set()
        return item

    with SubjectWorkers(2) as workers:
        workers._others_want_work = lambda pending, ahead: False
        for result in workers.map(noted, ["first", "second", "third"], n_bytes=len):
            assert begun.wait(10)
            used.append(result)
    assert used == ["first", "second", "third"]


def test_large_items_are_alone_in_memory_and_all_come_in_order():
    sizes = {"a": 1, "large": LARGEST_AHEAD + 1, "b": 1, "c": 1}
    with SubjectWorkers(1) as workers:
        results = list(workers.map(thread_of, sizes, n_bytes=sizes.__getitem__))
    assert results == [("a", False), ("large", True), ("b", False), ("c", False)]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_process_works_on_one_item_at_a_time(n_jobs):
    working, together = threading.Lock(), []

    def alone(size):
        together.append(not working.acquire(blocking=False))
        threading.Event().wait(0.02)
        if not together[-1]:
            working.release()
        return size

    sizes = [1, LARGEST_AHEAD + 1, 2, 3, LARGEST_AHEAD + 2, 4]
    with SubjectWorkers(n_jobs) as workers:
        workers._others_want_work = lambda pending, ahead: False
        assert list(workers.map(alone, sizes, n_bytes=int)) == sizes
    assert not any(together)


def test_a_fault_of_an_item_that_was_begun_early_comes_in_its_turn():
    used = []
    with pytest.raises(DataError, match="faulty"), SubjectWorkers(1) as workers:
        used.extend(result for result, _ in workers.map(thread_of, ["a", "b", "faulty", "c"], n_bytes=len))
    assert used == ["a", "b"]
    assert "works ahead" not in [thread.name for thread in threading.enumerate()]


def test_libraries_that_come_with_the_first_subject_are_limited_as_well(monkeypatch):
    name, limited = "a_library_of_linear_algebra", []
    monkeypatch.setattr(subject_workers, "PACKAGES_OF_LIBRARIES", (name,))
    monkeypatch.delitem(sys.modules, name, raising=False)

    def using(item):
        limited.append(name in sys.modules)
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        return item

    with SubjectWorkers(1) as workers:
        assert list(workers.map(using, ["a", "b"])) == ["a", "b"]
    assert limited == [False, True, True]
