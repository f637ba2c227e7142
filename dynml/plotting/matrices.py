"""Figures of matrices: the states' covariances or correlations, and the transition probabilities.

Shapes: C channels, K states.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.plotting.style import (
    FAINT,
    INK,
    SMALL_TEXT_SIZE,
    TEXT_SIZE,
    add_colour_bar,
    name_axes,
    names_of_states,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

MOST_NAMED_CHANNELS = 40
"""With more channels than this their names would be too small to read; numbers stand instead."""


def plot_covariances(
    covariances: ArrayLike,
    channel_names: Sequence[str] | None = None,
    *,
    as_correlations: bool = False,
    state_names: Sequence[str] | None = None,
    units: str = "signal units",
    title: str | None = None,
) -> Figure:
    """Draw one matrix per state, all on one colour scale that is symmetric around zero.

    Parameters
    ----------
    covariances : array, (K, C, C) or (K, C)
        Of models whose covariances are diagonal, the variances are drawn instead, as one panel of channels by states.
    channel_names : sequence of C names, optional
    as_correlations : bool
        Divide by the standard deviations, and leave the diagonal out. Beneath stand the differences from the average
        over states, where there are several.
    state_names : sequence of K names, optional
    units : str
        Of the signals.
    title : str, optional

    Returns
    -------
    Figure
    """
    matrices = np.asarray(covariances, dtype=np.float64)
    n_states, n_channels = matrices.shape[:2]
    assert channel_names is None or len(channel_names) == n_channels, (channel_names, n_channels)
    names = names_of_states(n_states, state_names)
    off_diagonal = ~np.eye(n_channels, dtype=bool)
    if matrices.ndim == 2 or (n_channels > 1 and not matrices[:, off_diagonal].any()):
        variances = matrices if matrices.ndim == 2 else np.diagonal(matrices, axis1=1, axis2=2)
        return _plot_variances(variances, channel_names, names, units, title)
    if not as_correlations or n_channels == 1:
        panels = [_Panels("Covariance" + f" ({units}²)", matrices)]
    else:
        correlations = np.where(np.eye(n_channels, dtype=bool), np.nan, correlations_of(matrices))
        panels = [_Panels("Correlation", correlations)]
        if n_states > 1:
            differences = correlations - correlations.mean(axis=0)
            panels.append(_Panels("Difference from the average", differences, " minus average"))
    side = max(2.2, 0.115 * n_channels) if _are_named(channel_names) else 2.2
    n_columns = n_states if n_states <= 3 else math.ceil(n_states / math.ceil(n_states / 4))
    n_rows = math.ceil(n_states / n_columns)
    height = side * n_rows + (2.3 if _are_named(channel_names) else 0.8)
    figure = new_figure(side * n_columns + 2.6, height * len(panels))
    parts: Iterable[Any] = figure.subfigures(len(panels), 1, squeeze=False)[:, 0]
    for part, own in zip(parts, panels):
        _draw_panels(part, own, channel_names, names, n_columns)
    default = "Correlations of channels in each" if as_correlations else "Covariances of channels in each"
    figure.suptitle(title or f"{default} {_component(names)}", size=TEXT_SIZE + 1, color=INK)
    return figure


@dataclass(frozen=True)
class _Panels:
    """Matrices on one colour scale."""

    label: str
    matrices: NDArray[np.float64]
    words: str = ""
    """Put behind the state in each title."""


def _are_named(names: Sequence[str] | None) -> bool:
    return names is not None and len(names) <= MOST_NAMED_CHANNELS


def _component(names: Sequence[str]) -> str:
    """What the panels are of: "state" or "mode", if their names say so."""
    kinds = {name.rpartition(" ")[0].lower() for name in names}
    return kinds.pop() if len(kinds) == 1 and kinds & {"mode", "state"} else "state"


def _draw_panels(
    part: FigureBase, panels: _Panels, channel_names: Sequence[str] | None, names: Sequence[str], n_columns: int
) -> None:
    n_states, n_channels = panels.matrices.shape[:2]
    finite = panels.matrices[np.isfinite(panels.matrices)]
    limit = float(np.abs(finite).max(initial=0.0)) or 1.0
    borders = (0.5, n_channels + 0.5)
    grid = part.subplots(math.ceil(n_states / n_columns), n_columns, squeeze=False)
    image = None
    for position, axes in enumerate(grid.ravel()):
        if position >= n_states:
            axes.set_axis_off()
            continue
        axes.set_facecolor(FAINT)
        image = axes.imshow(
            panels.matrices[position],
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            interpolation="nearest",
            extent=(*borders, *borders[::-1]),
        )
        axes.set_title(names[position] + panels.words, size=TEXT_SIZE, color=INK)
        named = channel_names if _are_named(channel_names) else None
        is_lowest = position + n_columns >= n_states
        _name_channels(axes, named, left=position % n_columns == 0, bottom=is_lowest)
    assert image is not None
    add_colour_bar(part, image, list(grid.ravel()), panels.label)


def _plot_variances(
    variances: NDArray[np.float64],
    channel_names: Sequence[str] | None,
    names: Sequence[str],
    units: str,
    title: str | None,
) -> Figure:
    """Channels by states: diagonal covariances have no other numbers."""
    n_states, n_channels = variances.shape
    named = _are_named(channel_names)
    figure = new_figure(2.6 + 0.45 * n_states + (1.2 if named else 0.0), 1.2 + max(2.0, 0.15 * min(n_channels, 60)))
    axes = figure.add_subplot()
    image = axes.imshow(
        variances.T,
        cmap="viridis",
        vmin=0.0,
        aspect="auto",
        interpolation="nearest",
        extent=(0.5, n_states + 0.5, n_channels + 0.5, 0.5),
    )
    _name_channels(axes, channel_names if named else None, left=True, bottom=True)
    axes.set_xticks(range(1, n_states + 1), names, rotation=90)
    axes.set_xlabel("")
    axes.set_xlim(0.5, n_states + 0.5)
    add_colour_bar(figure, image, [axes], f"Variance ({units}²)")
    words = f"Variances of channels in each {_component(names)} (covariances are diagonal)"
    figure.suptitle(textwrap.fill(title or words, 44), size=TEXT_SIZE + 1, color=INK)
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
    name_axes(axes, "To", "From")
    axes.tick_params(labelsize=SMALL_TEXT_SIZE + 1, colors=INK, length=0)
    axes.spines[:].set_visible(False)
    add_colour_bar(figure, image, [axes], "Transition probability")
    figure.suptitle(title or "Probabilities of transitions", size=TEXT_SIZE + 1, color=INK)
    return figure


def correlations_of(covariances: ArrayLike) -> NDArray[np.float64]:
    """Divide covariances by the standard deviations, (K, C, C); NaN with a channel that is constant in a state."""
    covariances = np.asarray(covariances, dtype=np.float64)
    deviations = np.sqrt(np.clip(np.diagonal(covariances, axis1=1, axis2=2), 0, None))
    scale = deviations[:, :, None] * deviations[:, None, :]
    return np.divide(covariances, scale, out=np.full_like(covariances, np.nan), where=scale > 0)


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
