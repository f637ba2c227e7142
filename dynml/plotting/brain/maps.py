"""One map of channels: on the glass brain, on slices, as markers, on the head, or as bars.

Shapes: C channels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.analysis.maps.images import image_of, volume_of
from dynml.geometry.geometry import Geometry
from dynml.plotting.brain.sensors import draw_sensors
from dynml.plotting.style import INK, SMALL_TEXT_SIZE, TEXT_SIZE, new_figure, plain_axes, put_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIVERGING, SEQUENTIAL = "RdBu_r", "viridis"
MOST_BARS, N_SLICES, N_TICKS = 60, 6, 5
SMALLEST_SHARE = 1e-6
"""Of the colour scale: nilearn draws nothing below, so that what lies outside of all channels stays white."""
TITLE_HEIGHT = 0.12


def plot_map(
    values: ArrayLike,
    geometry: Geometry | None,
    channel_names: Sequence[str],
    *,
    limits: tuple[float, float],
    label: str,
    title: str,
) -> Figure:
    """Draw one value per channel, where the channels lie.

    Parameters
    ----------
    values : array, (C,)
    geometry : Geometry, optional
        Of these channels. In a standard space an atlas is drawn on nilearn's glass brain, and centres as markers on it;
        in another space an atlas is drawn as slices. Sensors are drawn by MNE. Without, the values are bars.
    channel_names : sequence of C str
    limits : (float, float)
        Ends of the colour scale; below 0 and above it at equal distances for differences.
    label : str
        What the colours are, with units.
    title : str

    Returns
    -------
    Figure
    """
    own = np.asarray(values, dtype=np.float64)
    way = way_to_draw(geometry)
    if geometry is None or way == "bars":
        return _bars(own, channel_names, limits, label, title)
    if way == "head":
        return draw_sensors(own, geometry, limits=limits, label=label, title=title)
    figure = new_figure(7.6, 2.5)
    figure.set_layout_engine("none")
    with quiet_nilearn():
        _on_brain(figure, own, geometry, way, limits)
    put_words(figure, title, label)
    return figure


def plot_on_volume(
    values: ArrayLike, geometry: Geometry, *, limits: tuple[float, float], label: str, title: str
) -> Figure | None:
    """Draw channels of CIFTI that lie in voxels on nilearn's glass brain; those on surfaces are not drawn.

    Parameters
    ----------
    values : array, (C,)
    geometry : Geometry
        Of parcels or grayordinates in a standard space.
    limits, label, title
        As for `plot_map`.

    Returns
    -------
    Figure or None
        None where all channels lie on surfaces.
    """
    from nilearn import plotting

    image = volume_of(geometry, values)
    if image is None:
        return None
    figure = new_figure(7.6, 2.5)
    figure.set_layout_engine("none")
    with quiet_nilearn():
        plotting.plot_glass_brain(
            image, display_mode="lyrz", plot_abs=False, figure=figure, **_axes_below_title(), **_colours(limits)
        )
    put_words(figure, title, label)
    return figure


def way_to_draw(geometry: Geometry | None) -> str:
    """Say how values of channels are drawn: "glass brain", "slices", "markers", "head" or "bars"."""
    if geometry is None:
        return "bars"
    if geometry.kind == "sensors":
        return "head" if geometry.has_positions else "bars"
    if geometry.kind in ("labels", "maps"):
        return "glass brain" if geometry.is_standard else "slices"
    return "markers" if geometry.has_positions and geometry.is_standard else "bars"


def symmetric_limits(values: ArrayLike, *, signed: bool) -> tuple[float, float]:
    """Ends of one colour scale for several maps: around 0 where they have both signs."""
    own = np.asarray(values, dtype=np.float64)
    finite = own[np.isfinite(own)]
    if not len(finite):
        return (-1.0, 1.0) if signed else (0.0, 1.0)
    if signed or finite.min() < 0:
        largest = float(np.abs(finite).max()) or 1.0
        return -largest, largest
    return 0.0, float(finite.max()) or 1.0


def colours_of(limits: tuple[float, float]) -> str:
    """Name of the map of colours for a scale."""
    return DIVERGING if limits[0] < 0 else SEQUENTIAL


@contextmanager
def quiet_nilearn() -> Iterator[None]:
    """Keep what nilearn says of its own defaults from a user who did not call it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def put_words(figure: Figure, title: str, label: str) -> None:
    """Put a title at the top left, and what the colours are beside the colour bar, whose ticks become round numbers."""
    for axes in figure.axes:
        bar = getattr(axes, "_colorbar", None)
        if bar is not None:
            ticks = round_ticks(bar.norm.vmin, bar.norm.vmax)
            bar.set_ticks(ticks, labels=[f"{tick:.6g}".replace("-", "\N{MINUS SIGN}") for tick in ticks])
    figure.text(0.01, 0.99, title, size=TEXT_SIZE + 1, color=INK, ha="left", va="top")
    figure.text(0.995, 0.5, label, size=SMALL_TEXT_SIZE + 1, color=INK, ha="right", va="center", rotation=90)


def round_ticks(low: float, high: float) -> list[float]:
    """Few round numbers between two, these included; nilearn divides the scale evenly, and adds its threshold."""
    from matplotlib.ticker import MaxNLocator

    slack = 1e-9 * (high - low)
    values = MaxNLocator(N_TICKS, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [0.0 if abs(value) <= slack else float(value) for value in values if low - slack <= value <= high + slack]


def _on_brain(
    figure: Figure, values: NDArray[np.float64], geometry: Geometry, way: str, limits: tuple[float, float]
) -> None:
    from nilearn import plotting

    shared: dict[str, Any] = {"figure": figure, **_axes_below_title()}
    if way == "markers":
        plotting.plot_markers(
            values,
            geometry.positions,
            display_mode="lyrz",
            node_cmap=colours_of(limits),
            node_vmin=limits[0],
            node_vmax=limits[1],
            **shared,
        )
        return
    volume = image_of(geometry, values[None], ["map"]).slicer[..., 0]
    shared |= _colours(limits)
    if way == "slices":
        # Not a standard space: nilearn's brain would not lie under it.
        image = hidden_background(volume, geometry)
        plotting.plot_img(image, display_mode="z", cut_coords=_heights(image), **shared)
        return
    plotting.plot_glass_brain(hidden_background(volume, geometry), display_mode="lyrz", plot_abs=False, **shared)


def _axes_below_title() -> dict[str, Any]:
    """Where nilearn draws in a figure, below the title."""
    return {"axes": (0.0, 0.0, 0.96, 1.0 - TITLE_HEIGHT), "colorbar": True}


def _colours(limits: tuple[float, float]) -> dict[str, Any]:
    threshold = SMALLEST_SHARE * limits[1]
    return {"cmap": colours_of(limits), "vmin": limits[0], "vmax": limits[1], "threshold": threshold}


def hidden_background(volume: Any, geometry: Geometry) -> Any:
    """Make voxels of no channel NaN, so that they are not drawn, and those whose value is 0 are."""
    data = np.asarray(volume.dataobj, dtype=np.float32)
    if geometry.kind == "labels":
        known = np.isin(geometry.arrays["image"], geometry.arrays["values"])
    else:
        known = np.zeros(data.size, dtype=bool)
        known[geometry.arrays["voxels"]] = True
        known = known.reshape(data.shape)
    return type(volume)(np.where(known, data, np.nan), volume.affine)


def _heights(image: Any) -> list[float]:
    """Heights of slices that channels lie in, mm."""
    voxels = np.argwhere(np.isfinite(np.asarray(image.dataobj)))
    heights = np.unique(np.round(voxels @ image.affine[2, :3] + image.affine[2, 3], 1))
    chosen = np.linspace(0, len(heights) - 1, min(N_SLICES, len(heights))).round().astype(int)
    return [float(height) for height in heights[chosen]]


def _bars(
    values: NDArray[np.float64], names: Sequence[str], limits: tuple[float, float], label: str, title: str
) -> Figure:
    order = np.argsort(-np.abs(np.nan_to_num(values)), kind="stable")[:MOST_BARS]
    order = np.sort(order)
    figure = new_figure(6.4, 1.2 + 0.17 * len(order))
    axes = figure.add_subplot()
    axes.barh(np.arange(len(order)), values[order], color="#0072B2", height=0.75)
    axes.axvline(0.0, color=INK, linewidth=0.7)
    axes.set_yticks(np.arange(len(order)), [names[position] for position in order])
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(1.05 * limits[0], 1.05 * limits[1])
    axes.set_xlabel(label)
    rest = len(values) - len(order)
    if rest:
        axes.set_ylabel(f"Channels ({rest} smaller ones left out)")
    put_title(figure, title)
    plain_axes(axes)
    return figure
