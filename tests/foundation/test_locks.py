"""One process at a time, whatever the file system can do, and none is locked out by a dead one."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from dynml.errors import CheckpointError, DataError, DataWarning
from dynml.locks import missing, owner_file, writing
from dynml.locks.writing import exclusive_lock, writes_alone, writing_to
from dynml.process_life import is_alive, machine, started_at

NO_LOCKS = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL]
HOLDER = """
    import errno, fcntl, os, sys, warnings
    from pathlib import Path
    from dynml.locks.writing import exclusive_lock
    warnings.simplefilter("ignore")
    def refusing(*_):
        raise OSError({number}, os.strerror({number}))
    if {number}:
        fcntl.flock = refusing
    with exclusive_lock(Path({path!r})):
        print("held", flush=True)
        sys.stdin.read()
"""


def refuse_locks(monkeypatch, number):
    def refusing(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refusing)
    monkeypatch.setattr(missing, "_warned_of", set())


@pytest.fixture(params=[0, *NO_LOCKS], ids=["flock", *(errno.errorcode[number] for number in NO_LOCKS)])
def file_system(request, monkeypatch):
    """What flock says on it; 0 where it works."""
    if request.param:
        refuse_locks(monkeypatch, request.param)
    return request.param


def start_holder(path, number):
    code = textwrap.dedent(HOLDER).format(number=number, path=str(path))
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_a_second_run_is_refused_until_the_first_ends_or_is_killed(tmp_path, file_system):
    path = tmp_path / ".lock"
    for end in (lambda holder: holder.communicate(), lambda holder: holder.send_signal(signal.SIGKILL)):
        holder = start_holder(path, file_system)
        with pytest.raises(CheckpointError, match=f"being written to by another run .process {holder.pid} on "):
            exclusive_lock(path).__enter__()
        end(holder)
        holder.wait()
        with exclusive_lock(path):
            pass
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("number", NO_LOCKS)
def test_missing_locks_are_told_once(tmp_path, monkeypatch, number):
    refuse_locks(monkeypatch, number)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(3):
            with exclusive_lock(tmp_path / ".lock"):
                pass
    assert [(one.category, "has no file locks" in str(one.message)) for one in told] == [(DataWarning, True)]


def test_only_a_held_lock_means_another_run(tmp_path, monkeypatch):
    refuse_locks(monkeypatch, errno.EAGAIN)
    with pytest.raises(CheckpointError, match="another run"), exclusive_lock(tmp_path / ".lock"):
        pass


def write_owner(path, seconds_ago=0.0, **record):
    path.write_text(json.dumps({"process": os.getpid(), "host": "n1", "machine": machine(), **record}))
    touched = time.time() - seconds_ago
    os.utime(path, (touched, touched))


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_a_dead_owner_is_known_by_its_process_or_by_its_silence(tmp_path, monkeypatch):
    refuse_locks(monkeypatch, errno.ENOLCK)
    path, owner = tmp_path / ".lock", tmp_path / ".lock.owner"
    long_ago = owner_file.SECONDS_WITHOUT_TOUCH + 60
    for living in (
        {"started": started_at(os.getpid())},
        {"started": started_at(os.getpid()), "seconds_ago": long_ago},
        {"machine": "another", "process": 1},
    ):
        write_owner(owner, **living)
        with pytest.raises(CheckpointError, match=r"process \d+ on n1"):
            exclusive_lock(path).__enter__()
    for dead in (
        {"started": -1},
        {"machine": "another", "seconds_ago": long_ago},
    ):
        write_owner(owner, **dead)
        with exclusive_lock(path):
            assert json.loads(owner.read_text())["process"] == os.getpid()
        assert not owner.exists()


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_a_touch_in_the_future_keeps_nobody_out_for_ever(tmp_path, monkeypatch):
    refuse_locks(monkeypatch, errno.ENOLCK)
    path, owner = tmp_path / ".lock", tmp_path / ".lock.owner"
    write_owner(owner, seconds_ago=-1e7, machine="another", process=1)  # by a clock that is ahead
    with pytest.raises(CheckpointError, match="process 1 on n1"):
        exclusive_lock(path).__enter__()
    silent_since = owner.stat().st_mtime
    assert abs(silent_since - time.time()) < 60
    monkeypatch.setattr(owner_file, "SECONDS_WITHOUT_TOUCH", 0.0)
    with exclusive_lock(path):
        assert json.loads(owner.read_text())["process"] == os.getpid()


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_an_owner_file_that_is_still_empty_is_respected_for_a_while(tmp_path, monkeypatch):
    refuse_locks(monkeypatch, errno.ENOSYS)
    owner = tmp_path / ".lock.owner"
    owner.touch()
    with pytest.raises(CheckpointError, match="an unknown process"):
        exclusive_lock(tmp_path / ".lock").__enter__()
    os.utime(owner, (0, 0))
    with exclusive_lock(tmp_path / ".lock"):
        pass


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_an_owner_shows_that_it_lives(tmp_path, monkeypatch):
    refuse_locks(monkeypatch, errno.ENOSYS)
    monkeypatch.setattr(owner_file, "SECONDS_BETWEEN_TOUCHES", 0.01)
    with exclusive_lock(tmp_path / ".lock"):
        os.utime(tmp_path / ".lock.owner", (0, 0))
        deadline = time.monotonic() + 60
        while (tmp_path / ".lock.owner").stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_writers_of_one_file_never_meet_and_leave_no_lock(tmp_path, monkeypatch, file_system):
    monkeypatch.setattr(writing, "SECONDS_BETWEEN_TRIES", 0.0005)
    target = tmp_path / "count.txt"
    target.write_text("0")

    @writes_alone(wait=True)
    def add_one(target):
        with writing_to(target):  # blocks of one thread may lie within each other
            number = int(target.read_text())
            time.sleep(0.0002)
            target.write_text(str(number + 1))

    def add(times):
        for _ in range(times):
            add_one(target)

    threads = [threading.Thread(target=add, args=(20,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_text() == "80"
    assert [path.name for path in tmp_path.iterdir()] == ["count.txt"]


def test_a_second_writer_is_refused_or_says_that_it_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "SECONDS_BETWEEN_TRIES", 0.001)
    target, told, tried = tmp_path / "store.hdf5", [], threading.Event()
    threads = ThreadPoolExecutor(1)

    def sleep(seconds, sleep=time.sleep):
        tried.set()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", sleep)

    def wait():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with writing_to(target, wait=True):
                told.extend(str(one.message) for one in caught)

    def refuse():
        with pytest.raises(DataError, match=f"written to by another process .process {os.getpid()} on .*; begin again"):
            writing_to(target).__enter__()

    with writing_to(target):
        threads.submit(refuse).result()
        waiting = threads.submit(wait)
        tried.wait()
        assert told == []
    waiting.result()
    threads.shutdown()
    assert len(told) == 1
    assert "waiting for it to end" in told[0]
    with pytest.raises(DataError, match="the folder .*nowhere does not exist"):
        writing_to(tmp_path / "nowhere" / "store.hdf5").__enter__()


def test_a_later_process_of_the_same_number_is_another_one():
    assert is_alive(os.getpid(), started_at(os.getpid()))
    assert not is_alive(os.getpid(), -1) or started_at(os.getpid()) is None
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert not is_alive(dead.pid)
    assert not is_alive(0)
