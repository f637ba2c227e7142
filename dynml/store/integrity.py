"""Whether a store's bytes are those that were written, which HDF5's checksums alone do not say.

The checksum of a chunk of zeros is zero: a chunk that was lost as a whole (a hole in a sparse file, a copy that broke
off with its length kept) passes it, and so does one that stands in another's place. Digests see both.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5p, h5s, h5t
from numpy.typing import NDArray

from dynml.store.layout import SHA256, text_of

Table: TypeAlias = h5py.Dataset | h5d.DatasetID
"""A small array of a store; the latter is h5py's quicker handle of it."""

FEWEST_BYTES_BESIDE = 2**18
"""Starting a thread costs more than the digest of fewer."""
UNLIKE = "the stored bytes do not match their SHA-256"


def sha256_of_signals(blocks: Iterable[NDArray[np.float32]], segments: NDArray[np.int64]) -> str:
    """SHA-256 of the bytes of signals, given in blocks of rows, followed by those of their segments."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(_bytes_of(block))
    digest.update(_bytes_of(segments))
    return digest.hexdigest()


def sha256_of_table(table: NDArray[Any]) -> str:
    """SHA-256 of the bytes of a small array."""
    return hashlib.sha256(_bytes_of(table)).hexdigest()


def write_table(group: h5py.Group, name: str, table: NDArray[Any]) -> None:
    """Write a new small array under a checksum, which HDF5 gives to chunks only, and a digest.

    A store has some for every subject: by h5py's low-level calls, with types and spaces made once, they take half the
    time, and the file is the same.

    Parameters
    ----------
    group : h5py.Group
    name : str
        ASCII, without a slash.
    table : array
        Of numbers, or of texts of fixed length.
    """
    contiguous = np.ascontiguousarray(table).reshape(table.shape)
    space, properties = _space(table.shape), _properties(table.shape)
    dataset = h5d.create(group.id, name.encode(), _stored_type(table.dtype), space, dcpl=properties)
    if table.size:
        dataset.write(h5s.ALL, h5s.ALL, contiguous)
    digest = sha256_of_table(contiguous).encode()
    write_attribute(dataset, SHA256, np.array(digest, dtype=h5py.string_dtype("utf-8", len(digest))))


def write_attribute(identifier: h5d.DatasetID | h5g.GroupID, name: str, value: NDArray[Any]) -> None:
    """Write a new attribute, as h5py does, by its low-level calls."""
    attribute = h5a.create(identifier, name.encode(), _stored_type(value.dtype), _space(value.shape))
    attribute.write(value, mtype=_type(value.dtype, str(value.dtype.metadata), False))


def _stored_type(dtype: np.dtype[Any]) -> h5t.TypeID:
    return _type(dtype, str(dtype.metadata), True)


@functools.lru_cache(maxsize=256)
def _type(dtype: np.dtype[Any], metadata: str, as_stored: bool) -> h5t.TypeID:
    """HDF5's type; the encoding of texts stands in the metadata, which do not count when NumPy's are compared."""
    return h5t.py_create(dtype, logical=as_stored)


@functools.lru_cache(maxsize=256)
def _space(shape: tuple[int, ...]) -> h5s.SpaceID:
    return h5s.create_simple(shape)


@functools.lru_cache(maxsize=256)
def _properties(shape: tuple[int, ...]) -> h5p.PropDCID:
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    if shape and 0 not in shape:
        properties.set_chunk(shape)
        properties.set_fletcher32()
    return properties


def read_table(node: Table) -> NDArray[Any]:
    """Read a small array, and compare it with its digest where it has one, as those of older stores have not.

    Raises
    ------
    ValueError
        When its bytes are others.
    """
    dataset = _identifier(node)
    table = read_unchecked(dataset)
    if is_other_than_written(dataset, table):
        raise ValueError(UNLIKE)
    return table


def is_unlike(table: Table) -> bool:
    """Say whether a small array can be read, but is not what was written."""
    try:
        read_table(table)
    except ValueError:
        return True
    except (OSError, RuntimeError, KeyError):
        return False
    return False


def is_other_than_written(node: Table, table: NDArray[Any]) -> bool:
    """Say whether what was read of a small array is not what was written."""
    stored = _digest_of(_identifier(node))
    return stored is not None and sha256_of_table(table) != stored


def read_unchecked(node: Table) -> NDArray[Any]:
    """Read a small array as it stands there."""
    dataset = _identifier(node)
    if dataset.shape is None:
        raise ValueError("it is empty")
    table = np.empty(dataset.shape, dataset.dtype)
    if table.size:
        dataset.read(h5s.ALL, h5s.ALL, table)
    return table


def opened_table(group: h5py.Group, name: str) -> h5d.DatasetID:
    """Open a small array, which takes h5py's own objects three times as long; a store has some for every subject.

    Raises
    ------
    KeyError
        When it is not there.
    """
    return h5d.open(group.id, name.encode())


def _identifier(node: Table) -> h5d.DatasetID:
    return node if isinstance(node, h5d.DatasetID) else node.id


def _digest_of(dataset: h5d.DatasetID) -> str | None:
    if not h5a.exists(dataset, SHA256.encode()):
        return None
    attribute = h5a.open(dataset, SHA256.encode())
    value = np.empty(attribute.shape, attribute.dtype)
    attribute.read(value)
    return text_of(value[()])


class RowsDigest:
    """SHA-256 of rows that are read in ascending order, worked out beside the reading of the next ones."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._helper = ThreadPoolExecutor(max_workers=1)
        self._pending: Future[None] | None = None
        self.n_rows = 0
        """Rows taken so far, from the first."""

    def take(self, rows: NDArray[np.float32], start: int) -> None:
        """Take those of the rows from `start` on that are new; there must be no gap before them."""
        assert start <= self.n_rows, (start, self.n_rows)
        new = rows[self.n_rows - start :]
        if len(new):
            self._wait()
            self.n_rows += len(new)
            if new.nbytes < FEWEST_BYTES_BESIDE:
                self._digest.update(_bytes_of(new))
            else:
                # At most one block waits, so that memory holds two.
                self._pending = self._helper.submit(self._digest.update, _bytes_of(new))

    def finish(self, segments: NDArray[np.int64]) -> str:
        """Give the digest of all rows followed by segments."""
        self._wait()
        self._digest.update(_bytes_of(segments))
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the helper."""
        self._helper.shutdown()

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()


@contextlib.contextmanager
def rows_digest() -> Iterator[RowsDigest]:
    """Give a digest whose helper ends with the block."""
    digest = RowsDigest()
    try:
        yield digest
    finally:
        digest.close()


@dataclass(frozen=True)
class FileIdentity:
    """What changes when an open file is replaced by another one, or is written to."""

    device: int
    inode: int
    n_bytes: int
    modified: int
    """Nanoseconds."""


def identity_of(file: h5py.File) -> FileIdentity:
    """Ask the system about the file behind a handle, wherever its path leads to by now."""
    status = os.fstat(file.id.get_vfd_handle())
    return FileIdentity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _bytes_of(array: NDArray[Any]) -> memoryview | bytes:
    contiguous = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return contiguous.tobytes() if contiguous.dtype.kind in "SU" else contiguous.reshape(-1).view(np.uint8).data


def has_row_of_zeros(rows: NDArray[np.float32]) -> bool:
    """Whether a row is 0 in all channels, as HDF5 fills in where bytes were lost."""
    candidates = rows[rows[:, 0] == 0.0]  # one column tells most rows apart, at next to no cost
    return bool(len(candidates)) and not candidates.any(axis=1).all()
