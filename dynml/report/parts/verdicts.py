"""Whether it is dynamics: the verdicts of dynml_check_model.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dynml.errors import DataError
from dynml.files import read_json
from dynml.report.parts.sections import Table
from dynml.report.results import ResultsFolder
from dynml.report.words import number

CHECK, LIST = "check", "verdicts.json"
DYNAMICS, QUESTION = "dynamics", "Is it dynamics?"
MARKS = {True: "holds", False: "does not hold"}
NOTE = "A check can only speak against a model; passing it is not a proof."


def verdict_tables(results: ResultsFolder) -> list[Table]:
    """All verdicts as a table, the one on dynamics first; [] for results of another kind.

    Raises
    ------
    DataError
        When the file of the verdicts is missing or is of another form.
    """
    if results.kind != CHECK:
        return []
    content = _verdicts(results)
    rows = [_row(name, one) for name, one in content.items()]
    return [Table("Verdicts", ["check", "verdict", "value", "against", "in words"], rows, NOTE)] if rows else []


def dynamics_in_short(results: Sequence[ResultsFolder]) -> list[tuple[str, str]]:
    """Question and answer of the verdict on dynamics, for the beginning of the page; [] without one.

    Raises
    ------
    DataError
        See `verdict_tables`.
    """
    checks = [_verdicts(one).get(DYNAMICS) for one in results if one.kind == CHECK]
    said = [str(one.get("sentence") or "") for one in checks if one is not None]
    return [(QUESTION, sentence.removeprefix(f"{QUESTION} ")) for sentence in said if sentence]


def _verdicts(results: ResultsFolder) -> dict[str, dict[str, Any]]:
    path = results.path / LIST
    content = read_json(path) if path.is_file() else None
    if not isinstance(content, dict) or not all(isinstance(one, dict) for one in content.values()):
        raise DataError(f"{path} must hold the verdicts of dynml_check_model.py, one object each.")
    return content


def _row(name: str, verdict: dict[str, Any]) -> list[str]:
    holds = verdict.get("holds")
    mark = MARKS[holds] if isinstance(holds, bool) else "not made"
    shown = [_shown(verdict.get(key)) for key in ("value", "reference")]
    return [name.replace("_", " "), mark, *shown, str(verdict.get("sentence") or "")]


def _shown(value: Any) -> str:
    return number(value, 3) if isinstance(value, (int, float)) and not isinstance(value, bool) else "-"
