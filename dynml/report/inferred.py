"""What inference says of every subject, read from its folder of results.

Shapes: T samples, K states or modes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.report.results import ResultsFolder
from dynml.report.tables import cell_number, table_rows
from dynml.store.layout import SUBSET_NAMES

TABLE = "state_statistics.tsv"
STATISTICS = {
    "fractional_occupancy": ("Share of the time", "%"),
    "mean_lifetime": ("Mean visit", "s"),
    "mean_interval": ("Mean time between visits", "s"),
    "switching_rate": ("Visits per second", "Hz"),
}
"""Columns of the table that a page shows, with their titles and units."""


@dataclass(frozen=True)
class Inferred:
    """A folder that dynml_infer_from_model.py has written."""

    folder: Path
    summary: dict[str, Any]
    statistics: dict[str, NDArray[np.float64]]
    """Column of the table of statistics to (subjects, K); NaN where there is none."""
    subjects: list[str]
    """Rows of `statistics`."""
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    """means (K, C), covariances (K, C, C), transition_probabilities (K, K): those that are there."""

    @property
    def n_components(self) -> int:
        """K."""
        known = [len(array) for array in self.arrays.values()]
        return known[0] if known else next((table.shape[1] for table in self.statistics.values()), 0)

    @property
    def never_visited(self) -> list[int]:
        """Numbers, from 1, of states that are the most probable one at no sample of any subject."""
        shares = self.statistics.get("fractional_occupancy")
        return [] if shares is None else [int(k) + 1 for k in np.flatnonzero(np.nansum(shares, axis=0) == 0)]

    def subset_of(self) -> dict[str, str]:
        """Subject to its subset, the newest data first."""
        subsets = self.summary.get("subsets") or {}
        names = [name for name in reversed(SUBSET_NAMES) if subsets.get(name)]
        return {subject: name for name in names for subject in subsets[name]}

    def alpha(self, subject: str) -> NDArray[np.float32] | None:
        """Probabilities of states, or mixing coefficients, (T, K), read as they are used; None without a file."""
        path = self.folder / f"{subject}_alpha.npy"
        return None if not path.is_file() else _loaded(path)


def read_inferred(results: ResultsFolder) -> Inferred:
    """Read a folder of inference, the time courses excepted.

    Raises
    ------
    DataError
        When a file in it is damaged.
    """
    folder = results.path
    names = ("means", "covariances", "transition_probabilities")
    arrays = {name: _loaded(folder / f"{name}.npy") for name in names if (folder / f"{name}.npy").is_file()}
    subjects, statistics = _read_statistics(folder / TABLE)
    return Inferred(folder, results.summary, statistics, subjects, arrays)


def _loaded(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy parses the header as text, with whatever that raises
        raise DataError(f"{path} could not be read: {str(error).rstrip('.')}.") from error
    if not isinstance(array, np.ndarray) or array.ndim < 2:
        raise DataError(f"{path} must hold an array of two dimensions or more.")
    return array


def _read_statistics(path: Path) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    rows = table_rows(path, ("subject", "state"))
    if not rows:
        return [], {}
    subjects = list(dict.fromkeys(row["subject"] for row in rows))
    states = [cell_number(row["state"]) for row in rows]
    if not all(state.is_integer() and state > 0 for state in states):
        raise DataError(f"{path} must have whole numbers from 1 in its column state.")
    row_of = {subject: number for number, subject in enumerate(subjects)}
    shape = len(subjects), int(max(states))
    columns = {name: np.full(shape, math.nan) for name in STATISTICS if name in rows[0]}
    for row, state in zip(rows, states):
        for name, values in columns.items():
            values[row_of[row["subject"]], int(state) - 1] = cell_number(row[name])
    return subjects, columns


def chosen_subjects(inferred: Inferred, most: int) -> list[str]:
    """Subjects whose time courses are shown: testing first, then validation and training, and evenly among each."""
    subset_of = inferred.subset_of()
    every = [subject for subject in subset_of if (inferred.folder / f"{subject}_alpha.npy").is_file()]
    if len(every) <= most:
        return every
    return [every[position] for position in _evenly(len(every), most)]


def _evenly(n: int, most: int) -> Sequence[int]:
    return [int(position) for position in np.unique(np.linspace(0, n - 1, most).round())]
