"""Tables of what differs between people and of what is predicted of them, from folders of results."""

from __future__ import annotations

from dynml.report.parts.sections import MOST_ROWS, Table
from dynml.report.results import ResultsFolder
from dynml.report.tables import cell_number, cell_order, cell_text, table_rows
from dynml.report.words import number

COMPARISON, PREDICTION = "comparison", "prediction"
EFFECTS = ("term", "measure", "n", "effect_kind", "effect", "effect_low", "effect_high", "p", "p_corrected")
SCORES = ("features", "n_features", "low", "high", "p", "p_of_gain")


def people_tables(results: ResultsFolder) -> list[Table]:
    """Effects on measures with the smallest p, or scores of sets of features; [] of other kinds of results.

    Raises
    ------
    DataError
        When a table is damaged.
    """
    if results.kind == COMPARISON:
        return _of_comparison(table_rows(results.path / "comparison.tsv", EFFECTS))
    return _of_prediction(table_rows(results.path / "scores.tsv", SCORES)) if results.kind == PREDICTION else []


def _of_comparison(rows: list[dict[str, str]]) -> list[Table]:
    ordered = sorted(rows, key=lambda row: (cell_order(row["p_corrected"]), cell_order(row["p"])))
    shown = [
        [
            row["term"],
            row["measure"],
            row["n"],
            row["effect_kind"],
            _with_interval(row["effect"], row["effect_low"], row["effect_high"]),
            cell_text(row["p_corrected"]),
        ]
        for row in ordered[:MOST_ROWS]
    ]
    more = len(rows) - len(shown)
    note = f"{more} more rows are in the folder of results." if more > 0 else ""
    caption = "What differs between people? The smallest p first; corrected over measures"
    heads = ["term", "measure", "n", "effect", "size [95 % interval]", "p"]
    return [Table(caption, heads, shown, note)] if shown else []


def _of_prediction(rows: list[dict[str, str]]) -> list[Table]:
    if not rows:
        return []
    name = "r" if "r" in rows[0] else "balanced_accuracy"
    shown = [
        [
            row["features"],
            row["n_features"],
            _with_interval(row[name], row["low"], row["high"]),
            cell_text(row["p"]),
            cell_text(row["p_of_gain"]),
        ]
        for row in rows
    ]
    heads = ["features", "numbers", f"{name.replace('_', ' ')} [95 % interval]", "p", "p of gain over static"]
    return [Table("Predictions of people who were not learnt from", heads, shown)]


def _with_interval(*cells: str) -> str:
    """A value with the ends of its interval."""
    value, low, high = (number(cell_number(cell), 2) for cell in cells)
    return f"{value} [{low}, {high}]"
