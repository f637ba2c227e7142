"""Text in files that mne opens: older software wrote it in Latin-1 or Windows-1252 where a format asks for UTF-8."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dynml.errors import DataCorruptionError, DataError
from dynml.reading_files import (
    FALLBACK,
    NO_TEXT,
    check_encoding,
    check_plain_file,
    decoded,
    encoding_stated,
    is_there,
    stated_encoding,
    tell_encoding,
)

Opener = Callable[..., Any]
CODEPAGE = re.compile(r"^Codepage=(\S+)", flags=re.IGNORECASE | re.MULTILINE)
REPLACEMENT = "\ufffd"
"""What scipy puts where a character cannot be decoded."""
MATLAB_CODECS = ("utf-16", "latin-1")
"""MATLAB keeps characters as numbers of two bytes, for which scipy expects UTF-8 unless another encoding is given."""


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
                f"{path} has annotations that are not text in {stated}, as the key 'encoding' says."
            ) from error
    try:
        raw = opener(path, encoding=FALLBACK, **settings)
    except Exception as error:
        if not _is_of_encoding(error):
            raise
        raise DataError(
            f"{path} has annotations that are not text in UTF-8 nor in Windows-1252; set their encoding by the key "
            "'encoding'."
        ) from error
    odd = next((text for text in raw.annotations.description if not NO_TEXT.isdisjoint(text)), None)
    if odd is not None:
        raise DataCorruptionError(f"{path} has an annotation that is not text: {odd[:40]!r}.")
    tell_encoding(path, FALLBACK)
    return raw


def open_brainvision(opener: Opener, path: Path, **settings: Any) -> Any:
    """Open a BrainVision file, of whose header and markers mne reads no other encoding than UTF-8.

    Where they are in another one, it is given copies in UTF-8 that lead to the same data.

    Raises
    ------
    DataError
        When they are no text in the encoding that they name, that the user states, or that is looked for.
    """
    header = path.read_bytes()
    markers = [path.parent / name for name in _named(header, b"MarkerFile", path)]
    data = [path.parent / name for name in _named(header, b"DataFile", path)]
    for file in (*markers, *data):
        if is_there(file):
            check_plain_file(file)
    contents = {file: file.read_bytes() for file in (path, *markers) if is_there(file)}
    if all(map(_is_utf_8, contents.values())):
        return opener(path, **settings)
    with tempfile.TemporaryDirectory() as folder:
        for file, content in contents.items():
            text = CODEPAGE.sub("Codepage=UTF-8", _text(content, file))
            for other in (*markers, *data):
                kept = other.name if other in contents else str(other.resolve())
                text = re.sub(rf"^(\w+File)=.*{re.escape(other.suffix)}\s*$", _line(kept), text, flags=re.MULTILINE)
            (Path(folder) / file.name).write_text(text, encoding="utf-8")
        return opener(Path(folder) / path.name, **settings)


def open_eeglab(opener: Opener, path: Path, **settings: Any) -> Any:
    """Open an EEGLAB file, in whichever of the ways that MATLAB has of keeping text."""
    data = path.with_suffix(".fdt")
    if is_there(data):
        check_plain_file(data)
    stated = encoding_stated()
    codecs = (stated,) if stated is not None else (None, *MATLAB_CODECS)
    for codec in codecs:
        try:
            recording = opener(path, uint16_codec=codec, **settings)
        except Exception as error:
            if codec == codecs[-1] or not _is_of_encoding(error):
                raise
        else:
            if codec == codecs[-1] or not any(REPLACEMENT in text for text in _texts(recording)):
                return recording
    raise AssertionError("the last codec returns or raises")


def _texts(recording: Any) -> list[str]:
    """Names and labels of a recording or of epochs."""
    annotations = recording.annotations
    labels = [] if annotations is None else annotations.description.tolist()
    return [*recording.ch_names, *labels, *getattr(recording, "event_id", {})]


def _is_of_encoding(error: Exception) -> bool:
    """Say whether mne or scipy stumbled over the encoding of a text."""
    text = str(error)
    return isinstance(error, UnicodeError) or "encoding=" in text or "buffer is too small" in text


def _named(header: bytes, key: bytes, path: Path) -> list[str]:
    """Name of a file that a header leads to, where it names one."""
    found = re.search(rb"^" + key + rb"=(.+?)\s*$", header, flags=re.IGNORECASE | re.MULTILINE)
    name = "" if found is None else found[1].decode("latin-1").replace("$b", path.stem)
    return [name] if name and "\0" not in name else []


def _line(name: str) -> Callable[[re.Match[str]], str]:
    return lambda match: f"{match[1]}={name}"


def _is_utf_8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _text(content: bytes, file: Path) -> str:
    """Text of a header or of markers, in the encoding that it names where the user states none."""
    if _is_utf_8(content):
        return content.decode("utf-8")
    named = CODEPAGE.search(content.decode("ascii", "replace"))
    codepage = named[1].lower().replace("ansi", FALLBACK) if named else ""
    if encoding_stated() is None and check_encoding(codepage) and codepage not in ("", "utf-8"):
        with stated_encoding(codepage):
            return decoded(content, file)
    return decoded(content, file)
