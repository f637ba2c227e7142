"""Reads events: BIDS `events.tsv` files, and tables with one label per sample.

A table with a column `onset` is a BIDS events file: `onset` and `duration` in seconds from the start of the run, every
other column a column of labels. A table without it has one row per sample. In both, a column `run` says which run a
row belongs to, where one file speaks of several; it holds the run's name, its number, or as many values as there are
runs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynml.data.readers.file_events import FileEvents
from dynml.data.recording import NO_LABEL, Events
from dynml.data.store_layout import is_valid_name, natural_order
from dynml.data.tables import NOT_AVAILABLE, Table, read_table
from dynml.errors import DataError

ONSET, DURATION, RUN = "onset", "duration", "run"
NO_LABELS_BIDS = {ONSET, DURATION, RUN, "sample"}
COUNTS_OF_SAMPLES = ("volume", "sample")
NO_LABELS_PER_SAMPLE = {RUN, "time", *COUNTS_OF_SAMPLES}


@dataclass(frozen=True, kw_only=True)
class RunOfSamples:
    """What placing events needs to know of a run."""

    name: str
    n_samples: int


def read_events(
    paths: Sequence[Path | None], runs: Sequence[RunOfSamples], sampling_frequency: float, subject: str
) -> tuple[Events, list[str]]:
    """Read a subject's events and place them in its stored rows.

    Parameters
    ----------
    paths : sequence of Path or None
        One file for each run, or one for all; None for a run without events, beside files with a column `onset`.
    runs : sequence of RunOfSamples
        In stored order.
    sampling_frequency : float
        Hz.
    subject : str
        For messages, and for a run's number where the run's name has none.

    Returns
    -------
    events : Events
    remarks : list of str
        What was left out, to be told to the user.

    Raises
    ------
    DataError
        When the files do not fit the runs; names the file and what was found.
    """
    tables = [Table(Path(), {ONSET: [], DURATION: []}) if path is None else read_table(path) for path in paths]
    if len(tables) == 1:
        tables = _divide(tables[0], runs, subject)
    elif len(tables) != len(runs):
        raise DataError(
            f"Subject {subject} has {len(tables)} events files ({tables[0].path.name} ..) for {len(runs)} runs; give "
            "one for each run, or one with a column 'run'."
        )
    kinds = {ONSET in table.columns for table in tables}
    if len(kinds) > 1:
        raise DataError(
            f"The events files of subject {subject} are of two kinds: some have a column 'onset', some not."
        )
    if not kinds.pop():
        return _assemble([_from_samples(table, run, subject) for table, run in zip(tables, runs)], runs), []
    remarks: list[str] = []
    parts = [_from_seconds(table, run, sampling_frequency, remarks) for table, run in zip(tables, runs)]
    return _assemble(parts, runs), remarks


def events_of_files(of_files: Sequence[FileEvents | None], runs: Sequence[RunOfSamples]) -> Events | None:
    """Place what the runs' files themselves say; None where no file says anything.

    Parameters
    ----------
    of_files : sequence of FileEvents or None
        One for each run.
    runs : sequence of RunOfSamples
        In stored order.
    """
    if all(events is None for events in of_files):
        return None
    none = FileEvents(onset=np.empty(0, dtype=np.int64), duration=np.empty(0, dtype=np.int64), labels={})
    known = [none if events is None else events for events in of_files]
    return _assemble([_EventsOfRun(one.onset, one.duration, one.labels) for one in known], runs)


@dataclass(frozen=True)
class _EventsOfRun:
    onset: NDArray[np.int64]
    duration: NDArray[np.int64]
    labels: dict[str, list[str]]


def _divide(table: Table, runs: Sequence[RunOfSamples], subject: str) -> list[Table]:
    """Divide one table among the runs."""
    if RUN in table.columns:
        return [table.rows(rows) for rows in _rows_of_runs(table, runs, subject)]
    if len(runs) == 1:
        return [table]
    n_samples = [run.n_samples for run in runs]
    if ONSET not in table.columns and len(table) == sum(n_samples):
        borders = np.cumsum([0, *n_samples]).tolist()
        return [table.rows(list(range(start, stop))) for start, stop in pairwise(borders)]
    raise DataError(
        f"{table.path} speaks of {len(runs)} runs of subject {subject} without saying which: it needs a column 'run'."
    )


def _rows_of_runs(table: Table, runs: Sequence[RunOfSamples], subject: str) -> list[list[int]]:
    values = table.columns[RUN]
    distinct = sorted(set(values), key=natural_order)
    by_name = [_values_that_name(run.name, subject, distinct, len(runs)) for run in runs]
    if any(by_name):
        chosen = by_name
    elif len(distinct) == len(runs):
        chosen = [{value} for value in distinct]
    else:
        raise DataError(
            f"The column 'run' of {table.path} ({_first(distinct)}) does not name the runs of subject {subject} "
            f"({_first([run.name for run in runs])})."
        )
    return [[row for row, value in enumerate(values) if value in names] for names in chosen]


def _values_that_name(run_name: str, subject: str, values: list[str], n_runs: int) -> set[str]:
    number = _run_number(run_name)
    # A run stored as a subject of its own (`sub-001_run-01`) has its number there.
    if number is None and n_runs == 1:
        number = _run_number(subject)
    return {value for value in values if value == run_name or (number is not None and _number(value) == number)}


def _run_number(name: str) -> int | None:
    numbers = re.findall(r"run[-_]?(\d+)", name, flags=re.IGNORECASE)
    return int(numbers[-1]) if numbers else None


def _number(value: str) -> int | None:
    match = re.fullmatch(r"(?:run[-_]?)?(\d+)", value, flags=re.IGNORECASE)
    return int(match[1]) if match else None


def _label_columns(table: Table, not_labels: set[str]) -> list[str]:
    columns = [name for name in table.columns if name not in not_labels]
    for name in columns:
        if not is_valid_name(name):
            raise DataError(f"The column {name!r} of {table.path} cannot be stored under that name: rename it.")
    return columns


def _from_seconds(table: Table, run: RunOfSamples, sampling_frequency: float, remarks: list[str]) -> _EventsOfRun:
    if DURATION not in table.columns:
        raise DataError(f"{table.path} has a column 'onset', but no column 'duration'.")
    onset_seconds = _seconds(table, ONSET)
    duration_seconds = np.nan_to_num(_seconds(table, DURATION, optional=True))
    onset = np.floor(onset_seconds * sampling_frequency + 0.5).astype(np.int64)
    duration = np.floor(duration_seconds * sampling_frequency + 0.5).astype(np.int64)
    inside = (onset >= 0) & (onset < run.n_samples)
    if len(onset) and not inside.any():
        raise DataError(
            f"No event of {table.path} falls within run {run.name} of {run.n_samples / sampling_frequency:g} s: its "
            f"onsets go from {onset_seconds.min():g} to {onset_seconds.max():g}, and must be seconds from the run's "
            "start."
        )
    file = f"{len(table)} events of {table.path.name}"
    n_outside, n_cut = int((~inside).sum()), int(((onset + duration - run.n_samples)[inside] > 1).sum())
    if n_outside:
        remarks.append(f"{n_outside} of {file} lie outside run {run.name} and were left out")
    if n_cut:
        remarks.append(f"{n_cut} of {file} go beyond the end of run {run.name} and were cut there")
    kept = np.flatnonzero(inside)
    kept = kept[np.argsort(onset[kept], kind="stable")]
    columns = _label_columns(table, NO_LABELS_BIDS)
    return _EventsOfRun(
        onset=onset[kept],
        duration=np.minimum(duration, run.n_samples - onset)[kept],
        labels={name: [table.columns[name][row] for row in kept] for name in columns},
    )


def _seconds(table: Table, column: str, optional: bool = False) -> NDArray[np.float64]:
    seconds = np.empty(len(table))
    for row, text in enumerate(table.columns[column]):
        try:
            seconds[row] = np.nan if optional and text.lower() in {NOT_AVAILABLE, "nan"} else float(text)
        except ValueError as error:
            raise DataError(f"Row {row + 1} of {table.path}: {column} is {text!r}, but must be seconds.") from error
        if np.isinf(seconds[row]) or (np.isnan(seconds[row]) and not optional) or (optional and seconds[row] < 0):
            raise DataError(f"Row {row + 1} of {table.path}: {column} is {text!r}, but must be seconds.")
    return seconds


def _from_samples(table: Table, run: RunOfSamples, subject: str) -> _EventsOfRun:
    if len(table) != run.n_samples:
        raise DataError(
            f"{table.path} has {len(table)} rows for run {run.name} of subject {subject}, but the run has "
            f"{run.n_samples} samples; a table without a column 'onset' must have one row per sample."
        )
    _check_count(table, run)
    columns = _label_columns(table, NO_LABELS_PER_SAMPLE)
    if not columns:
        raise DataError(f"{table.path} has no column of labels, only {', '.join(table.columns)}.")
    rows = list(zip(*(table.columns[name] for name in columns)))
    changes = [row for row in range(1, len(rows)) if rows[row] != rows[row - 1]]
    borders = [0, *changes, len(rows)]
    stretches = [
        (start, stop)
        for start, stop in pairwise(borders)
        if stop > start and any(label != NOT_AVAILABLE for label in rows[start])
    ]
    return _EventsOfRun(
        onset=np.array([start for start, _ in stretches], dtype=np.int64),
        duration=np.array([stop - start for start, stop in stretches], dtype=np.int64),
        labels={name: [table.columns[name][start] for start, _ in stretches] for name in columns},
    )


def _check_count(table: Table, run: RunOfSamples) -> None:
    """Refuse rows that are out of order, where a column counts them."""
    for column in COUNTS_OF_SAMPLES:
        counts = table.columns.get(column)
        if counts and counts not in (list(map(str, range(len(counts)))), list(map(str, range(1, len(counts) + 1)))):
            raise DataError(f"Column {column!r} of {table.path} does not count the samples of run {run.name} in order.")


def _assemble(parts: Sequence[_EventsOfRun], runs: Sequence[RunOfSamples]) -> Events:
    starts = np.cumsum([0, *(run.n_samples for run in runs)])
    columns = sorted({name for part in parts for name in part.labels}, key=natural_order)
    texts = {
        name: [text for part in parts for text in part.labels.get(name, [NOT_AVAILABLE] * len(part.onset))]
        for name in columns
    }
    names = {name: tuple(sorted(set(texts[name]) - {NOT_AVAILABLE}, key=natural_order)) for name in columns}
    codes = {name: {label: code for code, label in enumerate(names[name])} for name in columns}
    labels = {name: [codes[name].get(text, NO_LABEL) for text in texts[name]] for name in columns}
    return Events(
        onset=np.concatenate([part.onset + start for part, start in zip(parts, starts)]).astype(np.int64),
        duration=np.concatenate([part.duration for part in parts]).astype(np.int64),
        labels={name: np.array(values, dtype=np.int64) for name, values in labels.items()},
        names=names,
    )


def _first(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", .." if len(names) > 6 else "")
