"""Committed directories: sets of files of which a complete one exists at every instant.

One is written beside its target, fsynced, closed by a manifest (sizes and SHA-256 of every file, written last) and
renamed. Whatever instant a process is killed at, `newest_committed` finds one complete set. Files that others put into
it stay.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dynml.errors import CheckpointError, DynmlError
from dynml.files import ABSENT, fsync, permit, raise_if_refused, read_json, sha256_of_file, write_json

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
LONGEST_NAME = 100
UNDER_WAY = ".under_way"
"""File in a directory that is not committed yet."""


def commit_directory(target: Path, write: Callable[[Path], None], information: dict[str, Any] | None = None) -> None:
    """Replace `target` by a directory that `write` fills, so that a complete set exists at every instant.

    Parameters
    ----------
    target : Path
        The directory to appear. The set before it stays as `<target>.previous`, to fall back on.
    write : callable
        Called with the temporary directory; writes plain files into it.
    information : dict, optional
        Plain values kept in the manifest (a step number, say), by which sets are ordered.

    Raises
    ------
    DynmlError
        When the disk is full or not writable; the old set stays.
    """
    new, previous = _sibling(target, "new"), _sibling(target, "previous")
    try:
        _clear_leftovers(target)
        new.mkdir(parents=True)
        (new / UNDER_WAY).touch()
        write(new)
        _commit(new, information or {})
        if _is_there(target):
            _remove_set(previous, target)
            os.replace(target, previous)
        os.replace(new, target)
        _move_foreign(previous, target)
        fsync(target.parent)
    except BaseException as error:
        with contextlib.suppress(OSError, DynmlError):
            _remove_set(new, target)
        if isinstance(error, Exception):
            raise_if_refused(error, target)
        raise


def _commit(new: Path, information: dict[str, Any]) -> None:
    """Close a filled directory by its manifest."""
    files = sorted(path for path in new.iterdir() if path.is_file() and path.name != UNDER_WAY)
    for path in files:
        permit(path)
    entries = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of_file(path)} for path in files}
    for path in files:
        fsync(path)
    write_json(new / MANIFEST, {"manifest_version": MANIFEST_VERSION, **information, "files": entries})
    (new / UNDER_WAY).unlink()
    fsync(new)


def fault_of_committed(directory: Path) -> str | None:
    """Say what is wrong with a committed directory, or None when its manifest verifies.

    Raises
    ------
    CheckpointError
        When it cannot be read, which says nothing of what it holds: permissions, or a fault of disk or network.
    """
    try:
        return _fault_of_readable(directory)
    except OSError as error:
        raise CheckpointError(
            f"{directory} could not be read ({error.strerror or error}): nothing was changed, try again once it can be."
        ) from error


def _fault_of_readable(directory: Path) -> str | None:
    # Not by exists() or is_dir(), which say False of what cannot be looked at in some versions of Python.
    try:
        is_folder = stat.S_ISDIR(directory.stat().st_mode)
    except FileNotFoundError:
        return ABSENT
    if not is_folder:
        return "it is not a folder"
    try:
        manifest = read_json(directory / MANIFEST)
        entries = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except (DynmlError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
            raise error.__cause__ from None
        return f"its {MANIFEST} is missing or unreadable"
    for name, (n_bytes, checksum) in entries.items():
        path = directory / name
        if Path(name).name != name:
            return f"its {MANIFEST} names {name!r}, which is not a file within it"
        if len(name) > LONGEST_NAME or not path.is_file():
            return f"{name[:LONGEST_NAME]} is missing"
        if path.stat().st_size != n_bytes:
            return f"{name} has {path.stat().st_size} bytes instead of {n_bytes}"
        if sha256_of_file(path) != checksum:
            return f"the checksum of {name} differs"
    return None


def newest_committed(target: Path) -> tuple[Path | None, list[str]]:
    """Find the newest complete set of a committed directory.

    Returns
    -------
    path : Path or None
        The newest set whose manifest verifies.
    sentences : list of str
        One sentence for every newer set that was passed over, to warn the user.

    Raises
    ------
    CheckpointError
        When a set that may be the newest cannot be read.
    """
    sentences: list[str] = []
    for candidate in (_sibling(target, "new"), target, _sibling(target, "previous")):
        fault = fault_of_committed(candidate)
        if fault is None:
            return candidate, sentences
        if fault != ABSENT and candidate != _sibling(target, "new"):
            sentences.append(f"{candidate} cannot be used: {fault}.")
    return None, sentences


def _clear_leftovers(target: Path) -> None:
    """Bring what a killed save left behind into the order that `newest_committed` would choose."""
    new, previous = _sibling(target, "new"), _sibling(target, "previous")
    newest, _ = newest_committed(target)
    if newest == new:
        (new / UNDER_WAY).unlink(missing_ok=True)
        if _is_there(target):
            _remove_set(previous, target)
            os.replace(target, previous)
        os.replace(new, target)
        _move_foreign(previous, target)
    elif newest == previous:
        damaged = free_name(_sibling(target, "damaged"))
        if _is_there(target):
            os.replace(target, damaged)
        os.replace(previous, target)
        _move_foreign(damaged, target)
    _remove_set(new, target)


def free_name(path: Path) -> Path:
    """Give `path`, or, where there is something already, the first of `path-2`, `path-3`, .. that is free."""
    names = itertools.chain([path], (path.with_name(f"{path.name}-{number}") for number in itertools.count(2)))
    return next(name for name in names if not os.path.lexists(name))


def _sibling(target: Path, suffix: str) -> Path:
    return target.with_name(f"{target.name}.{suffix}")


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _remove_set(directory: Path, heir: Path) -> None:
    """Remove a directory that `commit_directory` made; what others put into it goes to `heir`.

    Raises
    ------
    DynmlError
        When it is none of ours, or holds what cannot go to `heir`; it stays.
    """
    if directory.is_symlink():
        directory.unlink()
    if not _is_there(directory):
        return
    _move_foreign(directory, heir)
    own = _own_names(directory)
    foreign = sorted({path.name for path in directory.iterdir()} - own) if directory.is_dir() else [directory.name]
    if foreign:
        raise DynmlError(
            f"{directory} is in the way of what dynml saves, and holds what dynml did not write ({foreign[0]}); move "
            "it elsewhere."
        )
    # The manifest goes last: half removed, the directory is still known for what it is.
    for name in sorted(own, key=lambda name: (name == MANIFEST, name)):
        (directory / name).unlink(missing_ok=True)
    directory.rmdir()


def _move_foreign(directory: Path, heir: Path) -> None:
    """Move what others put into one set to another one that is there."""
    own = _own_names(directory)
    if not own or not directory.is_dir() or not heir.is_dir():
        return
    for path in list(directory.iterdir()):
        if path.name not in own and not _is_there(heir / path.name):
            os.replace(path, heir / path.name)


def _own_names(directory: Path) -> set[str]:
    """Names of the files in a set that `commit_directory` made; empty for a directory that it did not make.

    By its own manifest and, since that may be damaged, by those of the sets beside it.
    """
    if (directory / UNDER_WAY).exists():
        return {path.name for path in directory.iterdir() if path.is_file()}
    name = directory.name.removesuffix(".new").removesuffix(".previous")
    own = {MANIFEST}
    for folder in {directory, *(directory.with_name(name + suffix) for suffix in ("", ".new", ".previous"))}:
        with contextlib.suppress(DynmlError, KeyError, TypeError, AttributeError):
            own |= set(read_json(folder / MANIFEST)["files"])
    return own if any((directory / each).exists() for each in own) else set()
