"""Figure of predictions of people: prediction beside truth, and scores of all sets of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dynml.plotting.style import FAINT, PALETTE, SMALL_TEXT_SIZE, name_axes, new_figure, plain_axes, put_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_predictions(
    names: Sequence[str],
    scores: ArrayLike,
    intervals: ArrayLike,
    *,
    truth: ArrayLike | None = None,
    predicted: ArrayLike | None = None,
    chance: float = 0.0,
    score_name: str = "Score",
    target: str = "target",
    title: str | None = None,
) -> Figure:
    """Draw scores with their intervals, and of numbers the predictions.

    Parameters
    ----------
    names : sequence of M str
        Sets of features.
    scores : array, (M,)
    intervals : array, (M, 2)
    truth, predicted : array, (N,), optional
        Of the best set.
    chance : float
        Score of no knowledge.
    score_name, target : str
    title : str, optional

    Returns
    -------
    Figure
    """
    n_panels = 1 if truth is None else 2
    figure = new_figure(3.8 * n_panels + 0.8, max(2.6, 1.2 + 0.3 * len(names)))
    panels = figure.subplots(1, n_panels, squeeze=False)[0]
    if truth is not None and predicted is not None:
        _draw_people(panels[0], np.asarray(truth), np.asarray(predicted), target)
    axes = panels[-1]
    axes.axvline(chance, color=FAINT, linewidth=1.0, zorder=0)
    for position, (value, (low, high)) in enumerate(zip(np.asarray(scores), np.asarray(intervals))):
        axes.plot([low, high], [position, position], color=PALETTE[0], linewidth=1.4)
        axes.plot(value, position, "o", markersize=5, color=PALETTE[0])
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    of_none = f"{chance:.2g}, chance" if chance else "0"  # with few people, r of no knowledge lies below 0
    name_axes(axes, f"{score_name}; grey: {of_none}")
    plain_axes(axes)
    axes.tick_params(labelsize=SMALL_TEXT_SIZE + 1)
    put_title(figure, title)
    return figure


def _draw_people(axes: Axes, truth: np.ndarray, predicted: np.ndarray, target: str) -> None:
    axes.plot(truth, predicted, "o", markersize=3.5, color=PALETTE[0], alpha=0.7)
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    axes.plot(ends, ends, color=FAINT, linewidth=1.0, zorder=0)
    name_axes(axes, target, "Predicted, mean over repeats")
    plain_axes(axes)
