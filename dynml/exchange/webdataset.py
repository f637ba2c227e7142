"""Tar files in the layout of learning-from-brains: one run per file, `<key>.bold.pyd` with its `<key>.t_r.pyd`.

A tar of a run without labels holds one sample, the whole run; one for decoding holds many, `<run>_sample_000` and so
on, each with its labels. Nothing is unpacked to the disk, and no pickle is executed.

Shapes: T samples, C channels (networks).
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import tarfile
import zlib
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.exchange.restricted_pickle import PlainValue, load_plain_pickle
from dynml.host_memory import check_claimed_size
from dynml.readers.guard import faults_as_errors
from dynml.reading_files import check_plain_file, decoded, is_file, is_folder, is_there
from dynml.store.layout import is_valid_name, natural_order

EXTENSIONS = (".tar", ".tar.gz", ".tgz")
SIGNALS, REPETITION_TIME, PICKLE, TEXT = "bold", "t_r", ".pyd", ".txt"
OF_SYSTEMS = ("._", ".DS_Store")
"""What macOS puts beside the files of a folder."""
_BLOCK, _MANY_BYTES = 512, 2**20
_NAME = re.compile(r"ds-(?P<dataset>.+?)_sub-(?P<participant>[^_]+)(?:_(?P<rest>.+))?")
_SESSION = re.compile(r"(?:^|_)(ses-[^_]+)")
_FORMATS_NOT_READ = (
    "json",
    "npy",
    "npz",
    "pyd",
    "pickle",
    "pkl",
    "pt",
    "pth",
    "mat",
    "csv",
    "tsv",
    "png",
    "jpg",
    "jpeg",
)
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, kw_only=True)
class RunName:
    """Who and what a tar is of, as its file's name says."""

    dataset: str
    participant: str
    """`ds-<dataset>_sub-<id>`: the same id in two data sets is two people."""
    session: str
    """`ses-<id>`, or empty."""
    run: str
    """The part of the name that follows the participant."""


@dataclass(frozen=True, kw_only=True)
class TarSample:
    """A whole run, or one of the trials that were cut out of it."""

    key: str
    signals: NDArray[np.floating[Any]]
    """(T, C)."""
    labels: dict[str, str]
    """Column to label, as text."""


@dataclass(frozen=True, kw_only=True)
class TarRun:
    """The content of a tar file."""

    path: Path
    repetition_time: float
    """Seconds, rounded to six digits, as float32 holds no more."""
    samples: tuple[TarSample, ...]
    """In the natural order of their keys."""

    @property
    def n_channels(self) -> int:
        """C."""
        return int(self.samples[0].signals.shape[1])

    def digest(self) -> bytes:
        """SHA-256 of all signals, by which a run is known again under another name."""
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(repr(sample.signals.shape).encode())
            digest.update(np.ascontiguousarray(sample.signals, dtype=np.float32).data)
        return digest.digest()


def tar_files(inputs: list[Path]) -> list[Path]:
    """Tar files named, and those in folders named and in their folders, in natural order.

    Raises
    ------
    DataError
        When there are none, or a path does not exist or is of another kind.
    """
    found: list[Path] = []
    for path in inputs:
        if is_folder(path):
            inside = [file for file in path.rglob("*") if file.name.endswith(EXTENSIONS) and is_file(file)]
            if not inside:
                raise DataError(f"The folder {path} and its folders hold no file that ends in {', '.join(EXTENSIONS)}.")
            found += sorted(inside, key=lambda file: natural_order(str(file)))
        elif not is_there(path):
            raise DataError(f"{path} does not exist.")
        elif not path.name.endswith(EXTENSIONS):
            raise DataError(f"{path} is neither a folder nor a file that ends in {', '.join(EXTENSIONS)}.")
        else:
            found.append(path)
    return found


def parse_run_name(path: Path) -> RunName:
    """Read who and what a tar is of from its name, `ds-<dataset>_sub-<id>[_ses-..]_task-<task>[_run-<k>].tar`.

    Raises
    ------
    DataError
        When the name has no data set or no participant, or two participants.
    """
    extension = next(extension for extension in EXTENSIONS if path.name.endswith(extension))
    stem = path.name.removesuffix(extension)
    match = _NAME.fullmatch(stem)
    if match is None or re.search(r"(?:^|_)(?:sub|ds)-", match["rest"] or "") or not is_valid_name(stem):
        raise DataError(
            f"{path}: the name must say data set and participant, once each, as in "
            "ds-<dataset>_sub-<id>_task-<task>.tar."
        )
    rest = match["rest"] or ""
    session = _SESSION.search(rest)
    return RunName(
        dataset=match["dataset"],
        participant=f"ds-{match['dataset']}_sub-{match['participant']}",
        session=session[1] if session else "",
        run=rest or stem,
    )


def read_tar(path: Path) -> tuple[TarRun, list[str]]:
    """Read a tar file, whole and checked.

    Parameters
    ----------
    path : Path

    Returns
    -------
    run : TarRun
    unknown : list of str
        Kinds of members that are not known and were not read.

    Raises
    ------
    DataError
        When the file is truncated, damaged, or holds anything but arrays, numbers and texts; when a sample has no
        signals or repetition time, or such as cannot be used. Names the file and the member.
    """
    check_plain_file(path)
    with faults_as_errors(path):
        return _read_tar(path)


def _read_tar(path: Path) -> tuple[TarRun, list[str]]:
    members, unknown = _grouped(_read_members(path), path)
    if not members:
        raise DataError(f"{path} holds no member named <key>.{SIGNALS}{PICKLE}.")
    times: dict[str, float] = {}
    samples = []
    for key in sorted(members, key=natural_order):
        values = members[key]
        for needed in (SIGNALS, REPETITION_TIME):
            if needed not in values:
                raise DataError(f"{path}: sample {key} has no member {key}.{needed}{PICKLE}.")
        times[key] = _repetition_time(values.pop(REPETITION_TIME), f"{path}, {key}.{REPETITION_TIME}{PICKLE}")
        signals = _signals(values.pop(SIGNALS), f"{path}, {key}.{SIGNALS}{PICKLE}")
        labels = {column: _label(value, f"{path}, {key}.{column}{PICKLE}") for column, value in values.items()}
        samples.append(TarSample(key=key, signals=signals, labels=labels))
    _check_agreement(path, samples, times)
    return TarRun(path=path, repetition_time=times[samples[0].key], samples=tuple(samples)), unknown


def _read_members(path: Path) -> dict[str, bytes]:
    """All regular files of a tar by name."""
    contents: dict[str, bytes] = {}
    n_bytes = 0
    try:
        with tarfile.open(path, "r:gz" if path.name.endswith("gz") else "r:") as tar:
            for member in tar:
                name = posixpath.normpath(member.name)
                if member.isdir() or posixpath.basename(name).startswith(OF_SYSTEMS):
                    continue
                stream = tar.extractfile(member) if member.isreg() else None
                if stream is None:
                    raise DataError(f"{path}: the member {member.name} is a link or device, but must be a plain file.")
                if name in contents:
                    raise DataError(f"{path}: the member {name} is repeated.")
                n_bytes += member.size
                check_claimed_size(path, n_bytes, "members")
                contents[name] = stream.read()
            # Python takes a file that was cut between two members, or damaged there, for one that ends.
            stream = cast(Any, tar.fileobj)
            stream.seek(tar.offset)
            if stream.read(_BLOCK) != bytes(_BLOCK):
                raise tarfile.ReadError("unexpected end of data")
            # What was compressed has its checksum at the very end.
            while stream.read(_MANY_BYTES):
                pass
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is {_fault_of_tar(path)}.") from error
    except OSError as error:
        raise DataError(f"{path} could not be read: {error.strerror or error}.") from error
    return contents


def _fault_of_tar(path: Path) -> str:
    with path.open("rb") as stream:
        start = stream.read(len(_LFS_POINTER))
    if start == _LFS_POINTER:
        return "a pointer of Git LFS, not the file itself: fetch that by git lfs pull"
    return "truncated or damaged, or no tar file"


def _grouped(contents: dict[str, bytes], path: Path) -> tuple[dict[str, dict[str, PlainValue]], list[str]]:
    """Members by key and kind.

    A key ends where the member of its signals goes on with `.bold.pyd`. What belongs to no such key has it end, as in
    webdataset, at the first dot of its file's name.
    """
    samples: dict[str, dict[str, PlainValue]] = {}
    unknown: set[str] = set()
    ending = f".{SIGNALS}{PICKLE}"
    keys = {name.removesuffix(ending) for name in contents if name.endswith(ending)}
    for name, content in contents.items():
        folder, _, file = name.rpartition("/")
        stem, kind = _stem_and_kind(folder, file, keys)
        column = kind.removesuffix(PICKLE).removesuffix(TEXT)
        if not stem or "." in column or column in _FORMATS_NOT_READ or not is_valid_name(column):
            unknown.add(kind or file)
            continue
        where = f"{path}, {name}"
        values = samples.setdefault(f"{folder}/{stem}" if folder else stem, {})
        if column in values:
            raise DataError(f"{path}: sample {stem} has two members for {column!r}.")
        values[column] = load_plain_pickle(content, where) if kind.endswith(PICKLE) else _text(content, where)
    return samples, sorted(unknown)


def _stem_and_kind(folder: str, file: str, keys: Set[str]) -> tuple[str, str]:
    """Split a file's name at the end of the longest key that it starts with, else at its first dot."""
    for dot in reversed([position for position, character in enumerate(file) if character == "."]):
        if (f"{folder}/{file[:dot]}" if folder else file[:dot]) in keys:
            return file[:dot], file[dot + 1 :]
    stem, _, kind = file.partition(".")
    return stem, kind


def _text(content: bytes, where: str) -> str:
    return decoded(content, Path(where)).strip()


def _signals(value: PlainValue, where: str) -> NDArray[np.floating[Any]]:
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "fiu":
        found = f"an array {value.shape} of {value.dtype}" if isinstance(value, np.ndarray) else f"{value!r:.40}"
        raise DataError(f"{where} is {found}, but must be an array of numbers, time x networks.")
    if not value.size:
        raise DataError(f"{where} is empty: its shape is {value.shape}.")
    signals = value.astype(np.float32) if value.dtype.itemsize < 4 else value.astype(value.dtype.newbyteorder("="))
    signals = signals if signals.dtype.kind == "f" else signals.astype(np.float64)
    bad = ~(np.abs(signals) <= np.finfo(np.float32).max)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"{where} is {signals[row, column]:g} at sample {row} of network {column}, the first of {int(bad.sum())} "
            "values that are NaN or infinite."
        )
    return signals


def _repetition_time(value: PlainValue, where: str) -> float:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, (bool, str, np.ndarray)) or not 0 < value < np.inf:
        found = f"an array {value.shape}" if isinstance(value, np.ndarray) else repr(value)
        raise DataError(f"{where} is {found}, but must be the seconds between two samples, above 0.")
    return float(f"{value:.6g}")


def _label(value: PlainValue, where: str) -> str:
    if isinstance(value, np.ndarray):
        if value.size != 1:
            raise DataError(f"{where} is an array {value.shape}, but a label must be one number or text.")
        value = value.item()
    text = str(value).strip()
    if not text:
        raise DataError(f"{where} is an empty label.")
    return text


def _check_agreement(path: Path, samples: list[TarSample], times: dict[str, float]) -> None:
    first = samples[0]
    for sample in samples:
        if sample.signals.shape[1] != first.signals.shape[1]:
            raise DataError(
                f"{path}: sample {sample.key} has {sample.signals.shape[1]} networks, but {first.key} has "
                f"{first.signals.shape[1]}."
            )
        if times[sample.key] != times[first.key]:
            raise DataError(
                f"{path}: the repetition time of sample {sample.key} is {times[sample.key]:g} s, but that of "
                f"{first.key} {times[first.key]:g} s."
            )
