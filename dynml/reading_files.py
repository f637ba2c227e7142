"""Files that others wrote: whether they are there and plain, and their text, in whatever encoding it is.

Text is UTF-8, or what its first bytes say (UTF-8, UTF-16 and UTF-32 with a byte order mark), or what the user states.
Where it is none of these, it is taken for Windows-1252, the superset of Latin-1 that Western software writes as "ANSI",
and a warning says so.
"""

from __future__ import annotations

import codecs
import errno
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from dynml.errors import DataError, DataWarning, DynmlError

FALLBACK = "cp1252"
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""The marks of UTF-32 before those of UTF-16, which they start with."""
NO_TEXT = frozenset(map(chr, range(32))) - set("\t\n\v\f\r\x1a\x1b")
"""Characters that no text in a single-byte encoding holds."""
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
NO_SUCH_NAME = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL)
"""Where nothing stands under a name, or nothing can: it is too long, or holds what no name may."""
Teller = Callable[[Path, str], None]

_STATED: ContextVar[str | None] = ContextVar("stated encoding", default=None)
_TELLER: ContextVar[Teller | None] = ContextVar("teller of encodings", default=None)


@contextmanager
def stated_encoding(encoding: str | None) -> Iterator[None]:
    """Read all text within the block in one encoding; None leaves that to each file's bytes."""
    token = _STATED.set(encoding)
    try:
        yield
    finally:
        _STATED.reset(token)


def encoding_stated() -> str | None:
    """Encoding that the user stated for what is read at present."""
    return _STATED.get()


@contextmanager
def encodings_passed_to(teller: Teller) -> Iterator[None]:
    """Call `teller` with path and encoding of each text within the block that was not UTF-8, instead of warning."""
    token = _TELLER.set(teller)
    try:
        yield
    finally:
        _TELLER.reset(token)


def tell_encoding(path: Path, encoding: str) -> None:
    """Tell that a text was not UTF-8, and what it was read as."""
    teller = _TELLER.get()
    if teller is not None:
        teller(path, encoding)
        return
    warnings.warn(f"{path} is not UTF-8 and was read as {encoding}.", DataWarning, stacklevel=3)


def check_encoding(encoding: str) -> bool:
    """Say whether Python knows an encoding of text by that name."""
    try:
        "".encode(encoding)
    except (LookupError, UnicodeError, ValueError):
        return False
    return True


def is_there(path: Path) -> bool:
    """Say whether there is a file, a folder, or whatever else under a name.

    Raises
    ------
    DataError
        When the file system cannot say, as where a folder on the way may not be searched.
    """
    return _mode(path) is not None


def is_file(path: Path) -> bool:
    """Say whether there is a file under a name; raises as `is_there`."""
    return stat.S_ISREG(_mode(path) or 0)


def is_folder(path: Path) -> bool:
    """Say whether there is a folder under a name; raises as `is_there`."""
    return stat.S_ISDIR(_mode(path) or 0)


def _mode(path: Path) -> int | None:
    """Kind of what stands under a name; None where nothing does, as under a name that none can have."""
    try:
        return path.stat().st_mode
    except ValueError:  # of NUL in a name
        return None
    except OSError as error:
        if error.errno in NO_SUCH_NAME:
            return None
        raise DataError(f"{path} cannot be looked at: {error.strerror or error}.") from error


def check_plain_file(path: Path) -> None:
    """Refuse what is no file to read: nothing, a folder, or a pipe or device, which could be waited on for ever.

    Raises
    ------
    DataError
        Names the path and what is there.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        broken = f" (it is a link to {os.readlink(path)})" if path.is_symlink() else ""
        raise DataError(f"{path} does not exist{broken}.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} could not be read: {getattr(error, 'strerror', None) or error}.") from error
    if not stat.S_ISREG(mode) and not _is_of_a_shell(path, mode):
        raise DataError(f"{path} is {KINDS.get(stat.S_IFMT(mode), 'no file')}, but must be a file.")


def _is_of_a_shell(path: Path, mode: int) -> bool:
    """Say whether a pipe is one that a shell has put in the place of a file, as `<(command)` does."""
    return stat.S_ISFIFO(mode) and str(path).startswith(("/dev/fd/", "/proc/self/fd/"))


@contextmanager
def readable(path: Path, kind: type[DynmlError] = DataError) -> Iterator[None]:
    """Say in a sentence why the system does not let a file be read, by an error of this kind."""
    try:
        yield
    except OSError as error:
        raise kind(f"{path} could not be read: {error.strerror or error}.") from error


def read_text(path: Path) -> str:
    """Read a text file whole.

    Raises
    ------
    DataError
        When there is no such file, or it holds no text.
    """
    check_plain_file(path)
    with readable(path):
        content = path.read_bytes()
    return decoded(content, path)


def decoded(content: bytes, path: Path) -> str:
    """Text of a file's bytes, without a byte order mark.

    Parameters
    ----------
    content : bytes
    path : Path
        For messages.

    Raises
    ------
    DataError
        When the bytes are no text in the encoding that was stated or that they show.
    """
    stated = _STATED.get()
    marked = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), None)
    encoding = stated or marked or "utf-8"
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except UnicodeError as error:
        at_byte = f", at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        if stated or marked:
            shown = "as the key 'encoding' says" if stated else "as its first bytes say"
            raise DataError(f"{path} is not text in {encoding}, {shown}{at_byte}.") from error
        text = _in_fallback(content, path, at_byte)
    if "\0" in text:
        raise DataError(f"{path} is not text in {encoding}: character {text.index(chr(0))} is NUL.")
    if marked not in (None, "utf-8-sig") and not stated:
        tell_encoding(path, encoding)
    return text


def _in_fallback(content: bytes, path: Path, at_byte: str) -> str:
    try:
        text = content.decode(FALLBACK)
    except UnicodeDecodeError:
        text = "\0"
    if not NO_TEXT.isdisjoint(text):
        raise DataError(
            f"{path} is not text in UTF-8{at_byte}, nor in Windows-1252; set its encoding by the key 'encoding', or "
            "save it as UTF-8."
        )
    tell_encoding(path, FALLBACK)
    return text
