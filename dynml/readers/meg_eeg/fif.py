"""Structure of `.fif` files: what they hold, whether they are whole, and how parts of one recording hang together.

A `.fif` file is a chain of tags: kind, type, size and offset of the next tag (0: right after this one), each a number
of four bytes, then the value. Source: Functional Image File Format, Elekta Neuromag, and
https://github.com/mne-tools/fiff-constants for the numbers.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from dynml.compressed import is_compressed, opened_to_its_end
from dynml.errors import DataCorruptionError, DataError
from dynml.reading_files import is_file

FILE_ID, BLOCK_START, BLOCK_END = 100, 104, 105
REFERENCE_BLOCK, REFERENCE_ROLE, REFERENCE_NAME = 118, 115, 118
PREVIOUS_FILE, NEXT_FILE = 1, 2
RAW_BLOCKS = {102, 112, 119}
EPOCHS_BLOCK = 373
OTHER_BLOCKS = {104: "averages (evoked)", 352: "a forward solution", 355: "a covariance", 501: "an ICA decomposition"}
POINTS, BYTES_BEFORE_POINTS, BYTES_OF_POINT = 36, 12, 12
"""Type of a value that counts the points that it holds; what stands before them, the count last, and one of them."""
TAG = struct.Struct(">iIii")
LAST_TAG = -1
NUMBERED_PART = re.compile(r"(.+)-\d+(\.fif(?:\.gz)?)", flags=re.IGNORECASE)
NUMBERED_PART_OF_BIDS = re.compile(r"(.+_split-)\d+(_.+)")


@dataclass
class FifStructure:
    """What the tags of a file say."""

    blocks: list[int] = field(default_factory=list)
    """Numbers of its blocks, in their order."""
    follows_another: bool = False
    """It is a later part of a recording."""
    next_part: str | None = None
    """Name of the file with the next part."""

    @property
    def holds_raw(self) -> bool:
        """It holds a continuous recording."""
        return not RAW_BLOCKS.isdisjoint(self.blocks)

    @property
    def holds_epochs(self) -> bool:
        """It holds epochs."""
        return EPOCHS_BLOCK in self.blocks


def first_part_of(path: Path) -> tuple[FifStructure, tuple[Path, ...]]:
    """Read the structure of a file, and find the later parts of its recording.

    Returns
    -------
    structure : FifStructure
    parts : tuple of Path
        Files that the recording goes on in.

    Raises
    ------
    DataError
        When the file is a later part itself, a part is missing, or it holds neither a recording nor epochs;
        `DataCorruptionError` when one of the files is truncated or no `.fif` file.
    """
    structure = structure_of(path)
    if not (structure.holds_raw or structure.holds_epochs):
        found = [words for block, words in OTHER_BLOCKS.items() if block in structure.blocks] or ["something else"]
        raise DataError(f"{path} holds {found[0]}, but must hold a continuous recording or epochs.")
    first = _first_by_name(path)
    if structure.follows_another or (first is not None and path in _later_parts(first, structure_of(first))):
        named = f" ({first.name})" if first is not None else ""
        raise DataError(
            f"{path} is a later part of a recording that is split over files; name only its first part{named} in "
            "'files', and the others are read with it."
        )
    return structure, _later_parts(path, structure)


def structure_of(path: Path) -> FifStructure:
    """Walk over the tags of a file, leaving their values out.

    Raises
    ------
    DataCorruptionError
        When it is truncated or no `.fif` file.
    """
    structure, open_blocks, role = FifStructure(), [0], 0
    with _opened(path) as (stream, n_bytes):
        for number, (kind, size) in enumerate(_tags(stream, n_bytes, path)):
            if number == 0 and kind != FILE_ID:
                raise DataCorruptionError(f"{path} is not a .fif file: it does not start as one.")
            if kind == BLOCK_START:
                open_blocks.append(_integer(stream))
                structure.blocks.append(open_blocks[-1])
            elif kind == BLOCK_END and len(open_blocks) > 1:
                open_blocks.pop()
            elif open_blocks[-1] == REFERENCE_BLOCK and kind == REFERENCE_ROLE:
                role = _integer(stream)
                structure.follows_another |= role == PREVIOUS_FILE
            elif open_blocks[-1] == REFERENCE_BLOCK and kind == REFERENCE_NAME and role == NEXT_FILE:
                structure.next_part = stream.read(size).decode("latin-1")
    if len(open_blocks) > 1:
        raise DataCorruptionError(f"{path} is truncated: its last block has no end.")
    return structure


def _tags(stream: BinaryIO, n_bytes: int | None, path: Path) -> Iterator[tuple[int, int]]:
    """Give kind and size of each tag, the stream standing at its value."""
    offset = 0
    while True:
        stream.seek(offset)
        header = stream.read(TAG.size)
        if not header and offset > 0:
            return
        if len(header) < TAG.size:
            raise DataCorruptionError(f"{path} is {'truncated' if offset else 'no .fif file: it is too short'}.")
        kind, of_type, size, following = TAG.unpack(header)
        if not any(header):
            raise DataCorruptionError(f"{path} holds zeros where a value should start, at byte {offset}.")
        end = offset + TAG.size + size
        goes_on = following in (0, LAST_TAG) or following > offset
        if offset == 0 and kind != FILE_ID:
            size = 0
        elif size < 0 or (n_bytes is not None and end > n_bytes) or not goes_on:
            raise DataCorruptionError(f"{path} is truncated: a value goes beyond its end, at byte {offset}.")
        yield kind, size
        if of_type == POINTS:
            _check_points(stream, offset, size, path)
        if following == LAST_TAG:
            return
        offset = following or end


def _check_points(stream: BinaryIO, offset: int, size: int, path: Path) -> None:
    """Refuse a value that is said to hold more digitized points than fit into it: mne would look for all of them."""
    stream.seek(offset + TAG.size + BYTES_BEFORE_POINTS - 4)
    n_points = _integer(stream)
    if n_points < 0 or BYTES_BEFORE_POINTS + BYTES_OF_POINT * n_points > size:
        raise DataCorruptionError(
            f"{path} is damaged: a value of {size} bytes is said to hold {n_points} points, at byte {offset}."
        )


def _later_parts(path: Path, structure: FifStructure) -> tuple[Path, ...]:
    parts: list[Path] = []
    while structure.next_part is not None:
        part = path.parent / structure.next_part
        if not is_file(part):
            raise DataError(
                f"{path} is split over files, and its part {structure.next_part} is missing in {path.parent}; parts "
                "must keep the names that they were written under."
            )
        if part == path or part in parts:
            raise DataCorruptionError(f"{path}: its parts name one another in a circle, at {part.name}.")
        parts.append(part)
        structure = structure_of(part)
    return tuple(parts)


def _first_by_name(path: Path) -> Path | None:
    """First part that a name like `x_raw-1.fif` or `x_split-02_meg.fif` points to, where it exists."""
    numbered, of_bids = NUMBERED_PART.fullmatch(path.name), NUMBERED_PART_OF_BIDS.fullmatch(path.name)
    names = [f"{numbered[1]}{numbered[2]}"] if numbered else []
    names += [f"{of_bids[1]}01{of_bids[2]}"] if of_bids else []
    return next((path.parent / name for name in names if name != path.name and is_file(path.parent / name)), None)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open a file, and tell its size where it is known without reading it."""
    try:
        if is_compressed(path):
            with opened_to_its_end(path) as stream:
                yield stream, None
        else:
            with path.open("rb") as plain:
                yield plain, path.stat().st_size
    except struct.error as error:
        raise DataCorruptionError(f"{path} is truncated or no .fif file: {str(error).rstrip('.')}.") from error
    except OSError as error:
        raise DataError(f"{path} could not be read: {error.strerror or error}.") from error


def _integer(stream: BinaryIO) -> int:
    return int.from_bytes(stream.read(4), "big", signed=True)
