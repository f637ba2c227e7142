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
from dynml.plotting.style import INK, TEXT_SIZE, add_colour_bar, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CODES = ("kind", "coil_type", "coord_frame", "unit")
FEWEST_SENSORS = 3
LETTERS_PER_INCH = 11.0
IN_WORDS = {"mag": "magnetometers", "grad": "gradiometers", "eeg": "EEG"}


def draw_sensors(
    values: NDArray[np.float64], geometry: Geometry, *, limits: tuple[float, float], label: str, title: str
) -> Figure:
    """Draw a topography of each type of channel; of gradiometers at one position, the mean of their values.

    MNE would draw the length of each pair, which has no sign: what is below the average would look as if above.

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
    found = {kind: _at_positions(values, info, np.flatnonzero(types == kind)) for kind in dict.fromkeys(types.tolist())}
    kinds = {kind: own for kind, own in found.items() if len(own[1]) >= FEWEST_SENSORS}
    if not kinds:
        raise DataError(f"A topography needs {FEWEST_SENSORS} sensors of one type at least.")
    width = 1.6 + 2.6 * len(kinds)
    figure = new_figure(width, 3.1)
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    image: Any = None
    for axes, (kind, (shown, chosen)) in zip(panels, kinds.items()):
        image, _ = mne.viz.plot_topomap(
            shown,
            _drawable(mne, info, chosen),
            axes=axes,
            show=False,
            cmap="RdBu_r" if limits[0] < 0 else "viridis",
            vlim=limits,
            contours=0,
        )
        n_sensors = int((types == kind).sum())
        count = f"{n_sensors}" if n_sensors == len(chosen) else f"{n_sensors} at {len(chosen)} places"
        axes.set_title(f"{IN_WORDS.get(kind, kind)} ({count})", size=TEXT_SIZE, color=INK)
    add_colour_bar(figure, image, panels, label)
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


def _at_positions(
    values: NDArray[np.float64], info: Any, chosen: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Means of the sensors at each position, and the first sensor of each."""
    positions = np.array([info["chs"][channel]["loc"][:3] for channel in chosen.tolist()])
    _, firsts, owners = np.unique(np.round(positions, 4), axis=0, return_index=True, return_inverse=True)
    owners = owners.ravel()
    return np.bincount(owners, values[chosen]) / np.bincount(owners), chosen[firsts]


def _drawable(mne: Any, info: Any, chosen: NDArray[np.int64]) -> Any:
    """Description of some sensors, gradiometers as magnetometers, so that MNE draws the values as they are."""
    constants = importlib.import_module("mne.io.constants").FIFF
    own = mne.pick_info(info, chosen)
    for channel in own["chs"]:
        if channel["unit"] == constants.FIFF_UNIT_T_M:
            with own._unlock():
                channel.update(unit=constants.FIFF_UNIT_T, coil_type=constants.FIFFV_COIL_VV_MAG_T3)
    return own


def _mne() -> Any:
    try:
        return importlib.import_module("mne")
    except ImportError as error:
        raise DataError(
            "Topographies of sensors are drawn by the package mne, which is not installed; install it by: "
            "pip install dynml[mne]."
        ) from error
