"""Where channels lie, in a store: `/geometry/<group>`, once for all subjects."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from dynml.errors import DataCorruptionError
from dynml.geometry.geometry import KINDS, NEEDED, POSITIONS, Geometry
from dynml.store import layout
from dynml.store.integrity import UNLIKE, is_unlike
from dynml.store.own_storage import check_own_storage, own_dataset
from dynml.store.reading import Store

KIND, VALUES = "kind", "values"


def read_geometry(store: Store, group: str) -> Geometry | None:
    """Read where the channels of a group lie; None where the store does not say.

    Raises
    ------
    DataCorruptionError
        When it cannot be read.
    """
    path = f"{layout.GEOMETRY}/{group}"
    if not layout.is_valid_name(group) or path not in store.file:
        return None
    try:
        node = store.file[path]
        check_own_storage(store.path, store.file[layout.GEOMETRY])
        kind = _text(node.attrs[KIND])
        if kind not in KINDS:
            return None  # of a later version
        names = tuple(map(_text, store.read_table(node[layout.CHANNEL_NAMES])))
        arrays = {
            name: store.read_table(own_dataset(store.path, node, name)) for name in node if name != layout.CHANNEL_NAMES
        }
        # Without them maps can be drawn, and networks as matrices.
        arrays.setdefault(POSITIONS, np.full((len(names), 3), np.nan))
        values = json.loads(_text(node.attrs[VALUES]))
        lacking = [name for name in NEEDED[kind] if name not in arrays]
        if lacking:
            raise ValueError(f"it has no {lacking[0]}, which {kind} are drawn by")
        return Geometry(kind=kind, channel_names=names, arrays=arrays, values=values)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AssertionError) as error:
        raise DataCorruptionError(f"{store.path}: {path} cannot be read: {error}.") from error


def faults_of_geometry(store: Store) -> list[str]:
    """Read all of it; one sentence a fault."""
    faults: list[str] = []
    if layout.GEOMETRY not in store.file:
        return faults
    for group in store.file[layout.GEOMETRY]:
        try:
            geometry = read_geometry(store, group)
        except DataCorruptionError as error:
            faults.append(str(error))
            continue
        node = store.file[f"{layout.GEOMETRY}/{group}"]
        names = [layout.CHANNEL_NAMES, *([] if geometry is None else geometry.arrays)]
        unlike = [name for name in names if is_unlike(node[name])]
        faults += [
            f"{store.path}: {layout.GEOMETRY}/{group}/{name} is not what was written: {UNLIKE}." for name in unlike
        ]
    return faults


def geometry_in_words(store: Store, group: str) -> str | None:
    """Say in a line what the store knows of where a group's channels lie."""
    geometry = read_geometry(store, group)
    if geometry is None:
        return None
    space = geometry.values.get("space", "unknown")
    centres = "with their centres" if geometry.has_positions else "without centres"
    what = {
        "labels": f"labels of {geometry.values.get('file')}, {centres}",
        "maps": f"maps of {geometry.values.get('file')}, {centres}",
        "parcels": f"parcels of CIFTI axes, {centres}",
        "grayordinates": f"grayordinates of CIFTI axes, {centres}",
        "sensors": "positions and types of sensors",
    }[geometry.kind]
    return f"{what} (space: {space})"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
