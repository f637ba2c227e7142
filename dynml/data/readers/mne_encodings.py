"""Text in files that mne opens: older software wrote it in Latin-1 or Windows-1252 where a format asks for UTF-8."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dynml.errors import DataCorruptionError, DataError
from dynml.reading_files import FALLBACK, NO_TEXT, check_plain_file, encoding_stated, tell_encoding

Opener = Callable[..., Any]
CODEPAGE = re.compile(rb"^Codepage=(\S+)", flags=re.IGNORECASE | re.MULTILINE)
OTHER_FILE = re.compile(rb"^(?:DataFile|MarkerFile)=(.+?)\s*$", flags=re.IGNORECASE | re.MULTILINE)
MATLAB_CODECS = ("utf-16", "latin-1")
"""MATLAB keeps characters as numbers of two bytes, for which scipy expects UTF-8 unless it is told otherwise."""


def open_edf(opener: Opener, path: Path, **settings: Any) -> Any:
    """Open an EDF or BDF file, whose annotations should be UTF-8.

    Raises
    ------
    DataError
        When they are no text in the encoding that the user states, or in any that is looked for.
    """
    stated = encoding_stated()
    try:
        return opener(path, encoding=stated or "utf-8", **settings)
    except Exception as error:
        if not _is_of_encoding(error):
            raise
        if stated is not None:
            raise DataError(
                f"{path} has annotations that are no text in {stated}, as the key 'encoding' says."
            ) from error
    try:
        raw = opener(path, encoding=FALLBACK, **settings)
    except Exception as error:
        if not _is_of_encoding(error):
            raise
        raise DataError(
            f"{path} has annotations that are no text in UTF-8 nor in Windows-1252; state their encoding by the key "
            "'encoding'."
        ) from error
    odd = next((text for text in raw.annotations.description if not NO_TEXT.isdisjoint(text)), None)
    if odd is not None:
        raise DataCorruptionError(f"{path} has an annotation that is no text: {odd[:40]!r}.")
    tell_encoding(path, FALLBACK)
    return raw


def open_brainvision(opener: Opener, path: Path, **settings: Any) -> Any:
    """Open a BrainVision file, whose header and markers should be UTF-8, or name their codepage.

    Where they are neither, mne takes Latin-1, from which the bytes are had back.
    """
    files = [path, *(path.parent / name for name in _other_files(path))]
    for file in files:
        if file.exists():
            check_plain_file(file)
    raw = opener(path, **settings)
    texts = [*raw.ch_names, *raw.annotations.description]
    if all(text.isascii() for text in texts) or not any(_falls_back(file) for file in files if _is_text(file)):
        return raw
    encoding = encoding_stated() or FALLBACK
    try:
        names = {name: _in_encoding(name, encoding) for name in raw.ch_names}
        descriptions = [_in_encoding(text, encoding) for text in raw.annotations.description]
    except UnicodeError as error:
        raise DataError(
            f"{path} has names or markers that are no text in {encoding}; state their encoding by the key 'encoding'."
        ) from error
    raw.rename_channels({name: other for name, other in names.items() if name != other}, verbose="ERROR")
    raw.annotations.description = np.array(descriptions, dtype=str) if descriptions else raw.annotations.description
    if encoding_stated() is None:
        tell_encoding(path, encoding)
    return raw


def open_eeglab(opener: Opener, path: Path, **settings: Any) -> Any:
    """Open an EEGLAB file, in whichever of the ways that MATLAB has of keeping text."""
    data = path.with_suffix(".fdt")
    if data.exists():
        check_plain_file(data)
    stated = encoding_stated()
    codecs = (stated,) if stated is not None else (None, *MATLAB_CODECS)
    for codec in codecs:
        try:
            return opener(path, uint16_codec=codec, **settings)
        except Exception as error:
            if codec == codecs[-1] or not _is_of_encoding(error):
                raise
    raise AssertionError("the last codec returns or raises")


def _is_of_encoding(error: Exception) -> bool:
    """Say whether mne or scipy stumbled over the encoding of a text."""
    text = str(error)
    return isinstance(error, UnicodeError) or "encoding=" in text or "buffer is too small" in text


def _other_files(path: Path) -> list[str]:
    """Names of the data and marker files that a header leads to."""
    names = [name.decode("latin-1") for name in OTHER_FILE.findall(path.read_bytes())]
    return [name.replace("$b", path.stem) for name in names if "\0" not in name]


def _is_text(file: Path) -> bool:
    return file.suffix.lower() in (".vhdr", ".vmrk") and file.is_file()


def _falls_back(file: Path) -> bool:
    """Say whether mne takes a file for Latin-1, as it is not what it says or should be."""
    content = file.read_bytes()
    named = CODEPAGE.search(content)
    codepage = named[1].decode("ascii", "replace") if named else "utf-8"
    try:
        content.decode(FALLBACK if codepage.upper() == "ANSI" else codepage)
    except (UnicodeError, LookupError):
        return True
    return False


def _in_encoding(text: str, encoding: str) -> str:
    """Decode a text anew that was decoded as Latin-1; what is no Latin-1 was decoded as its file says."""
    return text if text.isascii() or max(text) > "\xff" else text.encode("latin-1").decode(encoding)
