"""Values of sensors on the head, by MNE: one panel a type of channel.

Shapes: C channels.
"""

from __future__ import annotations

import importlib
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.geometry.geometry import Geometry
from dynml.plotting.style import INK, SMALL_TEXT_SIZE, TEXT_SIZE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CODES = ("kind", "coil_type", "coord_frame", "unit")
FEWEST_SENSORS = 3
LETTERS_PER_INCH = 11.0
IN_WORDS = {"mag": "magnetometers", "grad": "gradiometers", "eeg": "EEG"}


def draw_sensors(
    values: NDArray[np.float64], geometry: Geometry, *, limits: tuple[float, float], label: str, title: str
) -> Figure:
    """Draw a topography of each type of channel; planar gradiometers as the length of each pair.

    Parameters
    ----------
    values : array, (C,)
    geometry : Geometry
        Of sensors.
    limits, label, title
        As for `plot_map`.

    Raises
    ------
    DataError
        When MNE is not installed; says how to install it.
    """
    mne = _mne()
    info = info_of(mne, geometry)
    types = np.array(info.get_channel_types())
    kinds = [kind for kind in dict.fromkeys(types.tolist()) if (types == kind).sum() >= FEWEST_SENSORS]
    if not kinds:
        raise DataError(f"A topography needs {FEWEST_SENSORS} sensors of one type at least.")
    width = 1.6 + 2.6 * len(kinds)
    figure = new_figure(width, 3.1)
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    image: Any = None
    for axes, kind in zip(panels, kinds):
        chosen = np.flatnonzero(types == kind)
        image, _ = mne.viz.plot_topomap(
            values[chosen],
            mne.pick_info(info, chosen),
            axes=axes,
            show=False,
            cmap="RdBu_r" if limits[0] < 0 else "viridis",
            vlim=limits,
            contours=0,
        )
        axes.set_title(f"{IN_WORDS.get(kind, kind)} ({len(chosen)})", size=TEXT_SIZE, color=INK)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.8, aspect=25)
    bar.set_label(label, size=TEXT_SIZE, color=INK)
    bar.ax.tick_params(labelsize=SMALL_TEXT_SIZE + 1, colors=INK)
    figure.suptitle(
        textwrap.fill(title, int(LETTERS_PER_INCH * width)), size=TEXT_SIZE + 1, color=INK, x=0.01, ha="left"
    )
    return figure


def info_of(mne: Any, geometry: Geometry) -> Any:
    """Make MNE's description of the sensors anew."""
    info = mne.create_info(list(geometry.channel_names), 1.0, "misc")
    for channel, loc, codes in zip(info["chs"], geometry.arrays["loc"], geometry.arrays["codes"].tolist()):
        with info._unlock():
            channel["loc"] = np.array(loc)
            channel.update(dict(zip(CODES, codes)))
    return info


def _mne() -> Any:
    try:
        return importlib.import_module("mne")
    except ImportError as error:
        raise DataError(
            "Topographies of sensors are drawn by the package mne, which is not installed; install it by: "
            "pip install dynml[mne]."
        ) from error
