"""Limits of the axes of pictures of logs, and how many points lie outside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MARGIN = 0.05
FENCE = 3.0
ROUNDING = 1e-12
Curve = tuple[NDArray[np.int64], NDArray[np.float64]]
Limits = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class AxisSettings:
    """How the axes of all panels of a picture are laid out."""

    xlim: tuple[float | None, float] | None = None
    """First and last epoch that are shown; None: from the beginning."""
    ylims: Limits | None = None
    """Of all panels that have no limits of their own."""
    log_scale: bool = False
    """A logarithmic y axis; values that are not above zero cannot be shown on it and are counted."""
    remove_outliers: bool = False
    """Let the bulk of each curve set the y axis, not its outliers."""


def shown_part(curve: Curve, settings: AxisSettings) -> Curve:
    """Keep the epochs between the limits of x, and values that are numbers and that the scale can show."""
    epochs, values = curve
    keep = ~np.isnan(values)
    if settings.xlim is not None:
        first, last = settings.xlim
        keep &= (epochs >= (-np.inf if first is None else first)) & (epochs <= last)
    if settings.log_scale:
        keep &= values > 0
    return epochs[keep], values[keep]


def limits_of_x(curves: Sequence[Curve], settings: AxisSettings) -> Limits:
    """Limits of the epochs, with a small margin where none were asked for."""
    longest = max((int(epochs[-1]) for epochs, _ in curves if len(epochs)), default=1)
    margin = max(0.3, 0.015 * longest)
    start = 1 - min(margin, 0.7)
    if settings.xlim is None:
        return start, longest + margin
    first, last = settings.xlim
    return start if first is None else first, last


def limits_of_y(curves: Sequence[Curve], settings: AxisSettings, own: Limits | None = None) -> Limits | None:
    """Limits of the y axis of one panel.

    Parameters
    ----------
    curves : sequence of (epochs, values)
        All curves of the panel, (n_epochs,) each.
    settings : AxisSettings
    own : (float, float), optional
        The panel's own limits, which win.

    Returns
    -------
    (float, float), or None where nothing can be shown.

    Notes
    -----
    Outliers are values beyond Tukey's outer fences, three interquartile ranges below the first or above the third
    quartile (Tukey 1977, Exploratory Data Analysis, ch. 2), of each curve by itself, so that an experiment at
    another level is none; on a logarithmic axis, of the logarithms.
    """
    if own is not None or settings.ylims is not None:
        return own if own is not None else settings.ylims
    extremes: list[float] = []
    for curve in curves:
        values = shown_part(curve, settings)[1]
        values = values[np.isfinite(values)]
        values = np.log10(values) if settings.log_scale else values
        if settings.remove_outliers and len(values):
            values = _within_fences(values)
        extremes += [float(np.min(values)), float(np.max(values))] if len(values) else []
    if not extremes:
        return None
    low, high = min(extremes), max(extremes)
    margin = MARGIN * (high - low)
    if high - low <= ROUNDING * max(abs(low), abs(high)):
        margin = MARGIN * max(abs(low), abs(high)) or MARGIN
    low, high = low - margin, high + margin
    return (10**low, 10**high) if settings.log_scale else (low, high)


def _within_fences(values: NDArray[np.float64]) -> NDArray[np.float64]:
    first, third = np.quantile(values, [0.25, 0.75])
    room = FENCE * (third - first)
    return values[(values >= first - room) & (values <= third + room)]


def words_on_outside(curves: Sequence[Curve], settings: AxisSettings, limits: Limits | None) -> str:
    """Say how many of the points at shown epochs cannot be seen, and why: "2 above the limits"; "" where all can.

    Parameters
    ----------
    curves : sequence of (epochs, values)
    settings : AxisSettings
    limits : (float, float) or None
        Of y, as drawn.
    """
    if limits is None:
        return "nothing to show: no finite value" + (" above 0" if settings.log_scale else "")
    low, high = limits
    above = below = unusable = 0
    for curve in curves:
        values = shown_part(curve, settings)[1]
        above += int(np.sum(values > high))
        below += int(np.sum(values < low))
        if settings.log_scale:
            linear = AxisSettings(xlim=settings.xlim)
            unusable += int(np.sum(shown_part(curve, linear)[1] <= 0))
    words = [f"{count} {where}" for count, where in ((above, "above"), (below, "below")) if count]
    points = f"{' and '.join(words)} the limits" if words else ""
    return "; ".join(part for part in (points, f"{unusable} not above 0" if unusable else "") if part)
