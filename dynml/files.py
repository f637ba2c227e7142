"""Files that are either whole or not there: atomic writes, JSON, checksums."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dynml.errors import CheckpointError, DynmlError, NotWrittenError
from dynml.process_life import is_alive
from dynml.reading_files import read_text

MOST_DIGITS = 300
_PRIVATE, _FOR_ALL = 0o600, 0o666
_PARTIAL = re.compile(r"\.partial-(?:[0-9a-f]{8}-)?(?P<process>\d+)$")
ABSENT = "it does not exist"
ODD_BYTES = "backslashreplace"
"""How names of files that are no UTF-8 are written into texts; JSON gives them back as they were."""
NOT_ALL = "not all of it was taken (is the disk full?)"


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
        permit(temporary, like=real)
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


@contextlib.contextmanager
def folder_made_for(path: Path) -> Iterator[Path]:
    """Make a folder for a block that writes into it; if the block fails, no folder that was made stays empty.

    Raises
    ------
    DynmlError
        When it cannot be made.
    """
    made = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    made_folder(path)
    try:
        yield path
    except BaseException:
        with contextlib.suppress(OSError):  # the first that is not empty, and those above it
            for folder in made:
                folder.rmdir()
        raise


def raise_if_refused(error: Exception, target: Path) -> None:
    """Raise a NotWrittenError if the system refused to write; otherwise do nothing.

    Raises
    ------
    NotWrittenError
        Says what could not be written, and why.
    """
    reason = None if isinstance(error, DynmlError) else _refusal_of_system(error)
    if reason is not None:
        raise NotWrittenError(f"{target} could not be written: {reason}.") from error


def _refusal_of_system(error: BaseException) -> str | None:
    """Why the system refused a write, as Python, Rust (safetensors), HDF5 and torch tell it; None for other faults."""
    if not isinstance(error, (OSError, RuntimeError)) and type(error).__name__ != "SafetensorError":
        return None
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        if isinstance(one, OSError):
            # NumPy says how many items were taken, but not why no more.
            cut_short = one.errno is None and re.search(r"requested and \d+ written", str(one)) is not None
            return NOT_ALL if cut_short else str(one.strerror or one).rstrip(".")
        number = re.search(r"\(os error (\d+)\)|\berrno = (\d+)", str(one))
        if number:
            return os.strerror(int(number[1] or number[2]))
        seen.append(one)
        one = one.__cause__ or one.__context__
    # torch loses the reason: what a full disk gives is a stream that did not take all bytes.
    words = ("PytorchStreamWriter failed", "inline_container", "unexpected pos")
    return NOT_ALL if any(word in str(fault) for fault in seen for word in words) else None


def permit(path: Path, like: Path | None = None) -> None:
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
            json.dumps(strict_json(content), indent=2, allow_nan=False, ensure_ascii=False) + "\n",
            encoding="utf-8",
            errors=ODD_BYTES,
        )


def write_array(path: Path, array: Any, *, durable: bool = False) -> None:
    """Write an array as `.npy` atomically; see `replacing`."""
    import numpy as np

    with replacing(path, durable=durable) as temporary, temporary.open("wb") as stream:
        np.save(stream, array)


def new_mapped_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> Any:
    """Make an `.npy` file to write through memory, with all of its space: a full disk would later end the process.

    Raises
    ------
    DynmlError
        When there is not enough space.
    """
    import numpy as np

    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    try:
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    except OSError as error:
        raise_if_refused(error, path)
    return array


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
        raise DynmlError(
            f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error
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
        raise ValueError(f"the key {twice[:80]!r} is repeated in one object")
    return content
