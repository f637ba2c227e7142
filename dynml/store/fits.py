"""Fits in a store: `/preparation/<group>/<position>_<step>`, one HDF5 group a fitted step, with the subjects it saw."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataCorruptionError, DataError
from dynml.fits import Fit, Layout
from dynml.store import layout
from dynml.store.integrity import UNLIKE, is_unlike
from dynml.store.reading import Store

STEP, PARAMETERS, VALUES = "step", "parameters", "values"
OWN_DATASETS = (layout.SUBJECTS, layout.CHANNEL_NAMES)


@dataclass(frozen=True, kw_only=True)
class StoredFit:
    """A fit with the step that made it."""

    step: str
    """Name of the step."""
    parameters: dict[str, Any]
    """What a config says of the step."""
    fit: Fit


def read_fit(store: Store, group: str, name: str) -> Fit:
    """Read one fit.

    Raises
    ------
    DataError
        When it is not there.
    DataCorruptionError
        When it cannot be read.
    """
    path = f"{layout.PREPARATION_FITS}/{group}/{name}"
    if path not in store.file:
        raise DataError(f"{store.path} holds no fit {path}.")
    try:
        node = store.file[path]
        return Fit(
            layout=Layout(
                sampling_frequency=float(node.attrs[layout.SAMPLING_FREQUENCY]),
                channel_names=tuple(map(_text, store.read_table(node[layout.CHANNEL_NAMES]))),
            ),
            subjects=tuple(map(_text, store.read_table(node[layout.SUBJECTS]))),
            arrays={key: store.read_table(node[key]) for key in node if key not in OWN_DATASETS},
            values=json.loads(_text(node.attrs[VALUES])),
        )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataCorruptionError(f"{store.path}: the fit {path} cannot be read: {error}.") from error


def read_fits(store: Store, group: str) -> dict[str, Fit]:
    """Read all fits of a group, by their names in the file.

    Raises
    ------
    DataCorruptionError
        When one cannot be read.
    """
    path = f"{layout.PREPARATION_FITS}/{group}"
    names = _groups(store.file[path]) if path in store.file else []
    return {name: read_fit(store, group, name) for name in names}


def faults_of_fits(store: Store) -> list[str]:
    """Read every fit; one sentence a fault."""
    faults: list[str] = []
    if layout.PREPARATION_FITS not in store.file:
        return faults
    try:
        fits = [(group, name) for group, node in store.file[layout.PREPARATION_FITS].items() for name in _groups(node)]
    except (OSError, KeyError, RuntimeError) as error:
        return [f"{store.path}: {layout.PREPARATION_FITS} cannot be read: {error}."]
    for group, name in fits:
        try:
            fit = read_fit(store, group, name)
        except DataError as error:
            faults.append(str(error))
            continue
        node = store.file[f"{layout.PREPARATION_FITS}/{group}/{name}"]
        if is_unlike(node[layout.SUBJECTS]) or is_unlike(node[layout.CHANNEL_NAMES]):
            faults.append(f"{store.path}: the names of the fit {group}/{name} are not what was written: {UNLIKE}.")
        for key, array in fit.arrays.items():
            if not np.isfinite(array).all():
                faults.append(f"{store.path}: {key} of the fit {group}/{name} holds values that are not finite.")
            elif is_unlike(node[key]):
                faults.append(f"{store.path}: {key} of the fit {group}/{name} is not what was written: {UNLIKE}.")
    return faults


def _groups(node: Any) -> list[str]:
    if not isinstance(node, h5py.Group):
        return []
    return [name for name, member in node.items() if isinstance(member, h5py.Group) and STEP in member.attrs]


def _text(value: bytes | str | NDArray[Any]) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
