"""An interruption while a script is still importing: one line, as later, and no traceback.

It imports next to nothing, since it must be there before what takes long.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import FrameType

INTERRUPTED = "Interrupted."
INTERRUPTED_STATUS = 130
"""128 and the number of SIGINT."""


def end_at_interruption() -> None:
    """Let SIGINT end a process that was started as a script of dynml; whoever imports dynml keeps their handler."""
    ours = threading.current_thread() is threading.main_thread() and _is_own_script()
    if ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_at_once)


def end_at_once(number: int, frame: FrameType | None) -> None:
    """Leave without clearing up: nothing has begun, and an exception amid imports may be taken for another one."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(INTERRUPTED_STATUS)


def _is_own_script() -> bool:
    """Whether the command line, not what a test or another process puts into sys.argv, names a script of dynml."""
    if sys.argv[:1] == ["-m"]:
        return any(word.startswith("dynml.cli.") for word in sys.orig_argv[1:])
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return name.startswith("dynml") and name in map(os.path.basename, sys.orig_argv[1:])
