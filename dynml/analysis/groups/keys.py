"""Which columns of a table of results say what a measure is of: decided by the form of the table, not by names alone.

A wide table has one row per subject and needs no key; in a long one, keys tell the rows of one subject apart, and come
again in other subjects, which measures do not.
"""

from __future__ import annotations

from collections.abc import Sequence

from dynml.analysis.groups.numbers import number_of, numbers_or_labels
from dynml.tables import Table

KEYS = (
    *("state", "mode", "component", "feature", "band", "channel", "channel_1", "channel_2", "from", "to", "other"),
    *("network", "region", "parcel", "condition", "label", "quantity", "kind", "frequency", "lag"),
)
"""Columns that may say what a measure is of, the surest first."""
NO_MEASURES = ("most_visited", "kept", "censored", "subset", "n_samples", "duration")
"""Columns of dynml's tables that hold labels or amounts of data."""
Units = Sequence[tuple[str, ...]]


def is_number_column(table: Table, name: str) -> bool:
    """Whether all values are numbers, or missing."""
    return all(number_of(value) is not None for value in table.columns[name])


def keys_of(
    table: Table, named: Sequence[str], units: Units, asked: Sequence[str] | None, chosen: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Columns that say what a measure is of, and those of text that are neither this nor a measure.

    Parameters
    ----------
    table : Table
    named : sequence of str
        Columns that are not of subjects or recordings.
    units : sequence of tuples of str
        Whose recording each row is of.
    asked, chosen : sequence of str, optional
        Columns that the user names as keys, and as measures.

    Raises
    ------
    DataError
        When a column that is no key mixes numbers with other texts.
    """
    texts = [name for name in named if not is_number_column(table, name) and name not in (chosen or ())]
    candidates = [name for name in named if name not in (chosen or ())]
    keys = list(asked) if asked is not None else _by_form(table, candidates, texts, units)
    for name in texts:
        if chosen is None and name not in (*keys, *NO_MEASURES):
            numbers_or_labels(table.columns[name], name, table.path)
    return keys, [name for name in texts if name not in keys]


def _by_form(table: Table, candidates: Sequence[str], texts: Sequence[str], units: Units) -> list[str]:
    """Columns without which two rows of a subject have one name, and those that only name these otherwise."""
    columns = {name: table.columns[name] for name in candidates if name not in NO_MEASURES}
    found = [
        name
        for name in texts
        if name in columns and name not in KEYS and _n_cells(units, columns[name]) > _n_cells(units)
    ]
    listed = [name for name in KEYS if name in columns]
    for name in listed:
        own = [columns[key] for key in found]
        tells_apart = _n_cells(units, *own, columns[name]) > _n_cells(units, *own)
        if tells_apart and (name in texts or _recurs(columns[name], units)):
            found.append(name)
    own = [columns[key] for key in found]
    found += [name for name in listed if name not in found and _n_cells(*own, columns[name]) == max(1, _n_cells(*own))]
    return [name for name in columns if name in found]


def _n_cells(*columns: Sequence[object]) -> int:
    return len(set(zip(*columns)))


def _recurs(values: Sequence[str], units: Units) -> bool:
    """Whether most values are found in several subjects, or there is but one subject."""
    of: dict[str, set[tuple[str, ...]]] = {}
    for value, unit in zip(values, units):
        of.setdefault(value, set()).add(unit)
    several = sum(len(own) > 1 for own in of.values())
    return 2 * several >= len(of) or len(set(units)) == 1
