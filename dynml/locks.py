"""Locks that end with their owner, however that ends.

They are the kernel's (`flock`) where the file system has any. NFS and Lustre are often mounted without: there an *owner
file* beside the lock's says which process of which machine holds it, and the owner touches it every few seconds. It is
taken over when its process is dead (on the same machine), or has not touched it for two minutes (on another one, where
processes cannot be asked).
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import secrets
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from dynml.errors import CheckpointError, DataError, DataWarning, DynmlError
from dynml.process_life import is_alive, machine, started_at

Inputs = ParamSpec("Inputs")
Result = TypeVar("Result")

SECONDS_BETWEEN_TOUCHES = 10.0
SECONDS_WITHOUT_TOUCH = 120.0
"""After so long an owner on another machine is taken for dead."""
SECONDS_BETWEEN_TRIES = 0.25
N_TRIES = 20
LOCK_OF_FOLDER = ".dynml.lock"
UNKNOWN_OWNER = "an unknown process"


@contextlib.contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold a lock file for the length of a block, so that two runs never write into one experiment.

    Raises
    ------
    CheckpointError
        When another process holds it, named; or when there can be no such file in its folder.

    Warns
    -----
    DataWarning
        When the file system has no locks, so that an owner file takes their place.
    """
    lock = FileLock(path)
    try:
        owner = lock.try_to_take()
    except OSError as error:
        raise CheckpointError(f"{path.parent} cannot be written to: {error.strerror or error}.") from error
    if owner is not None:
        raise CheckpointError(f"{path.parent} is being written to by another run ({owner}).")
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def writing_to(target: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes from writing to one file, or into one folder, for the length of a block.

    The lock's file is removed in the end. Blocks of one thread on one target may lie within each other.

    Parameters
    ----------
    target : Path
        A file, to lie beside its lock `.<name>.lock`, or an existing folder, whose lock `.dynml.lock` lies inside.
    wait : bool
        Wait until others are done, instead of refusing.

    Raises
    ------
    DataError
        When another process writes to it and `wait` is not set, named; or when the target's folder does not exist.
    DynmlError
        When nothing can be written beside the target.

    Warns
    -----
    DataWarning
        When it waits; when the file system has no locks, so that an owner file takes their place.
    """
    real, is_folder = _real(target)
    if real in _held_here():
        yield
        return
    lock = FileLock(real / LOCK_OF_FOLDER if is_folder else real.with_name(f".{real.name}.lock"), stays=False)
    _take(lock, target, wait=wait)
    _held_here().add(real)
    try:
        yield
    finally:
        _held_here().discard(real)
        lock.release()


def _real(target: Path) -> tuple[Path, bool]:
    """Where a target really lies, whatever links lead to it, and whether it is a folder."""
    try:
        real = Path(os.path.realpath(target))
        return real, real.is_dir()
    except (OSError, ValueError) as error:  # too long, or with what no name may hold
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{target} cannot be written: {reason}.") from error


def writes_alone(*, wait: bool = False) -> Callable[[Callable[Inputs, Result]], Callable[Inputs, Result]]:
    """Decorate a function whose argument `target` is the file that it makes: it runs while `writing_to` that file."""

    def decorate(function: Callable[Inputs, Result]) -> Callable[Inputs, Result]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def alone(*values: Inputs.args, **keywords: Inputs.kwargs) -> Result:
            with writing_to(Path(signature.bind(*values, **keywords).arguments["target"]), wait=wait):
                return function(*values, **keywords)

        return alone

    return decorate


def _take(lock: FileLock, target: Path, *, wait: bool) -> None:
    try:
        owner = lock.try_to_take()
        if owner is not None and not wait:
            raise DataError(f"{target} is being written to by another process ({owner}); begin again when it is done.")
        if owner is not None:
            warnings.warn(f"{target} is being written to by {owner}: waiting for it to end.", DataWarning, stacklevel=4)
        while owner is not None:
            time.sleep(SECONDS_BETWEEN_TRIES)
            owner = lock.try_to_take()
    except FileNotFoundError as error:
        raise DataError(f"{target} cannot be written: the folder {target.parent} does not exist.") from error
    except OSError as error:
        raise DynmlError(f"{target} could not be written: {error.strerror or error}.") from error


class _Held(threading.local):
    def __init__(self) -> None:
        self.paths: set[Path] = set()


_held = _Held()


def _held_here() -> set[Path]:
    """Targets that this thread writes to."""
    return _held.paths


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
        self._owner_file = _OwnerFile(path.with_name(f"{path.name}.owner"))
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
                    return _in_words(_read(self._path))
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
            with contextlib.suppress(OSError):  # who holds it is told by courtesy
                stream.truncate(0)
                stream.write(json.dumps(_own_record()).encode())
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


_warned_of: set[str] = set()


def warn_of_missing_locks(folder: Path, error: OSError, instead: str) -> None:
    """Say once a folder that its file system has no locks, and what is done instead."""
    where = os.path.realpath(folder)
    if where not in _warned_of:
        _warned_of.add(where)
        reason = os.strerror(error.errno) if error.errno else error
        text = f"The file system of {folder} has no file locks ({reason}): {instead}."
        warnings.warn(text, DataWarning, stacklevel=4)


class _OwnerFile:
    """A file that exists while a process holds a lock, and says which."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = ""
        self._released = threading.Event()

    def try_to_take(self) -> str | None:
        """Make the file; otherwise say whose it is."""
        for _ in range(N_TRIES):
            owner = self.living_owner()
            if owner is not None:
                return owner
            try:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                continue
            self._content = json.dumps(_own_record())
            try:
                os.write(descriptor, self._content.encode())
            except OSError:
                self._path.unlink(missing_ok=True)
                raise
            finally:
                os.close(descriptor)
            self._released = threading.Event()
            threading.Thread(target=self._touch, args=(self._released,), name="touches a lock", daemon=True).start()
            return None
        return UNKNOWN_OWNER

    def living_owner(self) -> str | None:
        """Say whose the file is, in words; None when there is none, or it was a dead one's and is gone now."""
        content = _read(self._path)
        if content is None:
            return None
        if self._is_of_the_living(content):
            return _in_words(content)
        self._remove(content)
        return None

    def release(self) -> None:
        """Remove the file, if it is this one's."""
        self._released.set()
        if self._content and _read(self._path) == self._content:
            self._path.unlink(missing_ok=True)
        self._content = ""

    def _is_of_the_living(self, content: str) -> bool:
        record = _parsed(content)
        if record.get("machine") == machine():
            return is_alive(int(record["process"]), record.get("started"))
        return self._seconds_since_touch() < SECONDS_WITHOUT_TOUCH

    def _seconds_since_touch(self) -> float:
        """By the clock of the file system: those of the machines may differ."""
        probe = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        try:
            probe.touch(exist_ok=False)
            return probe.stat().st_mtime - self._path.stat().st_mtime
        except FileNotFoundError:
            return 0.0
        finally:
            probe.unlink(missing_ok=True)

    def _remove(self, content: str) -> None:
        """Remove a dead owner's file, but not that of another process that was quicker to take its place."""
        aside = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}")
        try:
            os.rename(self._path, aside)
        except FileNotFoundError:
            return
        if _read(aside) != content:
            with contextlib.suppress(OSError):
                os.link(aside, self._path)
        aside.unlink(missing_ok=True)

    def _touch(self, released: threading.Event) -> None:
        content = self._content
        while not released.wait(SECONDS_BETWEEN_TOUCHES):
            with contextlib.suppress(OSError):
                if _read(self._path) != content:
                    return
                os.utime(self._path)


def _own_record() -> dict[str, Any]:
    process = os.getpid()
    return {
        "process": process,
        "host": socket.gethostname(),
        "machine": machine(),
        "started": started_at(process),
        "token": secrets.token_hex(8),
    }


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _parsed(content: str) -> dict[str, Any]:
    """Read a record; empty for one that is not written yet or not one of ours."""
    try:
        record = json.loads(content)
        return record if isinstance(record["process"], int) and isinstance(record["host"], str) else {}
    except (ValueError, KeyError, TypeError):
        return {}


def _in_words(content: str | None) -> str:
    record = _parsed(content or "")
    return f"process {record['process']} on {record['host']}" if record else UNKNOWN_OWNER
