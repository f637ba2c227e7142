"""Faults of HDF5, in a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dynml.errors import DataCorruptionError, DataError


@contextlib.contextmanager
def faults_named(path: Path, what: str) -> Iterator[None]:
    """Say of a fault in a block what cannot be read of a file.

    Raises
    ------
    DataCorruptionError
        In place of what h5py raises.
    """
    try:
        yield
    except DataError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        # HDF5 1.14 speaks of Fletcher32, 2.0 of a filter; the checksum is read first, also where gzip stands behind it.
        words = ("fletcher32", "filter returned failure", "metadata checksum")
        checksum = any(word in str(error).lower() for word in words)
        reason = "the stored bytes do not match their checksum" if checksum else str(error).strip("\"'")
        raise DataCorruptionError(f"{path}: {what} cannot be read: {reason}.") from error
