"""Reads `.ts` files of the time-series classification archives (UCR, UEA), as aeon and sktime write them.

Lines that start with @ say what follows, and below `@data` each line is a case: channels separated by colons, their
values by commas, `?` where one is missing, and the class at the end. Source: Bagnall et al. 2018, The UEA multivariate
time series classification archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataCorruptionError, DataError
from dynml.readers.guard import guarded
from dynml.readers.reader import FileDescription, FileEvents, Reader
from dynml.reading_files import decoded, readable
from dynml.tables import NOT_AVAILABLE

COLUMN = "class"
MISSING = "?"
N_CHARACTERS_SHOWN = 24
REMARKS = ("#", "%")


class TsReader(Reader):
    """Reads `.ts` files; each case is a segment, one after another, with its class as an event."""

    @guarded
    def describe(self, path: Path) -> FileDescription:
        """Count cases, channels and values, without reading the values as numbers.

        Raises
        ------
        DataError
            When a case does not fit the header or the first case; names the line.
        """
        header = _Header()
        lengths: list[int] = []
        labels: list[str] = []
        n_channels = 0
        for case in _cases(path, header):
            n_channels = n_channels or len(case.channels)
            lengths.append(_checked_length(case, header, n_channels))
            if header.equal_length and lengths[-1] != lengths[0]:
                raise DataError(
                    f"{case.where} has {lengths[-1]} values, but the first case {lengths[0]} (@equalLength)."
                )
            labels.append(case.label)
        if not lengths:
            raise DataError(f"{path} has no case below @data.")
        stops = np.cumsum(lengths, dtype=np.int64)
        starts = stops - np.array(lengths, dtype=np.int64)
        events = FileEvents(onset=starts, duration=stops - starts, labels={COLUMN: labels})
        return FileDescription(
            n_samples=int(stops[-1]),
            n_channels=n_channels,
            rate_fault="the format has no place for it",
            warned=_warned(header, lengths),
            stretches=np.stack([starts, stops], axis=1),
            events=events if header.classes is not None else None,
        )

    @guarded
    def read(self, path: Path) -> NDArray[np.float64]:
        """Read all cases, (T, C); missing values are NaN.

        Raises
        ------
        DataError
            When a value is no number; names the line.
        """
        cases = [np.array([_numbers(case, text) for text in case.channels]).T for case in _cases(path, _Header())]
        return np.concatenate(cases)


@dataclass
class _Header:
    """What the lines with @ say."""

    n_channels: int | None = None
    length: int | None = None
    equal_length: bool = False
    classes: tuple[str, ...] | None = None
    """None where cases have no class."""
    has_target: bool = False
    keys: set[str] = field(default_factory=set)

    def take(self, key: str, values: list[str], where: str) -> None:
        """Take one line; names of what is no business of a reader pass."""
        self.keys.add(key)
        is_true = bool(values) and values[0].lower() == "true"
        if key == "timestamps" and is_true:
            raise DataError(f"{where} says that values have time stamps; write them evenly sampled, without.")
        if key == "univariate" and is_true:
            self.n_channels = 1
        elif key in ("dimensions", "dimension"):
            self.n_channels = _whole_number(key, values, where)
        elif key == "serieslength":
            self.length = _whole_number(key, values, where)
        elif key == "equallength":
            self.equal_length = is_true
        elif key == "classlabel" and is_true:
            self.classes = tuple(values[1:])
        elif key == "targetlabel":
            self.has_target = is_true


@dataclass(frozen=True)
class _Case:
    where: str
    channels: list[str]
    label: str


def _cases(path: Path, header: _Header) -> Iterator[_Case]:
    """Fill the header, then give one case after another."""
    in_data = False
    for number, line in enumerate(_text(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith(REMARKS):
            continue
        where = f"Line {number} of {path}"
        if in_data:
            yield _case(text, header, where)
        elif not text.startswith("@"):
            raise DataError(f"{where} stands before a line @data; this is not a .ts file of time-series archives.")
        else:
            key, *values = text[1:].split() or [""]
            in_data = key.lower() == "data"
            header.take(key.lower(), values, where)
    if not in_data:
        raise DataError(f"{path} has no line @data; it is not a .ts file of time-series archives, or truncated.")


def _text(path: Path) -> str:
    """Text of a file; comments, which archives hold in other encodings than the rest, become empty lines."""
    with readable(path):
        lines = path.read_bytes().split(b"\n")
    marks = tuple(mark.encode() for mark in REMARKS)
    return decoded(b"\n".join(b"" if line.lstrip().startswith(marks) else line for line in lines), path)


def _case(text: str, header: _Header, where: str) -> _Case:
    channels = text.split(":")
    if header.classes is None and not header.has_target:
        return _Case(where, channels, NOT_AVAILABLE)
    label = channels.pop().strip()
    if not channels:
        raise DataCorruptionError(f"{where} has no class after a colon.")
    if header.classes and label not in header.classes:
        raise DataError(
            f"{where} ends in the class {_short(label)}, which @classLabel does not name; it names "
            f"{', '.join(header.classes)}."
        )
    return _Case(where, channels, label if label and label != MISSING else NOT_AVAILABLE)


def _checked_length(case: _Case, header: _Header, n_channels: int) -> int:
    """Values of each channel of a case."""
    expected = header.n_channels or n_channels
    if len(case.channels) != expected:
        said = "@dimensions says" if header.n_channels else "the first case has"
        raise DataError(f"{case.where} has {len(case.channels)} channels, but {said} {expected}.")
    lengths = [text.count(",") + 1 for text in case.channels]
    if len(set(lengths)) > 1:
        odd = next(channel for channel, length in enumerate(lengths) if length != lengths[0])
        raise DataError(
            f"{case.where}: channel {odd} has {lengths[odd]} values, but channel 0 {lengths[0]}; channels of a case "
            "must be of one length."
        )
    if lengths[0] < 2:
        raise DataError(f"{case.where} has a single value a channel; a case needs at least 2.")
    return lengths[0]


def _warned(header: _Header, lengths: list[int]) -> tuple[str, ...]:
    warned = ["numbers to be predicted (@targetLabel) were left out"] if header.has_target else []
    if header.equal_length and header.length not in (None, lengths[0]):
        warned.append(f"cases have {lengths[0]} values, and not the {header.length} that @seriesLength says")
    return tuple(warned)


def _numbers(case: _Case, text: str) -> list[float]:
    values = text.split(",")
    try:
        if "_" not in text:  # which Python takes within numbers
            return [float(value) for value in values]
    except ValueError:
        pass
    return [float("nan") if value.strip() == MISSING else _number(case, value) for value in values]


def _number(case: _Case, value: str) -> float:
    try:
        return float(value.replace("_", "?"))
    except ValueError as error:
        found = _short(value.strip())
        raise DataError(f"{case.where} holds {found}, which is not a number and not {MISSING!r}.") from error


def _whole_number(key: str, values: list[str], where: str) -> int:
    if not values or not values[0].isdecimal() or int(values[0]) < 1:
        raise DataError(f"{where}: @{key} is {_short(' '.join(values))}, but must be a whole number above 0.")
    return int(values[0])


def _short(text: str) -> str:
    return repr(text if len(text) <= N_CHARACTERS_SHOWN else text[:N_CHARACTERS_SHOWN] + "..")
