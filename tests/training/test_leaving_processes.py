"""What a script does before it ends, so that a thread of torch's does not abort it."""

import hashlib
import threading
import time
from pathlib import Path

import pytest

from dynml.training.processes import wait_for_threads

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are looked at in /proc")
N_ROUNDS = 400_000


def test_threads_that_compute_are_waited_for():
    # Works without the interpreter, as gloo's threads do.
    thread = threading.Thread(target=hashlib.pbkdf2_hmac, args=("sha512", b"key", b"salt", N_ROUNDS))
    thread.start()
    wait_for_threads(at_most=600)
    # Between its last instruction outside of the interpreter and its end, it has a look's time.
    thread.join(timeout=1)
    assert not thread.is_alive()


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
    thread = threading.Thread(target=hashlib.pbkdf2_hmac, args=("sha512", b"key", b"salt", N_ROUNDS))
    thread.start()
    wait_for_threads(at_most=0)
    assert thread.is_alive()
    thread.join()
