"""Tidy tables for papers: one row an observation, one column a variable, with a JSON sidecar as BIDS has it.

A folder of results says in its summary.json, under the key "results", what kind it holds (spectra, responses, ..), so
that a report finds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dynml.files import write_json
from dynml.tables import NOT_AVAILABLE, write_table

KIND = "results"
"""Key of summary.json: what a folder of results holds."""


@dataclass(frozen=True)
class Column:
    """A variable of a tidy table."""

    name: str
    description: str
    units: str | None = None
    """As BIDS spells them: "s", "Hz", "1"; None for names, counts and labels."""


def write_tidy(path: Path, columns: Sequence[Column], rows: Iterable[Sequence[Any]], **about: Any) -> None:
    """Write a table, separated by tabs, and its sidecar: `TABLE.json` beside `TABLE.tsv`.

    Parameters
    ----------
    path : Path
        Ends in `.tsv`.
    columns : sequence of Column
    rows : iterable of sequences
        One value a column. NaN and None become `n/a`; floats are written in full.
    **about
        What else the sidecar says: methods, versions, names of conditions.
    """
    assert path.suffix == ".tsv", path
    cells = ([_cell(value) for value, _ in zip(row, columns, strict=True)] for row in rows)
    write_table(path, [column.name for column in columns], cells)
    write_sidecar(path, columns, **about)


def write_sidecar(path: Path, columns: Sequence[Column], **about: Any) -> None:
    """Describe a table's columns beside it: `TABLE.json` beside `TABLE.tsv`."""
    write_json(path.with_suffix(".json"), {**about, **_sidecar(columns)})


def _sidecar(columns: Sequence[Column]) -> Mapping[str, dict[str, str]]:
    return {
        column.name: {"Description": column.description} | ({"Units": column.units} if column.units else {})
        for column in columns
    }


def _cell(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return NOT_AVAILABLE if math.isnan(value) else repr(float(value))
    return NOT_AVAILABLE if value is None else str(value)
