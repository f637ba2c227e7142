"""Where a run stands and how long it took, what ends it early, and the seed of every batch.

A first signal or the time limit ends a run after the step that it is in, a second signal at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Literal

import numpy as np
import torch

BATCH_STREAM = 7
HANDLED = ("SIGINT", "SIGTERM", "SIGUSR1")
_GO_ON, _MAX_TIME = 0, 1


@dataclass
class Progress:
    """Where a run stands; with weights and family state this is all that resuming needs."""

    phase: Literal["initialization", "training", "validation", "finished"] = "initialization"
    epoch: int = 0
    """Finished epochs."""
    position: int = 0
    """Finished batches of the phase, or finished steps of the initialization."""
    step: int = 0
    schedule_length: int = 0
    """Of the learning rate's schedule, in epochs or steps as `schedule_by` says; resolved when the run begins."""
    steps_per_epoch: int = 0
    """Training batches of the first epoch, by which schedules by steps count epochs."""
    n_skipped: int = 0
    n_samples: int = 0
    """Training samples of the epoch so far, of this process."""
    stopping_reason: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, phase: str) -> Stopwatch:
        """Add the seconds of a block to a phase."""
        return Stopwatch(self.seconds, phase)

    def enter(self, phase: Literal["training", "validation"]) -> None:
        """Begin a phase of an epoch."""
        self.phase, self.position = phase, 0


class RunEnded(Exception):
    """Leaves the loops at a step border; carries the reason."""


class Interruption:
    """Says whether a run should end after the step that it is in, and why.

    Parameters
    ----------
    max_minutes : float or None
        Time limit of this process's run.
    """

    def __init__(self, max_minutes: float | None = None) -> None:
        self.signal_number: int | None = None
        self._deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes

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


class Stopwatch:
    """Adds the seconds of a block to the phase's total, and to that of the epoch, also when the block is left early."""

    def __init__(self, seconds: dict[str, float], phase: str) -> None:
        self.seconds, self.phase = seconds, phase

    def __enter__(self) -> None:
        self.begin = time.monotonic()

    def __exit__(self, *error: object) -> None:
        elapsed = time.monotonic() - self.begin
        for name in (self.phase, f"{self.phase}_of_epoch"):
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed


def batch_seed(seed: int, epoch: int, position: int, context: str, rank: int = 0) -> int:
    """Seed of torch's generator for one batch: a hash of where the batch stands, so that nothing has a memory.

    Processes draw differently from it (dropout); noise that must not depend on them is keyed by span instead.
    """
    key = (seed, BATCH_STREAM, epoch, position, int(context == "validation"), *([rank] if rank else []))
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed what a run on a device draws from: torch's generator, and on an accelerator all of torch's.

    torch.manual_seed asks all kinds of accelerators by way of a compiler that takes seconds to import, which a run on a
    CPU has no use for.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
