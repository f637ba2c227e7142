"""Logs of experiments over epochs: one panel a graph, one colour per experiment, one line style a log."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynml.analysis.log_expressions import LogExpression
from dynml.analysis.log_reading import ExperimentLogs
from dynml.plotting.curves import LINE_STYLES
from dynml.plotting.log_limits import (
    AxisSettings,
    Curve,
    Limits,
    limits_of_x,
    limits_of_y,
    shown_part,
    words_on_outside,
)
from dynml.plotting.style import FAINT, INK, SMALL_TEXT_SIZE, TEXT_SIZE, new_figure, plain_axes, state_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES: tuple[Any, ...] = ("-", *LINE_STYLES)
LETTERS_PER_INCH = 12.0
"""Of the small text; that of titles is a fifth wider."""


@dataclass(frozen=True, kw_only=True)
class LogGraph:
    """One panel: a title, and one or several logs in one pair of axes."""

    title: str
    expressions: tuple[LogExpression, ...]
    ylims: Limits | None = None


def plot_logs(
    experiments: Sequence[ExperimentLogs],
    graphs: Sequence[LogGraph],
    settings: AxisSettings | None = None,
    *,
    title: str | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Draw one panel for each graph.

    Parameters
    ----------
    experiments : sequence of ExperimentLogs
        An experiment that lacks a log is left out of that curve.
    graphs : sequence of LogGraph
        From top to bottom; at most six logs in each.
    settings : AxisSettings, optional
    title : str, optional
        Default: how many experiments, and which of them still run.
    size : (float, float), optional
        Width and height in inches.

    Returns
    -------
    Figure
        A dot on every curve marks the experiment's best epoch.
    """
    settings = settings or AxisSettings()
    figure = new_figure(*(size or _default_size(experiments, len(graphs))))
    panels = figure.subplots(len(graphs), 1, squeeze=False, sharex=True)[:, 0]
    colours = state_colours(len(experiments))
    curves = [_curves_of(graph, experiments) for graph in graphs]
    for axes, graph, own in zip(panels, graphs, curves):
        _draw_panel(axes, graph, experiments, own, colours, settings)
    drawn = sorted({position for own in curves for position, _ in own})
    panels[-1].set_xlim(limits_of_x([curve for own in curves for curve in own.values()], settings))
    panels[-1].set_xlabel("Epoch" if all(one.kept for one in experiments) else "Epoch (dot: best)")
    for axes in panels:
        plain_axes(axes)
    figure.suptitle(
        plain_text(
            title or default_title([experiments[number] for number in drawn] or experiments), _letters(figure, 1.2)
        ),
        fontsize=TEXT_SIZE + 1,
        color=INK,
    )
    # An experiment that has none of these logs has no line here; its colour stays its own on other figures.
    if drawn:
        _add_legend(figure, [experiments[number] for number in drawn], [colours[number] for number in drawn])
    return figure


def default_title(experiments: Sequence[ExperimentLogs]) -> str:
    """Say what is compared, and what still runs."""
    running = [experiment.name for experiment in experiments if experiment.running]
    if len(experiments) == 1:
        return f"Logs of {experiments[0].name}" + (" (running)" if running else "")
    words = f"running: {running[0]}" if len(running) == 1 else f"{len(running)} of them running"
    return f"Logs of {len(experiments)} experiments" + (f" ({words})" if running else "")


def legend_name(experiment: ExperimentLogs) -> str:
    """Name of an experiment with its best epoch, or with what is kept, to the first comma, where there is none."""
    if experiment.kept:
        return f"{experiment.name} ({'running; ' * experiment.running}kept: {experiment.kept.partition(',')[0]})"
    best = "best epoch unknown" if experiment.best_epoch is None else f"best epoch {experiment.best_epoch}"
    return f"{experiment.name} (running; {best} so far)" if experiment.running else f"{experiment.name} ({best})"


def plain_text(text: str, width: int) -> str:
    """Text for a figure: in lines of at most `width` letters, dollar signs as themselves."""
    return "\n".join(textwrap.wrap(text, max(width, 12)) or [""]).replace("$", r"\$")


def _default_size(experiments: Sequence[ExperimentLogs], n_panels: int) -> tuple[float, float]:
    width = 8.0
    names = [legend_name(experiment) for experiment in experiments]
    rows = -(-len(names) // _legend_columns(names, int(width * LETTERS_PER_INCH)))
    return width, 0.8 + 0.18 * rows + 2.3 * n_panels


def _legend_columns(names: Sequence[str], room: int) -> int:
    return max(1, min(len(names), room // (max(map(len, names)) + 8)))


def _curves_of(graph: LogGraph, experiments: Sequence[ExperimentLogs]) -> dict[tuple[int, int], Curve]:
    """Curves of one panel by (position of the experiment, position of the log)."""
    curves = {}
    for position, experiment in enumerate(experiments):
        for style, expression in enumerate(graph.expressions):
            if not expression.missing_in(experiment.logs):
                values = expression.values(experiment.logs)
                curves[position, style] = (np.arange(1, len(values) + 1), values)
    return curves


def _draw_panel(
    axes: Axes,
    graph: LogGraph,
    experiments: Sequence[ExperimentLogs],
    curves: dict[tuple[int, int], Curve],
    colours: Sequence[str],
    settings: AxisSettings,
) -> None:
    from matplotlib.ticker import MaxNLocator

    for (position, style), curve in curves.items():
        label = experiments[position].name
        if len(graph.expressions) > 1:
            label += f": {graph.expressions[style].text}"
        _draw_curve(axes, curve, colours[position], STYLES[style], label)
        _mark_best(axes, curve, experiments[position].best_epoch, colours[position])
    limits = limits_of_y(list(curves.values()), settings, graph.ylims)
    _scale_y(axes, limits, settings)
    for (position, _), curve in curves.items():
        _mark_outside(axes, curve, colours[position], limits, settings)
    axes.grid(color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _write_titles(axes, graph.title, words_on_outside(list(curves.values()), settings, limits))
    if len(graph.expressions) > 1:
        _add_styles(axes, graph)


def _draw_curve(axes: Axes, curve: Curve, colour: str, style: Any, label: str) -> None:
    """Draw a line that is broken where there is no value; a value between two gaps is a point."""
    epochs, values = curve
    finite = np.isfinite(values)
    alone = finite & ~np.r_[False, finite[:-1]] & ~np.r_[finite[1:], False]
    axes.plot(
        epochs,
        np.where(finite, values, np.nan),
        color=colour,
        linestyle=style,
        linewidth=1.4,
        marker=".",
        markevery=np.flatnonzero(alone).tolist(),
        label=label,
    )


def _mark_best(axes: Axes, curve: Curve, best: int | None, colour: str) -> None:
    values = curve[1]
    if best is not None and 1 <= best <= len(values) and np.isfinite(values[best - 1]):
        axes.plot(best, values[best - 1], "o", color=colour, markeredgecolor="white", markersize=6, zorder=3)


def _mark_outside(axes: Axes, curve: Curve, colour: str, limits: Limits | None, settings: AxisSettings) -> None:
    """Put small arrows at the border where points lie beyond it."""
    epochs, values = shown_part(curve, settings)
    if limits is None:
        return
    for outside, border, marker in ((values > limits[1], limits[1], "^"), (values < limits[0], limits[0], "v")):
        if outside.any():
            at = np.full(int(outside.sum()), border)
            axes.plot(epochs[outside], at, marker, color=colour, markersize=4, clip_on=False, label="_outside")


def _scale_y(axes: Axes, limits: Limits | None, settings: AxisSettings) -> None:
    if settings.log_scale and limits is not None:
        axes.set_yscale("log", nonpositive="mask")
        _label_log_axis(axes, limits)
    else:
        axes.ticklabel_format(axis="y", useOffset=False)
    if limits is not None:
        axes.set_ylim(limits)
        if limits[0] < 0 < limits[1]:
            axes.axhline(0.0, color=INK, linewidth=0.6, zorder=1, label="_zero")


def _label_log_axis(axes: Axes, limits: Limits) -> None:
    """Within less than a decade, label a logarithmic axis by plain numbers: powers of ten would hardly occur."""
    from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator, ScalarFormatter

    if limits[1] < 10 * limits[0]:
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _write_titles(axes: Axes, title: str, note: str) -> None:
    figure = axes.get_figure(root=True)
    assert figure is not None
    room = _letters(figure, 1.4) - len(note)
    axes.set_title(plain_text(title, room), loc="left", fontsize=TEXT_SIZE, color=INK)
    if note:
        axes.set_title(note, loc="right", fontsize=SMALL_TEXT_SIZE, color=INK)


def _add_styles(axes: Axes, graph: LogGraph) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=INK, linewidth=1.4, linestyle=style, label=plain_text(expression.in_words, 24))
        for expression, style in zip(graph.expressions, STYLES)
    ]
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        fontsize=SMALL_TEXT_SIZE,
        frameon=False,
        handlelength=3.0,
        labelcolor=INK,
    )


def _add_legend(figure: Figure, experiments: Sequence[ExperimentLogs], colours: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    names = [legend_name(experiment) for experiment in experiments]
    room = _letters(figure)
    handles = [
        Line2D([], [], color=colour, linewidth=2.0, label=plain_text(name, room))
        for name, colour in zip(names, colours)
    ]
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=_legend_columns(names, room),
        fontsize=SMALL_TEXT_SIZE + 1,
        frameon=False,
        labelcolor=INK,
    )


def _letters(figure: Figure, width: float = 1.0) -> int:
    """How many letters fit beside one another on a figure, of `width` times the small text."""
    return int(figure.get_figwidth() * LETTERS_PER_INCH / width)
