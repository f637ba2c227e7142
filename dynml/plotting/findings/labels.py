"""Figure of how well labels are told that trials may have several of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from dynml.plotting.style import FAINT, PALETTE, SMALL_TEXT_SIZE, name_axes, new_figure, plain_axes, put_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHANCE = 0.5
INCHES_PER_LABEL = 0.28
MARKERS = ("x", "+", "|")


def plot_labels(
    areas: Mapping[str, float | None],
    baselines: Mapping[str, Mapping[str, float | None]],
    *,
    title: str | None = None,
) -> Figure:
    """Draw the area under the ROC curve of each label as a dot, those of baselines as marks, and chance as a line.

    A baseline that is at chance of all labels has no marks.

    Parameters
    ----------
    areas : mapping of label to number
        None where there is no curve.
    baselines : mapping of name to such mappings
    title : str, optional

    Returns
    -------
    Figure
    """
    figure = new_figure(5.0, 1.6 + INCHES_PER_LABEL * len(areas))
    axes = figure.subplots()
    rows = np.arange(len(areas))[::-1]
    axes.axvline(CHANCE, color=FAINT, linewidth=1.2, zorder=0)
    marked = {name: own for name, own in baselines.items() if set(own.values()) - {None, CHANCE}}
    for (name, own), colour, marker in zip(marked.items(), PALETTE[1:], MARKERS):
        axes.plot(_known(own, areas), rows, marker, color=colour, markersize=7, label=name.replace("_", " "))
    axes.plot(_known(areas, areas), rows, "o", color=PALETTE[0], markersize=6, label="decoder")
    axes.set_yticks(rows, list(areas))
    axes.set_ylim(-0.6, len(areas) - 0.4)
    name_axes(axes, "Area under the ROC curve", "")
    plain_axes(axes)
    axes.legend(fontsize=SMALL_TEXT_SIZE, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    put_title(figure, title)
    return figure


def _known(areas: Mapping[str, float | None], labels: Mapping[str, float | None]) -> list[float]:
    found = (areas.get(label) for label in labels)
    return [float("nan") if value is None else value for value in found]
