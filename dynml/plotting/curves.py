"""Figures of training: the free energy over iterations, beside its baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dynml.plotting.style import INK, PALETTE, SMALL_TEXT_SIZE, TEXT_SIZE, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BaselineValues = Mapping[str, "float | Mapping[str, float | None] | None"]
MARKERS = ("D", "s", "P", "X", "p", "h")
MARGIN, FLATTENED, STEP_OF_ARROWS = 0.08, 4.0, 0.03
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
    """Draw curves over epochs, with a mark at the best epoch and a mark at the right border for each baseline.

    The axis has the range of the curves: a baseline beyond it is an arrow at the border.

    Parameters
    ----------
    curves : mapping
        Name (training, validation) to one value per epoch, in nats per sample; NaN where there is none.
    baselines : mapping, optional
        Name to its value, or to the values by curve as in summary.json ({"gaussian": {"training": .., "validation":
        ..}}); a mark by curve has that curve's colour. None and NaN are left out.
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
    axes.set_xlim(0.5, max([1, *(len(np.asarray(values)) for values in curves.values())]) + 0.5)
    limits = _own_limits(list(curves.values()))
    if limits is not None:
        axes.set_ylim(limits)
    _mark_baselines(axes, baselines or {}, colours)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.grid(True, color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.suptitle(
        title or f"{y_label.partition(' (')[0]} over epochs", size=TEXT_SIZE + 1, color=INK, x=0.01, ha="left"
    )
    plain_axes(axes)
    figure.legend(loc="outside right upper", fontsize=SMALL_TEXT_SIZE + 1, frameon=False, handlelength=2.6)
    return figure


def _own_limits(curves: Sequence[ArrayLike]) -> tuple[float, float] | None:
    """Range of the curves with a margin, but for first epochs that would flatten all later ones."""
    arrays = [np.asarray(values, dtype=np.float64) for values in curves]
    every = [values[np.isfinite(values)] for values in arrays]
    later = [values[len(values) // 10 :] for values in every]
    if not any(len(values) for values in every):
        return None
    low, high = (float(choose(np.concatenate(every))) for choose in (np.min, np.max))
    low_later, high_later = (float(choose(np.concatenate(later))) for choose in (np.min, np.max))
    if high - low > FLATTENED * (high_later - low_later) > 0:
        low, high = low_later, high_later
    margin = MARGIN * (high - low) or MARGIN * max(abs(high), 1.0)
    return low - margin, high + margin


def _mark_baselines(axes: Axes, baselines: BaselineValues, colours: Mapping[str, str]) -> None:
    """Put a mark at the right border for each baseline; an arrow where it lies beyond the axis."""
    bottom, top = axes.get_ylim()
    n_outside = {"^": 0, "v": 0}
    for position, (name, given) in enumerate(baselines.items()):
        by_curve = given if isinstance(given, Mapping) else {"": given}
        for curve, value in by_curve.items():
            if value is None or not np.isfinite(value):
                continue
            words = name.replace("_", " ") + (f", {curve}" if curve else "")
            colour = colours.get(curve, INK)
            across, shown, marker = 1.0, float(value), MARKERS[position % len(MARKERS)]
            if bottom <= value <= top:
                axes.axhline(value, color=colour, linestyle=":", linewidth=0.9, label="_within")
            else:
                marker, shown = ("^", top) if value > top else ("v", bottom)
                # Side by side, so that several are seen.
                across -= STEP_OF_ARROWS * n_outside[marker]
                n_outside[marker] += 1
                words += " (beyond the axis)"
            axes.plot(
                [across],
                [shown],
                marker=marker,
                color=colour,
                markersize=7,
                markeredgecolor="white",
                markeredgewidth=0.6,
                linestyle="None",
                transform=axes.get_yaxis_transform(),
                clip_on=False,
                zorder=4,
                label=f"{words}: {value:.3f}",
            )
