"""One group of one subject among the sources of a store: its files are found and opened here, headers only."""

from __future__ import annotations

import glob
import os
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from dynml.configuration import defaults_of
from dynml.conversion.config import KEYS_OF_ALL, StoreConfig, TimeseriesGroupConfig
from dynml.conversion.sources.agreement import SourceFile
from dynml.conversion.sources.table import SourceTable
from dynml.data_warnings import DataWarnings
from dynml.errors import ConfigurationError, DataError
from dynml.preparation.checks import check_size
from dynml.readers.formats import config_for, extension_of, reader_class
from dynml.readers.reader import Reader
from dynml.readers.without_channels import WithoutChannels
from dynml.reading_files import is_file
from dynml.store.layout import natural_order


@dataclass(frozen=True)
class Place:
    """One group of one subject, and what is shared between all of them."""

    store_config: StoreConfig
    group: str
    folder: Path
    warned: DataWarnings
    readers: dict[Hashable, Reader]
    table: SourceTable | None = None

    @property
    def config(self) -> TimeseriesGroupConfig:
        """What the config says of the group."""
        return self.store_config.groups[self.group]

    def __str__(self) -> str:
        return f"Subject {self.folder.name}, group {self.group}"

    def find(self, key: str, name: str) -> Path:
        """Find a file that the config names, in the subject's folder or the config's."""
        for home in (self.folder, self.store_config.folder):
            if is_file(home / name):
                return home / name
        homes = f"{self.folder} nor in {self.store_config.folder.resolve()}"
        raise DataError(f"{self.group}.{key}: {name} is neither in {homes}.")


def source_file(place: Place, name: str, reader: Reader, run_name: str | None = None) -> SourceFile:
    """Describe one run's file by its header.

    Raises
    ------
    DataError
        When it cannot be used; names the subject, the group and the file.
    """
    path = place.folder / name
    reader = without_excluded(place, reader)
    description = reader.describe(path)
    run_name = name[: -len(extension_of(path))] if run_name is None else run_name
    check_size(description.n_samples, description.n_channels, f"{place}, run {run_name} ({path})")
    for warning in description.warned:
        place.warned.add(f"Group {place.group}: {warning}", f"{place.folder.name}/{name}")
    return SourceFile(path=path, name=name, run_name=run_name, description=description, reader=reader)


def matching(folder: Path, patterns: list[str], where: str) -> list[str]:
    """Files of some patterns, each pattern's in natural order; a name that exists is not taken for a pattern."""
    names: dict[str, None] = {}
    for pattern in patterns:
        exact = is_file(folder / pattern)
        found = [pattern] if exact else glob.glob(pattern, root_dir=folder, recursive=True)
        # Two patterns may spell one file in two ways, `x.npy` and `./x.npy`.
        found = [os.path.normpath(name) for name in found if is_file(folder / name)]
        if not found:
            kind = "matches no file" if glob.has_magic(pattern) else "is missing"
            cure = "; every pattern must match in each folder, so use a table of files where formats differ"
            raise DataError(f"{where}: {pattern} {kind} in {folder}{cure if len(patterns) > 1 else ''}.")
        names.update(
            dict.fromkeys(sorted(found, key=lambda name: natural_order(name.removesuffix(".gz").rsplit(".", 1)[0])))
        )
    return list(names)


def reader_of(place: Place, path: Path) -> Reader:
    """Make the reader of a file, or give the one that was made for the same keys.

    Raises
    ------
    DynmlError
        When a file that a key names is not there, or the group has a key of another format.
    """
    kind = reader_class(path)
    taken = sorted(set(defaults_of(kind.Config)) & set(KEYS_OF_ALL))
    if taken:
        raise DataError(f"{path.name} cannot be read: its reader has a key {taken[0]!r}, which every group has.")
    try:
        config = config_for(path, place.config.of_formats).located(place.find)
    except ConfigurationError as error:
        raise ConfigurationError(f"{place.group}.{error.key}", error.found, error.accepted) from error
    identity = (place.group, kind, repr(config))
    if identity not in place.readers:
        try:
            place.readers[identity] = kind(config, tuple(place.config.exclude_channels))
        except DataError as error:
            raise type(error)(f"Group {place.group}: {error}") from error
    return place.readers[identity]


def without_excluded(place: Place, reader: Reader) -> Reader:
    """Leave channels out, where the reader does not do so by itself."""
    if not place.config.exclude_channels or reader.leaves_channels_out:
        return reader
    return WithoutChannels(reader, tuple(place.config.exclude_channels))
