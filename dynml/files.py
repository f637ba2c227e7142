"""Files that are either whole or not there: atomic writes, committed directories, checksums, locks.

A *committed directory* is written beside its target, fsynced, closed by a manifest (sizes and SHA-256 of every file,
written last) and renamed. Whatever instant a process is killed at, `newest_committed` finds one complete set.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dynml.errors import CheckpointError, DynmlError
from dynml.reading_files import read_text

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
MOST_DIGITS, LONGEST_NAME = 300, 100


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fsync(path: Path) -> None:
    """Force a file or a directory entry onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(target: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path beside `target` and rename it onto `target` if the block ends well.

    Parameters
    ----------
    target : Path
        The file that is to appear whole, or not at all.
    durable : bool
        Wait until it is on the disk. False for what a checkpoint can restore (logs).

    Raises
    ------
    DynmlError
        When the disk is full or the folder cannot be written to; the old file stays and the temporary one is removed.
    """
    temporary = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        yield temporary
        if durable:
            fsync(temporary)
        os.replace(temporary, target)
        if durable:
            fsync(target.parent)
    except OSError as error:
        raise DynmlError(f"{target} could not be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def sweep_partial(target: Path) -> list[Path]:
    """Remove temporary files that killed runs left beside `target`, and say which.

    A partial file whose process is still alive is left alone.
    """
    swept = []
    for leftover in target.parent.glob(f".{target.name}.partial-*"):
        if not _process_is_alive(leftover.name.rsplit("-", 1)[-1]):
            leftover.unlink(missing_ok=True)
            swept.append(leftover)
    return swept


def _process_is_alive(identifier: str) -> bool:
    if not identifier.isdigit():
        return False
    try:
        os.kill(int(identifier), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def strict_json(value: Any) -> Any:
    """Map a nest of plain types to what strict JSON can hold: non-finite numbers become null, paths text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): strict_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return strict_json(value.item())
    return value


def write_json(path: Path, content: Any) -> None:
    """Write strict, indented JSON atomically."""
    with replacing(path) as temporary:
        temporary.write_text(
            json.dumps(strict_json(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8"
        )


def read_json(path: Path) -> Any:
    """Read JSON; the error names the file, the line and the column.

    Raises
    ------
    DynmlError
        When the file is missing or is no JSON, or an object of it holds one key twice.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=_without_repetition, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        raise DynmlError(f"{path} is no valid JSON: line {error.lineno}, column {error.colno}: {error.msg}.") from error
    except RecursionError as error:
        raise DynmlError(f"{path} is nested too deep.") from error
    except ValueError as error:  # repetitions, and numbers of thousands of digits
        raise DynmlError(f"{path} cannot be used: {str(error).partition(';')[0]}.") from error


@contextlib.contextmanager
def as_dynml_wrote(path: Path) -> Iterator[None]:
    """Tell of keys that lack and types that are odd in what was read of a file of ours, and is used in the block.

    Raises
    ------
    CheckpointError
        Names the file, and what could not be done with its content.
    """
    try:
        yield
    except DynmlError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = f"{' '.join(str(error).split())[:200].rstrip('.')} ({type(error).__name__})"
        raise CheckpointError(f"{path} is not as dynml wrote it, and cannot be used: {reason}.") from error


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:  # more than any number that arithmetic here can go on with
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in content if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return content


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
    _settle_leftovers(target)
    new, previous = _sibling(target, "new"), _sibling(target, "previous")
    try:
        new.mkdir(parents=True)
        write(new)
        files = sorted(path for path in new.iterdir() if path.is_file())
        entries = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of_file(path)} for path in files}
        for path in files:
            fsync(path)
        write_json(new / MANIFEST, {"manifest_version": MANIFEST_VERSION, **(information or {}), "files": entries})
        fsync(new)
        if target.exists():
            shutil.rmtree(previous, ignore_errors=True)
            os.replace(target, previous)
        os.replace(new, target)
        fsync(target.parent)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        raise DynmlError(f"{target} could not be written: {error.strerror or error}.") from error
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def fault_of_committed(directory: Path) -> str | None:
    """Say what is wrong with a committed directory, or None when its manifest verifies."""
    if not directory.is_dir():
        return "it does not exist"
    try:
        manifest = read_json(directory / MANIFEST)
        entries = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()}
    except (DynmlError, KeyError, TypeError, AttributeError):
        return f"its {MANIFEST} is missing or unreadable"
    for name, (n_bytes, checksum) in entries.items():
        path = directory / name
        if Path(name).name != name:
            return f"its {MANIFEST} names {name!r}, which is no file within it"
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
    remarks : list of str
        One sentence for every newer set that was passed over, to be told to the user.
    """
    remarks: list[str] = []
    for candidate in (_sibling(target, "new"), target, _sibling(target, "previous")):
        if not candidate.exists():
            continue
        fault = fault_of_committed(candidate)
        if fault is None:
            return candidate, remarks
        if candidate != _sibling(target, "new"):
            remarks.append(f"{candidate} cannot be used: {fault}.")
    return None, remarks


def _settle_leftovers(target: Path) -> None:
    """Bring what a killed save left behind into the order that `newest_committed` would choose."""
    new, previous = _sibling(target, "new"), _sibling(target, "previous")
    newest, _ = newest_committed(target)
    if newest == new:
        shutil.rmtree(previous, ignore_errors=True)
        if target.exists():
            os.replace(target, previous)
        os.replace(new, target)
    elif newest == previous:
        shutil.rmtree(target, ignore_errors=True)
        os.replace(previous, target)
    shutil.rmtree(new, ignore_errors=True)


def _sibling(target: Path, suffix: str) -> Path:
    return target.with_name(f"{target.name}.{suffix}")


@contextlib.contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold a lock file for the length of a block, so that two runs never write into one experiment.

    The lock is the kernel's (`flock`), so it ends with its process, however that ends.

    Raises
    ------
    CheckpointError
        When another process holds it.
    """
    import fcntl

    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CheckpointError(f"{path.parent} is being written to by another run.") from error
        try:
            yield
        finally:
            fcntl.flock(stream, fcntl.LOCK_UN)
