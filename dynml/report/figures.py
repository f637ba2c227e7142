"""Small figures of a page: narrow enough to be read on a phone, where each has a line to itself.

Shapes: C channels, K states or modes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.plotting.style import FAINT, INK, PALETTE, SMALL_TEXT_SIZE, new_figure, plain_axes
from dynml.report.starts_facts import SAME_STATES, Starts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.4
"""Inches: at 360 pixels of a phone, text of 9 points is still 7."""
MOST_NAMED = 24
LONGEST_NAME = 26


def plot_curves(
    curves: Mapping[str, NDArray[np.float64]], label: str, *, best_epoch: int | None, lines: Mapping[str, float]
) -> Figure:
    """Draw a loss over epochs on its own range; baselines within that range as lines.

    Parameters
    ----------
    curves : mapping
        Name to one value per epoch.
    label : str
        Of the y axis.
    best_epoch : int or None
        From 1.
    lines : mapping
        Name to value, of the held-out data.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(WIDTH, 2.9 + 0.16 * len(lines))
    axes = figure.add_subplot()
    for colour, (name, values) in zip(PALETTE, curves.items()):
        epochs = np.arange(1, len(values) + 1)
        axes.plot(epochs, values, color=colour, linewidth=1.8, marker=".", markersize=4, label=name)
        if best_epoch is not None and 1 <= best_epoch <= len(values):
            axes.plot(best_epoch, values[best_epoch - 1], "o", color=colour, markeredgecolor="white", markersize=8)
    _limit_to_late_values(axes, curves)
    _reach_out_to(axes, lines)
    low, high = axes.get_ylim()
    for style, (name, value) in zip(("--", ":", "-.", (0, (6, 1, 1, 1))), lines.items()):
        if low <= value <= high:
            axes.axhline(value, color=INK, linestyle=style, linewidth=1, label=name)
    axes.set_xlabel("Epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if max(map(len, curves.values()), default=0) == 1:
        axes.set_xlim(0, 2)  # matplotlib's own range around a single epoch has no whole number beside it
    plain_axes(axes)
    figure.legend(loc="outside lower center", fontsize=SMALL_TEXT_SIZE + 1, frameon=False, ncols=1 if lines else 2)
    return figure


def _limit_to_late_values(axes: Axes, curves: Mapping[str, NDArray[np.float64]]) -> None:
    """Leave the first steep epochs out of the range, which would flatten all later ones."""
    late = [values[len(values) // 10 :] for values in curves.values() if len(values)]
    finite = np.concatenate([values[np.isfinite(values)] for values in late]) if late else np.empty(0)
    if finite.size < 2 or finite.max() == finite.min():
        return
    margin = 0.08 * (finite.max() - finite.min())
    axes.set_ylim(finite.min() - margin, finite.max() + margin)


def _reach_out_to(axes: Axes, lines: Mapping[str, float]) -> None:
    """Take in the nearest lines, as long as the curves keep half of the height."""
    low, high = axes.get_ylim()
    room = high - low
    for value in sorted(lines.values(), key=lambda one: max(one - high, low - one)):
        margin = 0.04 * room
        if max(high, value + margin) - min(low, value - margin) > 2 * room:
            return
        axes.set_ylim(min(axes.get_ylim()[0], value - margin), max(axes.get_ylim()[1], value + margin))


def plot_starts(starts: Starts, component: str) -> Figure:
    """Draw how far the objective of each start lies above the best one's; filled: the same states as the best one."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(WIDTH, 2.4)
    axes = figure.add_subplot()
    above = np.asarray(starts.objectives) - starts.objectives[starts.best]
    same = np.asarray(starts.divergences) < SAME_STATES
    numbers = np.arange(1, starts.n + 1)
    for chosen, face, label in ((same, PALETTE[0], f"{component}s of the best start"), (~same, "white", "others")):
        if chosen.any():
            axes.plot(
                numbers[chosen],
                above[chosen],
                "o",
                color=PALETTE[0],
                markerfacecolor=face,
                markersize=7,
                label=label if starts.knows_states else None,
                clip_on=False,
            )
    axes.axhline(0, color=FAINT, linewidth=1, zorder=0)
    axes.set_xlabel("Start")
    axes.set_ylabel("Above the best\n(nats per sample)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0.5, starts.n + 0.5)
    plain_axes(axes)
    if starts.knows_states:
        axes.legend(fontsize=SMALL_TEXT_SIZE + 1, frameon=False)
    return figure


def plot_scores(values: Mapping[str, Mapping[str, float]], label: str, lines: Mapping[str, float]) -> Figure:
    """Draw one dot per subject in a column for each subset, with their median; baselines as lines.

    Parameters
    ----------
    values : mapping
        Subset to subject to score.
    label : str
        Of the y axis.
    lines : mapping
        Name of a baseline to its value.
    """
    figure = new_figure(WIDTH, 2.9)
    axes = figure.add_subplot()
    for position, (colour, subjects) in enumerate(zip(PALETTE, values.values())):
        own = np.asarray(list(subjects.values()), dtype=np.float64)
        # Spread evenly, not at random: the same scores always give the same picture.
        offsets = np.linspace(-0.25, 0.25, len(own)) if len(own) > 1 else np.zeros(1)
        axes.plot(position + offsets, own, "o", color=colour, markersize=5, alpha=0.7, markeredgewidth=0, clip_on=False)
        if np.isfinite(own).any():
            axes.hlines(np.nanmedian(own), position - 0.32, position + 0.32, color=INK, linewidth=1.6)
    for style, (name, value) in zip(("--", ":", "-."), lines.items()):
        axes.axhline(value, color=INK, linestyle=style, linewidth=1, label=name)
    axes.set_xticks(range(len(values)), [f"{name} ({len(own)})" for name, own in values.items()])
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set_ylabel(label)
    plain_axes(axes)
    if lines:
        figure.legend(loc="outside lower center", fontsize=SMALL_TEXT_SIZE + 1, frameon=False, ncols=1)
    return figure


def plot_spectrum(
    frequencies_F: NDArray[np.float64], power_KF: NDArray[np.float64], position: int, colour: str, label: str
) -> Figure:
    """Draw the spectrum of one component over those of the others, which are grey."""
    figure = new_figure(2.9, 2.3)
    axes = figure.add_subplot()
    axes.plot(frequencies_F, np.delete(power_KF, position, axis=0).T, color=FAINT, linewidth=1)
    axes.plot(frequencies_F, power_KF[position], color=colour, linewidth=1.8)
    axes.set_title("Power, mean of channels", size=SMALL_TEXT_SIZE + 2, color=INK)
    axes.set_xlabel("Frequency (Hz)")
    axes.set_ylabel(label)
    axes.set_ylim(bottom=min(0.0, float(np.nanmin(power_KF, initial=0.0))))
    plain_axes(axes)
    return figure


def plot_matrix(matrix_CC: ArrayLike, limit: float, title: str, label: str) -> Figure:
    """Draw a matrix of channels by channels without its diagonal, on a scale that is symmetric around 0."""
    matrix = np.array(matrix_CC, dtype=np.float64)
    np.fill_diagonal(matrix, np.nan)
    n_channels = len(matrix)
    figure = new_figure(2.6, 2.3)
    axes = figure.add_subplot()
    borders = (0.5, n_channels + 0.5)
    image = axes.imshow(
        matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest", extent=(*borders, *borders[::-1])
    )
    axes.set_title(title, size=SMALL_TEXT_SIZE + 2, color=INK)
    axes.set_facecolor(FAINT)
    _label_small(axes, "Channel", "Channel")
    bar = figure.colorbar(image, ax=axes, shrink=0.9, aspect=18)
    bar.set_label(label, size=SMALL_TEXT_SIZE + 1, color=INK)
    bar.ax.tick_params(labelsize=SMALL_TEXT_SIZE, colors=INK)
    return figure


def _label_small(axes: Axes, x_label: str, y_label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.tick_params(labelsize=SMALL_TEXT_SIZE, colors=INK, length=2)
    axes.set_xlabel(x_label, size=SMALL_TEXT_SIZE + 1, color=INK)
    axes.set_ylabel(y_label, size=SMALL_TEXT_SIZE + 1, color=INK)


def plot_bars(values: Mapping[str, float], label: str, *, colour: str, most: int = MOST_NAMED) -> Figure:
    """Draw a horizontal bar a name, the largest first; of more than `most`, those that are farthest from 0."""
    chosen = sorted(values, key=lambda name: -abs(values[name]))[:most]
    chosen.sort(key=lambda name: values[name])
    figure = new_figure(WIDTH, 0.7 + 0.19 * len(chosen))
    axes = figure.add_subplot()
    axes.barh(range(len(chosen)), [values[name] for name in chosen], color=colour, height=0.72)
    axes.set_yticks(range(len(chosen)), [_short(name) for name in chosen])
    axes.set_xlabel(label)
    axes.axvline(0, color=INK, linewidth=0.8)
    plain_axes(axes)
    axes.tick_params(axis="y", labelsize=SMALL_TEXT_SIZE + 0.5, length=0)
    axes.set_ylim(-0.6, len(chosen) - 0.4)
    return figure


def plot_errors_by_lag(scores: Mapping[str, Sequence[float]], label: str, names: Mapping[str, str]) -> Figure:
    """Draw the error of model and baselines over the samples that lie between what is known and what is predicted."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(WIDTH, 3.3)
    axes = figure.add_subplot()
    for number, (name, values) in enumerate(scores.items()):
        ahead = np.arange(1, len(values) + 1)
        is_model = name == "model"
        style: dict[str, Any] = {"linewidth": 2.2 if is_model else 1.2, "marker": "o" if is_model else "."}
        axes.plot(
            ahead,
            values,
            color=PALETTE[number % len(PALETTE)],
            label=names.get(name, name),
            zorder=3 if is_model else 2,
            **style,
        )
    axes.set_xlabel("Samples ahead")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_axes(axes)
    figure.legend(loc="outside lower center", fontsize=SMALL_TEXT_SIZE + 1, frameon=False, ncols=2)
    return figure


def largest_off_diagonal(matrices_KCC: NDArray[np.float64]) -> float:
    """Largest absolute value of two different channels, NaN left out; 1 where there is none."""
    n_channels = matrices_KCC.shape[-1]
    if n_channels < 2:
        return 1.0
    sizes = np.abs(matrices_KCC[:, ~np.eye(n_channels, dtype=bool)])
    largest = float(sizes[np.isfinite(sizes)].max(initial=0.0))
    return largest if largest > 0 else 1.0


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 2]}.."
