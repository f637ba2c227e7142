"""Files that all subjects of a group are read by, atlas and mask: what is in them, so that they are known again.

A name says little: parcels of another version are often called the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from dynml.compressed import is_compressed, opened_to_its_end
from dynml.conversion.config import StoreConfig
from dynml.conversion.sources.places import Place
from dynml.conversion.sources.table import SourceTable
from dynml.data_warnings import DataWarnings
from dynml.errors import DataError
from dynml.files import sha256_of_file
from dynml.readers.fmri.nifti import AUTOMATIC_MASK
from dynml.readers.formats import configs_of_formats
from dynml.reading_files import readable
from dynml.store.layout import SharedFiles


def shared_files(
    ready_folder: Path, config: StoreConfig, subjects: Sequence[str], table: SourceTable | None
) -> SharedFiles:
    """Names and SHA-256 of each group's atlas and mask, where all subjects have the same.

    Of what is compressed, it is the SHA-256 of the content.

    Parameters
    ----------
    ready_folder : Path
        Holds one folder per subject; the table's folder where there is one.
    config : StoreConfig
    subjects : sequence of str
    table : SourceTable or None

    Raises
    ------
    DataError
        When one of the files cannot be read.
    """
    found: SharedFiles = {}
    keys = {key for one in configs_of_formats().values() for key in one.files if key in one.of_channels}
    for group, group_config in config.groups.items():
        for key in sorted(keys):
            name = group_config.of_formats.get(key)
            if name in (None, AUTOMATIC_MASK):
                continue
            places = (Place(config, group, ready_folder / subject, DataWarnings(), {}, table) for subject in subjects)
            digests = {path: _sha256(path) for path in {place.find(key, name) for place in places}}
            if len(set(digests.values())) == 1:
                path, digest = next(iter(digests.items()))
                found.setdefault(group, {})[key] = {"file": path.name, "sha256": digest}
    return found


def check_same_files(stored: SharedFiles, found: SharedFiles, store: Path) -> None:
    """Refuse an atlas or mask of other content than that which a store was made with.

    Raises
    ------
    DataError
        Names the group, the key and both files.
    """
    for group, keys in stored.items():
        for key, old in keys.items():
            new = found.get(group, {}).get(key)
            if new is not None and new["sha256"] != old["sha256"]:
                raise DataError(
                    f"{group}.{key}: {described_file(new)} is another file than {described_file(old)}, which {store} "
                    "was made with."
                )


def described_file(file: Mapping[str, str]) -> str:
    """A file by its name and the start of its SHA-256."""
    return f"{file['file']} (SHA-256 {file['sha256'][:12]}..)"


def _sha256(path: Path) -> str:
    if is_compressed(path):
        with opened_to_its_end(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    with readable(path):
        return sha256_of_file(path)
