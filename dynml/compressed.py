"""Compressed files, read to their end: only there do checksum and length stand that tell damaged bytes from sound ones.

Files of several members (as `bgzip` and `cat a.gz b.gz` make) count as one, and zeros may follow the last. Whatever
else follows is refused, for it may be a member whose start is damaged.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from dynml.errors import DataCorruptionError, DataError, in_one_line
from dynml.host_memory import check_claimed_size, largest_size
from dynml.reading_files import check_plain_file, decoded, read_text

OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".mgz": gzip.open,
    ".tgz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
FAULTS = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)
N_BYTES_AT_ONCE = 2**20
MOST_BYTES_BEHIND = 64 * 2**20
"""Of what may follow the part of a file that is used: padding, not a second file."""


def is_compressed(path: Path) -> bool:
    """Say by its name whether a file is compressed as a whole."""
    return path.suffix.lower() in OPENERS


@contextmanager
def opened_to_its_end(path: Path) -> Iterator[BinaryIO]:
    """Open a compressed file; once the block has read what it needs, the rest is read, and the checksum compared.

    What the block made must not be used before it has ended.

    Raises
    ------
    DataError
        When it cannot be read; `DataCorruptionError` when it is truncated, or its bytes are not those once written.
    """
    with _faults_as_errors(path), OPENERS[path.suffix.lower()](path, "rb") as stream:
        yield cast(BinaryIO, stream)
        n_bytes = 0
        while piece := stream.read(N_BYTES_AT_ONCE):
            n_bytes += len(piece)
            if n_bytes > MOST_BYTES_BEHIND:
                raise DataCorruptionError(
                    f"{path} continues for more than {MOST_BYTES_BEHIND >> 20} MiB after its end."
                )


def check_compressed(path: Path) -> None:
    """Read a compressed file to its end; one that is not compressed passes.

    Raises
    ------
    DataError
        As `opened_to_its_end`.
    """
    check_plain_file(path)
    if is_compressed(path):
        state = path.stat()
        _check(path, state.st_mtime_ns, state.st_size)


def read_text_or_compressed(path: Path) -> str:
    """Read a text file whole, by its name also a compressed one.

    Raises
    ------
    DataError
        When it cannot be read, is damaged, or holds no text.
    """
    if not is_compressed(path):
        return read_text(path)
    check_plain_file(path)
    limit = largest_size()
    with opened_to_its_end(path) as stream:
        content = stream.read(-1 if limit is None else limit + 1)
        check_claimed_size(path, len(content), "text")
    return decoded(content, path)


@functools.lru_cache(maxsize=64)
def _check(path: Path, modified: int, n_bytes: int) -> None:
    """Read to the end, once for each state of a file."""
    with _faults_as_errors(path), OPENERS[path.suffix.lower()](path, "rb") as stream:
        while stream.read(N_BYTES_AT_ONCE):
            pass


@contextmanager
def _faults_as_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except FAULTS as error:
        reason = in_one_line(error)
        raise DataCorruptionError(f"{path} is truncated or damaged within its compression: {reason}.") from error
    except OSError as error:  # without a number it comes from the decompression
        kind = DataCorruptionError if error.errno is None else DataError
        raise kind(f"{path} could not be read: {error.strerror or error}.") from error
