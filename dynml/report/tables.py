"""Tables in folders of results, as scripts of dynml wrote them, and their cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from dynml.errors import DataError
from dynml.report.words import NOT_KNOWN
from dynml.tables import read_table


def table_rows(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a table, by its columns' names; [] where there is no such file.

    Raises
    ------
    DataError
        When it is damaged, or lacks a column.
    """
    if not path.is_file():
        return []
    table = read_table(path)
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise DataError(f"{path} must have the columns {', '.join(needed)}, but lacks {', '.join(missing)}.")
    return [dict(zip(table.columns, cells)) for cells in zip(*table.columns.values())]


def cell_number(cell: str) -> float:
    """The number in a cell; NaN where there is none."""
    try:
        return float(cell)
    except ValueError:
        return math.nan


def cell_order(cell: str) -> float:
    """What rows are sorted by, the smallest first: the number in a cell, and infinity where there is none."""
    value = cell_number(cell)
    return math.inf if math.isnan(value) else value


def cell_text(cell: str) -> str:
    """The number in a cell with three digits, or a dash."""
    value = cell_number(cell)
    return f"{value:.3g}" if math.isfinite(value) else NOT_KNOWN
