"""What the readers of files with named arrays share: which array is meant, and how it becomes signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_choice
from dynml.errors import ConfigurationError, DataError, shortened
from dynml.readers.guard import guarded
from dynml.readers.reader import FileDescription, Reader, ReaderConfig

EXACT_IN_FLOAT32 = (np.float32, np.float16, np.int16, np.uint16, np.int8, np.uint8)
N_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class ArrayEntry:
    """One thing that a file holds, as its header describes it."""

    name: str
    shape: tuple[int, ...]
    """As the user sees it, in MATLAB's own order for MATLAB files; () where there is none."""
    kind: str
    """Its type in words, such as `float64` or `struct`."""
    is_real: bool
    """It holds real numbers."""

    def __str__(self) -> str:
        sizes = " x ".join(map(str, self.shape))
        return f"{self.name} ({sizes} {self.kind})" if sizes else f"{self.name} ({self.kind})"


@dataclass(frozen=True, kw_only=True)
class ArrayConfig(ReaderConfig):
    """Keys of files that hold one array."""

    seen_otherwise: ClassVar[tuple[str, ...]] = ("time_axis",)

    time_axis: Literal["first", "last"] = "first"
    """Axis of the files' arrays that is time: "first" for time x channels, "last" for channels x time."""

    def __post_init__(self) -> None:
        check_choice("time_axis", self.time_axis, ["first", "last"])


@dataclass(frozen=True, kw_only=True)
class NamedArrayConfig(ArrayConfig):
    """Keys of files that can hold several arrays."""

    seen_otherwise: ClassVar[tuple[str, ...]] = ("variable", "time_axis")

    variable: str | None = None
    """Name of the array inside .mat and .npz files, or its path inside .h5 and .hdf5 files; by default the only
    two-dimensional one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.variable is None or (isinstance(self.variable, str) and self.variable.strip("/"))):
            raise ConfigurationError("variable", self.variable, "the name of an array in the files")


class NamedArraysReader(Reader):
    """Base of the readers of files that can hold several arrays; a format adds `entries` and `load`."""

    Config = NamedArrayConfig
    config: NamedArrayConfig

    @property
    def variable(self) -> str | None:
        """Name of the array, where it is given."""
        return self.config.variable

    def entries(self, path: Path) -> list[ArrayEntry]:
        """List what the file holds, reading headers only."""
        raise NotImplementedError

    def load(self, path: Path, name: str) -> NDArray[Any]:
        """Read one array, in the shape that its entry states."""
        raise NotImplementedError

    def probe(self, path: Path, name: str) -> None:
        """See that an array can be decoded, where its header does not tell."""

    @guarded
    def describe(self, path: Path) -> FileDescription:
        """Find the array and read its shape and type.

        Raises
        ------
        DataError
            When there is no such array, more than one that may be meant, or it holds no real numbers; lists what the
            file holds.
        """
        entry = chosen_entry(path, self.entries(path), self.variable)
        self.probe(path, entry.name)
        n_samples, n_channels = entry.shape if self.config.time_axis == "first" else entry.shape[::-1]
        warned = ("float16 keeps three digits only: store float32 or float64",) if entry.kind == "float16" else ()
        return FileDescription(n_samples=n_samples, n_channels=n_channels, warned=warned)

    @guarded
    def read(self, path: Path) -> NDArray[Any]:
        """Read the array, (T, C): float64 stays so, what float32 holds exactly becomes float32."""
        entry = chosen_entry(path, self.entries(path), self.variable)
        return as_signals(self.load(path, entry.name), self.config.time_axis)


def chosen_entry(path: Path, entries: Sequence[ArrayEntry], variable: str | None) -> ArrayEntry:
    """Array that is named, or the only two-dimensional one.

    Scalars and vectors, which MATLAB keeps with two dimensions, count only where there is nothing larger.

    Raises
    ------
    DataError
        When there is no such array, or more than one.
    """
    if variable is not None:
        return _named_entry(path, entries, variable)
    numeric = [entry for entry in entries if entry.is_real and len(entry.shape) == 2]
    matrices = [entry for entry in numeric if min(entry.shape) > 1]
    candidates = matrices or [entry for entry in numeric if max(entry.shape) > 1] or numeric
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise DataError(f'{path} holds several arrays: {_listed(candidates)}; name the one to read by "variable".')
    hint = _hint_of_struct(entries)
    raise DataError(f"{path} holds no two-dimensional array of real numbers; it holds {_listed(entries)}{hint}.")


def as_signals(array: NDArray[Any], time_axis: str) -> NDArray[Any]:
    """Bring a two-dimensional array of real numbers into the form that readers give, (T, C), float32 or float64.

    Parameters
    ----------
    array : array, (T, C), or (C, T)
    time_axis : str
        "first" or "last".
    """
    turned = array if time_axis == "first" else array.T
    return np.ascontiguousarray(turned, dtype=np.float32 if array.dtype in EXACT_IN_FLOAT32 else np.float64)


def kind_of(dtype: np.dtype[Any]) -> tuple[str, bool]:
    """Type of an array in words, and whether it holds real numbers."""
    if dtype.hasobject:
        return "Python objects, which are never loaded", False
    words = {"c": f"complex numbers, {dtype}", "b": "true and false", "S": "text", "U": "text", "V": "records"}
    return words.get(dtype.kind, str(dtype)), dtype.kind in "fiu"


def _named_entry(path: Path, entries: Sequence[ArrayEntry], variable: str) -> ArrayEntry:
    entry = next((entry for entry in entries if entry.name == variable), None)
    if entry is None:
        raise DataError(f"{path} holds no array {variable!r}; it holds {_listed(entries)}.")
    if not entry.is_real:
        hint = _hint_of_struct([entry])
        raise DataError(f"{path}: {entry} must be a two-dimensional array of real numbers{hint}.")
    if len(entry.shape) != 2:
        raise DataError(f"{path}: {variable} has shape {entry.shape}, but must be two-dimensional.")
    return entry


def _hint_of_struct(entries: Sequence[ArrayEntry]) -> str:
    hint = "; save the signals of a struct as a variable of their own"
    return hint if any(entry.kind == "struct" for entry in entries) else ""


def _listed(entries: Sequence[ArrayEntry]) -> str:
    return shortened([str(entry) for entry in entries], N_LISTED) or "nothing"
