"""Reads MATLAB's `.mat` files: version 5 (which `save` writes as -v6 and -v7) and version 7.3, which is HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.readers.guard import starts_as_hdf5
from dynml.readers.hdf5 import entry_of_dataset, opened
from dynml.readers.matlab.version_5 import numbers_of, variables_of
from dynml.readers.named_arrays import ArrayEntry, NamedArraysReader
from dynml.store.own_storage import check_own_path, own_dataset


class MatlabReader(NamedArraysReader):
    """Reads `.mat` files; shapes are those that MATLAB shows, whichever way a version stores them."""

    def entries(self, path: Path) -> list[ArrayEntry]:
        """List the file's variables, from their headers.

        Raises
        ------
        DataError
            When the file is no `.mat` file of these versions, or is truncated.
        """
        if not starts_as_hdf5(path):
            return [variable.entry for variable in variables_of(path)]
        import h5py

        with opened(path) as file:
            names = [name for name in file if not name.startswith("#")]
            items = {name: file[name] for name in names if isinstance(file.get(name, getlink=True), h5py.HardLink)}
            if self.variable is not None:
                check_own_path(path, file, self.variable)
            kinds = (h5py.Dataset, h5py.Group)
            return [_entry(name, item) for name, item in items.items() if isinstance(item, kinds)]

    def load(self, path: Path, name: str) -> NDArray[Any]:
        """Read one variable, in MATLAB's shape.

        Raises
        ------
        DataCorruptionError
            When its bytes cannot be decoded.
        """
        if starts_as_hdf5(path):
            with opened(path) as file:
                return np.asarray(own_dataset(path, file, name)[()]).T
        return numbers_of(path, next(variable for variable in variables_of(path) if variable.entry.name == name))

    def probe(self, path: Path, name: str) -> None:
        """Read the first row of a version 7.3 file."""
        if starts_as_hdf5(path):
            with opened(path) as file:
                own_dataset(path, file, name)[:1]


def _entry(name: str, item: Any) -> ArrayEntry:
    """Describe a variable of version 7.3; HDF5 states its axes in the reverse of MATLAB's order."""
    import h5py

    stated = item.attrs.get("MATLAB_class", b"")
    matlab_class = stated.decode() if isinstance(stated, bytes) else str(stated)
    if isinstance(item, h5py.Group):
        kind = "sparse" if "MATLAB_sparse" in item.attrs else matlab_class or "struct"
        return ArrayEntry(name=name, shape=(), kind=kind, is_real=False)
    if "MATLAB_empty" in item.attrs:
        return ArrayEntry(name=name, shape=tuple(map(int, item[()])), kind=f"empty {matlab_class}", is_real=False)
    entry = entry_of_dataset(name, item)
    kind, is_real = entry.kind, entry.is_real
    if matlab_class in ("char", "logical", "cell", "struct", "function_handle"):
        kind, is_real = matlab_class, False
    elif item.dtype.names == ("real", "imag"):
        kind = "complex numbers"
    return ArrayEntry(name=name, shape=entry.shape[::-1], kind=kind, is_real=is_real)
