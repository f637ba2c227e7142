"""Reads `.npz` files: numpy's archives of named arrays."""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataCorruptionError, DataError, in_one_line
from dynml.host_memory import check_claimed_size
from dynml.readers.matlab.version_5 import MOST_DEFLATED
from dynml.readers.named_arrays import ArrayEntry, NamedArraysReader, kind_of

MEMBER = ".npy"
FAULTS_OF_BYTES = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    SyntaxError,
    OverflowError,
    RuntimeError,
)
"""What zipfile and numpy raise where the bytes are not those of an archive of arrays."""


class NpzReader(NamedArraysReader):
    """Reads `.npz` files; nothing in them is ever executed."""

    def entries(self, path: Path) -> list[ArrayEntry]:
        """List the archive's arrays, from their headers.

        Raises
        ------
        DataError
            When the file is no archive of arrays, or is truncated.
        """
        with _opened(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(MEMBER)]
            if not members:
                raise DataError(f"{path} is not a .npz file: it is an archive without arrays.")
            entries = [_entry(path, archive, member) for member in members]
        twice = [name for name, count in Counter(entry.name for entry in entries).items() if count > 1]
        if twice:
            raise DataCorruptionError(f"{path} holds two arrays under the name {twice[0]!r}.")
        return entries

    def load(self, path: Path, name: str) -> NDArray[Any]:
        """Read one array of the archive.

        Raises
        ------
        DataCorruptionError
            When its bytes are not those that were written.
        """
        with _opened(path) as archive:
            member = archive.getinfo(name + MEMBER)
            check_claimed_size(path, member.file_size, f"the array {name}")
            with archive.open(member) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
                if stream.read(1):  # the checksum is compared at the very end
                    raise DataCorruptionError(f"{path}: {name} holds more bytes than its shape asks for.")
            return np.asarray(array)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the archive; faults of its bytes, also later ones, become errors of one sentence."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except DataError:
        raise
    except FAULTS_OF_BYTES as error:
        reason = in_one_line(error)
        raise DataCorruptionError(f"{path} is not a readable .npz file: {reason}.") from error
    except OSError as error:
        raise DataError(f"{path} could not be read: {error.strerror or error}.") from error


def _entry(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> ArrayEntry:
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        n_bytes = member.file_size - stream.tell()
    name = member.filename.removesuffix(MEMBER)
    if min(shape, default=0) < 0:
        raise DataCorruptionError(f"{path}: {name} has shape {shape}, which no array has.")
    expected = math.prod(shape) * dtype.itemsize
    if n_bytes < expected and not dtype.hasobject:
        raise DataCorruptionError(f"{path}: {name} is truncated: it holds {n_bytes} bytes instead of {expected}.")
    if member.compress_type == zipfile.ZIP_DEFLATED and member.file_size > MOST_DEFLATED * (member.compress_size + 1):
        raise DataCorruptionError(
            f"{path}: {name} claims {member.file_size} bytes, more than its {member.compress_size} can hold."
        )
    kind, is_real = kind_of(dtype)
    return ArrayEntry(name=name, shape=shape, kind=kind, is_real=is_real)
