"""Figures of attributions and of attention: which networks and which moments a model's output hangs on.

Shapes: C networks, T times, G groups (classes), L layers, N heads, D lags.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dynml.plotting.style import (
    FAINT,
    INK,
    SMALL_TEXT_SIZE,
    TEXT_SIZE,
    name_axes,
    new_figure,
    plain_axes,
    state_colours,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMED_NETWORKS = 60
"""With more networks than this their names would be too small to read; numbers stand instead."""
MOST_COLUMNS = 4
LONGEST_NAME, LONGEST_TITLE = 34, 40
HIGH_QUANTILE = 0.999
"""The colours end there, so that a few outlying numbers leave the others visible."""


def plot_attribution_maps(
    maps: ArrayLike,
    times: ArrayLike,
    *,
    network_names: Sequence[str] | None = None,
    group_names: Sequence[str] | None = None,
    time_label: str = "Time (samples)",
    unit: str = "attribution",
    title: str | None = None,
) -> Figure:
    """Draw one map of networks by times a group, all on one colour scale that is symmetric around zero.

    Parameters
    ----------
    maps : array, (G, C, T)
        Mean attributions; NaN stays grey.
    times : array, (T,)
        At equal distances.
    network_names : sequence of C names, optional
    group_names : sequence of G names, optional
        Titles of the panels.
    time_label, unit : str
    title : str, optional

    Returns
    -------
    Figure
    """
    maps, times = np.asarray(maps, dtype=np.float64), np.asarray(times, dtype=np.float64)
    n_groups, n_networks, n_times = maps.shape
    assert times.shape == (n_times,), (times.shape, maps.shape)
    assert network_names is None or len(network_names) == n_networks, (len(network_names), n_networks)
    limit = _limit(maps)
    named = network_names is not None and n_networks <= MOST_NAMED_NETWORKS
    n_columns = n_groups if n_groups <= MOST_COLUMNS - 1 else min(MOST_COLUMNS, math.ceil(math.sqrt(n_groups)))
    n_rows = math.ceil(n_groups / n_columns)
    height = float(np.clip(0.14 * n_networks, 1.8, 9.0)) if named else 2.6
    width = 5.5 if n_groups == 1 else 3.2
    figure = new_figure(width * n_columns + (2.4 if named else 1.6), height * n_rows + 0.5 * n_rows + 0.8)
    panels = figure.subplots(n_rows, n_columns, squeeze=False)
    step = float(times[1] - times[0]) if n_times > 1 else 1.0
    extent = (times[0] - step / 2, times[-1] + step / 2, n_networks + 0.5, 0.5)
    image = None
    for position, axes in enumerate(panels.ravel()):
        if position >= n_groups:
            axes.set_axis_off()
            continue
        axes.set_facecolor(FAINT)
        image = axes.imshow(
            maps[position],
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            aspect="auto",
            interpolation="nearest",
            extent=extent,
        )
        if group_names is not None:
            axes.set_title(_short(group_names[position], LONGEST_TITLE), size=TEXT_SIZE, color=INK)
        is_left, is_lowest = position % n_columns == 0, position + n_columns >= n_groups
        _name_networks(axes, network_names if named else None, n_networks, shown=is_left)
        axes.tick_params(labelbottom=is_lowest)
        if is_lowest:
            name_axes(axes, time_label)
    assert image is not None
    largest = float(np.nanmax(np.abs(maps), initial=0.0))
    bar = figure.colorbar(image, ax=panels, shrink=0.8, aspect=30, extend="both" if limit < largest else "neither")
    bar.set_label(f"Mean attribution ({unit})", size=TEXT_SIZE, color=INK)
    bar.ax.tick_params(labelsize=SMALL_TEXT_SIZE + 1, colors=INK)
    _set_title(figure, title)
    return figure


def plot_network_importance(
    importance: ArrayLike,
    network_names: Sequence[str] | None = None,
    *,
    group_names: Sequence[str] | None = None,
    unit: str = "attribution",
    n_networks: int = 20,
    title: str | None = None,
) -> Figure:
    """Draw the networks with the highest mean size of attribution as bars, and each group's own as a dot.

    Parameters
    ----------
    importance : array, (G, C)
        Mean size of the attribution of a sample.
    network_names : sequence of C names, optional
        By default numbers from 1.
    group_names : sequence of G names, optional
        For the legend; without it, or with one group, there are bars alone.
    unit : str
    n_networks : int
        How many networks are drawn.
    title : str, optional

    Returns
    -------
    Figure
        Bars are means over groups, the longest on top.
    """
    sizes = np.asarray(importance, dtype=np.float64)
    n_groups, n_all = sizes.shape
    names = list(network_names) if network_names is not None else [str(number) for number in range(1, n_all + 1)]
    assert len(names) == n_all, (len(names), n_all)
    means = sizes.mean(axis=0)
    order = np.argsort(-means, kind="stable")[:n_networks]
    figure = new_figure(6.2, 1.2 + 0.2 * len(order))
    axes = figure.add_subplot()
    positions = np.arange(len(order))
    several = group_names is not None and n_groups > 1
    axes.barh(positions, means[order], color=FAINT if several else state_colours(1)[0], height=0.75)
    if several:
        assert group_names is not None
        for group, colour in enumerate(state_colours(n_groups)):
            label = _short(group_names[group])
            axes.plot(sizes[group, order], positions, "o", color=colour, markersize=3.5, label=label, clip_on=False)
        axes.legend(loc="lower right", fontsize=SMALL_TEXT_SIZE + 1, frameon=False, labelcolor=INK)
    axes.set_yticks(positions, [_short(names[network]) for network in order])
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"Mean size of the attribution of a sample ({unit})")
    plain_axes(axes)
    axes.tick_params(axis="y", length=0)
    rest = n_all - len(order)
    if rest:
        name_axes(axes, y=f"Networks ({rest} smaller ones left out)")
    _set_title(figure, title)
    return figure


def plot_attention_lags(
    profiles: ArrayLike,
    lags: ArrayLike,
    *,
    equal: ArrayLike | None = None,
    lag_label: str = "Lag (samples)",
    title: str | None = None,
) -> Figure:
    """Draw mean attention by lag, one panel a layer, one line a head.

    Parameters
    ----------
    profiles : array, (L, N, D)
    lags : array, (D,)
        Below 0: back.
    equal : array, (D,), optional
        Attention were all samples looked at alike: a broken line.
    lag_label : str
    title : str, optional

    Returns
    -------
    Figure
    """
    heights, lags = np.asarray(profiles, dtype=np.float64), np.asarray(lags, dtype=np.float64)
    n_layers, n_heads, _ = heights.shape
    n_columns = n_layers if n_layers <= MOST_COLUMNS else math.ceil(n_layers / math.ceil(n_layers / MOST_COLUMNS))
    n_rows = math.ceil(n_layers / n_columns)
    figure = new_figure(3.2 * n_columns + 1.3, 2.3 * n_rows + 0.6)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    colours = state_colours(n_heads)
    for layer, axes in enumerate(panels.ravel()):
        if layer >= n_layers:
            axes.set_axis_off()
            continue
        for head in range(n_heads):
            label = f"Head {head + 1}" if layer == 0 else None
            axes.plot(lags, heights[layer, head], color=colours[head], linewidth=1.1, label=label)
        if equal is not None:
            label = "Equal" if layer == 0 else None
            axes.plot(lags, np.asarray(equal), color=INK, linewidth=0.9, linestyle="--", label=label)
        axes.set_title(f"Layer {layer + 1}", size=TEXT_SIZE, color=INK)
        if layer + n_columns >= n_layers:
            axes.set_xlabel(lag_label)
            axes.tick_params(labelbottom=True)
        if layer % n_columns == 0:
            axes.set_ylabel("Mean attention")
        plain_axes(axes)
    panels[0, 0].set_ylim(bottom=0)
    figure.legend(
        loc="outside right upper",
        fontsize=SMALL_TEXT_SIZE + 1,
        frameon=False,
        labelcolor=INK,
        ncols=math.ceil((n_heads + 1) / 12),
    )
    _set_title(figure, title)
    return figure


def _limit(maps: np.ndarray) -> float:
    """End of the colour scale."""
    sizes = np.abs(maps[np.isfinite(maps)])
    if not sizes.size:
        return 1.0
    return float(np.quantile(sizes, HIGH_QUANTILE)) or float(sizes.max()) or 1.0


def _name_networks(axes: Axes, names: Sequence[str] | None, n_networks: int, *, shown: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.tick_params(labelsize=SMALL_TEXT_SIZE, colors=INK, length=2)
    if names is not None:
        axes.set_yticks(range(1, n_networks + 1), [_short(name) for name in names] if shown else [])
        return
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.tick_params(labelleft=shown)
    if shown:
        name_axes(axes, y="Network")


def _short(name: str, longest: int = LONGEST_NAME) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def _set_title(figure: Figure, title: str | None) -> None:
    if title:
        figure.suptitle(title, size=TEXT_SIZE + 1, color=INK)
