"""Which reader a file has, by its extension, and which keys each format has of its own."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dynml.configuration import defaults_of, nearest_name
from dynml.entry_points import loaded_entry, names_of_group, unusable_entry
from dynml.errors import ConfigurationError, DataError
from dynml.readers.reader import Reader, ReaderConfig

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

OTHER_FORMATS = {
    ".gii": "a GIFTI file, of one hemisphere; join both in a CIFTI file by wb_command -cifti-create-dense-timeseries "
    "OUT.dtseries.nii -left-metric LEFT.func.gii -right-metric RIGHT.func.gii, which a .dlabel.nii file as 'atlas' "
    "averages by parcels",
    ".fdt": "the samples of an EEGLAB file; name its .set file",
    ".eeg": "the samples of a BrainVision file; name its .vhdr file",
    ".vmrk": "the markers of a BrainVision file; name its .vhdr file",
    **dict.fromkeys(
        (".gdf", ".cnt", ".sqd", ".con", ".cdt", ".nxe", ".lay", ".snirf"),
        "a format that mne reads; save it by mne.io.read_raw(FILE).save('NAME_raw.fif')",
    ),
    **dict.fromkeys(
        (".img", ".hdr", ".mgh", ".mgz", ".brik", ".head"),
        "an image; save it as NIfTI by nibabel.save(nibabel.load(FILE), 'NAME.nii.gz')",
    ),
    **dict.fromkeys((".xls", ".xlsx", ".ods", ".parquet", ".feather"), "a table; save it as .tsv or .csv"),
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth"), "a pickle, which could run code; save the array as .npy"),
}
"""Extension of files that there is no reader of, to what they are and what to do."""


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
        other = OTHER_FORMATS.get(path.suffix.lower())
        if other is not None:
            raise DataError(f"{path} cannot be read, since it is {other}.")
        raise DataError(f"{path} has a format that cannot be read; there are readers of {', '.join(known)}.")
    return max(fitting, key=len)


def reader_class(path: Path) -> type[Reader]:
    """Class that reads a file, by its extension.

    Raises
    ------
    DataError
        When there is none, or when it is another package's and cannot be used.
    """
    return _reader(extension_of(path))


def readers() -> list[type[Reader]]:
    """All readers; one of another package that cannot be used is left out."""
    own = [_reader(extension) for extension in READERS]
    return list(dict.fromkeys([*own, *_readers_of_others()[0].values()]))


def configs_of_formats() -> dict[str, type[ReaderConfig]]:
    """Extension to the keys of such files; a reader of another package that cannot be used is left out."""
    return _own_configs() | _configs(_readers_of_others()[0])


def check_keys(values: Mapping[str, Any], others: Collection[str]) -> None:
    """Check the keys of formats that a group gives, before it is known which files it has.

    Parameters
    ----------
    values : mapping
        Keys to values.
    others : collection of str
        Keys that every group has, to find the nearest name among them, too.

    Raises
    ------
    ConfigurationError
        For a key that no format has, with the nearest name, or a value that all formats with this key refuse.
    """
    if not values:  # as in most configs: no reader is imported for that
        return
    configs, faults = _own_configs(), list[str]()
    if not set(values) <= _keys(configs) or _refused(values, configs):
        of_others, faults = _readers_of_others()
        configs |= _configs(of_others)
    known = _keys(configs)
    for key, value in values.items():
        if key not in known:
            also = f"; {faults[0]}" if faults else ""
            raise ConfigurationError(key, value, f"a known setting{nearest_name(key, {*known, *others})}{also}")
    refused = _refused(values, configs)
    if refused:
        raise refused[0]


def config_for(path: Path, values: Mapping[str, Any]) -> ReaderConfig:
    """Keys that a file's format has of those that its group gives.

    Raises
    ------
    ConfigurationError
        When the group gives a key of other formats, which are named.
    """
    kind = reader_class(path).Config
    own = defaults_of(kind)
    for key in sorted(set(values) - set(own)):
        having = {extension: config for extension, config in configs_of_formats().items() if key in defaults_of(config)}
        if values[key] not in [defaults_of(config)[key] for config in having.values()]:
            accepted = f"left out for files like {path.name}: it is a key of {' '.join(having)}"
            raise ConfigurationError(key, values[key], accepted)
    return kind(**{key: value for key, value in values.items() if key in own})


def _reader(extension: str) -> type[Reader]:
    if extension not in READERS:
        return _reader_of_other_package(extension)
    module, name = READERS[extension].rsplit(".", 1)
    reader: type[Reader] = getattr(importlib.import_module(module), name)
    return reader


def _reader_of_other_package(extension: str) -> type[Reader]:
    reader: Any = loaded_entry(ENTRY_POINT_GROUP, extension)
    if not inspect.isclass(reader) or not issubclass(reader, Reader):
        accepted = "a class made from dynml.readers.Reader"
        raise unusable_entry(ENTRY_POINT_GROUP, extension, reader, accepted)
    config = reader.Config
    is_config = inspect.isclass(config) and issubclass(config, ReaderConfig) and "__dataclass_fields__" in vars(config)
    if not is_config or dataclasses.MISSING in defaults_of(config).values():
        accepted = "a reader whose Config is a dataclass made from dynml.readers.ReaderConfig, a default for each key"
        raise unusable_entry(ENTRY_POINT_GROUP, extension, reader, accepted)
    return reader


def _own_configs() -> dict[str, type[ReaderConfig]]:
    return _configs({extension: _reader(extension) for extension in READERS})


def _configs(readers: Mapping[str, type[Reader]]) -> dict[str, type[ReaderConfig]]:
    return {extension: reader.Config for extension, reader in readers.items()}


def _readers_of_others() -> tuple[dict[str, type[Reader]], list[str]]:
    """Readers of other packages, and what is wrong with those that cannot be used."""
    usable, faults = {}, []
    for extension in known_extensions()[len(READERS) :]:
        try:
            usable[extension] = _reader(extension)
        except DataError as error:
            faults.append(str(error).rstrip("."))
    return usable, faults


def _keys(configs: Mapping[str, type[ReaderConfig]]) -> set[str]:
    return {key for config in configs.values() for key in defaults_of(config)}


def _refused(values: Mapping[str, Any], configs: Mapping[str, type[ReaderConfig]]) -> list[ConfigurationError]:
    """For each key whose value no format accepts, what the first of them says."""
    faults: dict[type[ReaderConfig], ConfigurationError | None] = {}
    for config in dict.fromkeys(configs.values()):
        try:
            config(**{key: value for key, value in values.items() if key in defaults_of(config)})
            faults[config] = None
        except ConfigurationError as error:
            faults[config] = error
    faults_of_keys = [[fault for config, fault in faults.items() if key in defaults_of(config)] for key in values]
    return [of_key[0] for of_key in faults_of_keys if of_key and all(of_key) and of_key[0] is not None]
