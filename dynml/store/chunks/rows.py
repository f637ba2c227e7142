"""Writes and reads rows of signals as whole chunks of a file.

HDF5 takes them through a cache, two copies and its checksum, in twice the time. Whatever is not laid out as here is
left to it.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t, h5z
from numpy.typing import NDArray

from dynml.store.chunks.checksum import BYTES, Fletcher32

Checksums: TypeAlias = NDArray[np.uint32]
FLOAT32 = np.dtype("<f4")
LARGEST_CHUNK = 2**26
"""Bytes; what is larger is not one of dynml's, and nothing is set aside for it."""


def write_rows(group: h5py.Group, name: str, rows: NDArray[np.float32], n_rows: int) -> Checksums:
    """Write a new array of signals in chunks of rows, each with its checksum; the file is as h5py would write it.

    Parameters
    ----------
    group : h5py.Group
    name : str
        ASCII, without a slash.
    rows : array, (T, C)
    n_rows : int
        Of each chunk.

    Returns
    -------
    array, (n_chunks,), uint32
        What `blocks_of_rows` can compare with.
    """
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)
    properties.set_chunk((n_rows, rows.shape[1]))
    properties.set_fletcher32()
    dataset = h5d.create(
        group.id, name.encode(), h5t.py_create(FLOAT32, logical=True), h5s.create_simple(rows.shape), dcpl=properties
    )
    n_bytes = n_rows * rows.shape[1] * FLOAT32.itemsize
    checksum, content = Fletcher32(), np.empty(n_bytes + BYTES, dtype=np.uint8)
    written = np.empty(-(-len(rows) // n_rows), dtype=np.uint32)
    for number, start in enumerate(range(0, len(rows), n_rows)):
        block = np.ascontiguousarray(rows[start : start + n_rows], dtype=FLOAT32).reshape(-1).view(np.uint8)
        content[: len(block)] = block
        content[len(block) : n_bytes] = 0
        written[number] = checksum(content[:n_bytes])
        content[n_bytes:].view("<u4")[0] = written[number]
        dataset.write_direct_chunk((start, 0), content)
    return written


def blocks_of_rows(
    signals: h5py.Dataset, n_bytes: int, written: Checksums | None = None
) -> Iterator[NDArray[np.float32]]:
    """Read signals from the first row on, in blocks of whole chunks, and compare each with its checksum.

    Parameters
    ----------
    signals : h5py.Dataset, (T, C), float32
    n_bytes : int
        Of a block, about.
    written : array, (n_chunks,), uint32, optional
        Checksums that were written, with which those of the file are compared instead of with the rows: for one who
        compares a digest of the rows.

    Yields
    ------
    array, (n, C), float32
        Its memory is written over when the block after the next one is asked for.

    Raises
    ------
    OSError, RuntimeError
        As h5py does, when a checksum does not match.
    """
    n_of_chunk = signals.chunks[0] if signals.chunks else 1
    n_bytes_of_row = max(1, signals.dtype.itemsize * signals.shape[1])
    n_chunks = max(1, n_bytes // (n_of_chunk * n_bytes_of_row))
    reader = _ChunkReader(signals, n_chunks, written) if _is_laid_out_so(signals) else None
    for start in range(0, len(signals), n_chunks * n_of_chunk):
        stop = min(start + n_chunks * n_of_chunk, len(signals))
        block = None if reader is None else reader.read(start, stop)
        yield signals[start:stop] if block is None else block


class _ChunkReader:
    """Reads chunks into memory of its own, in which two blocks take turns."""

    def __init__(self, signals: h5py.Dataset, n_chunks: int, written: Checksums | None) -> None:
        self._dataset, self._written = signals.id, written
        self._n_rows, self._n_channels = signals.chunks
        self._n_bytes = self._n_rows * self._n_channels * FLOAT32.itemsize
        self._checksum = Fletcher32()
        n_chunks = min(n_chunks, -(-len(signals) // self._n_rows))
        self._memories = [np.empty(n_chunks * self._n_bytes + BYTES, dtype=np.uint8) for _ in range(2)]

    def read(self, start: int, stop: int) -> NDArray[np.float32] | None:
        """Rows from the first of a chunk on; None where a chunk is not there, is no whole one, or does not verify."""
        memory = self._memories.pop(0)
        self._memories.append(memory)
        for number, first in enumerate(range(start, stop, self._n_rows)):
            # The checksum of each chunk lies where the next one is read to.
            content = memory[number * self._n_bytes : (number + 1) * self._n_bytes + BYTES]
            if not self._is_read(first, content):
                return None
        values = memory[: (stop - start) * self._n_channels * FLOAT32.itemsize].view(FLOAT32)
        return values.reshape(-1, self._n_channels)

    def _is_read(self, first: int, content: NDArray[np.uint8]) -> bool:
        try:
            if self._dataset.get_chunk_info_by_coord((first, 0)).size != len(content):
                return False
            left_out, _ = self._dataset.read_direct_chunk((first, 0), out=content)
        except (OSError, RuntimeError, ValueError):
            return False
        stored = int(content[self._n_bytes :].view("<u4")[0])
        if self._written is None:
            return left_out == 0 and stored == self._checksum(content[: self._n_bytes])
        return left_out == 0 and stored == int(self._written[first // self._n_rows])


def _is_laid_out_so(signals: h5py.Dataset) -> bool:
    """Say whether signals lie in chunks of whole rows under a checksum, and nothing else was done to them."""
    if signals.chunks is None or signals.dtype != FLOAT32 or signals.chunks[1:] != signals.shape[1:]:
        return False
    if math.prod(signals.chunks) * FLOAT32.itemsize > LARGEST_CHUNK:
        return False
    properties = signals.id.get_create_plist()
    return properties.get_nfilters() == 1 and properties.get_filter(0)[0] == h5z.FILTER_FLETCHER32
