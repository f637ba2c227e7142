"""Reads MATLAB's version 5 files, which `save` writes as -v6 and -v7: real matrices, and the headers of all variables.

The layout is that of "MAT-File Format" (The MathWorks): 128 bytes, then one element a variable, plain or deflated. An
element starts with its type and its number of bytes; the parts of a variable are flags, shape, name and numbers. Every
size is checked before it is used, so that no fault of a file's bytes goes unnoticed or ends the program.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataCorruptionError, DataError
from dynml.host_memory import check_claimed_size
from dynml.readers.named_arrays import ArrayEntry

N_HEADER_BYTES = 128
N_BYTES_OF_START = 4096
"""Enough for the flags, the shape and the name of any variable."""
MOST_DEFLATED = 1032
"""Bytes that one deflated byte can stand for. Source: https://zlib.net/zlib_tech.html."""
DEFLATED, VARIABLE = 15, 14
NUMBERS = {
    6: "float64",
    7: "float32",
    8: "int8",
    9: "uint8",
    10: "int16",
    11: "uint16",
    12: "int32",
    13: "uint32",
    14: "int64",
    15: "uint64",
}
"""Classes of variables that hold numbers."""
OTHERS = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function handle", 17: "object"}
WITHOUT_SHAPE = 17
IS_COMPLEX, IS_LOGICAL = 0x0800, 0x0200
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types in which numbers are stored: MATLAB writes whole numbers of any class in the smallest type that holds them."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One variable, and where its bytes are."""

    entry: ArrayEntry
    position: int
    """Of the element's first byte behind its tag, in the file."""
    n_bytes: int
    is_deflated: bool
    numbers_at: int
    """Byte of the numbers' tag, behind the variable's own tag."""
    order: str
    """Order of bytes as `struct` writes it."""


def variables_of(path: Path) -> list[Variable]:
    """List the variables of a file, in its order, without reading their numbers.

    Raises
    ------
    DataError
        When it is no MATLAB file, or one of version 4; `DataCorruptionError` when it is truncated.
    """
    with _opened(path) as stream:
        header = stream.read(N_HEADER_BYTES)
        order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
        if order is None:
            raise DataError(
                f"{path} is not a MATLAB file of version 5, 7 or 7.3; save it in MATLAB by save(.., '-v7') or '-v7.3'."
            )
        return list(_variables(path, stream, order))


def numbers_of(path: Path, variable: Variable) -> NDArray[Any]:
    """Read the numbers of a variable that holds real ones, in MATLAB's shape and of its class.

    Raises
    ------
    DataCorruptionError
        When there are fewer or more bytes than the shape asks for, or they cannot be inflated.
    """
    with _opened(path) as stream:
        stream.seek(variable.position)
        content = stream.read(variable.n_bytes)
        if variable.is_deflated:
            content = _inflated(content, path, variable)[8:]
    stored, start, n_bytes = _tag(content, variable.numbers_at, variable.order)
    dtype = np.dtype(variable.order + STORED.get(stored, "u1"))
    shape = variable.entry.shape
    if stored not in STORED or n_bytes != math.prod(shape) * dtype.itemsize or start + n_bytes > len(content):
        raise DataCorruptionError(
            f"{path}: {variable.entry} holds {max(0, min(n_bytes, len(content) - start))} bytes, not as many as its "
            "shape asks for."
        )
    numbers = np.frombuffer(content, dtype=dtype, count=math.prod(shape), offset=start)
    return numbers.astype(variable.entry.kind).reshape(shape, order="F")


def _inflated(content: bytes, path: Path, variable: Variable) -> bytes:
    """Inflate a variable, to no more than its shape asks for."""
    largest = N_BYTES_OF_START + 8 * math.prod(variable.entry.shape)
    check_claimed_size(path, 2 * largest, f"the variable {variable.entry.name}")
    inflating = zlib.decompressobj()
    inflated = inflating.decompress(content, largest)
    if not inflating.eof:
        raise DataCorruptionError(f"{path}: {variable.entry} is truncated, or more than its shape asks for.")
    return inflated


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file; faults of its bytes become errors of one sentence."""
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as error:
        raise DataError(f"{path} could not be read: {error.strerror or error}.") from error
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise DataCorruptionError(f"{path} holds a variable that cannot be read: {error}.") from error


def _variables(path: Path, stream: BinaryIO, order: str) -> Iterator[Variable]:
    n_bytes_of_file = path.stat().st_size
    stop = N_HEADER_BYTES
    while stop < n_bytes_of_file:
        stream.seek(stop)
        kind, n_bytes = struct.unpack(f"{order}II", stream.read(8))
        position, stop = stop + 8, stop + 8 + n_bytes
        if stop > n_bytes_of_file:
            missing = stop - n_bytes_of_file
            raise DataCorruptionError(f"{path} is truncated: {missing} bytes of its last variable are missing.")
        start = stream.read(min(n_bytes, N_BYTES_OF_START))
        is_deflated = kind == DEFLATED
        if is_deflated:
            start = zlib.decompressobj().decompress(start, N_BYTES_OF_START)
            kind = struct.unpack_from(f"{order}I", start)[0]
            start = start[8:]
        if kind != VARIABLE or not start:
            continue
        entry, numbers_at = _described(start, order)
        if entry.is_real and math.prod(entry.shape) > n_bytes * (MOST_DEFLATED if is_deflated else 1):
            raise DataCorruptionError(f"{path}: {entry} claims more numbers than its {n_bytes} bytes can hold.")
        if entry.name:  # MATLAB keeps data of its own under an empty name
            yield Variable(
                entry=entry,
                position=position,
                n_bytes=n_bytes,
                is_deflated=is_deflated,
                numbers_at=numbers_at,
                order=order,
            )


def _described(start: bytes, order: str) -> tuple[ArrayEntry, int]:
    """Describe a variable by its first bytes, and say where its numbers' tag is."""
    flags_bytes, position = _part(start, 0, order)
    flags = struct.unpack_from(f"{order}I", flags_bytes)[0]
    array_class, shape = flags & 0xFF, ()
    if array_class != WITHOUT_SHAPE:
        sizes, position = _part(start, position, order)
        shape = struct.unpack(f"{order}{len(sizes) // 4}I", sizes)
    name, position = _part(start, position, order)
    kind = NUMBERS.get(array_class) or OTHERS.get(array_class, "unknown class")
    if flags & IS_LOGICAL:
        kind = "logical"
    elif flags & IS_COMPLEX:
        kind = f"complex numbers, {kind}"
    is_real = array_class in NUMBERS and kind == NUMBERS[array_class]
    return ArrayEntry(name=name.decode("utf-8").rstrip("\0"), shape=shape, kind=kind, is_real=is_real), position


def _tag(content: bytes, position: int, order: str) -> tuple[int, int, int]:
    """Type, first byte and number of bytes of a part. Up to 4 bytes stand within the tag itself."""
    kind, n_bytes = struct.unpack_from(f"{order}II", content, position)
    return (kind & 0xFFFF, position + 4, kind >> 16) if kind >> 16 else (kind, position + 8, n_bytes)


def _part(content: bytes, position: int, order: str) -> tuple[bytes, int]:
    """Bytes of a part of a variable, and where the next one starts: parts are filled up to 8 bytes."""
    _, start, n_bytes = _tag(content, position, order)
    return content[start : start + n_bytes], start + n_bytes + -(start + n_bytes) % 8
