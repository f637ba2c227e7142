"""Figures of matrices: the states' covariances or correlations, and the transition probabilities.

Shapes: C channels, K states.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.plotting.style import INK, SMALL_TEXT_SIZE, TEXT_SIZE, names_of_states, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMED_CHANNELS = 40
"""With more channels than this their names would be too small to read; numbers stand instead."""


def plot_covariances(
    covariances: ArrayLike,
    channel_names: Sequence[str] | None = None,
    *,
    as_correlations: bool = False,
    state_names: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw one matrix a state, all on one colour scale that is symmetric around zero.

    Parameters
    ----------
    covariances : array, (K, C, C)
    channel_names : sequence of C names, optional
    as_correlations : bool
        Divide by the standard deviations; the scale then reaches as far as the largest correlation of two channels.
    state_names : sequence of K names, optional
    title : str, optional

    Returns
    -------
    Figure
    """
    matrices = np.asarray(covariances, dtype=np.float64)
    n_states, n_channels = matrices.shape[:2]
    assert channel_names is None or len(channel_names) == n_channels, (channel_names, n_channels)
    if as_correlations:
        matrices = _correlations(matrices)
    limit = _limit(matrices, as_correlations)
    borders = (0.5, n_channels + 0.5)
    n_columns = n_states if n_states <= 3 else math.ceil(n_states / math.ceil(n_states / 4))
    n_rows = math.ceil(n_states / n_columns)
    named = channel_names is not None and n_channels <= MOST_NAMED_CHANNELS
    side = 2.2 if not named else max(2.2, 0.115 * n_channels)
    figure = new_figure(side * n_columns + 2.6, side * n_rows + (2.3 if named else 0.8))
    panels = figure.subplots(n_rows, n_columns, squeeze=False)
    image = None
    for position, axes in enumerate(panels.ravel()):
        if position >= n_states:
            axes.set_axis_off()
            continue
        image = axes.imshow(
            matrices[position],
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            interpolation="nearest",
            extent=(*borders, *borders[::-1]),
        )
        axes.set_title(names_of_states(n_states, state_names)[position], size=TEXT_SIZE, color=INK)
        is_lowest = position + n_columns >= n_states
        _name_channels(axes, channel_names if named else None, left=position % n_columns == 0, bottom=is_lowest)
    assert image is not None
    bar = figure.colorbar(
        image, ax=panels, shrink=0.8, aspect=30, extend="max" if limit < matrices.max() else "neither"
    )
    bar.set_label("Correlation" if as_correlations else "Covariance", size=TEXT_SIZE, color=INK)
    bar.ax.tick_params(labelsize=SMALL_TEXT_SIZE + 1, colors=INK)
    if title:
        figure.suptitle(title, size=TEXT_SIZE + 1, color=INK)
    return figure


def plot_transition_probabilities(
    matrix: ArrayLike, *, state_names: Sequence[str] | None = None, title: str | None = None
) -> Figure:
    """Draw the transition probabilities, each with its value; rows = from-state.

    Parameters
    ----------
    matrix : array, (K, K)
    state_names : sequence of K names, optional
    title : str, optional

    Returns
    -------
    Figure
    """
    probabilities = np.asarray(matrix, dtype=np.float64)
    n_states = len(probabilities)
    names = names_of_states(n_states, state_names)
    side = max(2.6, 0.48 * n_states)
    figure = new_figure(side + 2.0, side + 0.9)
    axes = figure.add_subplot()
    image = axes.imshow(probabilities, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    for row in range(n_states):
        for column in range(n_states):
            value = probabilities[row, column]
            colour = "white" if value > 0.55 else INK
            axes.text(
                column, row, _probability(value), ha="center", va="center", size=SMALL_TEXT_SIZE + 1, color=colour
            )
    axes.set_xticks(range(n_states), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n_states), names)
    axes.set_xlabel("To", size=TEXT_SIZE, color=INK)
    axes.set_ylabel("From", size=TEXT_SIZE, color=INK)
    axes.tick_params(labelsize=SMALL_TEXT_SIZE + 1, colors=INK, length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25)
    bar.set_label("Transition probability", size=TEXT_SIZE, color=INK)
    bar.ax.tick_params(labelsize=SMALL_TEXT_SIZE + 1, colors=INK)
    if title:
        figure.suptitle(title, size=TEXT_SIZE + 1, color=INK)
    return figure


def _correlations(covariances: NDArray[np.float64]) -> NDArray[np.float64]:
    deviations = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    return covariances / (deviations[:, :, None] * deviations[:, None, :])


def _limit(matrices: NDArray[np.float64], as_correlations: bool) -> float:
    """End of the colour scale; a correlation of a channel with itself says nothing, so it does not count."""
    n_channels = matrices.shape[-1]
    if as_correlations and n_channels > 1:
        return float(np.abs(matrices[:, ~np.eye(n_channels, dtype=bool)]).max()) or 1.0
    return float(np.abs(matrices).max())


def _name_channels(axes: Axes, names: Sequence[str] | None, *, left: bool, bottom: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.tick_params(labelsize=SMALL_TEXT_SIZE - 1 if names else SMALL_TEXT_SIZE, colors=INK, length=2)
    if names is not None:
        axes.set_xticks(range(1, len(names) + 1), names if bottom else [], rotation=90)
        axes.set_yticks(range(1, len(names) + 1), names if left else [])
        return
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.tick_params(labelleft=left, labelbottom=bottom)
    if bottom:
        axes.set_xlabel("Channel", size=SMALL_TEXT_SIZE + 1, color=INK)
    if left:
        axes.set_ylabel("Channel", size=SMALL_TEXT_SIZE + 1, color=INK)


def _probability(value: float) -> str:
    if value == 0:
        return "0"
    return "<0.01" if value < 0.005 else f"{value:.2f}"
