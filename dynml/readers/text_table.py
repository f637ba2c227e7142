"""Reads tables of numbers as text (`.txt`, `.csv`, `.tsv`): one line per sample, one column per channel."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynml.compressed import read_text_or_compressed
from dynml.errors import DataError
from dynml.readers.guard import guarded
from dynml.readers.named_arrays import ArrayConfig
from dynml.readers.reader import FileDescription, Reader

DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas"}
"""In the order in which they are looked for; without any of them, values are separated by spaces."""
NOT_AVAILABLE = frozenset({"", "n/a", "na", "nan"})
CLOCKS = frozenset({"time", "times", "seconds", "sample", "samples", "index", "volume", "frame"})
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?inf(inity)?", flags=re.IGNORECASE | re.ASCII)
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+(e[-+]?\d+)?", flags=re.IGNORECASE)
NUMBER_WITH_COMMA = re.compile(r"[-+]?\d+,\d+", flags=re.ASCII)
NO_WHOLE_NUMBERS = re.compile(r"[-+]0,\d+|[-+]?\d+,0\d+", flags=re.ASCII)
SAME_STEP = 1e-3
N_CHARACTERS_SHOWN = 40


class TextReader(Reader):
    """Reads tables of numbers; the delimiter and a first line of channel names are found by themselves."""

    Config = ArrayConfig
    config: ArrayConfig

    @guarded
    def describe(self, path: Path) -> FileDescription:
        """Read the whole table: text has no header that would say what follows.

        Raises
        ------
        DataError
            When a line has another length or a value that is no number, with the line; when the first line mixes names
            and numbers; when a column counts the samples.
        """
        lines = _lines(path)
        numbers, names = self._table(path, lines)
        return FileDescription(
            n_samples=numbers.shape[0],
            n_channels=numbers.shape[1],
            channel_names=names,
            warned=_warned(lines, numbers, names),
        )

    @guarded
    def read(self, path: Path) -> NDArray[np.float64]:
        """Read the table, (T, C). Empty cells, `n/a` and `nan` are NaN."""
        return self._table(path, _lines(path))[0]

    def _table(self, path: Path, lines: _Lines) -> tuple[NDArray[np.float64], tuple[str, ...] | None]:
        """Values, (T, C), and the channels' names, where the first line holds them."""
        names = _names(path, lines)
        numbers = _numbers(path, lines if names is None else lines.without_first(), names)
        if self.config.time_axis == "first":
            if names is not None:
                check_no_clock(path, numbers, names)
            return numbers, names
        if names is not None:
            raise DataError(
                f"{path}: its first line names the columns ({_short(names[0])}, ..), which would be samples under "
                '"time_axis": "last".'
            )
        return np.ascontiguousarray(numbers.T), None


@dataclass(frozen=True)
class _Lines:
    """Lines that are not empty, with their numbers in the file."""

    texts: list[str]
    numbers: list[int]
    delimiter: str | None
    """None: spaces."""
    skipped: bool
    """Lines that start with # stood above them."""

    def without_first(self) -> _Lines:
        """Give the lines below the first."""
        return dataclasses.replace(self, texts=self.texts[1:], numbers=self.numbers[1:])

    def cells(self, line: int) -> list[str]:
        """Values of a line, as text."""
        text = self.texts[line]
        if self.delimiter is None and '"' not in text:
            return text.split()
        text = text.strip() if self.delimiter is None else text
        row = next(csv.reader([text], delimiter=self.delimiter or " ", skipinitialspace=True))
        return [cell.strip() for cell in row]


def _lines(path: Path) -> _Lines:
    """Read the lines of a file; those at the top that start with # are comments of its writer."""
    stream = io.StringIO(read_text_or_compressed(path), newline=None)
    numbered = [(number, line.rstrip("\n")) for number, line in enumerate(stream, start=1) if line.strip()]
    first = next((position for position, (_, line) in enumerate(numbered) if not line.startswith("#")), len(numbered))
    numbered = numbered[first:]
    texts = [line for _, line in numbered]
    # A line of numbers holds no delimiter by chance, as a line of names may.
    sample = texts[min(1, len(texts) - 1)] if texts else ""
    delimiter = next((delimiter for delimiter in DELIMITERS if delimiter in sample), None)
    return _Lines(texts, [number for number, _ in numbered], delimiter, skipped=first > 0)


def _names(path: Path, lines: _Lines) -> tuple[str, ...] | None:
    """Names of the channels, where the first line holds them."""
    if not lines.texts:
        return None
    cells = lines.cells(0)
    named = [cell for cell in cells if not _is_number(cell)]
    if not named:
        _check_no_counting(path, lines)
        _check_no_decimal_comma(path, lines)
        return None
    where = f"Line {lines.numbers[0]} of {path}"
    numbers = [cell for cell in cells if NUMBER.fullmatch(cell)]
    if numbers:
        raise DataError(f"{where} holds both names and numbers, such as {_short(named[0])} and {_short(numbers[0])}.")
    if "" in cells:
        raise DataError(f"{where} names channels, but column {cells.index('') + 1} has no name; leave an index out.")
    if len(set(cells)) < len(cells):
        twice = next(cell for cell in cells if cells.count(cell) > 1)
        raise DataError(f"{where} gives the name {_short(twice)} to two channels.")
    return tuple(cells)


def _check_no_counting(path: Path, lines: _Lines) -> None:
    """Refuse a first line that numbers the columns (0, 1, 2, .. or 2001, 2002, ..) and would pass for a sample."""
    cells = lines.cells(0)
    cells = cells[1:] if cells[0] == "" else cells
    if len(lines.texts) < 2 or len(cells) < 3 or not all(cell.isdecimal() for cell in cells):
        return
    labels = [int(cell) for cell in cells]
    ascending = all(before < after for before, after in itertools.pairwise(labels))
    counting = labels[0] in (0, 1) and labels[-1] - labels[0] == len(labels) - 1
    if ascending and (counting or not any(cell.isdecimal() for cell in lines.cells(1))):
        raise DataError(
            f"Line {lines.numbers[0]} of {path} looks like numbers of the columns ({', '.join(cells[:3])}, ..), not "
            "like a sample; remove it, or write names that are not numbers."
        )


def _check_no_decimal_comma(path: Path, lines: _Lines) -> None:
    """Refuse one channel with decimal commas, which would pass for two: no whole number is written as -0 or 05."""
    if lines.delimiter != "," or not all(NUMBER_WITH_COMMA.fullmatch(text.strip()) for text in lines.texts):
        return
    odd = next((text.strip() for text in lines.texts if NO_WHOLE_NUMBERS.fullmatch(text.strip())), None)
    if odd is not None:
        raise DataError(
            f"{path} holds {_short(odd)}, which looks like one number with a decimal comma and would be read as two "
            "channels; write decimal points."
        )


def _numbers(path: Path, lines: _Lines, names: tuple[str, ...] | None) -> NDArray[np.float64]:
    """Values of the table, (lines, columns)."""
    n_columns = len(names) if names is not None else len(lines.cells(0)) if lines.texts else 0
    if not lines.texts:
        return np.empty((0, n_columns))
    try:
        numbers = np.loadtxt(lines.texts, delimiter=lines.delimiter, comments=None, quotechar='"', ndmin=2)
    except ValueError:  # an empty or missing value, or a fault, which is then found and named
        numbers = None
    if numbers is not None and numbers.shape == (len(lines.texts), n_columns):
        return numbers
    return np.array([_row(path, lines, line, n_columns) for line in range(len(lines.texts))])


def _row(path: Path, lines: _Lines, line: int, n_columns: int) -> list[float]:
    cells = lines.cells(line)
    where = f"Line {lines.numbers[line]} of {path}"
    if len(cells) != n_columns:
        separated = DELIMITERS.get(lines.delimiter or "", "spaces")
        raise DataError(f"{where} has {len(cells)} values separated by {separated}, but there are {n_columns} columns.")
    for column, cell in enumerate(cells, start=1):
        if not _is_number(cell):
            hint = "; write a decimal point instead of a comma" if DECIMAL_COMMA.fullmatch(cell) else ""
            raise DataError(f"{where}, column {column}, holds {_short(cell)}, which is not a real number{hint}.")
    return [float("nan") if cell.lower() in NOT_AVAILABLE else float(cell) for cell in cells]


def check_no_clock(what: Path | str, numbers: NDArray[np.float64], names: tuple[str, ...]) -> None:
    """Refuse a column of times or counts, which every model would take for a channel.

    Raises
    ------
    DataError
        Names the column.
    """
    for column, name in enumerate(names):
        if name.lower() in CLOCKS and len(numbers) > 1 and (np.diff(numbers[:, column]) > 0).all():
            raise DataError(f"{what} has a column {name!r} that counts the samples and is not a channel; remove it.")


def _warned(lines: _Lines, numbers: NDArray[np.float64], names: tuple[str, ...] | None) -> tuple[str, ...]:
    warned = []
    if lines.skipped:
        warned.append("lines at the top that start with # were skipped; channel names must stand without #")
    steps = np.diff(numbers[:, 0]) if names is None and numbers.shape[1] > 1 else np.empty(0)
    if len(steps) > 1 and steps[0] != 0 and np.ptp(steps) <= SAME_STEP * abs(steps[0]):
        warned.append("the first column rises in equal steps, as if it counted samples, and was taken for a channel")
    return tuple(warned)


def _is_number(cell: str) -> bool:
    return cell.lower() in NOT_AVAILABLE or NUMBER.fullmatch(cell) is not None


def _short(text: str) -> str:
    return repr(text if len(text) <= N_CHARACTERS_SHOWN else text[:N_CHARACTERS_SHOWN] + "..")
