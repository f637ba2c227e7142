"""Figures of decoding over time: the course of accuracy, and how classifiers of one time do at others.

Shapes: N participants, T samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dynml.plotting.style import (
    FAINT,
    INK,
    PALETTE,
    SMALL_TEXT_SIZE,
    add_colour_bar,
    name_axes,
    new_figure,
    plain_axes,
    put_title,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGNIFICANT = 0.05
LABEL = "Balanced accuracy"
FINE = 10


def plot_course(
    times: ArrayLike, scores: ArrayLike, chance: float, p: ArrayLike, *, title: str | None = None
) -> Figure:
    """Draw the mean over participants, its standard error, chance, and a bar below samples with p below 0.05.

    Parameters
    ----------
    times : array, (T,)
        Seconds.
    scores : array, (N, T)
    chance : float
    p : array, (T,)
    title : str, optional

    Returns
    -------
    Figure
    """
    times, scores, p = np.asarray(times), np.asarray(scores), np.asarray(p)
    figure = new_figure(5.2, 3.0)
    axes = figure.subplots()
    mean = scores.mean(axis=0)
    axes.axhline(chance, color=FAINT, linewidth=1.2, zorder=0)
    if len(scores) > 1:
        error = scores.std(axis=0, ddof=1) / np.sqrt(len(scores))
        axes.fill_between(times, mean - error, mean + error, color=PALETTE[0], alpha=0.25, linewidth=0)
    axes.plot(times, mean, color=PALETTE[0], linewidth=1.5)
    low = axes.get_ylim()[0]
    marked = np.where(p < SIGNIFICANT, low, np.nan)
    axes.plot(times, marked, color=INK, linewidth=3.0, solid_capstyle="butt")
    name_axes(axes, f"Time (s); bar: p < {SIGNIFICANT:g}", f"{LABEL}; grey: chance")
    plain_axes(axes)
    axes.tick_params(labelsize=SMALL_TEXT_SIZE + 1)
    put_title(figure, title)
    return figure


def plot_generalization(
    times: ArrayLike, scores: ArrayLike, chance: float, p: ArrayLike, *, title: str | None = None
) -> Figure:
    """Draw scores of classifiers (rows) at all times (columns); outlined where p is below 0.05.

    Parameters
    ----------
    times : array, (T,)
        Seconds.
    scores, p : array, (T, T)
    chance : float
        Middle of the colours.
    title : str, optional

    Returns
    -------
    Figure
    """
    times, scores, p = np.asarray(times), np.asarray(scores), np.asarray(p)
    figure = new_figure(4.6, 3.8)
    axes = figure.subplots()
    reach = max(float(np.abs(scores - chance).max()), 1e-3)
    half = (times[1] - times[0]) / 2 if len(times) > 1 else 0.5
    ends = (times[0] - half, times[-1] + half)
    image = axes.imshow(
        scores,
        origin="lower",
        extent=(*ends, *ends),
        cmap="RdBu_r",
        vmin=chance - reach,
        vmax=chance + reach,
        interpolation="nearest",
    )
    below = p < SIGNIFICANT
    if below.any() and not below.all():
        # Each cell several times, and a rim of others, so that the outline goes along the cells' edges.
        fine = np.pad(np.kron(below, np.ones((FINE, FINE))), 1)
        width = 2 * half / FINE
        at = times[0] - half + width * (np.arange(len(fine)) - 0.5)
        axes.contour(at, at, fine, levels=[0.5], colors=INK, linewidths=0.8)
        axes.set(xlim=ends, ylim=ends)
    name_axes(axes, f"Tried at (s); outlined: p < {SIGNIFICANT:g}", "Fitted at (s)")
    axes.tick_params(labelsize=SMALL_TEXT_SIZE + 1)
    add_colour_bar(figure, image, [axes], LABEL)
    put_title(figure, title)
    return figure
