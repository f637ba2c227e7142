"""Tables with a first line of names, read and written: separated by tabs, as BIDS has them, or by commas."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynml.compressed import read_text_or_compressed
from dynml.errors import DataError
from dynml.files import ODD_BYTES, replacing

NOT_AVAILABLE = "n/a"
LONGEST_NAME = 1000
"""Letters of a column's name: HDF5 takes no attribute of 65,536."""


@dataclass(frozen=True)
class Table:
    """A table's columns; every value is text, and empty cells are `n/a`."""

    path: Path
    columns: dict[str, list[str]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def rows(self, chosen: list[int]) -> Table:
        """Give the table of some rows only."""
        return Table(self.path, {name: [values[row] for row in chosen] for name, values in self.columns.items()})


def read_table(path: Path, delimiter: str = "\t") -> Table:
    """Read a table whose first line names the columns; separated by tabs, unless another delimiter is given.

    One whose every line has as many semicolons instead, as spreadsheets write it where the comma is for decimals, is
    read so.

    Raises
    ------
    DataError
        When the file is missing, is not separated by tabs, has no or repeated column names, or a line of another
        length; names the line.
    """
    text = read_text_or_compressed(path)
    lines = _lines(path, text, delimiter)
    if lines and len(lines[0][1]) == 1 and not set(",\t") & set(lines[0][1][0]):
        by_semicolons = _lines(path, text, ";")
        if len({len(line) for _, line in by_semicolons}) == 1 < len(by_semicolons[0][1]):
            lines, delimiter = by_semicolons, ";"
    _check_quotes(lines, text, delimiter, path)
    if not lines:
        raise DataError(f"{path} is empty, but must be a table whose first line names the columns.")
    header = [name.strip() for name in lines[0][1]]
    # Cells without a name at the end are those of a delimiter too much, if nothing stands in them.
    n_columns = next((n for n in range(len(header), 0, -1) if header[n - 1]), len(header))
    lines = [(number, line if any(map(str.strip, line[n_columns:])) else line[:n_columns]) for number, line in lines]
    header = header[:n_columns] if all(len(line) <= n_columns for _, line in lines) else header
    if len(header) == 1 and any(other in header[0] for other in ",;\t"):
        name = "tabs" if delimiter == "\t" else "commas"
        semicolons = ", nor by as many semicolons in each line" if ";" in header[0] else ""
        raise DataError(f"{path} is not separated by {name}{semicolons}: its first line is {header[0][:60]!r}.")
    if "" in header or len(set(header)) < len(header):
        raise DataError(f"{path} has a column without a name, or two of one name: {', '.join(map(repr, header))}.")
    if max(map(len, header)) > LONGEST_NAME:
        raise DataError(f"{path} has a column name that cannot be used: {max(header, key=len)[:60]!r}.")
    for number, line in lines[1:]:
        if len(line) != len(header):
            raise DataError(f"Line {number} of {path} has {len(line)} values, but there are {len(header)} columns.")
    columns = {
        name: [line[position].strip() or NOT_AVAILABLE for _, line in lines[1:]] for position, name in enumerate(header)
    }
    return Table(path, columns)


def _lines(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Cells of the lines that are not empty, with the lines' numbers."""
    try:
        numbered = enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), start=1)
        return [(number, line) for number, line in numbered if any(line)]
    except csv.Error as error:
        raise DataError(f"{path} could not be read as a table: {error}.") from error


def _check_quotes(lines: list[tuple[int, list[str]]], text: str, delimiter: str, path: Path) -> None:
    """Refuse a quotation mark that is opened and takes the lines after it into its cell."""
    broken = [(number, cell) for number, line in lines for cell in line if "\n" in cell or "\r" in cell]
    with_tabs = [(number, cell) for number, cell in broken if delimiter == "\t" and "\t" in cell]
    if with_tabs or (broken and _ends_within_quotes(text, delimiter)):
        number, cell = with_tabs[0] if with_tabs else broken[-1]
        raise DataError(
            f"Line {number} of {path} opens a quotation mark at {cell.splitlines()[0][:60]!r} and does not close it, "
            "so that the lines after it would be lost: remove the mark, or double it within quotes."
        )


def _ends_within_quotes(text: str, delimiter: str) -> bool:
    try:
        for _ in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            pass
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


def write_table(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]], *, durable: bool = True) -> None:
    """Write a table whose first line names the columns, separated by tabs, atomically; see `dynml.files.replacing`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    with replacing(path, durable=durable) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", errors=ODD_BYTES)


class Described:
    """Shows an object, also in a notebook, by what it says of itself in `facts`."""

    def facts(self) -> dict[str, str]:
        """What is in it, in words, by name."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'; '.join(f'{name} {value}' for name, value in self.facts().items())})"

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in self.facts().items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{cells}</table>"
