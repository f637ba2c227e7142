"""A table of results as one matrix: a row for each recording, a column for each measure of each state, band, ...

Shapes: R rows (subjects, or sessions of them), M measures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.groups.keys import KEYS, NO_MEASURES, is_number_column, keys_of
from dynml.analysis.groups.numbers import number_of
from dynml.configuration import nearest_name
from dynml.errors import ConfigurationError, DataError
from dynml.tables import Table, read_table

PEOPLE = ("participant", "participant_id", "subject", "subject_id")
"""Columns that say whose a row is, the one that is preferred first."""
RECORDINGS = ("subject", "session", "session_id", "ses", "run", "run_id")
"""Columns that tell the rows of one person apart."""


@dataclass(frozen=True)
class Measure:
    """One column of the matrix."""

    quantity: str
    """Column of the table that the values stand in."""
    of: tuple[tuple[str, str], ...] = ()
    """Column and value that it is of, such as ("state", "1")."""

    @property
    def name(self) -> str:
        """`occupancy, state 1`."""
        return ", ".join([self.quantity, *(f"{key} {value}" for key, value in self.of)])


@dataclass(frozen=True)
class Measures:
    """All measures of all recordings."""

    path: Path
    people: list[str]
    """(R,) whose each row is."""
    recordings: list[dict[str, str]]
    """(R,) column and value that tell the rows of one person apart."""
    measures: list[Measure]
    values: NDArray[np.float64]
    """(R, M), NaN where there is none."""
    ignored: tuple[str, ...] = ()
    """Columns of text or of amounts of data that are no measure."""
    known: tuple[str, ...] = ()
    """Columns of numbers that are no measure either, since they are asked about."""

    def rows(self, chosen: Sequence[int]) -> Measures:
        """Give some rows only."""
        return Measures(
            self.path,
            [self.people[row] for row in chosen],
            [self.recordings[row] for row in chosen],
            self.measures,
            self.values[list(chosen)],
            self.ignored,
            self.known,
        )

    def with_values(self, people: list[str], values: NDArray[np.float64]) -> Measures:
        """Give the same measures of other rows, one per person."""
        return Measures(self.path, people, [{} for _ in people], self.measures, values, self.ignored, self.known)


def read_any_table(path: Path) -> Table:
    """Read a table that is separated by tabs, or by commas if it is called .csv."""
    return read_table(path, "," if path.suffix.lower() == ".csv" else "\t")


def read_measures(
    path: Path,
    chosen: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    within: str | None = None,
    known: Sequence[str] = (),
) -> Measures:
    """Read a table of results, long (one row per subject and state) or wide (one row per subject).

    Parameters
    ----------
    path : Path
    chosen : sequence of str, optional
        Columns to take; default: all numbers.
    keys : sequence of str, optional
        Columns that say what a measure is of; default: those that tell the rows of a subject apart.
    within : str, optional
        A further column that tells the rows of one person apart.
    known : sequence of str
        Columns that the measures are compared by or are to predict, which are no measures where this table has them.

    Raises
    ------
    DataError
        When there is no column of subjects or of numbers, a value is no number, or a subject has two rows of one
        measure.
    ConfigurationError
        When `chosen` names one of `known`.
    """
    _check_not_known(chosen, known)
    table = read_any_table(path)
    who = next((name for name in PEOPLE if name in table.columns), None)
    if who is None:
        raise DataError(f"{path} has no column {' or '.join(PEOPLE)}: its columns are {', '.join(table.columns)}.")
    if not len(table):
        raise DataError(f"{path} has no rows.")
    _check_names(table, [*(chosen or ()), *(keys or ())])
    apart = [
        name for name in (*RECORDINGS, within) if name in table.columns and name != who and name not in (keys or ())
    ]
    apart = [name for name in dict.fromkeys(apart) if name is not None and name not in (chosen or ())]
    left_out = {name for name in known if name not in (*KEYS, *(keys or ()))}
    named = [name for name in table.columns if name not in (*PEOPLE, *apart, *left_out)]
    units = list(zip(*(table.columns[name] for name in (who, *apart))))
    own_keys, ignored = keys_of(table, named, units, keys, chosen)
    quantities = [name for name in named if name not in (*own_keys, *ignored) and (chosen is None or name in chosen)]
    if chosen is None:
        ignored += [name for name in quantities if name in NO_MEASURES]
        quantities = [name for name in quantities if name not in (*NO_MEASURES, *known)]
    if not quantities:
        raise DataError(f"{path} has no column of numbers beside {', '.join([who, *apart, *own_keys])}.")
    measures = _pivoted(table, units, ["", *apart], own_keys, quantities, tuple(ignored))
    numbers = [
        name
        for name in table.columns
        if name in known and name not in (*apart, *own_keys) and is_number_column(table, name)
    ]
    return replace(measures, known=tuple(numbers) if chosen is None else ())


def _check_not_known(chosen: Sequence[str] | None, known: Sequence[str]) -> None:
    for name in chosen or ():
        if name in known:
            accepted = f"without {name}, which measures are compared by or are to predict"
            raise ConfigurationError("--measures", " ".join(chosen or ()), accepted)


def _check_names(table: Table, names: Sequence[str]) -> None:
    for name in names:
        if name not in table.columns:
            known = list(table.columns)
            raise DataError(f"{table.path} has no column {name!r}{nearest_name(name, known)}.")


def _pivoted(
    table: Table,
    units: list[tuple[str, ...]],
    apart: list[str],
    keys: list[str],
    quantities: list[str],
    ignored: tuple[str, ...],
) -> Measures:
    rows = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
    cells = list(zip(*(table.columns[key] for key in keys))) if keys else [()] * len(units)
    columns = {cell: number for number, cell in enumerate(dict.fromkeys(cells))}
    values = np.full((len(rows), len(quantities), len(columns)), np.nan)
    seen: set[tuple[int, int]] = set()
    for line, (unit, cell) in enumerate(zip(units, cells)):
        row_and_column = rows[unit], columns[cell]
        if row_and_column in seen:
            of = ", ".join([" ".join(unit), *(f"{key} {value}" for key, value in zip(keys, cell))])
            raise DataError(
                f"{table.path} has two rows of {of}; there must be one, or --keys must name the columns that tell them "
                "apart."
            )
        seen.add(row_and_column)
        for number, name in enumerate(quantities):
            values[row_and_column[0], number, row_and_column[1]] = _number(table, name, line)
    measures = [Measure(name, tuple(zip(keys, map(str, cell)))) for name in quantities for cell in columns]
    recordings = [_entities(unit[0]) | dict(zip(apart[1:], unit[1:])) for unit in rows]
    return Measures(
        table.path, [unit[0] for unit in rows], recordings, measures, values.reshape(len(rows), -1), ignored
    )


def _entities(name: str) -> dict[str, str]:
    """Session and run of a subject that is named as BIDS names files: sub-01_ses-2."""
    found = re.findall(r"_(ses|run)-([A-Za-z0-9]+)", name)
    return {"session" if key == "ses" else key: value for key, value in found}


def _number(table: Table, name: str, line: int) -> float:
    text = table.columns[name][line]
    value = number_of(text)
    if value is None:
        raise DataError(f"{table.path} has {text!r} in the column {name}, but measures must be numbers.")
    return value if math.isfinite(value) else math.nan


def without_constants(values: NDArray[np.float64], names: Sequence[str]) -> tuple[NDArray[np.bool_], list[str]]:
    """Which measures vary, and the names of those that do not.

    Parameters
    ----------
    values : array, (R, M)
    names : sequence of M str
    """
    varies = np.zeros(values.shape[1], dtype=bool)
    for column in range(values.shape[1]):
        own = values[np.isfinite(values[:, column]), column]
        varies[column] = len(own) > 1 and bool(np.ptp(own) > 1e-12 * max(1e-300, float(np.abs(own).max())))
    return varies, [name for name, does in zip(names, varies) if not does]
