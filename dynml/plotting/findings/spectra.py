"""Figures of spectra: power and coherence by frequency, and networks by band.

Shapes: N subjects, C channels, K states or modes, F frequencies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

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
    plain_axes,
    put_title,
    state_colours,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Bands = Mapping[str, tuple[float, float]]
MOST_COLUMNS = 4


def plot_power_spectra(
    frequencies: ArrayLike,
    power: ArrayLike,
    *,
    group: ArrayLike | None = None,
    static: ArrayLike | None = None,
    bands: Bands | None = None,
    units: str = "1/Hz",
    state_names: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw each state's power, the mean over channels, in a panel of its own: thin lines are subjects.

    Parameters
    ----------
    frequencies : array, (F,)
        Hz.
    power : array, (N, K, C, F)
        NaN where a subject is not in a state.
    group : array, (K, C, F), optional
        Mean over subjects; default: the plain one.
    static : array, (C, F), optional
        Of all samples together, drawn in every panel to compare with.
    bands : mapping, optional
        Name to the lowest and highest frequency; named at the bottom, every other one shaded.
    units : str
    state_names : sequence of K names, optional
    title : str, optional

    Returns
    -------
    Figure
    """
    own = _mean_over(np.asarray(power, dtype=np.float64), axis=2)
    mean = _mean_over(own, axis=0) if group is None else _mean_over(np.asarray(group, dtype=np.float64), axis=1)
    everything = None if static is None else _mean_over(np.asarray(static, dtype=np.float64), axis=0)
    figure, panels = _panels(len(mean), state_names, title)
    shown = np.concatenate([mean.ravel(), [] if everything is None else everything.ravel()])
    shown = shown[np.isfinite(shown) & (shown > 0)]
    for state, (axes, colour) in enumerate(zip(panels, state_colours(len(mean)))):
        if everything is not None:
            axes.plot(frequencies, everything, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="all samples")
        for subject in own[:, state]:
            axes.plot(frequencies, subject, color=colour, linewidth=0.5, alpha=0.35)
        axes.plot(frequencies, mean[state], color=colour, linewidth=2)
        axes.set_yscale("log")
        if len(shown):
            # At least a decade, so that a flat spectrum looks flat; names of bands stand below the curves.
            room = 4.0 if bands else 1.6
            axes.set_ylim(min(shown.min() / room, shown.max() / 10), shown.max() * 1.6)
        axes.tick_params(which="minor", labelleft=False)
        _shade(axes, bands)
        _say_where_empty(axes, mean[state])
    _label(panels, "Power (" + units + ")")
    if everything is not None:
        panels[0].legend(fontsize=SMALL_TEXT_SIZE, frameon=False, loc="upper right")
    return figure


def plot_coherence_spectra(
    frequencies: ArrayLike,
    coherence: ArrayLike,
    *,
    floor: ArrayLike | None = None,
    bands: Bands | None = None,
    state_names: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw each state's coherence: the mean over pairs of channels, and the range of nine in ten pairs.

    Parameters
    ----------
    frequencies : array, (F,)
        Hz.
    coherence : array, (K, C, C, F)
    floor : array, (K,), optional
        What independent channels would have.
    bands, state_names, title
        As for `plot_power_spectra`.

    Returns
    -------
    Figure
    """
    values = np.asarray(coherence, dtype=np.float64)
    first, second = np.triu_indices(values.shape[1], 1)
    edges = values[:, first, second]
    figure, panels = _panels(len(values), state_names, title)
    for state, (axes, colour) in enumerate(zip(panels, state_colours(len(values)))):
        known = np.isfinite(edges[state]).any(axis=0)
        if known.any():
            low, high = np.nanpercentile(edges[state][:, known], [5, 95], axis=0)
            axes.fill_between(np.asarray(frequencies)[known], low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(frequencies, _mean_over(edges[state], axis=0), color=colour, linewidth=2)
        if floor is not None and np.isfinite(np.asarray(floor)[state]):
            height = float(np.asarray(floor)[state])
            axes.axhline(height, color=INK, linewidth=1, linestyle=(0, (1, 2)), label="independent channels")
        axes.set_ylim(0, 1)
        _shade(axes, bands)
        _say_where_empty(axes, edges[state])
    _label(panels, "Coherence")
    if floor is not None and np.isfinite(np.asarray(floor)).any():
        # Of a panel that has a line: a state that is never there has no floor.
        known = int(np.flatnonzero(np.isfinite(np.asarray(floor)))[0])
        panels[known].legend(fontsize=SMALL_TEXT_SIZE, frameon=False, loc="best")
    return figure


def plot_networks(
    matrices: Mapping[str, ArrayLike],
    channel_names: Sequence[str] | None = None,
    *,
    floor: ArrayLike | None = None,
    state_names: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw matrices of coherence, a row per state and a column per band, all on one scale from 0.

    Parameters
    ----------
    matrices : mapping
        Band to its matrices, (K, C, C); the diagonal is left blank.
    channel_names : sequence of C names, optional
        Written beside the rows where there are at most 12.
    floor : array, (K,), optional
        What independent channels would have; written beside each state.
    state_names : sequence of K names, optional
    title : str, optional

    Returns
    -------
    Figure
    """
    bands = {name: np.array(own, dtype=np.float64) for name, own in matrices.items()}
    n_states, n_channels = next(iter(bands.values())).shape[:2]
    names = names_of_states(n_states, state_names)
    for own in bands.values():
        own[:, np.arange(n_channels), np.arange(n_channels)] = np.nan
    shown = np.concatenate([own[np.isfinite(own)] for own in bands.values()])
    limit = float(shown.max()) if len(shown) else 1.0
    named = channel_names is not None and n_channels <= 12
    figure = new_figure(1.6 + (0.7 if named else 0) + 1.5 * len(bands), 0.9 + (0.5 if named else 0) + 1.45 * n_states)
    panels = figure.subplots(n_states, len(bands), squeeze=False)
    image = None
    for column, (band, own) in enumerate(bands.items()):
        for state in range(n_states):
            axes = panels[state, column]
            image = axes.imshow(own[state], cmap="viridis", vmin=0, vmax=limit, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            axes.set_facecolor(FAINT)
            if state == 0:
                axes.set_title(band, size=TEXT_SIZE, color=INK)
            if named and column == 0:
                axes.set_yticks(range(n_channels), channel_names or [], size=SMALL_TEXT_SIZE - 1, color=INK)
                axes.tick_params(length=0)
            if named and state == n_states - 1:
                axes.set_xticks(
                    range(n_channels), channel_names or [], size=SMALL_TEXT_SIZE - 1, color=INK, rotation=90
                )
                axes.tick_params(length=0)
        assert image is not None
    for state, name in enumerate(names):
        height = np.nan if floor is None else float(np.asarray(floor)[state])
        label = name if np.isnan(height) else f"{name}\n(floor {height:.2f})"
        name_axes(panels[state, 0], y=label)
    assert image is not None
    add_colour_bar(figure, image, list(panels.ravel()), "Coherence", shrink=min(1.0, 2.5 / n_states))
    if title:
        figure.suptitle(title, size=TEXT_SIZE, color=INK)
    return figure


def _panels(n_states: int, state_names: Sequence[str] | None, title: str | None) -> tuple[Figure, list[Axes]]:
    n_columns = min(n_states, MOST_COLUMNS)
    n_rows = -(-n_states // n_columns)
    figure = new_figure(max(2.5 * n_columns, 4.5), 0.6 + 2.1 * n_rows)
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[n_states:]:
        axes.set_visible(False)
    for axes, name in zip(grid, names_of_states(n_states, state_names)):
        axes.set_title(name, size=TEXT_SIZE, color=INK, loc="left")
        plain_axes(axes)
    for axes in grid[max(0, n_states - n_columns) : n_states]:
        axes.tick_params(labelbottom=True)
    put_title(figure, title)
    return figure, list(grid[:n_states])


def _label(panels: Sequence[Axes], quantity: str) -> None:
    n_columns = min(len(panels), MOST_COLUMNS)
    for axes in panels[-n_columns:]:
        name_axes(axes, "Frequency (Hz)")
    for axes in panels[::n_columns]:
        name_axes(axes, y=quantity)


def _shade(axes: Axes, bands: Bands | None) -> None:
    across = axes.get_xaxis_transform()
    for number, (name, (low, high)) in enumerate((bands or {}).items()):
        if number % 2 == 0:
            axes.axvspan(low, high, color=FAINT, alpha=0.35, linewidth=0, zorder=0)
        # Upright, as bands may be narrower than their names.
        axes.text(
            (low + high) / 2, 0.02, name, transform=across, rotation=90, ha="center", va="bottom",
            size=SMALL_TEXT_SIZE - 1, color=INK, alpha=0.7,
        )  # fmt: skip


def _say_where_empty(axes: Axes, values: NDArray[np.float64]) -> None:
    if not np.isfinite(values).any():
        axes.text(0.5, 0.5, "never visited", transform=axes.transAxes, ha="center", size=TEXT_SIZE, color=INK)


def _mean_over(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Mean of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    counts = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.divide(total, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
