"""A lock of the kernel's, or an owner file where there are none."""

from __future__ import annotations

import contextlib
import json
import os
from io import FileIO
from pathlib import Path

from dynml.locks.missing import warn_of_missing_locks
from dynml.locks.owner_file import N_TRIES, UNKNOWN_OWNER, OwnerFile, in_words, own_record, read_record


class FileLock:
    """A lock that one process at a time can hold.

    Parameters
    ----------
    path : Path
        The lock's file; it is made.
    stays : bool
        Leave the file when the lock is released. Otherwise it is removed.
    """

    def __init__(self, path: Path, *, stays: bool = True) -> None:
        self._path, self._stays = path, stays
        self._owner_file = OwnerFile(path.with_name(f"{path.name}.owner"))
        self._stream: FileIO | None = None
        self._process: int | None = None

    def try_to_take(self) -> str | None:
        """Take the lock.

        Returns
        -------
        str or None
            Who holds it, in words; None when it was free and is held now.

        Raises
        ------
        OSError
            When there can be no file here.
        """
        for _ in range(N_TRIES):
            stream = self._opened()
            try:
                if not _flock(stream):
                    stream.close()
                    return in_words(read_record(self._path))
            except OSError as error:
                stream.close()
                return self._try_owner_file(error)
            if not _is_same_file(stream, self._path):  # its holder has removed it
                stream.close()
                continue
            owner = self._owner_file.living_owner()
            if owner is not None:
                stream.close()
                return owner
            with contextlib.suppress(OSError):  # who holds it is named by courtesy
                stream.truncate(0)
                stream.write(json.dumps(own_record()).encode())
            self._stream, self._process = stream, os.getpid()
            return None
        return UNKNOWN_OWNER

    def _opened(self) -> FileIO:
        try:
            return self._path.open("a+b", buffering=0)
        except PermissionError:
            # What a killed process of another user left behind may be read only, and can be locked nevertheless.
            if not self._path.is_file():
                raise
            return self._path.open("rb", buffering=0)

    def _try_owner_file(self, error: OSError) -> str | None:
        warn_of_missing_locks(self._path.parent, error, "a file that names its owner keeps other runs out instead")
        owner = self._owner_file.try_to_take()
        if owner is None:
            self._process = os.getpid()
        return owner

    def release(self) -> None:
        """Give the lock back; does nothing in a process that came of the owner by a fork."""
        if self._process != os.getpid():
            return
        self._process = None
        if not self._stays:
            # Before the lock is let go: whoever opened the file meanwhile will see that it is not this one any more.
            self._path.unlink(missing_ok=True)
        self._owner_file.release()
        if self._stream is not None:
            import fcntl

            with contextlib.suppress(OSError):
                self._stream.truncate(0)
            with contextlib.suppress(OSError):
                fcntl.flock(self._stream, fcntl.LOCK_UN)
            self._stream.close()
            self._stream = None


def _flock(stream: FileIO) -> bool:
    """Take the kernel's lock; False when another process holds it.

    Raises
    ------
    OSError
        When there are no such locks here.
    """
    try:
        import fcntl
    except ImportError as error:
        raise OSError("no flock on this system") from error
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(stream: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False
