"""Tables and picture of the page's part on a decoder of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynml.report.figures import plot_scores
from dynml.report.parts.sections import Part, Table, cut
from dynml.report.pictures import picture_of_figure
from dynml.report.words import SQUARED_ERROR, baseline, counted


def numbers_part(metrics: Mapping[str, Any]) -> Part:
    """R^2 beside that of the baselines, and R^2 and correlation by participant."""
    people = metrics.get("per_participant") or {}
    known = {name: one["correlation"] for name, one in people.items() if one["correlation"] is not None}
    pictures = []
    if known:
        figure = plot_scores({str(metrics["subset"]): known}, "correlation by participant", {"no knowledge": 0.0})
        own = list(known.values())
        alt = f"Correlation by participant: {min(own):.2f} to {max(own):.2f} in {len(own)} participants"
        pictures.append(picture_of_figure(figure, alt))
    return Part([_beside_baselines(metrics), *_by_participant(people)], pictures)


def found_in_numbers(metrics: Mapping[str, Any]) -> str:
    """How well numbers are predicted, in a sentence."""
    trials = counted(metrics["n_trials"], f"{metrics['subset']} trial")
    begin = (
        f"It explains {_value(metrics['r_squared'])} of the variance (R²) of {metrics['target']} in {trials} of "
        f"{counted(metrics['n_participants'], 'participant')}; truth and prediction correlate by "
        f"{_value(metrics['correlation'])}"
    )
    chance = (metrics.get("permutation") or {}).get("r_squared")
    begin += "" if chance is None else f"; with permuted numbers R² is {_value(chance['mean'])} (p {chance['p']:.2g})"
    rivals = {name: one["r_squared"] for name, one in (metrics.get("baselines") or {}).items()}
    scored = {name: value for name, value in rivals.items() if value is not None}
    if not scored or metrics["r_squared"] is None:
        return f"{begin}."
    best = max(scored, key=scored.__getitem__)
    verb = "more than" if metrics["r_squared"] > scored[best] else "no more than"
    return f"{begin}; this is {verb} its best baseline ({baseline(best, SQUARED_ERROR)}: {_value(scored[best])})."


def _beside_baselines(metrics: Mapping[str, Any]) -> Table:
    rows = [["this decoder", _value(metrics["r_squared"]), "", ""]]
    for name, one in (metrics.get("baselines") or {}).items():
        interval = one.get("difference_interval")
        between = "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
        rows.append([baseline(name, SQUARED_ERROR), _value(one["r_squared"]), f"{one['difference']:+.3f}", between])
    heads = ["", "R²", "decoder better by", "95 % interval"]
    return Table(f"The decoder beside its baselines, {metrics['subset']} trials", heads, rows, marked=0)


def _by_participant(people: Mapping[str, Any]) -> list[Table]:
    rows = [
        [name, str(one["n_trials"]), _value(one["r_squared"]), _value(one["correlation"])]
        for name, one in people.items()
    ]
    heads = ["participant", "trials", "R²", "correlation"]
    return [cut(Table("R² and correlation by participant", heads, rows))] if rows else []


def _value(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
