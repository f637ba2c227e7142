"""When the rows of a subject's group were measured, and which rows of another group belong to them.

Shapes: n rows, S segments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.dataset.signal_source import SignalSource
from dynml.errors import DataError

ROUNDING = 1e-6
"""Share of a sample within which two times are the same."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Where the rows of one subject's group lie in its recording."""

    where: str
    """For messages."""
    segments: NDArray[np.int64]
    """(S, 2), [start, stop) in rows."""
    starts: NDArray[np.float64]
    """Original sample of each segment's first row, (S,)."""
    runs: tuple[str, ...]
    """Run of each segment."""
    sampling_frequency: float
    """Hz, of the rows."""
    step: float
    """Original samples from one row to the next."""

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Time of each segment's first row since the beginning of its run, (S,)."""
        return self.starts / (self.sampling_frequency * self.step)


def clock_of(source: SignalSource, subject: str, group: str) -> Clock:
    """Read the clock of a subject's group."""
    described = source.attributes(subject, group)
    samples, names = source.source_samples(subject, group), source.run_names(subject, group)
    return Clock(
        where=f"group {group} of {source.path or 'the arrays'}",
        segments=source.segments(subject, group),
        starts=samples[:, 0].astype(np.float64) + described.source_offset,
        runs=tuple(names[run] for run in samples[:, 1]),
        sampling_frequency=described.sampling_frequency,
        step=described.source_step,
    )


def paired_runs(source: SignalSource, subject: str, group: str, other: str) -> dict[str, str]:
    """Find the run of another group that was measured during each run of a group: by name, else by order.

    Raises
    ------
    DataError
        When no run has a name that is in both, and there are not as many in both.
    """
    names, others = source.run_names(subject, group), source.run_names(subject, other)
    common = set(names) & set(others)
    if common:
        return {name: name for name in names if name in common}
    if len(names) != len(others):
        raise DataError(
            f"Subject {subject}: group {group} has {len(names)} runs ({_listed(names)}) and group {other} "
            f"{len(others)} ({_listed(others)}), so that neither names nor order say which belong together."
        )
    return dict(zip(names, others))


def rows_beside(
    first: Clock, second: Clock, runs: Mapping[str, str], start: int, stop: int, lead: int = 0
) -> NDArray[np.int64]:
    """Find the rows of another group that were measured since the row before, or else the last one before that.

    A row that is older than one interval of the other group does not count.

    Parameters
    ----------
    first, second : Clock
    runs : mapping
        Run of the first to that of the second.
    start, stop : int
        Rows of the first group.
    lead : int
        The rows are taken to be measured so many samples later than they were.

    Returns
    -------
    (stop - start, 2) int64
        [first, after the last) in rows of the second group; equal where there is none.
    """
    found = np.zeros((stop - start, 2), dtype=np.int64)
    for (begin, end), seconds, run in zip(first.segments.tolist(), first.seconds.tolist(), first.runs):
        rows = np.arange(max(begin, start) - 1, min(end, stop))
        if len(rows) > 1 and run in runs:
            times = seconds + (rows - begin + lead) / first.sampling_frequency
            found[rows[1:] - start] = _of_times(times, second, runs[run])
    return found


def _of_times(times: NDArray[np.float64], second: Clock, run: str) -> NDArray[np.int64]:
    """Rows of a run that belong to every time but the first, (n - 1, 2)."""
    found = np.zeros((len(times) - 1, 2), dtype=np.int64)
    segments = [number for number, name in enumerate(second.runs) if name == run]
    for number in sorted(segments, key=lambda one: float(second.starts[one])):
        (begin, end), seconds = second.segments[number].tolist(), float(second.seconds[number])
        last = np.floor((times - seconds) * second.sampling_frequency + ROUNDING).astype(np.int64)
        until = np.clip(last, -1, end - begin - 1) + begin + 1
        is_new = until[1:] > until[:-1]
        is_held = ~is_new & (found[:, 0] == found[:, 1]) & (last[1:] >= 0) & (last[1:] < end - begin)
        found[is_new] = np.stack([until[:-1], until[1:]], axis=1)[is_new]
        found[is_held] = np.stack([until[1:] - 1, until[1:]], axis=1)[is_held]
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", .." if len(names) > 4 else "")
