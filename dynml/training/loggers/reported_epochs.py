"""Up to which epoch a logger has received a run, kept on disk: a resumed run repeats nothing and leaves nothing out."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS_BETWEEN_NOTES = 20.0


class ReportedEpochs:
    """Notes from time to time up to which epoch a logger has been sent a run.

    What is noted on the way was sent at least 20 seconds ago: a killed run has not noted more than arrived.

    Parameters
    ----------
    write : callable
        Keeps a number of epochs on disk.
    at_the_end_only : bool
        Note nothing before `arrived`, for a logger whose work is lost when it is killed.
    """

    def __init__(self, write: Callable[[int], None], *, at_the_end_only: bool = False) -> None:
        self._write, self._at_the_end_only = write, at_the_end_only
        self._sent, self._due = 0, 0
        self._last = time.monotonic()

    def sent(self, epoch: int) -> None:
        """Count `epoch` as sent."""
        self._sent = epoch
        now = time.monotonic()
        if not self._at_the_end_only and now - self._last >= SECONDS_BETWEEN_NOTES:
            if self._due:
                self._write(self._due)
            self._due, self._last = epoch, now

    def arrived(self) -> None:
        """Note that everything sent so far has arrived."""
        if self._sent:
            self._write(self._sent)
