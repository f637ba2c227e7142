"""Tables of what differs between people and of what is predicted of them, from folders of results."""

from __future__ import annotations

import csv
import math
from typing import Any

from dynml.reading_files import read_text
from dynml.report.parts.sections import MOST_ROWS, Table
from dynml.report.results import ResultsFolder
from dynml.report.words import number

COMPARISON, PREDICTION = "comparison", "prediction"
LEVEL = 0.05


def people_tables(results: ResultsFolder) -> list[Table]:
    """Effects on measures with the smallest p, or scores of sets of features; [] of other kinds of results."""
    if results.kind == COMPARISON:
        return _of_comparison(_rows(results, "comparison.tsv"))
    return _of_prediction(_rows(results, "scores.tsv")) if results.kind == PREDICTION else []


def _rows(results: ResultsFolder, name: str) -> list[dict[str, Any]]:
    path = results.path / name
    return list(csv.DictReader(read_text(path).splitlines(), delimiter="\t")) if path.is_file() else []


def _of_comparison(rows: list[dict[str, Any]]) -> list[Table]:
    ordered = sorted(rows, key=lambda row: (_value(row.get("p_corrected"), math.inf), _value(row.get("p"), math.inf)))
    shown = [
        [
            row["term"],
            row["measure"],
            row["n"],
            row["effect_kind"],
            _interval(row, "effect"),
            _short(row["p_corrected"]),
        ]
        for row in ordered[:MOST_ROWS]
    ]
    more = len(rows) - len(shown)
    note = f"{more} more rows are in the folder of results." if more > 0 else ""
    caption = "What differs between people? The smallest p first; corrected over measures"
    heads = ["term", "measure", "n", "effect", "size [95 % interval]", "p"]
    return [Table(caption, heads, shown, note)] if shown else []


def _of_prediction(rows: list[dict[str, Any]]) -> list[Table]:
    if not rows:
        return []
    name = "r" if "r" in rows[0] else "balanced_accuracy"
    shown = [
        [
            row["features"],
            row["n_features"],
            f"{number(_value(row[name]), 2)} [{number(_value(row['low']), 2)}, {number(_value(row['high']), 2)}]",
            _short(row["p"]),
            _short(row["p_of_gain"]),
        ]
        for row in rows
    ]
    heads = ["features", "numbers", f"{name.replace('_', ' ')} [95 % interval]", "p", "p of gain over static"]
    return [Table("Predictions of people who were not learnt from", heads, shown)]


def _interval(row: dict[str, Any], name: str) -> str:
    size, low, high = (number(_value(row[key]), 2) for key in (name, f"{name}_low", f"{name}_high"))
    return f"{size} [{low}, {high}]"


def _value(cell: str | None, otherwise: float = math.nan) -> float:
    try:
        return float(str(cell))
    except ValueError:
        return otherwise


def _short(cell: str) -> str:
    value = _value(cell)
    return f"{value:.3g}" if math.isfinite(value) else number(None)
