"""What a store keeps of sensors, so that MNE can draw them without the recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dynml.geometry.geometry import POSITIONS, SPACE, STANDARD, Geometry

MM_PER_M = 1000.0
CODES = ("kind", "coil_type", "coord_frame", "unit")


def geometry_of_sensors(recording: Any, indices: Sequence[int], file: str) -> Geometry | None:
    """Keep position, orientation and type of some channels; None where no channel has a position.

    Parameters
    ----------
    recording : mne.io.BaseRaw or mne.BaseEpochs
    indices : sequence of int
        Of the channels.
    file : str
        Where they come from.
    """
    channels = [recording.info["chs"][index] for index in indices]
    loc = np.array([channel["loc"] for channel in channels], dtype=np.float64)
    positions = loc[:, :3] * MM_PER_M
    unknown = ~np.isfinite(positions).all(axis=1) | ~positions.any(axis=1)
    positions[unknown] = np.nan
    if unknown.all():
        return None
    return Geometry(
        kind="sensors",
        channel_names=tuple(str(channel["ch_name"]) for channel in channels),
        arrays={
            "loc": loc,
            "codes": np.array([[int(channel[name]) for name in CODES] for channel in channels], dtype=np.int64),
            POSITIONS: positions,
        },
        values={"file": file, SPACE: "head" if channels[0]["coord_frame"] == 4 else "device", STANDARD: False},
    )
