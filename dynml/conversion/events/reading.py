"""Reads events: BIDS `events.tsv` files, and tables with one label per sample.

A table with a column `onset` is a BIDS events file: `onset` and `duration` in seconds from the start of the run, every
other column a column of labels. A table without it has one row per sample. In both, a column `run` says which run a
row belongs to, where one file speaks of several; it holds the run's name, its number, or as many values as there are
runs.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynml.conversion.bids.entities import parsed
from dynml.conversion.events.times import DURATION, ONSET, TWICE, RunOfSamples, Warned, placed_events
from dynml.errors import DataError, first_of
from dynml.readers.reader import FileEvents
from dynml.recording import NO_LABEL, Events
from dynml.store.layout import is_valid_name, natural_order
from dynml.tables import NOT_AVAILABLE, Table, read_table

RUN = "run"
COUNTS_BLOCKS = "the column 'run' of events counts parts of one run and was kept as labels"
OTHER_RUNS = "rows of events tables that are of other runs were left out"
NO_LABELS_BIDS = {ONSET, DURATION, RUN, "sample"}
COUNTS_OF_SAMPLES = ("volume", "sample")
NO_LABELS_PER_SAMPLE = {RUN, "time", *COUNTS_OF_SAMPLES}


def read_events(
    paths: Sequence[Path | None],
    runs: Sequence[RunOfSamples],
    sampling_frequency: float,
    subject: str,
    *,
    one_a_run: bool = False,
    starts: Callable[[], Sequence[float]] | None = None,
) -> tuple[Events, list[Warned]]:
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
    one_a_run : bool
        Each file is known to be of its run alone, whatever a column `run` counts in it.
    starts : callable, optional
        Gives, for each run, the time of its first sample on the clock of the events, seconds; 0 by default. Only called
        where the files give seconds.

    Returns
    -------
    events : Events
    warned : list of (topic, where)
        What was left out, cut or moved, to warn the user of.

    Raises
    ------
    DataError
        When the files do not fit the runs; names the file and what was found.
    """
    tables = [Table(Path(), {ONSET: [], DURATION: []}) if path is None else read_table(path) for path in paths]
    warned: list[Warned] = []
    if len(tables) == 1 and not (one_a_run and len(runs) == 1):
        tables = _divide(tables[0], runs, subject, sampling_frequency, warned)
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
        return _assemble([_from_samples(table, run, subject) for table, run in zip(tables, runs)], runs), warned
    if starts is not None:
        runs = [dataclasses.replace(run, start_time=start) for run, start in zip(runs, starts(), strict=True)]
    parts = [_from_seconds(table, run, sampling_frequency, warned) for table, run in zip(tables, runs)]
    return _assemble(parts, runs), warned


def events_of_files(
    of_files: Sequence[FileEvents | None], runs: Sequence[RunOfSamples]
) -> tuple[Events | None, list[Warned]]:
    """Place what the runs' files themselves say; None where no file says anything.

    What stands in a file twice is taken once, and warned of.

    Parameters
    ----------
    of_files : sequence of FileEvents or None
        One for each run.
    runs : sequence of RunOfSamples
        In stored order.
    """
    if all(events is None for events in of_files):
        return None, []
    none = FileEvents(onset=np.empty(0, dtype=np.int64), duration=np.empty(0, dtype=np.int64), labels={})
    parts, warned = [], list[Warned]()
    for events, run in zip(of_files, runs, strict=True):
        one = none if events is None else events
        rows = list(zip(one.onset.tolist(), one.duration.tolist(), *one.labels.values()))
        first: dict[tuple[object, ...], int] = {}
        kept = [number for number, row in enumerate(rows) if first.setdefault(row, number) == number]
        if len(kept) < len(rows):
            warned.append((TWICE, f"{len(rows) - len(kept)} of {len(rows)} of run {run.name}"))
        labels = {name: [texts[number] for number in kept] for name, texts in one.labels.items()}
        parts.append(_EventsOfRun(one.onset[kept], one.duration[kept], labels))
    return _assemble(parts, runs), warned


@dataclass(frozen=True)
class _EventsOfRun:
    onset: NDArray[np.int64]
    duration: NDArray[np.int64]
    labels: dict[str, list[str]]
    exact_onset: NDArray[np.float64] | None = None
    """Onsets that are not rounded to samples; None where they are samples to begin with."""


def _divide(
    table: Table, runs: Sequence[RunOfSamples], subject: str, sampling_frequency: float, warned: list[Warned]
) -> list[Table]:
    """Divide one table among the runs."""
    if len(runs) == 1 and (RUN not in table.columns or _is_of_run_alone(table, runs[0], sampling_frequency)):
        return [table]
    if RUN in table.columns:
        rows_of_runs = _rows_of_runs(table, runs, subject)
        n_others = len(table) - sum(map(len, rows_of_runs))
        if n_others:
            warned.append((OTHER_RUNS, f"{n_others} of {len(table)} of {table.path.name}"))
        return [table.rows(rows) for rows in rows_of_runs]
    n_samples = [run.n_samples for run in runs]
    if ONSET not in table.columns and len(table) == sum(n_samples):
        borders = np.cumsum([0, *n_samples]).tolist()
        return [table.rows(list(range(start, stop))) for start, stop in pairwise(borders)]
    raise DataError(
        f"{table.path} speaks of {len(runs)} runs of subject {subject} without saying which: it needs a column 'run'."
    )


def _is_of_run_alone(table: Table, run: RunOfSamples, sampling_frequency: float) -> bool:
    """Say whether a table is of one run, so that its column `run` counts something within it.

    The table's name may say so; or its times do, which begin anew with each run of a table of several.
    """
    own, file = parsed(Path(f"{Path(run.name).name}.x")), parsed(table.path)
    if own is not None and file is not None:
        if file.is_of_run(own):
            return True
    elif re.match(re.escape(Path(run.name).name) + r"(?![a-zA-Z0-9])", table.path.name):
        return True
    if ONSET not in table.columns:
        return len(table) == run.n_samples
    onsets = [float(text) for text in table.columns[ONSET] if re.fullmatch(r"[-+0-9.eE]*\d[-+0-9.eE]*", text)]
    changes = [now for before, now in pairwise(table.columns[RUN]) if before != now]
    length = run.n_samples / sampling_frequency
    blocks = len(changes) == len(set(table.columns[RUN])) - 1
    return blocks and onsets == sorted(onsets) and max(onsets, default=0.0) <= length


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
            f"The column 'run' of {table.path} ({first_of(distinct, 6)}) does not name the runs of subject {subject} "
            f"({first_of([run.name for run in runs], 6)})."
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


def _from_seconds(table: Table, run: RunOfSamples, sampling_frequency: float, warned: list[Warned]) -> _EventsOfRun:
    placed = placed_events(table, run, sampling_frequency, warned)
    not_labels = NO_LABELS_BIDS
    if len(set(table.columns.get(RUN, []))) > 1:
        not_labels = NO_LABELS_BIDS - {RUN}
        warned.append((COUNTS_BLOCKS, f"{table.path.name}, run {run.name}"))
    columns = _label_columns(table, not_labels)
    labels = {name: [table.columns[name][row] for row in placed.rows] for name in columns}
    return _EventsOfRun(placed.onset, placed.duration, labels, placed.exact_onset)


def _from_samples(table: Table, run: RunOfSamples, subject: str) -> _EventsOfRun:
    if len(table) != run.n_samples:
        raise DataError(
            f"{table.path} has {len(table)} rows for run {run.name} of subject {subject}, but the run has "
            f"{run.n_samples} samples; a table without a column 'onset' (it has {first_of(list(table.columns), 6)}) "
            "must have one row per sample."
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
        exact_onset=_exact_onsets(parts, starts),
        labels={name: np.array(values, dtype=np.int64) for name, values in labels.items()},
        names=names,
    )


def _exact_onsets(parts: Sequence[_EventsOfRun], starts: NDArray[np.int64]) -> NDArray[np.float64] | None:
    if all(part.exact_onset is None for part in parts):
        return None
    return np.concatenate(
        [start + (part.onset if part.exact_onset is None else part.exact_onset) for part, start in zip(parts, starts)]
    )
