"""HDF5 files as dynml opens them, and what a store says of itself before its signals are read.

Of a file that is being written, a full disk is noticed and kept away from HDF5.

When a write of HDF5 fails, HDF5 can neither go on nor close the file, and takes the process down when it ends (seen in
HDF5 1.14 and 2.0). So HDF5 writes through this file here, which takes every write: from the first that the system
refuses on, they stay in memory, the file can be closed, and whoever writes it asks for `fault`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from dynml.deferred_signals import DeferredSignals
from dynml.errors import DataCorruptionError, DataError
from dynml.locks.missing import warn_of_missing_locks
from dynml.reading_files import check_plain_file
from dynml.recording import Events, GroupDescription, Source
from dynml.store import layout
from dynml.store.own_storage import check_own_path, check_own_storage

LIBRARY_VERSIONS = ("v110", "v110")
"""Of the file format: attributes of any size, small groups, checksummed headers; readable since HDF5 1.10 (2016)."""
SIGNATURE = b"\x89HDF\r\n\x1a\n"
BYTES_OF_HEAD = 64 * 1024
BYTES_SENT = 2**26
"""Bytes of a new file that go to the disk at a time."""
CHUNK_CACHE_BYTES = 2**20
"""What each open array keeps of its file: one chunk."""


class FaultKeepingFile:
    """A new file, in the manner of Python's file objects, whose writes never fail.

    Parameters
    ----------
    path : Path
        Must not exist yet.

    Raises
    ------
    OSError
        When it cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self.fault: OSError | None = None
        """What the system said to the first write that it refused."""
        self.signals = DeferredSignals()
        """Those that came while the file was open in `new_hdf5_file`."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        self._position = 0
        self._size = 0
        self._kept: list[tuple[int, bytes]] = []
        self._not_sent = 0
        self._helper = ThreadPoolExecutor(max_workers=1)
        self._sending: Future[None] | None = None

    def check(self) -> None:
        """Raise the fault, if there was one, or the signal that came while HDF5 was at work."""
        self.signals.raise_noted()
        if self.fault is not None:
            raise OSError(self.fault.errno, self.fault.strerror)

    def close(self) -> None:
        """Close the file; what stayed in memory is lost."""
        self._helper.shutdown()
        os.close(self._descriptor)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, and say where to."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        """Say where the next byte is read or written."""
        return self._position

    def write(self, data: memoryview) -> int:
        """Write all of it, to the disk or into memory."""
        view = memoryview(data).cast("B")
        if self.fault is None:
            try:
                written = 0
                while written < len(view):
                    written += os.pwrite(self._descriptor, view[written:], self._position + written)
            except OSError as error:
                self.fault = error
        if self.fault is not None:
            self._kept.append((self._position, bytes(view)))
        self._position += len(view)
        self._size = max(self._size, self._position)
        self._send(len(view))
        return len(view)

    def read(self, size: int) -> bytes:
        """Read some bytes; what was never written is zero."""
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer; what was never written is zero."""
        view = memoryview(buffer).cast("B")
        start, stop = self._position, self._position + len(view)
        view[:] = os.pread(self._descriptor, len(view), start).ljust(len(view), b"\0")
        for offset, data in self._kept:
            first, last = max(start, offset), min(stop, offset + len(data))
            if first < last:
                view[first - start : last - start] = data[first - offset : last - offset]
        self._position = stop
        return len(view)

    def truncate(self, size: int) -> int:
        """Set the length."""
        if self.fault is None:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError as error:
                self.fault = error
        self._size = size
        return size

    def flush(self) -> None:
        """Do nothing: nothing is buffered here."""

    def _send(self, n_bytes: int) -> None:
        """Let the system begin to write to the disk, beside what goes on: else all of it is waited for at the end."""
        self._not_sent += n_bytes
        if self._not_sent >= BYTES_SENT and (self._sending is None or self._sending.done()):
            self._not_sent = 0
            self._sending = self._helper.submit(self._sync)

    def _sync(self) -> None:
        try:
            # macOS has none.
            getattr(os, "fdatasync", os.fstat)(self._descriptor)
        except OSError as error:
            # The system says so once.
            self.fault = self.fault or error


def open_to_read(path: Path, **options: Any) -> h5py.File:
    """Open an HDF5 file to read; without HDF5's own lock where the file system has none, which is warned of.

    Raises
    ------
    OSError
        As h5py does; `BlockingIOError` when another process is writing to it.
    """
    try:
        return h5py.File(path, "r", locking="best-effort", **options)
    except BlockingIOError:
        raise
    except OSError as error:
        if "unable to lock file" not in str(error):
            raise
        warn_of_missing_locks(path.parent, error, f"{path.name} is read without")
    return h5py.File(path, "r", locking=False, **options)


def opened_store(path: Path) -> h5py.File:
    """Open a store to read it, or say why it cannot be opened.

    Raises
    ------
    DataError
        When the file is missing, a folder, a pipe or a device, locked, not to be read, or no HDF5 file.
    DataCorruptionError
        When it is truncated or otherwise damaged.
    """
    check_plain_file(path)
    try:
        return open_to_read(path, rdcc_nbytes=CHUNK_CACHE_BYTES)
    except OSError as error:
        reason = str(error).lower()
        n_bytes = path.stat().st_size
        if "truncated" in reason:
            raise DataCorruptionError(
                f"{path} is truncated: it holds {n_bytes} bytes, fewer than were written; copy or create it anew."
            ) from error
        if isinstance(error, BlockingIOError) or "already open" in reason:
            raise DataError(f"{path} is locked: another process is writing to it.") from error
        if isinstance(error, PermissionError) or not os.access(path, os.R_OK):
            raise DataError(f"{path} may not be read by this user.") from error
        if "signature not found" in reason:
            raise DataError(f"{path} is not an HDF5 file ({n_bytes} bytes).") from error
        raise DataCorruptionError(f"{path} cannot be opened as HDF5: {error}.") from error


def is_replaceable(path: Path) -> bool:
    """Whether an existing file is one that `-f` may replace: a store, a damaged one too, or an empty file."""
    if path.stat().st_size == 0:
        return True
    try:
        with h5py.File(path, "r", locking=False) as file:
            return file.attrs.get("format") in ("dynml", b"dynml")
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        return _was_a_store(path)


def _was_a_store(path: Path) -> bool:
    """Whether a damaged file was one: what a store says of itself stands in its first block."""
    try:
        with path.open("rb") as stream:
            head = stream.read(BYTES_OF_HEAD)
    except OSError:
        return False
    return head.startswith(SIGNATURE) and b"dynml" in head


@contextlib.contextmanager
def new_hdf5_file(path: Path) -> Iterator[tuple[h5py.File, FaultKeepingFile]]:
    """Open a new HDF5 file for writing, and close it in any case.

    Raises
    ------
    OSError
        When the file cannot be created, or the system refused a write; the file is then of no use.
    KeyboardInterrupt, SystemExit
        For a signal that came while it was open.
    """
    disk = FaultKeepingFile(path)
    try:
        with disk.signals, h5py.File(disk, "w", driver="fileobj", libver=LIBRARY_VERSIONS) as file:
            yield file, disk
        disk.check()
    finally:
        disk.close()


def check_is_store(path: Path, file: h5py.File) -> None:
    """Refuse a file that is no store, is of a newer format, or lacks what every store has.

    Raises
    ------
    DataError, DataCorruptionError
    """
    attributes = file.attrs
    if layout.text_of(attributes.get(layout.FORMAT, "")) != layout.FORMAT_NAME:
        raise DataError(f"{path} is an HDF5 file, but no store of dynml: make one by dynml_create_hdf5_dataset.py.")
    version = attributes.get(layout.FORMAT_VERSION_KEY)
    if version is None:
        raise DataCorruptionError(f"{path} lacks the attribute {layout.FORMAT_VERSION_KEY!r}.")
    if int(version) > layout.FORMAT_VERSION:
        raise DataError(
            f"{path} has format version {int(version)}, but this version of dynml reads up to "
            f"{layout.FORMAT_VERSION}: update dynml, or create the store anew."
        )
    required = [layout.SUBJECTS, *map(layout.subset_path, layout.SUBSET_NAMES)]
    for name in required:
        if name not in file:
            raise DataCorruptionError(f"{path} lacks {name!r}.")
        check_own_path(path, file, name)
    check_own_storage(path, file[layout.SUBSETS])
    if layout.CONFIG not in attributes:
        raise DataCorruptionError(f"{path} lacks the attribute {layout.CONFIG!r}.")


def described_group(path: Path, node: h5py.Group, where: str) -> GroupDescription:
    """Read what stands in the attributes of a subject's group.

    Raises
    ------
    DataCorruptionError
        When something is missing; `where` names the group.
    """
    missing = sorted(set(layout.REQUIRED_DATASETS) - set(node), key=layout.REQUIRED_DATASETS.index)
    missing += sorted(set(layout.REQUIRED_ATTRIBUTES) - set(node.attrs), key=layout.REQUIRED_ATTRIBUTES.index)
    if missing:
        raise DataCorruptionError(f"{path}: {where} lacks {', '.join(missing)}.")
    n_samples, n_channels = node[layout.DATA].shape
    return GroupDescription(
        n_samples=n_samples,
        n_channels=n_channels,
        sampling_frequency=float(node.attrs[layout.SAMPLING_FREQUENCY]),
        channel_names=_kept_once(tuple(map(layout.text_of, node.attrs[layout.CHANNEL_NAMES]))),
        units=layout.text_of(node.attrs[layout.UNITS]),
        rank=int(node.attrs[layout.RANK]),
        sha256=layout.text_of(node.attrs[layout.SHA256]),
        sources=tuple(map(Source.from_dictionary, json_of(path, node, layout.SOURCES, where))),
        preparation=tuple(json_of(path, node, layout.PREPARATION, where)),
        source_step=float(node.attrs.get(layout.SOURCE_STEP, 1.0)),
        source_offset=float(node.attrs.get(layout.SOURCE_OFFSET, 0.0)),
        n_masked=int(node.attrs.get(layout.N_MASKED, 0)),
    )


@functools.lru_cache(maxsize=64)
def _kept_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Let subjects that have the same names share them: a store may have tens of thousands."""
    return names


def json_of(path: Path, node: h5py.Group, name: str, where: str) -> Any:
    """Read an attribute that holds JSON.

    Raises
    ------
    DataCorruptionError
        When it is no valid JSON.
    """
    try:
        return json.loads(layout.text_of(node.attrs[name]))
    except json.JSONDecodeError as error:
        raise DataCorruptionError(f"{path}: the attribute {name!r} of {where} is not valid JSON.") from error


def stored_events(node: h5py.Group, read_table: Callable[[h5py.Dataset], NDArray[Any]]) -> Events | None:
    """Events of a subject's group, or None where none were given."""
    if layout.EVENTS not in node:
        return None
    events = node[layout.EVENTS]
    labels = events[layout.LABELS]
    return Events(
        onset=read_table(events[layout.ONSET]),
        duration=read_table(events[layout.DURATION]),
        labels={column: read_table(labels[column]) for column in labels},
        names={column: tuple(map(layout.text_of, labels[column].attrs[layout.NAMES])) for column in labels},
        exact_onset=read_table(events[layout.EXACT_ONSET]) if layout.EXACT_ONSET in events else None,
    )
