"""Figures of responses to events: one panel per state, one curve per condition, bars where they are significant.

Shapes: D conditions, W samples of an epoch, K states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.plotting.style import (
    FAINT,
    INK,
    SMALL_TEXT_SIZE,
    TEXT_SIZE,
    names_of_states,
    new_figure,
    plain_axes,
    put_title,
    state_colours,
)
from dynml.stretches import stretches_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS_IN_A_ROW = 4
BAR_HEIGHT, BAR_STEP = 0.03, 0.05
"""Of a bar of significant times and from one to the next, in heights of a panel."""


def plot_responses(
    times: ArrayLike,
    mean: ArrayLike,
    standard_error: ArrayLike,
    p: ArrayLike,
    condition_names: Sequence[str],
    *,
    level: float = 0.05,
    state_names: Sequence[str] | None = None,
    y_label: str = "State probability",
    error_label: str = "standard error",
    title: str | None = None,
) -> Figure:
    """Draw mean responses with their standard error; bars below the curves are the times with p up to a level.

    Parameters
    ----------
    times : array, (W,)
        Seconds since the event.
    mean, standard_error, p : array, (D, W, K)
        NaN where there is none.
    condition_names : sequence of D names
    level : float
    state_names : sequence of K names, optional
    y_label, error_label : str
    title : str, optional

    Returns
    -------
    Figure
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    seconds, values = np.asarray(times, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    errors, p_values = np.nan_to_num(np.asarray(standard_error, dtype=np.float64)), np.asarray(p, dtype=np.float64)
    n_conditions, _, n_states = values.shape
    n_columns = min(n_states, MOST_PANELS_IN_A_ROW)
    n_rows = -(-n_states // n_columns)
    figure = new_figure(2.6 * n_columns + 1.2, 2.1 * n_rows + 0.9)
    panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
    colours = state_colours(n_conditions)
    low, high = _limits(values, errors)
    step = BAR_STEP * (high - low)
    bottom = low - step * (n_conditions + 0.5)
    for state, (axes, name) in enumerate(zip(panels, names_of_states(n_states, state_names))):
        for condition, colour in enumerate(colours):
            own, error = values[condition, :, state], errors[condition, :, state]
            axes.fill_between(seconds, own - error, own + error, color=colour, alpha=0.2, linewidth=0)
            axes.plot(seconds, own, color=colour, linewidth=1.4)
            y = low - step * (condition + 1)
            _draw_significant(axes, seconds, p_values[condition, :, state] <= level, y, step, colour)
        axes.axvline(0.0, color=FAINT, linewidth=1.0, zorder=0)
        axes.set_title(name, size=TEXT_SIZE, color=INK, loc="left")
        axes.set_ylim(bottom, high)
        axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= high])
        axes.set_xlim(seconds[0], seconds[-1] if len(seconds) > 1 else seconds[0] + 1)
        plain_axes(axes)
    for axes in panels[n_states:]:
        axes.set_axis_off()
    _label(list(panels), n_states, n_columns, y_label)
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colour, label=name) for colour, name in zip(colours, condition_names)
    ]
    handles += [
        Patch(color="#999999", alpha=0.4, label=error_label),
        Patch(color="#555555", label=f"p ≤ {level:g} (bars)"),
    ]
    figure.legend(handles=handles, loc="outside right upper", fontsize=SMALL_TEXT_SIZE + 1, frameon=False)
    put_title(figure, title)
    return figure


def _label(panels: Sequence[Axes], n_states: int, n_columns: int, y_label: str) -> None:
    for state in range(n_states):
        if state % n_columns == 0:
            panels[state].set_ylabel(y_label)
        if state + n_columns >= n_states:
            panels[state].set_xlabel("Time since the event (s)")
            panels[state].xaxis.set_tick_params(labelbottom=True)


def _limits(values: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[float, float]:
    if not np.isfinite(values).any():
        return 0.0, 1.0
    low, high = float(np.nanmin(values - errors)), float(np.nanmax(values + errors))
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def _draw_significant(
    axes: Axes, seconds: NDArray[np.float64], significant: NDArray[np.bool_], y: float, step: float, colour: str
) -> None:
    width = seconds[1] - seconds[0] if len(seconds) > 1 else 1.0
    spans = [
        (seconds[start] - width / 2, seconds[stop - 1] - seconds[start] + width)
        for start, stop in stretches_of(significant)
    ]
    if spans:
        axes.broken_barh(spans, (y, step * BAR_HEIGHT / BAR_STEP), color=colour, linewidth=0)
