"""What a script does before it ends, so that a thread of torch's does not abort it."""

import hashlib
import threading
import time
from pathlib import Path
from unittest import mock

import pytest
import torch.distributed as dist

from dynml.training.processes import leave_processes, wait_for_threads

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are looked at in /proc")
N_ROUNDS = 1_000_000


class Computing(threading.Thread):
    """Works without the interpreter, as gloo's threads do, for about a second."""

    def run(self):
        self.begin = time.monotonic()
        hashlib.pbkdf2_hmac("sha512", b"key", b"salt", N_ROUNDS)
        self.end = time.monotonic()

    def was_waited_for(self, returned):
        # It notes its end a moment after it; without a wait nearly all of its time would be left.
        self.join()
        return self.end - returned < 0.5 * (self.end - self.begin)


def test_threads_that_compute_are_waited_for():
    thread = Computing()
    thread.start()
    wait_for_threads(at_most=600)
    assert thread.was_waited_for(time.monotonic())


def test_processes_part_when_threads_have_finished():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    thread = Computing()
    thread.start()
    leave_processes()
    assert thread.was_waited_for(time.monotonic())
    assert not dist.is_initialized()


def test_threads_that_wait_are_not_waited_for():
    released = threading.Event()
    thread = threading.Thread(target=released.wait)
    thread.start()
    begin = time.monotonic()
    wait_for_threads(at_most=600)
    taken = time.monotonic() - begin
    released.set()
    thread.join()
    assert taken < 300


def test_a_thread_without_end_is_given_up():
    with mock.patch("dynml.training.processes._other_threads_compute", return_value=True) as look:
        wait_for_threads(at_most=0)
    assert look.called
