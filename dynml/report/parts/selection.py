"""The part of a page on a selection: its verdict, and the settings that were tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynml.report.parts.sections import Part, Table
from dynml.report.results import ResultsFolder

SELECTION, MOST_ROWS = "selection", 40


def selection_part(results: ResultsFolder) -> Part:
    """Settings, best first, by the summary of dynml_select_model.py."""
    settings = results.summary.get("settings")
    if results.kind != SELECTION or not isinstance(settings, list) or not settings:
        return Part()
    keys = list(settings[0]["settings"])
    heads = [*(key.partition(".")[2].replace("_", " ") for key in keys), "score", "difference", "AIC", "BIC"]
    rows = [
        [
            *(str(one["settings"][key]) for key in keys),
            _number(one["score"]["mean"]),
            _with_interval(one["difference_from_best_ranked"]),
            *(_number(one.get(name)) for name in ("aic", "bic")),
            *(_similarity(one["reproducibility"].get(name)) for name in ("seeds", "split_halves")),
        ]
        for one in settings[:MOST_ROWS]
    ]
    best = next(
        (position for position, one in enumerate(settings) if one["settings"] == results.summary.get("best")), None
    )
    caption = f"{results.summary.get('score')} by setting, best first; the chosen one stands out"
    note = "Differences from the best-ranked, with 95 % intervals. Similarity of runs, and what shifted labels give."
    shown = None if best is None or best >= MOST_ROWS else best
    return Part([Table(caption, [*heads, "seeds", "halves"], rows, note=note, marked=shown)])


def _with_interval(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return _number(found["mean"])
    return f"{_number(found['mean'])} ({_number(found['low'])} to {_number(found['high'])})"


def _similarity(found: Mapping[str, Any] | None) -> str:
    return "" if found is None else f"{found['similarity']:.2f} ({found['shifted']:.2f})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"
