"""Signals that end a process, while it writes: noted first, and raised where it is safe.

Amid the callbacks of C libraries (HDF5's, of a file under way) an exception would be lost, or worse.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

ENDING = ("SIGINT", "SIGTERM", "SIGHUP")


def raise_end(number: int, frame: FrameType | None = None) -> None:
    """Leave all blocks as an exception does: KeyboardInterrupt for SIGINT, else SystemExit with 128 + number.

    Raises
    ------
    KeyboardInterrupt, SystemExit
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


class DeferredSignals:
    """A context in which a first SIGINT, SIGTERM or SIGHUP is noted; a second one ends the process where it is.

    Contexts may lie within each other: what the inner one notes, the outer ones know too. A signal that is ignored
    (under nohup, say) stays so. Outside of the main thread, which alone is told of signals, it does nothing.
    """

    def __init__(self) -> None:
        self._noted: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> DeferredSignals:
        if threading.current_thread() is threading.main_thread():
            for name in ENDING:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        before, self._before = self._before, {}
        for number, handler in before.items():
            signal.signal(number, handler)
        if kind is None:
            self.raise_noted()

    def raise_noted(self) -> None:
        """Raise what was noted, if anything was.

        Raises
        ------
        KeyboardInterrupt, SystemExit
        """
        if self._noted is not None:
            raise_end(self._noted)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted is not None:
            raise_end(number)
        self._take(number)

    def _take(self, number: int) -> None:
        self._noted = number
        outer = getattr(self._before.get(number), "__self__", None)
        if isinstance(outer, DeferredSignals):
            outer._take(number)
