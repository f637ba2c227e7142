"""Files are whole or not there, whatever instant a process is killed at."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from unittest import mock

import numpy as np
import pytest
from file_sets import content_of, write_text

from dynml.errors import CheckpointError, DynmlError
from dynml.files import new_mapped_array, replacing, strict_json, sweep_partial, write_array, write_json
from dynml.locks.writing import exclusive_lock
from dynml.training.checkpoints.committed import commit_directory, fault_of_committed, newest_committed


def test_a_failing_block_leaves_the_old_file_and_no_leftover(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_only_leftovers_of_dead_processes_are_swept(tmp_path):
    target = tmp_path / "store.hdf5"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    of_dead, of_living = (tmp_path / f".store.hdf5.partial-{pid}" for pid in (dead.pid, os.getpid()))
    of_dead.touch()
    of_living.touch()
    assert sweep_partial(target) == [of_dead]
    assert of_living.exists()


def test_strict_json_holds_no_infinity():
    assert strict_json({"patience": float("inf"), "values": (1.5, float("nan"))}) == {
        "patience": None,
        "values": [1.5, None],
    }


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest"])
def test_a_damaged_set_is_recognised_and_the_older_one_is_used(tmp_path, damage):
    target = tmp_path / "checkpoint"
    commit_directory(target, write_text("old"))
    target.rename(tmp_path / "kept")
    commit_directory(target, write_text("newer"))
    (tmp_path / "kept").rename(tmp_path / "checkpoint.previous")
    victim = target / ("manifest.json" if damage == "manifest" else "content.txt")
    if damage == "remove":
        victim.unlink()
    else:
        content = victim.read_bytes()
        victim.write_bytes(content[: len(content) // 2] if damage != "flip" else bytes([content[0] ^ 1]) + content[1:])
    assert fault_of_committed(target) is not None
    path, warned = newest_committed(target)
    assert path == tmp_path / "checkpoint.previous"
    assert len(warned) == 1
    assert str(target) in warned[0]
    commit_directory(target, write_text("newest"))
    assert content_of(target) == "newest"
    # The damaged one is kept: it may be worth something to somebody who looks at it.
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "checkpoint.damaged", "checkpoint.previous"]


def test_kill_at_any_instant_leaves_a_complete_set(tmp_path):
    target = tmp_path / "checkpoint"
    commit_directory(target, write_text("0"))
    endless = textwrap.dedent(f"""
        from pathlib import Path
        from dynml.training.checkpoints.committed import commit_directory
        number = 0
        while True:
            number += 1
            def write(folder):
                (folder / "content.txt").write_text(str(number))
                (folder / "large.bin").write_bytes(bytes(200_000))
            commit_directory(Path({str(target)!r}), write)
            print(number, flush=True)
    """)
    last = 0
    for delay in (0.0, 0.003, 0.007, 0.011, 0.017, 0.023, 0.031, 0.041):
        process = subprocess.Popen([sys.executable, "-c", endless], stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        done = [int(line) for line in process.stdout.read().split()]
        process.wait()
        last = done[-1] if done else 1
        assert int(content_of(target)) in (last, last + 1)


def test_a_full_disk_is_one_sentence_and_the_old_set_stays(tmp_path):
    target = tmp_path / "checkpoint"
    commit_directory(target, write_text("old"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DynmlError, match="could not be written"):
            commit_directory(target, write_text("x" * 5000))
        with pytest.raises(DynmlError, match="could not be written"):
            write_json(tmp_path / "summary.json", {"text": "x" * 5000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert content_of(target) == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint"]


def test_two_processes_cannot_hold_one_lock(tmp_path):
    attempt = f"""
from pathlib import Path
from dynml.errors import CheckpointError
from dynml.locks.writing import exclusive_lock
try:
    with exclusive_lock(Path({str(tmp_path / ".lock")!r})):
        print("held")
except CheckpointError as error:
    print(error)
"""
    with exclusive_lock(tmp_path / ".lock"):
        inside = subprocess.run([sys.executable, "-c", attempt], capture_output=True, text=True, check=True).stdout
    after = subprocess.run([sys.executable, "-c", attempt], capture_output=True, text=True, check=True).stdout
    assert "another run" in inside
    assert after.strip() == "held"
    assert issubclass(CheckpointError, DynmlError)


def test_written_json_reads_back(tmp_path):
    write_json(tmp_path / "a.json", {"number": 1.25, "text": "é"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"number": 1.25, "text": "é"}


def test_an_array_that_a_disk_took_a_part_of_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(np, "save", mock.Mock(side_effect=OSError("18000 requested and 5088 written")))
    with pytest.raises(DynmlError, match=r"a\.npy could not be written: not all of it was taken \(is the disk full"):
        write_array(tmp_path / "a.npy", np.zeros(3))
    assert list(tmp_path.iterdir()) == []


def test_an_array_that_is_written_through_memory_has_its_space_from_the_start(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    array = new_mapped_array(path, np.float32, (1000, 3))
    array[5] = [1, 2, 3]
    array.flush()
    np.testing.assert_array_equal(np.load(path)[5], [1, 2, 3])
    assert path.stat().st_blocks * 512 >= 12_000
    monkeypatch.setattr(os, "posix_fallocate", mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(DynmlError, match=r"b\.npy could not be written: No space left on device"):
        new_mapped_array(tmp_path / "b.npy", np.float32, (1000, 3))
