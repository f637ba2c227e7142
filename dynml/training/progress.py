"""Where a run stands, how long it took, and the seed of every batch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

BATCH_STREAM = 7


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


class RunEnded(Exception):
    """Leaves the loops at a step border; carries the reason."""


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
