"""Figures of training: the free energy over iterations, beside its baselines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dynml.plotting.style import INK, PALETTE, SMALL_TEXT_SIZE, TEXT_SIZE, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BaselineValues = Mapping[str, "float | Mapping[str, float | None] | None"]
LINE_STYLES = ("--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))


def plot_free_energy(
    curves: Mapping[str, ArrayLike],
    baselines: BaselineValues | None = None,
    *,
    best_epoch: int | None = None,
    title: str | None = None,
    x_label: str = "Epoch",
    y_label: str = "Free energy (nats per sample)",
) -> Figure:
    """Draw curves over epochs, with one horizontal line a baseline and a mark at the best epoch.

    Parameters
    ----------
    curves : mapping
        Name (training, validation) to one value an epoch, in nats per sample; NaN where there is none.
    baselines : mapping, optional
        Name to its value, or to the values by curve as in summary.json ({"gaussian": {"training": .., "validation":
        ..}}); a line by curve has that curve's colour. None and NaN are left out.
    best_epoch : int, optional
        Counted from 1.
    title, x_label, y_label : str, optional

    Returns
    -------
    Figure
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(8.0, 4.2)
    axes = figure.add_subplot()
    colours = dict(zip(curves, PALETTE))
    for name, values in curves.items():
        values = np.asarray(values, dtype=np.float64)
        epochs = np.arange(1, len(values) + 1)
        axes.plot(epochs, values, color=colours[name], linewidth=1.8, marker=".", markersize=4, label=name)
        if best_epoch is not None and 1 <= best_epoch <= len(values) and np.isfinite(values[best_epoch - 1]):
            value = values[best_epoch - 1]
            label = f"{name} at the best epoch ({best_epoch}): {value:.3f}"
            axes.plot(best_epoch, value, "o", color=colours[name], markeredgecolor="white", markersize=8, label=label)
    _draw_baselines(axes, baselines or {}, colours)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.grid(True, color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(title, size=TEXT_SIZE + 1, color=INK, loc="left")
    plain_axes(axes)
    figure.legend(loc="outside right upper", fontsize=SMALL_TEXT_SIZE + 1, frameon=False, handlelength=2.6)
    return figure


def _draw_baselines(axes: Axes, baselines: BaselineValues, colours: Mapping[str, str]) -> None:
    for position, (name, given) in enumerate(baselines.items()):
        by_curve = given if isinstance(given, Mapping) else {"": given}
        for curve, value in by_curve.items():
            if value is None or not np.isfinite(value):
                continue
            words = name.replace("_", " ") + (f", {curve}" if curve else "")
            axes.axhline(
                value,
                color=colours.get(curve, INK),
                linestyle=LINE_STYLES[position % len(LINE_STYLES)],
                linewidth=1.2,
                label=f"{words}: {value:.3f}",
            )
