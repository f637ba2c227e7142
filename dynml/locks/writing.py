"""Blocks and functions that write alone."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from dynml.errors import CheckpointError, DataError, DataWarning, DynmlError
from dynml.locks.file_lock import FileLock

Inputs = ParamSpec("Inputs")
Result = TypeVar("Result")

SECONDS_BETWEEN_TRIES = 0.25
LOCK_OF_FOLDER = ".dynml.lock"


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
