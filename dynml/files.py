"""Files that are either whole or not there: atomic writes, committed directories, checksums.

A *committed directory* is written beside its target, fsynced, closed by a manifest (sizes and SHA-256 of every file,
written last) and renamed. Whatever instant a process is killed at, `newest_committed` finds one complete set. Files
that others put into it stay.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import itertools
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dynml.errors import CheckpointError, DynmlError
from dynml.process_life import is_alive
from dynml.reading_files import read_text

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
MOST_DIGITS, LONGEST_NAME = 300, 100
UNDER_WAY = ".under_way"
"""File in a directory that is not committed yet."""
_PRIVATE, _FOR_ALL = 0o600, 0o666
_PARTIAL = re.compile(r"\.partial-(?:[0-9a-f]{8}-)?(?P<process>\d+)$")
ABSENT = "it does not exist"


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
        The file that is to appear whole, or not at all. Where it is a symbolic link, what it points to is replaced.
    durable : bool
        Wait until it is on the disk. False for what a checkpoint can restore (logs).

    Raises
    ------
    DynmlError
        When the disk is full or the folder cannot be written to; the old file stays and the temporary one is removed.
    """
    real = Path(os.path.realpath(target))
    temporary = real.with_name(f".{real.name}.partial-{secrets.token_hex(4)}-{os.getpid()}")
    try:
        yield temporary
        _permit(temporary, like=real)
        if durable:
            fsync(temporary)
        os.replace(temporary, real)
        if durable:
            fsync(real.parent)
    except Exception as error:
        raise_if_refused(error, target)
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sweep_partial(target: Path) -> list[Path]:
    """Remove temporary files that killed runs left beside `target`, and say which.

    A partial file whose process is still alive is left alone. To be called while `writing_to` the target: processes of
    other machines cannot be asked.
    """
    swept = []
    real = Path(os.path.realpath(target))
    for leftover in real.parent.glob(f".{glob.escape(real.name)}.partial-*"):
        known = _PARTIAL.fullmatch(leftover.name.removeprefix(f".{real.name}"))
        if known and leftover.is_file() and not is_alive(int(known["process"])):
            with contextlib.suppress(OSError):
                leftover.unlink()
                swept.append(leftover)
    return swept


def made_folder(path: Path) -> Path:
    """Make a folder, with those above it, unless it is there.

    Raises
    ------
    DynmlError
        When it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DynmlError(f"The folder {path} could not be made: {error.strerror or error}.") from error
    return path


def raise_if_refused(error: Exception, target: Path) -> None:
    """Raise a DynmlError if the system refused to write; otherwise do nothing.

    Raises
    ------
    DynmlError
        Says what could not be written, and why.
    """
    reason = None if isinstance(error, DynmlError) else _refusal_of_system(error)
    if reason is not None:
        raise DynmlError(f"{target} could not be written: {reason}.") from error


def _refusal_of_system(error: BaseException) -> str | None:
    """Why the system refused a write, as Python, Rust (safetensors), HDF5 and torch tell it; None for other faults."""
    if not isinstance(error, (OSError, RuntimeError)) and type(error).__name__ != "SafetensorError":
        return None
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        if isinstance(one, OSError):
            return str(one.strerror or one).rstrip(".")
        number = re.search(r"\(os error (\d+)\)|\berrno = (\d+)", str(one))
        if number:
            return os.strerror(int(number[1] or number[2]))
        seen.append(one)
        one = one.__cause__ or one.__context__
    # torch loses the reason: what a full disk gives is a stream that did not take all bytes.
    words = ("PytorchStreamWriter failed", "inline_container", "unexpected pos")
    return (
        "not all of it was taken (is the disk full?)"
        if any(word in str(fault) for fault in seen for word in words)
        else None
    )


def _permit(path: Path, like: Path | None = None) -> None:
    """Give a new file the permissions of the one that it replaces, if any, else those that the umask says.

    The latter also where a library made it for its owner alone, as safetensors does.
    """
    mode = path.stat().st_mode & 0o777
    wanted = _FOR_ALL & ~_umask() if mode == _PRIVATE else mode
    with contextlib.suppress(OSError):  # none to replace; or a file system without permissions
        if like is not None and like.exists():
            wanted = like.stat().st_mode & 0o777
        if wanted != mode:
            path.chmod(wanted)


def _umask() -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(re.search(r"^Umask:\s*([0-7]+)", status, re.MULTILINE)[1], 8)  # type: ignore[index]
    except (OSError, TypeError):
        mask = os.umask(0o077)
        os.umask(mask)
        return mask


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
        _permit(path)
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
        return "it is no folder"
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

    Raises
    ------
    CheckpointError
        When a set that may be the newest cannot be read.
    """
    remarks: list[str] = []
    for candidate in (_sibling(target, "new"), target, _sibling(target, "previous")):
        fault = fault_of_committed(candidate)
        if fault is None:
            return candidate, remarks
        if fault != ABSENT and candidate != _sibling(target, "new"):
            remarks.append(f"{candidate} cannot be used: {fault}.")
    return None, remarks


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
    for place in {directory, *(directory.with_name(name + suffix) for suffix in ("", ".new", ".previous"))}:
        with contextlib.suppress(DynmlError, KeyError, TypeError, AttributeError):
            own |= set(read_json(place / MANIFEST)["files"])
    return own if any((directory / each).exists() for each in own) else set()
