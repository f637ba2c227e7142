"""A worker ends with its parent, by the kernel or by a thread that looks; signals wait while files are under way."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from dynml.deferred_signals import DeferredSignals
from dynml.process_life import is_alive, started_at

PARENT = """
    import os, subprocess, sys
    code = (
        "import os, time; from dynml.process_life import die_with_parent;"
        "die_with_parent(os.getppid(), {of_main_thread}); print(os.getpid(), flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    print(child.stdout.readline(), end="", flush=True)
    child.wait()
"""


def has_ended(process, started):
    """Also when nobody has asked for its status yet."""
    if not is_alive(process, started):
        return True
    with open(f"/proc/{process}/stat") as stream:
        return stream.read().rpartition(")")[2].split()[0] == "Z"


def check_that_its_worker_ends_when_killed(parent):
    worker = int(parent.stdout.readline())
    started = started_at(worker)
    assert not has_ended(worker, started)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 120
    while not has_ended(worker, started):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
@pytest.mark.parametrize("of_main_thread", [True, False])
def test_a_worker_ends_with_its_killed_parent(of_main_thread):
    code = textwrap.dedent(PARENT.format(of_main_thread=of_main_thread))
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    check_that_its_worker_ends_when_killed(parent)


OF_SERVER = """
import multiprocessing, os, time
from dynml.process_life import die_with_parent

def work(parent, connection):
    die_with_parent(parent, {of_main_thread})
    time.sleep(1.5)  # longer than until the first look at the parent
    connection.send(os.getpid())
    time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    own, other = context.Pipe()
    process = context.Process(target=work, args=(os.getpid(), other))
    process.start()
    other.close()
    print(own.recv(), flush=True)
    process.join()
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
@pytest.mark.parametrize("of_main_thread", [True, False])
def test_a_worker_of_a_fork_server_lives_and_ends_with_the_process_that_asked_for_it(of_main_thread, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(OF_SERVER.format(of_main_thread=of_main_thread))
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    check_that_its_worker_ends_when_killed(parent)


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (signal.SIGINT, KeyboardInterrupt, None),
        (signal.SIGTERM, SystemExit, 143),
        (signal.SIGHUP, SystemExit, 129),
    ],
)
def test_a_signal_waits_until_it_may_be_raised(number, kind, code):
    done = []
    # A process that a shell started in the background ignores SIGINT.
    before = signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    handler = signal.getsignal(number)
    with pytest.raises(kind) as raised, DeferredSignals() as outer:
        with DeferredSignals() as inner:
            signal.raise_signal(number)
            done.append("written")
            with pytest.raises(kind):
                inner.raise_noted()
            with pytest.raises(kind):
                outer.raise_noted()
            with pytest.raises(kind):
                signal.raise_signal(number)  # a second one does not wait
        done.append("not reached")
    assert done == ["written"]
    assert code is None or raised.value.code == code
    assert signal.getsignal(number) is handler
    signal.signal(number, before)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with DeferredSignals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
