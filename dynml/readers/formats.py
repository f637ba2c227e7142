"""Readers of recordings, one module a format, found by the file's extension.

A further format is one more module with a class like `NumpyReader`, whose methods are `guarded`, and one more line in
`READERS`; another package adds its own by the entry point `dynml.readers`, named by the extension:

    [project.entry-points."dynml.readers"]
    ".sig" = "my_package.reader:SigReader"
"""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from dynml.entry_points import loaded_entry, names_of_group, unusable_entry
from dynml.errors import DataError
from dynml.readers.file_events import FileEvents
from dynml.readers.fmri.motion_config import MotionCorrectionConfig

ENTRY_POINT_GROUP = "dynml.readers"
READERS = {
    ".npy": "dynml.readers.numpy_array.NumpyReader",
    ".npz": "dynml.readers.npz.NpzReader",
    ".mat": "dynml.readers.matlab.reader.MatlabReader",
    ".h5": "dynml.readers.hdf5.Hdf5Reader",
    ".hdf5": "dynml.readers.hdf5.Hdf5Reader",
    ".txt": "dynml.readers.text_table.TextReader",
    ".csv": "dynml.readers.text_table.TextReader",
    ".tsv": "dynml.readers.text_table.TextReader",
    ".txt.gz": "dynml.readers.text_table.TextReader",
    ".csv.gz": "dynml.readers.text_table.TextReader",
    ".tsv.gz": "dynml.readers.text_table.TextReader",
    ".ptseries.nii": "dynml.readers.fmri.cifti.ParcelSeriesReader",
    ".dtseries.nii": "dynml.readers.fmri.cifti.DenseSeriesReader",
    ".nii": "dynml.readers.fmri.nifti.NiftiReader",
    ".nii.gz": "dynml.readers.fmri.nifti.NiftiReader",
    ".fif": "dynml.readers.meg_eeg.reader.MneReader",
    ".fif.gz": "dynml.readers.meg_eeg.reader.MneReader",
    ".edf": "dynml.readers.meg_eeg.reader.MneReader",
    ".bdf": "dynml.readers.meg_eeg.reader.MneReader",
    ".vhdr": "dynml.readers.meg_eeg.reader.MneReader",
    ".set": "dynml.readers.meg_eeg.reader.MneReader",
    ".ts": "dynml.readers.ts_archive.TsReader",
}
"""Extension to dotted name of the reader, imported when a file asks for it."""


@dataclass(frozen=True, kw_only=True)
class ReaderInputs:
    """Files and settings that a reader needs beside the signals' own file."""

    atlas: Path | None = None
    atlas_labels: Path | list[str] | dict[str, str] | None = None
    mask: Path | str | None = None
    """A file, or "auto"."""
    smoothing: float | None = None
    """Full width at half maximum of a Gaussian, mm."""
    motion_correction: MotionCorrectionConfig | None = None
    """Take the motion between volumes out before anything else."""
    exclude_channels: tuple[str, ...] = ()
    """Names of channels to leave out."""
    variable: str | None = None
    """Name of the array, where a file can hold several."""
    time_axis: str = "first"
    """"first" for time x channels, "last" for channels x time."""
    picks: str | list[str] | None = None
    """Types or names of channels, where the format knows them."""
    include_bads: bool = False
    """Channels that the file marks as bad count too."""

    @property
    def given(self) -> set[str]:
        """Names of the settings that are not at their default."""
        return {field.name for field in fields(self) if getattr(self, field.name) != field.default}


@dataclass(frozen=True, kw_only=True)
class FileDescription:
    """What a file's header says of its signals."""

    n_samples: int
    n_channels: int
    channel_names: tuple[str, ...] | None = None
    """None where the format names no channels."""
    sampling_frequency: float | None = None
    """Hz; None where the file does not say."""
    rate_fault: str = ""
    """Why the file does not say, where there is a reason."""
    remarks: tuple[str, ...] = ()
    """What the user should be told about this file."""
    stretches: NDArray[np.int64] | None = None
    """Good stretches [start, stop) of samples, (n, 2), ascending, at least one; None: all of it is one."""
    events: FileEvents | None = None
    """What happened when, where the file itself says it."""
    units: str | None = None
    """Units of the signals; None where the format has none."""
    further_files: tuple[Path, ...] = ()
    """Files beside this one, in its folder, that the signals are read from."""


class Reader(Protocol):
    """Reads files of one format."""

    settings: frozenset[str]
    """The settings of `ReaderInputs` that this format can use."""

    def __init__(self, inputs: ReaderInputs) -> None: ...

    def describe(self, path: Path) -> FileDescription:
        """Read the header only, and refuse a file that cannot be used."""
        ...

    def read(self, path: Path) -> NDArray[Any]:
        """Read the signals, (T, C), float32 or float64; missing samples are NaN."""
        ...


def known_extensions() -> list[str]:
    """Extensions that there are readers of, those of other packages last."""
    others = [extension for extension in names_of_group(ENTRY_POINT_GROUP) if extension not in READERS]
    return [*READERS, *others]


def extension_of(path: Path) -> str:
    """Extension of a file that there is a reader for; the longest that fits.

    Raises
    ------
    DataError
        When there is none; names the formats that there are.
    """
    known = known_extensions()
    fitting = [extension for extension in known if path.name.lower().endswith(extension.lower())]
    if not fitting:
        raise DataError(f"{path} has a format that cannot be read; there are readers of {', '.join(known)}.")
    return max(fitting, key=len)


def reader_class(path: Path) -> type[Reader]:
    """Class that reads a file, by its extension.

    Raises
    ------
    DataError
        When there is none, or when it is another package's and cannot be used.
    """
    extension = extension_of(path)
    if extension not in READERS:
        return _reader_of_other_package(extension)
    module, name = READERS[extension].rsplit(".", 1)
    reader: type[Reader] = getattr(importlib.import_module(module), name)
    return reader


def _reader_of_other_package(extension: str) -> type[Reader]:
    reader: Any = loaded_entry(ENTRY_POINT_GROUP, extension)
    lacking = [name for name in ("settings", "describe", "read") if not hasattr(reader, name)]
    if not inspect.isclass(reader) or lacking:
        raise unusable_entry(ENTRY_POINT_GROUP, extension, reader, "a class with settings, describe and read")
    return cast(type[Reader], reader)
