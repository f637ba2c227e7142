"""Places events that are given in seconds in the samples of their run, and tells of each that is left out or moved.

Shapes: n events.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.tables import NOT_AVAILABLE, Table

ONSET, DURATION = "onset", "duration"
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+", flags=re.ASCII)
NO_SECONDS = {NOT_AVAILABLE, "nan", "na", "none"}
WARNED_FROM = 0.02
"""Seconds. Onsets that rounding to samples moves by more are warned of."""
PER_SECOND = 1000.0
FARTHEST = 2.0**52
"""Samples: what lies farther is as far away, and would be no whole number."""
UNLIKE_SECONDS = 50.0
"""Onsets so many times later than the end of the run are in other units."""

LEFT_OUT = "events outside of their run were left out"
CUT_AT_END = "events that go beyond the end of their run were cut there"
CUT_AT_START = "events that begin before their run were cut at its start"
NO_ONSET = "events without an onset were left out"
NO_DURATION = "events that last less than half a sample, or not at all, mark an instant: trials need a stated length"
BETWEEN = "events that begin between two samples are stored at the nearest one, with their exact onset beside it"
TWICE = "events that stand there twice, the same in all columns, were taken once"
OVERLAP = "events overlap, so that a sample which is to have one label gets that of the later one"

Warned = tuple[str, str]
"""A topic, and where it holds."""


@dataclass(frozen=True, kw_only=True)
class RunOfSamples:
    """What placing events needs to know of a run."""

    name: str
    n_samples: int
    start_time: float = 0.0
    """Seconds on the clock of the events at the moment that the first sample stands for."""


@dataclass(frozen=True)
class PlacedEvents:
    """Events of a run in its samples, ascending."""

    onset: NDArray[np.int64]
    duration: NDArray[np.int64]
    exact_onset: NDArray[np.float64]
    """The same as `onset`, not rounded."""
    rows: NDArray[np.int64]
    """Row of the table of each event."""


def placed_events(table: Table, run: RunOfSamples, sampling_frequency: float, warned: list[Warned]) -> PlacedEvents:
    """Place the events of a table in the samples of a run.

    Parameters
    ----------
    table : Table
        With columns `onset` and `duration`, seconds.
    run : RunOfSamples
    sampling_frequency : float
        Hz.
    warned : list
        Gets what was left out, cut or moved.

    Raises
    ------
    DataError
        When a time is no number, or no event falls within the run; names the file, and the unit that the onsets seem
        to have.
    """
    if DURATION not in table.columns:
        raise DataError(f"{table.path} has a column 'onset', but no column 'duration'.")
    seconds, lasting = _seconds(table, ONSET), _seconds(table, DURATION)
    known = ~np.isnan(seconds)
    exact = (np.where(known, seconds, 0.0) - run.start_time) * sampling_frequency
    onset = np.floor(exact.clip(-FARTHEST, FARTHEST) + 0.5).astype(np.int64)
    duration = np.floor((np.nan_to_num(lasting) * sampling_frequency).clip(max=FARTHEST) + 0.5).astype(np.int64)
    stop = onset + duration
    early = known & (onset < 0) & (stop > 0)
    inside = known & (onset < run.n_samples) & ((onset >= 0) | early)
    _check_units(table, seconds[known], inside, run, sampling_frequency)
    # A cut that only takes what rounding to samples has added is none.
    late = inside & (stop - run.n_samples > 1)
    onset, exact = np.where(early, 0, onset), np.where(early, 0.0, exact)
    duration = np.minimum(stop, run.n_samples) - onset
    first = _first_of_equal_rows(table)
    kept = np.flatnonzero(inside & first)
    kept = kept[np.lexsort((exact[kept], onset[kept]))]
    moved = np.abs(exact - onset)[kept] / sampling_frequency
    counts = {
        NO_ONSET: (~known).sum(),
        LEFT_OUT: (known & ~inside).sum(),
        TWICE: (inside & ~first).sum(),
        CUT_AT_START: (early & first).sum(),
        CUT_AT_END: (late & first).sum(),
        NO_DURATION: (duration[kept] == 0).sum(),
        BETWEEN: (moved > WARNED_FROM).sum(),
        OVERLAP: _n_overlapping(onset[kept], duration[kept]),
    }
    for topic, count in counts.items():
        if count:
            far = f", by up to {moved.max():.2g} s" if topic == BETWEEN else ""
            warned.append((topic, f"{count} of {len(table)} of {table.path.name}, run {run.name}{far}"))
    return PlacedEvents(onset[kept], duration[kept], exact[kept], kept)


def _seconds(table: Table, column: str) -> NDArray[np.float64]:
    """Values of a column; NaN where none is given."""
    seconds = np.empty(len(table))
    for row, text in enumerate(table.columns[column]):
        try:
            seconds[row] = np.nan if text.lower() in NO_SECONDS else float(text)
        except ValueError as error:
            hint = " with a decimal point" if DECIMAL_COMMA.fullmatch(text) else ""
            raise DataError(
                f"Row {row + 1} of {table.path}: {column} is {text!r}, but must be seconds{hint}."
            ) from error
        if np.isinf(seconds[row]) or (column == DURATION and seconds[row] < 0):
            raise DataError(f"Row {row + 1} of {table.path}: {column} is {text!r}, but must be seconds.")
    return seconds


def _first_of_equal_rows(table: Table) -> NDArray[np.bool_]:
    """False for a row that is the same as one above it, (n,)."""
    first = {row: number for number, row in reversed(list(enumerate(zip(*table.columns.values()))))}
    is_first = np.zeros(len(table), dtype=bool)
    is_first[list(first.values())] = True
    return is_first


def _check_units(
    table: Table, seconds: NDArray[np.float64], inside: NDArray[np.bool_], run: RunOfSamples, sampling_frequency: float
) -> None:
    """Refuse onsets of which none falls within the run, or most lie so far beyond it that they are no seconds."""
    if not len(table):
        return
    if not len(seconds):
        raise DataError(f"{table.path} gives no event an onset.")
    last, length = float(seconds.max()), run.start_time + run.n_samples / sampling_frequency
    if inside.any() and not (last > UNLIKE_SECONDS * length and 2 * int(inside.sum()) < len(seconds)):
        return
    unit = ""
    if length < last <= PER_SECOND * length and last > UNLIKE_SECONDS * length:
        unit = " (these look like milliseconds)"
    elif length < last <= run.n_samples:
        unit = " (these look like samples)"
    how_many = f"Only {int(inside.sum())} of {len(table)} events fall" if inside.any() else "No event falls"
    raise DataError(
        f"{how_many} within run {run.name} of {run.n_samples / sampling_frequency:g} s: the onsets of {table.path} go "
        f"from {seconds.min():g} to {last:g}{unit}, and must be seconds from the run's start."
    )


def _n_overlapping(onset: NDArray[np.int64], duration: NDArray[np.int64]) -> int:
    """Events that begin while an earlier one lasts."""
    if not len(onset):
        return 0
    ends = np.maximum.accumulate(onset + duration)
    return int((onset[1:] < ends[:-1]).sum())
