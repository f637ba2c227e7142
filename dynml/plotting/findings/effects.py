"""Figure of effects with their intervals: one line a measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dynml.plotting.style import FAINT, PALETTE, SMALL_TEXT_SIZE, name_axes, new_figure, plain_axes, put_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    "d": "Effect (d, standard deviations)",
    "r": "Partial correlation",
    "eta2": "Partial share of variance (eta squared)",
}
LONGEST_NAME = 48


def plot_effects(
    names: Sequence[str],
    sizes: ArrayLike,
    intervals: ArrayLike,
    is_significant: Sequence[bool],
    *,
    kind: str = "d",
    title: str | None = None,
) -> Figure:
    """Draw effects with their intervals; those that differ are filled and coloured.

    Parameters
    ----------
    names : sequence of M str
    sizes : array, (M,)
    intervals : array, (M, 2)
        NaN where there is none.
    is_significant : sequence of M bool
    kind : {"d", "r", "eta2"}
    title : str, optional

    Returns
    -------
    Figure
    """
    from matplotlib.lines import Line2D

    values, ends = np.asarray(sizes, dtype=np.float64), np.asarray(intervals, dtype=np.float64)
    shown = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in names]
    figure = new_figure(4.2 + 0.06 * max(map(len, shown)), 1.5 + 0.2 * len(shown))
    axes = figure.add_subplot()
    axes.axvline(0.0, color=FAINT, linewidth=1.0, zorder=0)
    for position, (value, (low, high), found) in enumerate(zip(values, ends, is_significant)):
        colour = PALETTE[0] if found else "#777777"
        axes.plot([low, high], [position, position], color=colour, linewidth=1.4)
        axes.plot(value, position, "o", markersize=5, color=colour, markerfacecolor=colour if found else "white")
    axes.set_yticks(range(len(shown)), shown)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    name_axes(axes, LABELS[kind])
    plain_axes(axes)
    axes.tick_params(labelsize=SMALL_TEXT_SIZE + 1)
    handles = [
        Line2D([], [], color=PALETTE[0], marker="o", markersize=5, label="p ≤ 0.05, corrected over measures"),
        Line2D([], [], color="#777777", marker="o", markersize=5, markerfacecolor="white", label="p > 0.05"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=SMALL_TEXT_SIZE + 1, frameon=False)
    put_title(figure, title)
    return figure
