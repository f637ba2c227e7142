"""The figure of a selection: held-out scores over settings, differences from the best, and how well runs agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynml.plotting.style import INK, PALETTE, SMALL_TEXT_SIZE, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Interval = tuple[float, float, float]
"""Value, low, high."""
LINE_STYLES = ("--", ":", "-.")
STATIONARY = {
    "stationary_var": (INK, "gain as of a stationary VAR"),
    "phase_randomized": ("#999999", "gain as with random phases"),
}
"""Baselines that one setting has: colours and words."""
MARKERS = ("o", "s", "D", "^", "v", "P", "X")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One setting as it is drawn."""

    settings: Mapping[str, Any]
    score: Interval
    difference: Interval
    """From the best-ranked setting, paired by person."""

    baselines: Mapping[str, float]
    is_chosen: bool
    is_not_worse: bool
    seeds: Interval | None = None
    """Similarity of runs, and the interval of shifted labels."""

    halves: Interval | None = None


def plot_selection(points: Sequence[Point], *, label: str) -> Figure:
    """Draw three panels, one above the other, over the first setting that is numeric, with a line for each other one.

    Parameters
    ----------
    points : sequence of Point
    label : str
        Of the score, with its units.

    Returns
    -------
    Figure
    """
    has_agreement = any(point.seeds or point.halves for point in points)
    figure = new_figure(8.0, 7.2 if has_agreement else 5.2)
    panels = figure.subplots(3 if has_agreement else 2, 1, sharex=True)
    key = _numeric_key(points)
    lines = _lines(points, key)
    names = [_words(point.settings) for point in points]
    for number, (name, own) in enumerate(lines.items()):
        positions = [float(point.settings[key]) if key else float(names.index(_words(point.settings))) for point in own]
        _draw_line(panels, own, positions, name, number)
    _finish(panels, points, key, names, label)
    return figure


def _numeric_key(points: Sequence[Point]) -> str | None:
    """The setting along the axis: the numeric one with the most values."""
    found: dict[str, set[Any]] = {}
    for point in points:
        for key, value in point.settings.items():
            found.setdefault(key, set()).add(value if isinstance(value, (int, float, str)) else repr(value))
    numeric = {
        key: values
        for key, values in found.items()
        if len(values) > 1 and all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in values)
    }
    return max(numeric, key=lambda key: len(numeric[key])) if numeric else None


def _lines(points: Sequence[Point], key: str | None) -> dict[str, list[Point]]:
    if key is None:
        return {"": list(points)}
    lines: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda one: float(one.settings[key])):
        others = {name: value for name, value in point.settings.items() if name != key}
        lines.setdefault(_words(others), []).append(point)
    return dict(sorted(lines.items()))


def _draw_line(
    panels: Sequence[Axes], points: Sequence[Point], positions: Sequence[float], name: str, number: int
) -> None:
    colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
    for axes, values in ((panels[0], [one.score for one in points]), (panels[1], [one.difference for one in points])):
        errors = [
            [_finite(value - low) for value, low, _ in values],
            [_finite(high - value) for value, _, high in values],
        ]
        axes.errorbar(
            positions, [value for value, _, _ in values], errors, color=colour, marker=marker, markersize=4,
            linewidth=1.4, capsize=2, elinewidth=0.9, label=name or "model",
        )  # fmt: skip
    of_all = [baseline for baseline in points[0].baselines if not baseline.startswith(tuple(STATIONARY))]
    for style, baseline in zip(LINE_STYLES, of_all):
        of_baseline = [point.baselines.get(baseline, math.nan) for point in points]
        words = baseline.replace("_", " ") + (f", {name}" if name else "")
        panels[0].plot(positions, of_baseline, color=colour, linestyle=style, linewidth=1.1, label=words)
    for position, point in zip(positions, points):
        _draw_stationary(panels[0], position, point)
        if point.is_not_worse:
            panels[1].plot(position, point.difference[0], marker, color=colour, markersize=8, fillstyle="none")
        if point.is_chosen:
            for axes in panels:
                axes.axvline(position, color=INK, linewidth=0.8, linestyle=":", zorder=0)
            panels[0].plot(position, point.score[0], "*", color=INK, markersize=13, label="chosen", linestyle="None")
    if len(panels) > 2:
        _draw_agreement(panels[2], points, positions, name, colour, marker)


def _draw_stationary(axes: Axes, position: float, point: Point) -> None:
    """Bars where the setting would be if it gained no more than of data without states."""
    for baseline, (colour, words) in STATIONARY.items():
        if baseline in point.baselines:
            axes.plot(
                position, point.baselines[baseline], "_", color=colour, markersize=18, markeredgewidth=2.4, label=words,
            )  # fmt: skip


def _draw_agreement(
    axes: Axes, points: Sequence[Point], positions: Sequence[float], name: str, colour: str, marker: str
) -> None:
    kinds = (
        ("between seeds", "-", [one.seeds for one in points]),
        ("between halves", "--", [one.halves for one in points]),
    )
    for words, style, found in kinds:
        known = [(position, *one) for position, one in zip(positions, found) if one is not None]
        if not known:
            continue
        at, similarity, low, high = zip(*known)
        axes.plot(
            at,
            similarity,
            style,
            color=colour,
            marker=marker,
            markersize=4,
            label=f"{words}{f', {name}' if name else ''}",
        )
        axes.vlines(at, low, high, color=colour, linewidth=4, alpha=0.35)


def _finish(panels: Sequence[Axes], points: Sequence[Point], key: str | None, names: Sequence[str], label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    panels[0].set_ylabel(label.replace(" (", "\n("))
    panels[1].set_ylabel("Difference from\nthe best-ranked")
    panels[1].axhline(0.0, color=INK, linewidth=0.8)
    if len(panels) > 2:
        panels[2].set_ylabel("Similarity of runs\n(bars: shifted)")
        panels[2].set_ylim(0.0, 1.02)
    last = panels[-1]
    if key is None:
        last.set_xticks(range(len(names)), names, rotation=30, ha="right")
    else:
        last.set_xlabel(key.partition(".")[2].replace("_", " "))
        values = [float(point.settings[key]) for point in points]
        if all(value.is_integer() for value in values):
            last.xaxis.set_major_locator(MaxNLocator(integer=True))
        elif min(values) > 0 and max(values) > 20 * min(values):
            last.set_xscale("log")
    for axes in panels:
        plain_axes(axes)
        axes.yaxis.grid(True, color="#EEEEEE", linewidth=0.8)
        axes.set_axisbelow(True)
        if axes is not panels[1]:
            axes.legend(fontsize=SMALL_TEXT_SIZE, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.partition('.')[2]} {value}" for name, value in settings.items())


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
