"""Figures of modes: mixing coefficients over time, time series one below the other, and the loss of a soft mixture.

Shapes: T samples, C channels, J modes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.plotting.states import MOST_COLUMNS, finite_segments, stack_probabilities
from dynml.plotting.style import (
    FAINT,
    INK,
    PALETTE,
    SMALL_TEXT_SIZE,
    TEXT_SIZE,
    name_axes,
    new_figure,
    plain_axes,
    put_title,
    state_colours,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHARE_OF_FIRST_EPOCHS = 0.1
FLATTENED = 4.0
"""Where the first epochs' losses make a panel span this many times what it would without, they lie outside."""


def names_of_modes(n_modes: int, names: Sequence[str] | None = None) -> list[str]:
    """Give the names of the modes: those given, or "Mode 1" and so on."""
    assert names is None or len(names) == n_modes, (names, n_modes)
    return list(names) if names is not None else [f"Mode {mode}" for mode in range(1, n_modes + 1)]


def plot_alpha(
    *alphas: ArrayLike,
    sampling_frequency: float | None = None,
    n_samples: int | None = None,
    titles: Sequence[str] | None = None,
    mode_names: Sequence[str] | None = None,
    y_label: str = "Mixing coefficient",
    title: str | None = None,
) -> Figure:
    """Draw mixing coefficients as stacked areas over time, one panel a result, all with the same colours.

    Parameters
    ----------
    *alphas : array, (T, J)
        One or several results with the same modes in the same order (see `dynml.ops.matching.match_modes`): truth and
        estimate, say. Rows with NaN stay white.
    sampling_frequency : float, optional
        Hz; the time axis is then in seconds, else in samples.
    n_samples : int, optional
        Draw the first ones only; default all, averaged over bins where they are more than the figure has columns.
    titles : sequence of str, optional
        One per panel.
    mode_names : sequence of J names, optional
    y_label, title : str, optional

    Returns
    -------
    Figure
    """
    from matplotlib.patches import Patch

    courses = [np.asarray(alpha, dtype=np.float64)[:n_samples] for alpha in alphas]
    n_modes = courses[0].shape[1]
    assert all(course.shape[1] == n_modes for course in courses), [course.shape for course in courses]
    assert titles is None or len(titles) == len(courses), (titles, len(courses))
    colours = state_colours(n_modes)
    rate = sampling_frequency or 1.0
    figure = new_figure(11.0, 0.8 + 2.2 * len(courses))
    panels = figure.subplots(len(courses), 1, sharex=True, squeeze=False)[:, 0]
    for position, (axes, course) in enumerate(zip(panels, courses)):
        bin_length = max(1, len(course) // MOST_COLUMNS)
        for start, stop in finite_segments(course, None):
            stack_probabilities(axes, course[start:stop], start, bin_length, rate, colours)
        axes.set_ylim(0, 1)
        axes.set_ylabel(y_label)
        if titles is not None:
            axes.set_title(titles[position], size=TEXT_SIZE, color=INK, loc="left")
        plain_axes(axes)
    panels[-1].set_xlim(0, max(map(len, courses)) / rate)
    _label_time(panels[-1], sampling_frequency)
    put_title(figure, title)
    handles = [Patch(color=colour, label=name) for colour, name in zip(colours, names_of_modes(n_modes, mode_names))]
    _add_legend(figure, handles)
    return figure


def plot_separate_time_series(
    *series: ArrayLike,
    sampling_frequency: float | None = None,
    n_samples: int | None = None,
    names: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    same_scale: bool = True,
    title: str | None = None,
) -> Figure:
    """Draw each column in a strip of its own, one below the other; several series lie over one another.

    Parameters
    ----------
    *series : array, (T, C)
        Signals, logits or mixing coefficients, all with the same columns.
    sampling_frequency : float, optional
        Hz; the time axis is then in seconds, else in samples.
    n_samples : int, optional
        Draw the first ones only.
    names : sequence of C names, optional
        Of the strips; by default they are numbered from 1.
    labels : sequence of str, optional
        One a series, for the legend.
    same_scale : bool
        All strips reach over the same values, so that they can be compared.
    title : str, optional

    Returns
    -------
    Figure
    """
    from matplotlib.lines import Line2D

    courses = [np.asarray(own, dtype=np.float64)[:n_samples] for own in series]
    n_strips = courses[0].shape[1]
    assert all(course.shape[1] == n_strips for course in courses), [course.shape for course in courses]
    assert names is None or len(names) == n_strips, (names, n_strips)
    rate = sampling_frequency or 1.0
    figure = new_figure(11.0, 1.0 + max(0.45 * n_strips, 1.2))
    panels = figure.subplots(n_strips, 1, sharex=True, sharey=same_scale, squeeze=False)[:, 0]
    # One colour a column where a single series is drawn, as in the stacked figure; else one colour a series.
    colours = state_colours(n_strips) if len(courses) == 1 else []
    for strip, axes in enumerate(panels):
        for position, course in enumerate(courses):
            colour = colours[strip] if colours else PALETTE[position % len(PALETTE)]
            axes.plot(np.arange(len(course)) / rate, course[:, strip], color=colour, linewidth=0.9)
        name = names[strip] if names is not None else str(strip + 1)
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        plain_axes(axes)
        if strip < n_strips - 1:
            axes.spines["bottom"].set_visible(False)
            axes.tick_params(bottom=False)
        axes.locator_params(axis="y", nbins=2)
    figure.align_ylabels(panels)
    panels[-1].set_xlim(0, max(map(len, courses)) / rate)
    _label_time(panels[-1], sampling_frequency)
    put_title(figure, title)
    if labels is not None:
        _add_legend(figure, [Line2D([], [], color=colour, label=label) for colour, label in zip(PALETTE, labels)])
    return figure


def plot_loss(
    losses: Mapping[str, ArrayLike],
    *,
    divergences: Mapping[str, ArrayLike] | None = None,
    annealing_factor: ArrayLike | None = None,
    best_epoch: int | None = None,
    title: str | None = None,
) -> Figure:
    """Draw losses over epochs, and below them the KL divergence and the factor that it is annealed by.

    Parameters
    ----------
    losses : mapping
        Name (training, validation, negative log-likelihood) to one value per epoch, in nats per sample; NaN where there
        is none. The first tenth of the epochs may lie above the panel, where it would flatten the others.
    divergences : mapping, optional
        KL divergences alike, in a panel of their own: they are far smaller.
    annealing_factor : array, (n_epochs,), optional
        Factor of the KL divergence in each epoch, from 0 to 1. Epochs in which it is below 1 are shaded in all panels,
        since their losses are not those of the model.
    best_epoch : int, optional
        Counted from 1.
    title : str, optional

    Returns
    -------
    Figure
    """
    from matplotlib.ticker import MaxNLocator

    factor = None if annealing_factor is None else np.asarray(annealing_factor, dtype=np.float64)
    panels: list[tuple[str, dict[str, NDArray[np.float64]], float]] = [("Loss\n(nats per sample)", _arrays(losses), 3)]
    if divergences:
        panels.append(("KL divergence\n(nats per sample)", _arrays(divergences), 2))
    if factor is not None:
        panels.append(("Annealing\nfactor", {"": factor}, 1))
    heights = [height for _, _, height in panels]
    figure = new_figure(8.0, 0.7 + 1.05 * sum(heights))
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    colours = _colours_of([name for _, curves, _ in panels for name in curves])
    for axes, (label, curves, _) in zip(rows, panels):
        for name, values in curves.items():
            axes.plot(np.arange(1, len(values) + 1), values, color=colours[name], linewidth=1.8, label=name or None)
        _shade_annealing(axes, factor)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_ylabel(label)
        axes.yaxis.grid(True, color="#EEEEEE", linewidth=0.8)
        axes.set_axisbelow(True)
        plain_axes(axes)
    _limit(rows[0], panels[0][1])
    if factor is not None:
        rows[-1].set_ylim(0, 1.05)
    rows[-1].set_xlim(0.5, max(len(values) for _, curves, _ in panels for values in curves.values()) + 0.5)
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    rows[-1].set_xlabel("Epoch" if best_epoch is None else f"Epoch (dashed line: the best one, {best_epoch})")
    put_title(figure, title)
    _add_legend(figure, _legend_handles(colours, factor))
    return figure


def _arrays(curves: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float64]]:
    return {name: np.asarray(values, dtype=np.float64) for name, values in curves.items()}


def _colours_of(names: Sequence[str]) -> dict[str, str]:
    """One colour a name, wherever it stands; the annealing factor, without a name, in ink."""
    known = [name for name in dict.fromkeys(names) if name]
    return {**dict(zip(known, state_colours(len(known)))), "": INK}


def _shade_annealing(axes: Axes, factor: NDArray[np.float64] | None) -> None:
    if factor is None or not (factor < 1).any():
        return
    last = int(np.flatnonzero(factor < 1)[-1]) + 1
    axes.axvspan(0.5, last + 0.5, color=FAINT, alpha=0.35, linewidth=0, zorder=0)


def _limit(axes: Axes, curves: Mapping[str, NDArray[np.float64]]) -> None:
    """Leave the first epochs outside where they would flatten all others."""
    later = [values[max(1, int(SHARE_OF_FIRST_EPOCHS * len(values))) :] for values in curves.values()]
    shown = _finite(later)
    if not len(shown):
        return
    every = _finite(curves.values())
    lowest, top = shown.min(), shown.max()
    if every.max() - lowest > FLATTENED * (top - lowest) > 0 and every.min() == lowest:
        margin = 0.05 * (top - lowest)
        axes.set_ylim(lowest - margin, top + margin)


def _finite(curves: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([values[np.isfinite(values)] for values in curves])


def _legend_handles(colours: Mapping[str, str], factor: NDArray[np.float64] | None) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=colour, linewidth=1.8, label=name) for name, colour in colours.items() if name
    ]
    if factor is not None and (factor < 1).any():
        handles.append(Patch(color=FAINT, alpha=0.35, label="annealing"))
    return handles


def _label_time(axes: Axes, sampling_frequency: float | None) -> None:
    name_axes(axes, "Time (s)" if sampling_frequency else "Sample")


def _add_legend(figure: Figure, handles: list[Any]) -> None:
    if handles:
        n_columns = 1 + (len(handles) - 1) // 14
        figure.legend(
            handles=handles, loc="outside right center", fontsize=SMALL_TEXT_SIZE + 1, frameon=False, ncols=n_columns
        )
