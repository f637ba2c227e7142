"""Parcel series of which XCP-D censored volumes: interpolated ones become gaps, removed ones get their place back."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.data_warnings import DataWarnings
from dynml.errors import DataError
from dynml.readers.reader import FileDescription, Reader, ReaderOfReader
from dynml.tables import read_table

CENSORING = re.compile(
    r"((framewise_displacement|(std_)?dvars|rmsd)(_filtered)?|(motion|non_steady_state)_outlier_?\d*)(_hash-\w+)?"
)
"""Columns that say which volumes a program censored, by the measure that it looked at."""
DRAWN = re.compile(r"exact_\d+(_hash-\w+)?")
"""Columns that draw so many of the good volumes at random, for matrices of equal length: nothing is wrong with them."""


def kept_volumes(path: Path, warned: DataWarnings) -> NDArray[np.bool_]:
    """Read XCP-D's table of outliers: False where a column that censors says 1, (T,).

    Parameters
    ----------
    path : Path
    warned : DataWarnings
        Given the columns that say nothing of censoring.

    Raises
    ------
    DataError
        When no column is known to censor, a value is neither 0 nor 1, or no volume is left.
    """
    table = read_table(path)
    names = [name for name in table.columns if CENSORING.fullmatch(name)]
    if not names:
        raise DataError(
            f"{path} has no column that is known to say which volumes were censored, such as 'framewise_displacement'; "
            f"it has {', '.join(map(repr, table.columns))}."
        )
    for name in table.columns:
        if name not in names:
            drawn = ", which draws good volumes at random" if DRAWN.fullmatch(name) else ""
            warned.add(
                "Columns of tables of outliers that censor nothing were not used", f"{name}{drawn}, in {path.name}"
            )
    kept = np.ones(len(table), dtype=bool)
    for name in names:
        for row, text in enumerate(table.columns[name]):
            if text not in ("0", "1", "0.0", "1.0"):
                raise DataError(f"Row {row + 1} of {path}: {name} is {text!r}, but must be 0 or 1.")
            kept[row] &= text.startswith("0")
    if not kept.any():
        raise DataError(f"{path} marks all volumes as outliers.")
    return kept


class CensoredReader(ReaderOfReader):
    """Reads a series through another reader, as long as the recording was: volumes that were removed are NaN.

    Parameters
    ----------
    reader : Reader
        Of the series; it also leaves out excluded channels.
    kept : array of bool, (T,)
        False where a volume was censored.
    table : Path
        Where that is from, for messages.
    """

    def __init__(self, reader: Reader, kept: NDArray[np.bool_], table: Path) -> None:
        super().__init__(reader)
        self.kept, self.table = kept, table

    def describe(self, path: Path) -> FileDescription:
        """Describe the whole recording.

        Raises
        ------
        DataError
            When the series has neither all volumes nor those that were kept.
        """
        description = self.reader.describe(path)
        n_all, n_kept = len(self.kept), int(self.kept.sum())
        if description.n_samples not in (n_all, n_kept):
            raise DataError(
                f"{path} has {description.n_samples} rows, but {self.table.name} speaks of {n_all} volumes, of which "
                f"{n_kept} were kept."
            )
        return dataclasses.replace(description, n_samples=n_all, kept=self.kept)

    def read(self, path: Path) -> NDArray[Any]:
        """Read the series, (T, C); volumes that were removed are NaN."""
        series = self.reader.read(path)
        if len(series) == len(self.kept):
            return series
        whole = np.full((len(self.kept), series.shape[1]), np.nan)
        whole[self.kept] = series
        return whole
