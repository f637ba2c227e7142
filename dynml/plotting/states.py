"""Figures of states over time and of their statistics.

Shapes: T samples, K states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.analysis.state_statistics import StateStatistics
from dynml.plotting.style import (
    FAINT,
    INK,
    PALETTE,
    SMALL_TEXT_SIZE,
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
    from matplotlib.patches import Patch

MOST_COLUMNS = 2000
"""Time points that a figure shows; longer recordings are averaged over bins, within each segment."""

MOST_EVENT_NAMES, MOST_BORDERED_EVENTS = 20, 24
LETTERS_OF_AXIS = 130.0
"""Of the small text, beside one another, over the width of the axis of time."""

STATISTICS = (
    ("fractional_occupancy", "Fractional occupancy"),
    ("mean_lifetime", "Mean lifetime (s)"),
    ("mean_interval", "Mean interval (s)"),
    ("switching_rate", "Switching rate (1/s)"),
)


def plot_state_probabilities(
    alpha: ArrayLike,
    sampling_frequency: float,
    segments: ArrayLike | None = None,
    *,
    blocks: Sequence[str | None] | None = None,
    background: str = "rest",
    state_names: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the probabilities of all states as a stacked area over time, with the task above it.

    Parameters
    ----------
    alpha : array, (T, K)
        Probabilities; NaN outside segments.
    sampling_frequency : float
        Hz.
    segments : array, (n_segments, 2), optional
        Good stretches [start, stop); by default the runs of rows without NaN. What lies between stays white.
    blocks : sequence of T names, optional
        What happened during each sample. Runs of one name are shaded blocks with that name, or, where names would
        cover each other, with a colour that the legend names; None, "" and the background are left blank.
    background : str
        Name that makes no block.
    state_names : sequence of K names, optional
    title : str, optional

    Returns
    -------
    Figure
    """
    from matplotlib.patches import Patch

    values = np.asarray(alpha, dtype=np.float64)
    n_samples, n_states = values.shape
    assert blocks is None or len(blocks) == n_samples, (len(blocks), n_samples)
    colours = state_colours(n_states)
    figure = new_figure(11.0, 3.4)
    rows = figure.subplots(2, 1, sharex=True, height_ratios=[1 if blocks is not None else 0.01, 5])
    task, axes = rows
    bin_length = max(1, n_samples // MOST_COLUMNS)
    for start, stop in finite_segments(values, segments):
        stack_probabilities(axes, values[start:stop], start, bin_length, sampling_frequency, colours)
    task.set_axis_off()
    seconds = n_samples / sampling_frequency
    events = [
        (start / sampling_frequency, stop / sampling_frequency, name)
        for start, stop, name in _blocks(blocks or (), background)
    ]
    names_of_events = _draw_events(task, axes, events, seconds)
    axes.set_xlim(0, seconds)
    axes.set_ylim(0, 1)
    axes.set_xlabel("Time (s)")
    axes.set_ylabel("State probability")
    put_title(figure, title or "Probabilities of states over time")
    plain_axes(axes)
    handles = [Patch(color=colour, label=name) for colour, name in zip(colours, names_of_states(n_states, state_names))]
    handles += names_of_events
    n_columns = 1 + (len(handles) - 1) // 14
    figure.legend(
        handles=handles, loc="outside right center", fontsize=SMALL_TEXT_SIZE + 1, frameon=False, ncols=n_columns
    )
    return figure


def plot_state_summary(
    statistics: Mapping[str, StateStatistics], *, state_names: Sequence[str] | None = None, title: str | None = None
) -> Figure:
    """Draw occupancy, lifetime, interval and switching rate by state: a dot a subject and a bar at their median.

    Parameters
    ----------
    statistics : mapping
        Subject to its statistics; all with the same states.
    state_names : sequence of K names, optional
        By default states are numbered from 1.
    title : str, optional

    Returns
    -------
    Figure
    """
    subjects = list(statistics.values())
    n_states = subjects[0].n_states
    names = list(state_names) if state_names is not None else [str(state) for state in range(1, n_states + 1)]
    figure = new_figure(max(8.0, 1.4 * n_states), 5.0)
    panels = figure.subplots(2, 2, sharex=True).ravel()
    # Spread evenly, not at random: the same statistics always give the same picture.
    offsets = np.linspace(-0.25, 0.25, len(subjects)) if len(subjects) > 1 else np.zeros(1)
    for axes, (field, label) in zip(panels, STATISTICS):
        values = np.stack([getattr(own, field) for own in subjects])
        for state, colour in enumerate(state_colours(n_states)):
            own = values[:, state]
            axes.plot(
                state + offsets, own, "o", color=colour, markersize=4, alpha=0.7, markeredgewidth=0, clip_on=False
            )
            if np.isfinite(own).any():
                axes.hlines(np.nanmedian(own), state - 0.35, state + 0.35, color=INK, linewidth=1.6)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.set_xticks(range(n_states), names)
        plain_axes(axes)
    for axes in panels[2:]:
        axes.set_xlabel("State")
    put_title(figure, title)
    return figure


def finite_segments(values: NDArray[np.float64], segments: ArrayLike | None) -> list[tuple[int, int]]:
    """Borders of the given segments, or of the stretches without NaN."""
    if segments is not None:
        return [(int(start), int(stop)) for start, stop in np.asarray(segments).reshape(-1, 2) if stop > start]
    return [(start, stop) for start, stop in stretches_of(np.asarray(np.isfinite(values).all(axis=1))).tolist()]


def stack_probabilities(
    axes: Axes,
    values: NDArray[np.float64],
    start: int,
    bin_length: int,
    sampling_frequency: float,
    colours: list[str],
) -> None:
    """Stack one segment; a sample is as wide as its period, so that a segment of one sample is seen as well."""
    starts = np.arange(0, len(values), bin_length)
    counts = np.diff(np.append(starts, len(values)))
    means = np.add.reduceat(values, starts, axis=0) / counts[:, None]
    edges = (start + np.append(starts, len(values))) / sampling_frequency
    tops = np.cumsum(means, axis=1)
    tops = np.vstack([tops, tops[-1:]])
    lower = np.zeros(len(edges))
    for state, colour in enumerate(colours):
        axes.fill_between(edges, lower, tops[:, state], step="post", color=colour, linewidth=0)
        lower = tops[:, state]


def _blocks(labels: Sequence[str | None], background: str) -> Iterator[tuple[int, int, str]]:
    start = 0
    for sample in range(1, len(labels) + 1):
        if sample == len(labels) or labels[sample] != labels[start]:
            name = labels[start]
            if name and name != background:
                yield start, sample, name
            start = sample


def _draw_events(task: Axes, axes: Axes, events: Sequence[tuple[float, float, str]], seconds: float) -> list[Patch]:
    """Draw events above the states, and give what the legend says of them: nothing where their names have room."""
    from matplotlib.patches import Patch

    names = list(dict.fromkeys(name for _, _, name in events))
    have_room = _have_room(events, seconds)
    if have_room:
        colours = dict.fromkeys(names, FAINT)
    elif len(names) <= MOST_EVENT_NAMES:
        # From the end of the palette, so that they differ from those of few states.
        colours = dict(zip(names, [*PALETTE[::-1], *state_colours(MOST_EVENT_NAMES)[len(PALETTE) :]]))
    else:
        colours = dict.fromkeys(names, PALETTE[7])
    for start, stop, name in events:
        task.axvspan(start, stop, ymin=0.0, ymax=0.3 if have_room else 0.6, color=colours[name], linewidth=0)
        if have_room:
            task.text((start + stop) / 2, 0.42, name, size=SMALL_TEXT_SIZE + 1, color=INK, ha="center", va="bottom")
        for border in (start, stop) if len(events) <= MOST_BORDERED_EVENTS else ():
            axes.axvline(border, color="black", linewidth=0.7, linestyle=(0, (4, 3)))
    if have_room:
        return []
    if len(names) > MOST_EVENT_NAMES:
        return [Patch(color=PALETTE[7], label=f"Events of {len(names)} kinds")]
    return [Patch(color=colours[name], label=f"Event: {name}") for name in names]


def _have_room(events: Sequence[tuple[float, float, str]], seconds: float) -> bool:
    """Whether the names of events, each over the middle of its block, stay clear of each other and of the borders."""
    half = [len(name) / LETTERS_OF_AXIS * seconds / 2 for _, _, name in events]
    middles = [(start + stop) / 2 for start, stop, _ in events]
    lefts = [middle - own for middle, own in zip(middles, half)]
    rights = [middle + own for middle, own in zip(middles, half)]
    space = seconds / LETTERS_OF_AXIS
    return all(right + space <= left for right, left in zip(rights, lefts[1:]))
