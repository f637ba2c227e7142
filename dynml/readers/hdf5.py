"""Reads arrays from HDF5 files that other programs wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataCorruptionError, DataError, in_one_line
from dynml.readers.named_arrays import ArrayEntry, NamedArraysReader, kind_of
from dynml.reading_files import readable
from dynml.store.own_storage import check_own_path, own_dataset


class Hdf5Reader(NamedArraysReader):
    """Reads one dataset of `.h5` and `.hdf5` files; `variable` is its path inside the file."""

    @property
    def variable(self) -> str | None:
        """Path of the dataset, without slashes at its ends."""
        return None if self.config.variable is None else self.config.variable.strip("/")

    def entries(self, path: Path) -> list[ArrayEntry]:
        """List the datasets of the whole file.

        Raises
        ------
        DataError
            When the file is no HDF5 file, is truncated, or is a store of dynml.
        """
        import h5py

        found: list[ArrayEntry] = []

        def add(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found.append(entry_of_dataset(name, item))

        with opened(path) as file:
            if file.attrs.get("format") in ("dynml", b"dynml"):
                raise DataError(f"{path} is a store of dynml already; recordings are made into a store once.")
            file.visititems(add)
            if self.variable is not None:
                check_own_path(path, file, self.variable)
        return found

    def load(self, path: Path, name: str) -> NDArray[Any]:
        """Read one dataset."""
        with opened(path) as file:
            return np.asarray(own_dataset(path, file, name)[()])

    def probe(self, path: Path, name: str) -> None:
        """Read the first row: its compression may be one that is not installed here."""
        with opened(path) as file:
            own_dataset(path, file, name)[:1]


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file to read; faults of its bytes, also later ones, become errors of one sentence.

    Raises
    ------
    DataError
        When it cannot be read; `DataCorruptionError` when it is truncated or no HDF5 file.
    """
    from dynml.store.file import open_to_read

    with readable(path), path.open("rb"):  # for the plain reason where there is no permission
        pass
    try:
        with open_to_read(path) as file:
            yield file
    except DataError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = in_one_line(error)
        raise DataCorruptionError(f"{path} is not a readable HDF5 file: {reason}.") from error


def entry_of_dataset(name: str, dataset: Any) -> ArrayEntry:
    """Describe a dataset by its header."""
    import h5py

    if dataset.shape is None:
        return ArrayEntry(name=name, shape=(), kind="empty", is_real=False)
    kind, is_real = kind_of(dataset.dtype)
    if h5py.check_string_dtype(dataset.dtype) is not None:
        kind = "text"
    elif dataset.dtype.hasobject:
        kind = "references or arrays of varying length"
    return ArrayEntry(name=name, shape=tuple(dataset.shape), kind=kind, is_real=is_real)
