"""Figure of predicted numbers beside the true ones.

Shapes: n trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dynml.plotting.style import FAINT, SMALL_TEXT_SIZE, name_axes, new_figure, plain_axes, put_title, state_colours

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NAMES = 12


def plot_predicted_numbers(
    truth: ArrayLike, predicted: ArrayLike, participants: Sequence[str], *, target: str, title: str | None = None
) -> Figure:
    """Draw each trial as a dot, in its participant's colour; on the grey line prediction and truth are equal.

    Parameters
    ----------
    truth, predicted : array, (n,)
    participants : sequence of n str
    target : str
    title : str, optional

    Returns
    -------
    Figure
    """
    truth, predicted, people = np.asarray(truth), np.asarray(predicted), np.asarray(participants)
    figure = new_figure(4.6, 3.6)
    axes = figure.subplots()
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    axes.plot(ends, ends, color=FAINT, linewidth=1.2, zorder=0)
    names = list(dict.fromkeys(participants))
    for name, colour in zip(names, state_colours(len(names))):
        own = people == name
        axes.plot(truth[own], predicted[own], "o", markersize=3.5, color=colour, alpha=0.7, label=name)
    name_axes(axes, f"True {target}", "Predicted")
    plain_axes(axes)
    if 1 < len(names) <= MOST_NAMES:
        axes.legend(fontsize=SMALL_TEXT_SIZE, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    put_title(figure, title)
    return figure
