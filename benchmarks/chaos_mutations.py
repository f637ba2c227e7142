"""Damage to files, drawn from a generator: bits, lengths, blocks, numbers and fields.

A compressed file is damaged on the outside or, as often, within and packed again, so that the damage goes past the
checksum and reaches what reads the content.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
from collections.abc import Callable

import numpy as np

Generator = np.random.Generator
HUGE = (
    *(struct.pack(order + kind, value) for order in "<>" for kind, value in (("i", 2**31 - 1), ("q", 2**62))),
    *(struct.pack(order + kind, -1) for order in "<>" for kind in "hiq"),
    *(struct.pack(order + "f", value) for order in "<>" for value in (np.inf, np.nan, 3e38, -1.0, 0.0)),
    *(struct.pack(order + "I", value) for order in "<>" for value in (10**6, 10**9, 0)),
)
ODD_TOKENS = (
    *("1e400", "-1", "0", "nan", "inf", "999999999999999999999", "0x10", "1_000", "1,5", "n/a", "", '"', "'", "null"),
    *(
        "[]",
        "{}",
        "[[",
        "true",
        "../../etc",
        "~",
        "\x00",
        "\ufeff",
        "\u2028",
        "µ",
        "&a",
        "*a",
        "!!python/name:os",
        "%s",
    ),
)
ODD_BYTES = (b"\xb5", b"\xff\xfe", b"\x00", b"\r", b"\x1a", b"\xc3", b"\xed\xa0\x80")


def mutated(content: bytes, name: str, generator: Generator) -> tuple[bytes, str]:
    """Damage a file's content; a function of the generator's state alone.

    Parameters
    ----------
    content : bytes
    name : str
        Of the file; its extension says whether it is compressed or text.

    Returns
    -------
    content : bytes
    what : str
        What was done.
    """
    within = generator.random() < 0.5
    if name.endswith(".gz") and within:
        inner, what = mutated(gzip.decompress(content), name.removesuffix(".gz"), generator)
        return gzip.compress(inner, compresslevel=1, mtime=0), f"within: {what}"
    if name.endswith(".npz") and within:
        return _mutated_member(content, generator)
    choices = BINARY | TEXT if _is_text(content) else BINARY
    what = list(choices)[generator.integers(len(choices))]
    for _ in range(1 + int(generator.random() < 0.2)):
        content = choices[what](content, generator)
    return content, what


def _mutated_member(content: bytes, generator: Generator) -> tuple[bytes, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    chosen = list(members)[generator.integers(len(members))]
    members[chosen], what = mutated(members[chosen], chosen, generator)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name), member, zipfile.ZIP_DEFLATED)
    return target.getvalue(), f"within: {what}"


def _is_text(content: bytes) -> bool:
    try:
        return "\x00" not in content.decode("utf-8")
    except UnicodeDecodeError:
        return False


def _place(content: bytes, generator: Generator) -> int:
    """A place in the file: as often in its first 512 bytes, where headers are, as anywhere."""
    end = min(512, len(content)) if generator.random() < 0.5 else len(content)
    return int(generator.integers(max(end, 1)))


def _length(content: bytes, generator: Generator) -> int:
    return int(min(2 ** generator.integers(13), max(len(content) // 2, 1)))


# ---------------------------------------------------------------------- of any file


def _flip(content: bytes, generator: Generator) -> bytes:
    damaged = bytearray(content)
    for _ in range(2 ** int(generator.integers(4))):
        if damaged:
            damaged[_place(content, generator)] ^= 1 << int(generator.integers(8))
    return bytes(damaged)


def _truncate(content: bytes, generator: Generator) -> bytes:
    return content[: _place(content, generator)]


def _insert(content: bytes, generator: Generator) -> bytes:
    place, length = _place(content, generator), _length(content, generator)
    block = (bytes(length), generator.bytes(length), content[place : place + length])[generator.integers(3)]
    return content[:place] + block + content[place:]


def _remove(content: bytes, generator: Generator) -> bytes:
    place = _place(content, generator)
    return content[:place] + content[place + _length(content, generator) :]


def _clear(content: bytes, generator: Generator) -> bytes:
    place, length = _place(content, generator), _length(content, generator)
    length = min(length, len(content) - place)
    return content[:place] + bytes(length) + content[place + length :]


def _swap(content: bytes, generator: Generator) -> bytes:
    first, second = sorted((_place(content, generator), _place(content, generator)))
    length = min(2 ** int(generator.integers(8)), second - first, len(content) - second)
    one, other = content[first : first + length], content[second : second + length]
    return content[:first] + other + content[first + length : second] + one + content[second + length :]


def _overwrite(content: bytes, generator: Generator) -> bytes:
    number = HUGE[generator.integers(len(HUGE))]
    place = _place(content, generator)
    place -= place % len(number) if generator.random() < 0.7 else 0
    return content[:place] + number + content[place + len(number) :]


def _append(content: bytes, generator: Generator) -> bytes:
    length = _length(content, generator)
    return content + (bytes(length), content[:length], generator.bytes(length))[generator.integers(3)]


# ---------------------------------------------------------------------- of text


def _replace_token(content: bytes, generator: Generator) -> bytes:
    tokens = list(re.finditer(rb"[^\s,:;=\"\[\]{}<>]+", content))
    if not tokens:
        return content
    token = tokens[generator.integers(len(tokens))]
    odd = ODD_TOKENS[generator.integers(len(ODD_TOKENS))].encode()
    return content[: token.start()] + odd + content[token.end() :]


def _replace_number(content: bytes, generator: Generator) -> bytes:
    numbers = list(re.finditer(rb"\d+", content))
    if not numbers:
        return content
    number = numbers[generator.integers(len(numbers))]
    other = (b"0", b"-" + number[0], number[0] * 6, b"9" * 400, b"1e308", b"2147483648")[generator.integers(6)]
    return content[: number.start()] + other + content[number.end() :]


def _swap_lines(content: bytes, generator: Generator) -> bytes:
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return content
    first, second = generator.integers(len(lines), size=2)
    lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


def _repeat_line(content: bytes, generator: Generator) -> bytes:
    lines = content.splitlines(keepends=True)
    if not lines:
        return content
    place = int(generator.integers(len(lines)))
    return b"".join([*lines[:place], lines[place] * (2, 2, 200)[generator.integers(3)], *lines[place:]])


def _odd_bytes(content: bytes, generator: Generator) -> bytes:
    place = _place(content, generator)
    return content[:place] + ODD_BYTES[generator.integers(len(ODD_BYTES))] + content[place:]


def _nest(content: bytes, generator: Generator) -> bytes:
    place, depth = _place(content, generator), int(10 ** generator.integers(1, 6))
    return content[:place] + (b"[", b'{"a":', b"(", b"- ")[generator.integers(4)] * depth + content[place:]


Mutation = Callable[[bytes, Generator], bytes]
BINARY: dict[str, Mutation] = {
    "bits flipped": _flip,
    "truncated": _truncate,
    "block inserted": _insert,
    "block removed": _remove,
    "block cleared": _clear,
    "blocks swapped": _swap,
    "number made extreme": _overwrite,
    "block appended": _append,
}
TEXT: dict[str, Mutation] = {
    "token replaced": _replace_token,
    "number replaced": _replace_number,
    "lines swapped": _swap_lines,
    "line repeated": _repeat_line,
    "odd bytes": _odd_bytes,
    "nested deeply": _nest,
}
