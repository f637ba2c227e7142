"""Reads `.npy` files: one two-dimensional array, time x channels unless `time_axis` says otherwise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataCorruptionError, DataError, in_one_line
from dynml.readers.guard import guarded
from dynml.readers.named_arrays import ArrayConfig, as_signals
from dynml.readers.reader import FileDescription, Reader


class NumpyReader(Reader):
    """Reads `.npy` files; nothing in them is ever executed."""

    Config = ArrayConfig
    config: ArrayConfig

    @guarded
    def describe(self, path: Path) -> FileDescription:
        """Read shape and type from the header.

        Raises
        ------
        DataError
            When the file is no array of numbers with two dimensions.
        """
        shape, dtype = _header(path)
        if len(shape) != 2:
            raise DataError(f"{path} has shape {shape}, but must be two-dimensional: time x channels.")
        if dtype.kind not in "fiu":
            raise DataError(f"{path} holds values of type {dtype}, but must hold real numbers.")
        warned = ("float16 keeps three digits only: store float32 or float64",) if dtype == np.float16 else ()
        n_samples, n_channels = shape if self.config.time_axis == "first" else shape[::-1]
        return FileDescription(n_samples=n_samples, n_channels=n_channels, warned=warned)

    @guarded
    def read(self, path: Path) -> NDArray[Any]:
        """Read the array, (T, C): float64 stays so, what float32 holds exactly becomes float32."""
        _header(path)
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} could not be read: {error}.") from error
        return as_signals(array, self.config.time_axis)


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read shape and type, and see that the file has as many bytes as they ask for."""
    try:
        with path.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
            n_bytes = path.stat().st_size - stream.tell()
    except OSError as error:
        raise DataError(f"{path} could not be read: {error.strerror or error}.") from error
    except Exception as error:  # the header is a text that numpy parses, with whatever that raises
        raise DataError(f"{path} is not a .npy file: {in_one_line(str(error).partition(chr(10))[0])}.") from error
    if dtype.hasobject:
        raise DataError(f"{path} holds Python objects instead of numbers; they are never loaded.")
    if min(shape, default=0) < 0:
        raise DataCorruptionError(f"{path} has shape {shape}, which no array has.")
    expected = math.prod(shape) * dtype.itemsize
    if n_bytes < expected:
        raise DataCorruptionError(f"{path} is truncated: it holds {n_bytes} bytes of signals instead of {expected}.")
    return shape, dtype
