"""Signals and time limits: the first one ends the run after the current step, the second one at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

HANDLED = ("SIGINT", "SIGTERM", "SIGUSR1")
_GO_ON, _MAX_TIME = 0, 1


class Interruption:
    """Says whether a run should end after the step that it is in, and why.

    Parameters
    ----------
    max_seconds : float or None
        Time limit of this process's run.
    """

    def __init__(self, max_seconds: float | None = None) -> None:
        self.signal_number: int | None = None
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds

    @property
    def code(self) -> int:
        """0 to go on; above it a reason to end, as a number that several processes can agree on."""
        if self.signal_number is not None:
            return _MAX_TIME + self.signal_number
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return _MAX_TIME
        return _GO_ON

    def adopt(self, code: int) -> str | None:
        """Take over a code that processes agreed on; say `signal SIGTERM`, `max_time`, or None to go on."""
        if code == _GO_ON:
            return None
        if code == _MAX_TIME:
            return "max_time"
        self.signal_number = code - _MAX_TIME
        return f"signal {signal.Signals(self.signal_number).name}"

    @property
    def exit_status(self) -> int:
        """128 + signal number, as shells and schedulers expect, or 0."""
        return 128 + self.signal_number if self.signal_number is not None else 0

    @contextlib.contextmanager
    def listening(self) -> Iterator[Interruption]:
        """Handle signals inside the block; outside the main thread only the time limit counts."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        previous = {
            name: signal.signal(getattr(signal, name), self._on_signal) for name in HANDLED if hasattr(signal, name)
        }
        try:
            yield self
        finally:
            for name, handler in previous.items():
                signal.signal(getattr(signal, name), handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.signal_number = number
