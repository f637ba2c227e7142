"""MATLAB files of version 7.3, which scipy does not write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

CLASSES = {"float64": "double", "float32": "single", "bool": "logical"}


def save_hdf5(path: Path, **variables: Any) -> None:
    """Write variables as MATLAB's -v7.3 does: axes reversed, a class each, a text of 512 bytes before it all."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in variables.items():
            if isinstance(values, dict):
                group = file.create_group(name)
                group.attrs["MATLAB_class"] = np.bytes_("struct")
                for field, value in values.items():
                    group[field] = value.T
                continue
            stored = values.T
            if values.dtype == bool:
                stored = stored.astype(np.uint8)
            elif values.dtype.kind == "c":
                stored = np.rec.fromarrays([stored.real, stored.imag], names="real, imag")
            dataset = file.create_dataset(name, data=stored)
            dataset.attrs["MATLAB_class"] = np.bytes_(CLASSES.get(values.dtype.name, values.dtype.name))
        file.create_group("#refs#")["a"] = np.ones((2, 2))
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
