"""Two logs against one another: a point an epoch, a colour an experiment, fits, and what the numbers say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynml.analysis.log_correlation import LogCorrelation, polynomial_fit
from dynml.plotting.logs import plain_text
from dynml.plotting.style import FAINT, INK, SMALL_TEXT_SIZE, TEXT_SIZE, new_figure, plain_axes, state_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAUTION = (
    "Epochs of a run follow on one another: n counts more than there is to learn from, and p is too small. "
    "r of differences is that of the steps from epoch to epoch, in which slow trends weigh less."
)
LETTERS = 115
"""That fit beside one another into the legend."""
ORDERS = {1: "-", 2: "--"}


@dataclass(frozen=True, kw_only=True)
class CorrelationSettings:
    """What is drawn beside the points."""

    orders: tuple[int, ...] = ()
    """Orders of the fits: 1 straight lines, 2 parabolas."""
    individual_logs: bool = False
    """Two more panels with each log over epochs."""
    xlim: tuple[float, float] | None = None
    ylim: tuple[float, float] | None = None
    title: str | None = None


def plot_log_correlation(
    correlations: Sequence[LogCorrelation], logs: tuple[str, str], settings: CorrelationSettings | None = None
) -> Figure:
    """Draw two logs against one another.

    Parameters
    ----------
    correlations : sequence of LogCorrelation
        Those of experiments are drawn; those over all experiments stand below the title.
    logs : (str, str)
        Names of x and y in the figure.
    settings : CorrelationSettings, optional
    """
    settings = settings or CorrelationSettings()
    own = [found for found in correlations if found.level == "experiment"]
    rows = (len(own) + 1) * (1 + len(settings.orders))
    figure = new_figure(8.0, 5.0 + 0.18 * rows + (3.4 if settings.individual_logs else 0.0))
    axes, *more = _panels(figure, individual_logs=settings.individual_logs)
    for found, colour in zip(own, state_colours(len(own))):
        label = plain_text(words_on(found), LETTERS)
        axes.plot(found.pairs.x, found.pairs.y, ".", color=colour, markersize=6, label=label)
        _draw_fits(axes, found, colour, settings.orders)
        for panel, values in zip(more, (found.pairs.x, found.pairs.y)):
            panel.plot(found.pairs.epochs, values, color=colour, linewidth=1.4, marker=".", markersize=3)
    _draw_pooled_fits(axes, correlations, settings.orders)
    _label(axes, logs, settings)
    for panel, log in zip(more, logs):
        panel.set_title(plain_text(log, 45), loc="left", fontsize=TEXT_SIZE, color=INK)
        panel.set_xlabel("Epoch")
    for panel in (axes, *more):
        plain_axes(panel)
        panel.ticklabel_format(useOffset=False)
        panel.grid(color=FAINT, linewidth=0.5)
        panel.set_axisbelow(True)
    lines = [settings.title or f"{logs[1]} against {logs[0]}"]
    lines += [words_on(found) for found in correlations if found.level != "experiment"]
    title = "\n".join(plain_text(line, 85) for line in lines)
    figure.suptitle(title, fontsize=TEXT_SIZE + 1, color=INK, linespacing=1.4)
    _add_legend(figure)
    return figure


def words_on(found: LogCorrelation) -> str:
    """One line on a correlation: its name, r, p, n, and r of the differences, or why there is none."""
    if found.sentence:
        return f"{found.name}: no r ({found.sentence})"
    return (
        f"{found.name}: r = {found.r:.3f}, {words_on_p(found.p)}, n = {found.n}; "
        f"r of differences = {_number(found.r_of_differences)}"
    )


def words_on_p(p: float) -> str:
    """Write a p-value; one below what a float can hold is not zero."""
    return f"p = {p:.2g}" if p > 0 else "p < 1e-300"


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.3f}"


def _add_legend(figure: Figure) -> None:
    legend = figure.legend(
        loc="outside lower left",
        fontsize=SMALL_TEXT_SIZE + 1,
        frameon=False,
        labelcolor=INK,
        title=plain_text(CAUTION, LETTERS),
        title_fontsize=SMALL_TEXT_SIZE,
        alignment="left",
    )
    legend.get_title().set_color(INK)


def _panels(figure: Figure, *, individual_logs: bool) -> list[Axes]:
    if not individual_logs:
        return [figure.add_subplot()]
    grid = figure.add_gridspec(2, 2, height_ratios=(1.6, 1.0))
    return [figure.add_subplot(grid[0, :]), figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])]


def _draw_fits(axes: Axes, found: LogCorrelation, colour: str, orders: Sequence[int], width: float = 1.0) -> None:
    for order in orders:
        fit = polynomial_fit(found.pairs.x, found.pairs.y, order) if not found.sentence else None
        if fit is None:
            continue
        x = np.linspace(found.pairs.x.min(), found.pairs.x.max(), 200)
        words = f"{found.name}: {'straight line' if order == 1 else 'parabola'}, MSE {fit.mean_squared_error:.3g}"
        style, label = ORDERS[order], plain_text(words, LETTERS)
        axes.plot(x, fit.polynomial(x), color=colour, linestyle=style, linewidth=width, label=label)


def _draw_pooled_fits(axes: Axes, correlations: Sequence[LogCorrelation], orders: Sequence[int]) -> None:
    for found in correlations:
        if found.level == "pooled":
            _draw_fits(axes, found, INK, orders, 1.8)


def _label(axes: Axes, logs: tuple[str, str], settings: CorrelationSettings) -> None:
    axes.set_xlabel(plain_text(logs[0], 85))
    axes.set_ylabel(plain_text(logs[1], 50))
    if settings.xlim is not None:
        axes.set_xlim(settings.xlim)
    if settings.ylim is not None:
        axes.set_ylim(settings.ylim)
