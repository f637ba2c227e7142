"""A formula and the columns of a table -> a design matrix, checked before anything is tested.

Shapes: R rows, X columns of the design.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.groups.numbers import is_missing, number_of, numbers_or_labels
from dynml.configuration import nearest_name
from dynml.errors import ConfigurationError, DataError
from dynml.tables import Table

if TYPE_CHECKING:
    import pandas

INTERCEPT = "Intercept"
KEY = "FORMULA"


@dataclass(frozen=True)
class Design:
    """A design matrix of full column rank."""

    formula: str
    matrix: NDArray[np.float64]
    """(R, X)"""
    columns: list[str]
    terms: dict[str, list[int]]
    """Term to its columns; the intercept is one."""

    def rows(self, chosen: Sequence[int]) -> Design:
        """Give the design of some rows."""
        return Design(self.formula, self.matrix[list(chosen)], self.columns, self.terms)


def names_in(formula: str, columns: Sequence[str]) -> list[str]:
    """Columns of a table that a formula names, in the table's order."""
    plain = re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"", " ", formula)
    quoted = re.findall(r"`([^`]*)`", formula)
    return [name for name in columns if name in quoted or re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", plain)]


def rows_with(table: Table, names: Sequence[str]) -> tuple[list[int], dict[str, list[int]]]:
    """Rows in which none of the columns is missing, and which rows lack which column."""
    lacking = {name: [row for row, value in enumerate(table.columns[name]) if is_missing(value)] for name in names}
    left_out = {row for rows in lacking.values() for row in rows}
    kept = [row for row in range(len(table)) if row not in left_out]
    return kept, {name: rows for name, rows in lacking.items() if rows}


def design_of(formula: str, table: Table) -> Design:
    """Make the design matrix.

    Parameters
    ----------
    formula : str
        Right-hand side, as `group + age`; columns of numbers are covariates, others are factors.
    table : Table
        Without missing values in the columns that are named.

    Raises
    ------
    ConfigurationError
        When the formula cannot be read, or names no column of the table.
    DataError
        When columns of the design depend on each other, or there are as many as rows.
    """
    names = names_in(formula, list(table.columns))
    matrix, columns, terms = _model_matrix(formula, table, names)
    for name in names:
        if len(set(table.columns[name])) < 2:
            raise DataError(
                f"The column {name} of {table.path} is {table.columns[name][0]!r} for all {len(table)} rows that are "
                "left, so it cannot be tested; leave it out of the formula."
            )
    if not columns:
        raise ConfigurationError(KEY, formula, "a formula with at least one term, such as 'group + age', or '1'")
    if not np.isfinite(matrix).all():
        bad = columns[int(np.argmax(~np.isfinite(matrix).all(axis=0)))]
        raise DataError(f"The column {bad} of the design {formula!r} has values that are not finite.")
    _check_rank(formula, matrix, columns, len(table))
    return Design(formula, matrix, columns, terms)


def _model_matrix(
    formula: str, table: Table, names: Sequence[str]
) -> tuple[NDArray[np.float64], list[str], dict[str, list[int]]]:
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    if not formula.strip():
        raise ConfigurationError(KEY, formula, "a formula with at least one term, such as 'group + age', or '1'")
    if "~" in formula and formula.split("~")[0].strip():
        raise ConfigurationError(
            KEY, formula, "a right-hand side only, such as 'group + age': measures are those of TABLE"
        )
    if "|" in formula:
        accepted = "a formula without '|': for repeated rows there are --sessions, --within and --whole"
        raise ConfigurationError(KEY, formula, accepted)
    frame = _frame(formula, table, names)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made: Any = Formula(formula).get_model_matrix(frame, context={}, output="numpy", na_action="raise")
        spec = made.model_spec
        matrix = np.asarray(made, dtype=np.float64).reshape(len(table), -1)
    except (FormulaicError, ValueError, TypeError, SyntaxError, AttributeError) as error:
        raise ConfigurationError(KEY, formula, _accepted(str(error), table)) from error
    columns = list(spec.column_names)
    terms = {(INTERCEPT if str(term) == "1" else str(term)): list(own) for term, own in spec.term_indices.items()}
    return matrix, columns, terms


def _accepted(error: str, table: Table) -> str:
    known = list(table.columns)
    absent = re.search(r"`([^`]*)` is not present", error)
    if absent:
        near = nearest_name(absent[1], known)
        return f"made of columns of {table.path}, where {absent[1]!r} is none{near}"
    plain = re.sub(r"\x1b\[[0-9;]*m|[⧛⧚]", "", error).split("\n")[0].rstrip(".")
    return f"a formula such as 'group + age' ({plain})"


def _frame(formula: str, table: Table, names: Sequence[str]) -> pandas.DataFrame:
    """Columns that are named; one within C(..) has labels, whatever they look like, unless all are numbers."""
    import pandas

    columns: dict[str, Any] = {}
    for name in names:
        values = table.columns[name]
        is_factor = re.search(rf"(?<![\w.])C\(\s*`?{re.escape(name)}`?\s*[,)]", formula)
        if is_factor and any(number_of(value) is None for value in values):
            columns[name] = list(values)
            continue
        numbers = numbers_or_labels(values, name, table.path)
        columns[name] = list(values) if numbers is None else numbers
    return pandas.DataFrame(columns, index=range(len(table)))


def _check_rank(formula: str, matrix: NDArray[np.float64], columns: list[str], n_rows: int) -> None:
    if n_rows <= len(columns):
        raise DataError(
            f"The design {formula!r} has {len(columns)} columns for {n_rows} rows, but needs more rows than columns."
        )
    sizes = np.linalg.norm(matrix, axis=0)
    scaled = matrix / np.where(sizes > 0, sizes, 1.0)
    for number in range(len(columns)):
        before = scaled[:, :number]
        weights = np.linalg.lstsq(before, scaled[:, number], rcond=None)[0] if number else np.zeros(0)
        if np.linalg.norm(scaled[:, number] - before @ weights) > 1e-8:
            continue
        made_of = [columns[position] for position in np.flatnonzero(np.abs(weights) > 1e-8)]
        what = f"a combination of {', '.join(made_of)}" if made_of else "0 in all rows"
        raise DataError(
            f"The design {formula!r} is rank-deficient: its column {columns[number]} is {what}, so that they cannot be "
            "told apart; leave one of them out."
        )
