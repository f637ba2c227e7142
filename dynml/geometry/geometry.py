"""Where the channels of a group lie: what is needed to draw on a brain, without the files that were read.

Shapes: C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["labels", "maps", "parcels", "grayordinates", "sensors"]
KINDS: tuple[Kind, ...] = ("labels", "maps", "parcels", "grayordinates", "sensors")
POSITIONS = "positions"
SPACE, STANDARD = "space", "standard"
NEEDED: dict[str, tuple[str, ...]] = {
    "labels": ("image", "affine", "values"),
    "maps": ("voxels", "channels", "weights", "shape", "affine"),
    "parcels": ("axis", "rows"),
    "grayordinates": ("axis", "rows"),
    "sensors": ("loc", "codes"),
}
"""Arrays without which nothing can be drawn, by kind; see `Geometry`."""
OF_CHANNELS: dict[str, tuple[str, ...]] = {
    "labels": ("values",),
    "sensors": ("loc", "codes"),
}
"""Arrays with one row per channel, beside the positions, by kind."""
CHANNEL_OF = {"maps": "channels", "parcels": "rows", "grayordinates": "rows"}
"""Arrays that hold numbers of channels, -1 for none, by kind."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Geometry:
    """Where channels lie.

    Notes
    -----
    `arrays` holds, beside `positions` (C, 3) in mm (NaN where unknown):

    - labels: `image` (x, y, z) of whole numbers, `affine` (4, 4) to mm, `values` (C,) of the channels in it;
    - maps: the weights that are not 0: `voxels` (n,) as positions in the flattened image, `channels` (n,), `weights`
      (n,), and `shape` (3,) and `affine` (4, 4) of the image;
    - parcels, grayordinates: `axis`, the bytes of a CIFTI-2 header with the axis, and `rows` (n,), the channel of each
      of its parcels or grayordinates;
    - sensors: `loc` (C, 12) and `codes` (C, 4) as MNE keeps them: kind, type of coil, coordinate frame, unit.
    """

    kind: Kind
    channel_names: tuple[str, ...]
    arrays: dict[str, NDArray[Any]]
    values: dict[str, Any] = field(default_factory=dict)
    """Plain values: `space`, `standard` (whether that is a standard space), and what it was read from."""

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind
        assert self.arrays[POSITIONS].shape == (len(self.channel_names), 3), self.arrays[POSITIONS].shape

    @property
    def positions(self) -> NDArray[np.float64]:
        """Centres of parcels, or positions of sensors, (C, 3), mm; NaN where unknown."""
        return self.arrays[POSITIONS]

    @property
    def has_positions(self) -> bool:
        """Whether all channels have one."""
        return bool(np.isfinite(self.positions).all())

    @property
    def is_standard(self) -> bool:
        """Whether positions are those of a standard brain (MNI, Talairach)."""
        return bool(self.values.get(STANDARD, False))

    def taken(self, order: Sequence[int]) -> Geometry:
        """Give some of the channels, in another order."""
        arrays = dict(self.arrays)
        chosen = np.asarray(order, dtype=np.int64)
        for name in (POSITIONS, *OF_CHANNELS.get(self.kind, ())):
            arrays[name] = arrays[name][chosen]
        if self.kind in CHANNEL_OF:
            position = np.full(len(self.channel_names) + 1, -1, dtype=np.int64)
            position[chosen] = np.arange(len(chosen))
            arrays[CHANNEL_OF[self.kind]] = position[arrays[CHANNEL_OF[self.kind]]].astype(np.int32)
        if self.kind == "maps":
            kept = arrays["channels"] >= 0
            arrays |= {name: arrays[name][kept] for name in ("voxels", "channels", "weights")}
        return dataclasses.replace(
            self, channel_names=tuple(self.channel_names[position] for position in order), arrays=arrays
        )

    def named(self, names: Sequence[str]) -> Geometry:
        """Give the channels other names."""
        assert len(names) == len(self.channel_names), (names, self.channel_names)
        return dataclasses.replace(self, channel_names=tuple(names))

    def of_channels(self, names: Sequence[str]) -> Geometry | None:
        """Give the channels of some names, in their order; None when one is not there."""
        positions = {name: position for position, name in enumerate(self.channel_names)}
        if not set(names) <= positions.keys():
            return None
        return self.taken([positions[name] for name in names])
