"""How far a logger has been told, kept on disk, so that a run that goes on repeats nothing and leaves nothing out."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS_BETWEEN_NOTES = 20.0


class ReportedEpochs:
    """Notes from time to time up to which epoch a logger has been told.

    What is noted on the way was told at least 20 seconds ago: a killed run has not noted more than arrived.

    Parameters
    ----------
    write : callable
        Keeps a number of epochs on disk.
    at_the_end_only : bool
        Note nothing before `arrived`, for a logger whose work is lost when it is killed.
    """

    def __init__(self, write: Callable[[int], None], *, at_the_end_only: bool = False) -> None:
        self._write, self._at_the_end_only = write, at_the_end_only
        self._told, self._settled = 0, 0
        self._last = time.monotonic()

    def told(self, epoch: int) -> None:
        """Count `epoch` as told."""
        self._told = epoch
        now = time.monotonic()
        if not self._at_the_end_only and now - self._last >= SECONDS_BETWEEN_NOTES:
            if self._settled:
                self._write(self._settled)
            self._settled, self._last = epoch, now

    def arrived(self) -> None:
        """Note that everything told so far has arrived."""
        if self._told:
            self._write(self._told)
