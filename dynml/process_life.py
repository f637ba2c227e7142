"""What a process can know of others: whether the one that wrote a file lives, and that its own parent has died."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

SECONDS_BETWEEN_CHECKS = 1.0
_PR_SET_PDEATHSIG = 1


def machine() -> str:
    """Name of the machine within which process numbers mean one thing: host, its start, its space of numbers."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def started_at(process: int) -> int | None:
    """When a process of this machine began, in ticks since the machine did; None where that is not known."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def is_alive(process: int, started: int | None = None) -> bool:
    """Whether a process of this machine lives, and is not a later one of the same number.

    Parameters
    ----------
    process : int
    started : int, optional
        What `started_at` said of it.
    """
    if process < 1:
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    now = started_at(process)
    return started is None or now is None or now == started


def die_with_parent(parent: int, of_main_thread: bool = True) -> None:
    """End this process when its parent ends, however that ends: to be called in a worker as its first act.

    Parameters
    ----------
    parent : int
        The parent's number, as the parent knows it.
    of_main_thread : bool
        Whether the parent made this process in its main thread: on Linux the kernel then ends it at once. It would
        also do so at the end of another thread, so that a watching thread alone takes care there.
    """
    if of_main_thread and sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=_watch, args=(parent,), name="watches the parent process", daemon=True).start()


def _watch(parent: int) -> None:
    lives = _by_fork_server(parent) or (lambda: os.getppid() == parent)
    while lives():
        time.sleep(SECONDS_BETWEEN_CHECKS)
    os._exit(1)


def _by_fork_server(parent: int) -> Callable[[], bool] | None:
    """What says whether the parent lives, where a fork server has made this process for it.

    The system then calls the server its parent; so it is on Linux from Python 3.14 on, where no other way is asked for.
    """
    known = multiprocessing.parent_process()
    return known.is_alive if known is not None and known.pid == parent != os.getppid() else None
