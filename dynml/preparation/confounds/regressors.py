"""Confounds of fMRI: which columns of a table of regressors count, which volumes are censored, and their removal.

The strategies, their parameters and defaults are those of `nilearn.interfaces.fmriprep.load_confounds`, but any table
will do, whatever its file is called.

Shapes: T volumes, C channels, n regressors.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import nearest_name
from dynml.errors import DataError
from dynml.files import read_json
from dynml.preparation.confounds.config import COMPCOR_MASKS, MODELS, with_defaults
from dynml.reading_files import is_file
from dynml.stretches import stretches_of
from dynml.tables import NOT_AVAILABLE, Table, read_table

DISPLACEMENT = "framewise_displacement"
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
SIGNALS = {"motion": MOTION, "wm_csf": ("csf", "white_matter"), "global_signal": ("global_signal",)}
NON_STEADY_STATE = re.compile(r"non_steady_state_outlier_?\d*")
SPIKE = re.compile(r"motion_outlier_?\d*")
COSINE = re.compile(r"cosine_?\d+")


@dataclass(frozen=True, kw_only=True)
class RunConfounds:
    """What is to be removed from one run."""

    names: tuple[str, ...]
    values: NDArray[np.float64]
    """Regressors, (T, n); n may be 0."""
    kept: NDArray[np.bool_]
    """False where a volume is censored, (T,)."""
    file: str = ""
    """Name of the table, for the provenance."""
    mean_displacement: float | None = None
    """Mean framewise displacement that the table holds, mm."""


def read_confounds(path: Path, strategy: Sequence[str], parameters: Mapping[str, Any], n_volumes: int) -> RunConfounds:
    """Choose regressors and censored volumes from a run's table of confounds.

    Parameters
    ----------
    path : Path
        Tab-separated, one row a volume, as fMRIPrep writes it. The strategy "compcor" also needs the `.json` beside it.
    strategy : sequence of str
        Names of `dynml.preparation.confounds.config.STRATEGIES`, or columns of the table, which may hold `*`.
    parameters : mapping
        See `dynml.preparation.confounds.config.DEFAULTS`.
    n_volumes : int
        Of the run.

    Returns
    -------
    RunConfounds
        Volumes that the table marks as `non_steady_state_outlier` are always censored; those of a `motion_outlier`
        where the strategy names it.

    Raises
    ------
    DataError
        For a missing column, another number of rows, or a value that is no number; names the file and the column.
    """
    table = read_table(path)
    if len(table) != n_volumes:
        raise DataError(f"{path} has {len(table)} rows, but the run has {n_volumes} volumes.")
    settings = with_defaults(parameters)
    names = dict.fromkeys(name for item in strategy if item != "scrub" for name in _columns(table, item, settings))
    kept = np.ones(n_volumes, dtype=bool)
    if "scrub" in strategy:
        kept &= _moves_little(table, settings)
    spikes = [name for name in table.columns if NON_STEADY_STATE.fullmatch(name)]
    # A regressor that is 1 at one volume and 0 elsewhere takes that volume out of the fit: the same as censoring it.
    spikes += [name for name in names if SPIKE.fullmatch(name)]
    for name in spikes:
        kept &= _numbers(table, name) == 0
    chosen = tuple(name for name in names if name not in spikes)
    values = np.stack([_regressor(table, name) for name in chosen], axis=1) if chosen else np.empty((n_volumes, 0))
    return RunConfounds(
        names=chosen, values=values, kept=kept, file=path.name, mean_displacement=_mean_displacement(table)
    )


def _mean_displacement(table: Table) -> float | None:
    if DISPLACEMENT not in table.columns:
        return None
    values = _numbers(table, DISPLACEMENT)
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def _columns(table: Table, item: str, settings: Mapping[str, Any]) -> list[str]:
    """Names of the columns that one item of a strategy stands for."""
    if item in SIGNALS:
        return _present(table, [name + suffix for suffix in MODELS[settings[item]] for name in SIGNALS[item]], item)
    if item == "high_pass":
        return [name for name in table.columns if COSINE.fullmatch(name)]
    if item == "compcor":
        return _present(table, _compcor(table, settings), item)
    found = fnmatch.filter(table.columns, item)
    # A run in which nothing moved has no such column.
    if not found and not item.startswith("motion_outlier"):
        near = nearest_name(item, table.columns)
        raise DataError(f"{table.path} has no column {item!r}{near if 'did you mean' in near else ''}.")
    return found


def _present(table: Table, names: list[str], item: str) -> list[str]:
    missing = [name for name in names if name not in table.columns]
    if missing or not names:
        lacking = f"has no column {missing[0]!r}" if missing else "has no such column"
        raise DataError(f"{table.path} {lacking}, which the confounds strategy {item!r} needs.")
    return names


def _compcor(table: Table, settings: Mapping[str, Any]) -> list[str]:
    kind, number = settings["compcor"], settings["n_compcor"]
    limit = None if number == "all" else number
    names: list[str] = []
    for prefix, masks in COMPCOR_MASKS[kind].items():
        columns = sorted(name for name in table.columns if re.fullmatch(rf"{prefix}_comp_cor_\d+", name))
        if masks is None:
            names += columns[:limit]
            continue
        origin = _masks_of_components(table) if columns else {}
        for mask in masks:
            names += [name for name in columns if origin.get(name) == mask][:limit]
    return names


def _masks_of_components(table: Table) -> dict[str, str]:
    sidecar = table.path.with_suffix(".json")
    if not is_file(sidecar):
        raise DataError(
            f"{sidecar} does not exist, and only it says which mask the components of {table.path.name} are of; name "
            "columns such as 'a_comp_cor_0*' in 'confounds_strategy' instead of 'compcor'."
        )
    content = read_json(sidecar)
    entries = content.items() if isinstance(content, dict) else []
    return {name: str(entry.get("Mask")) for name, entry in entries if isinstance(entry, dict)}


def _moves_little(table: Table, settings: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Volumes below both thresholds that have enough such neighbours, (T,)."""
    _present(table, [DISPLACEMENT, "std_dvars"], "scrub")
    moved = _numbers(table, DISPLACEMENT) > settings["fd_threshold"]
    moved |= _numbers(table, "std_dvars") > settings["std_dvars_threshold"]
    kept = ~moved
    for start, stop in stretches_of(kept):
        # A run without any outlier is kept, however short it is.
        if stop - start < settings["scrub"] and moved.any():
            kept[start:stop] = False
    return kept


def _regressor(table: Table, name: str) -> NDArray[np.float64]:
    """Values of a column, (T,); the first one may be missing, as a derivative's is, and is then that of the second."""
    values = _numbers(table, name)
    if len(values) > 1 and np.isnan(values[0]):
        values[0] = values[1]
    missing = np.flatnonzero(~np.isfinite(values))
    if len(missing) == len(values):
        raise DataError(
            f"{table.path} has no number at all in column {name!r}; leave out this run, or the confound for all."
        )
    if len(missing):
        raise DataError(f"Row {missing[0] + 1} of {table.path} has no number in column {name!r}.")
    return values


def _numbers(table: Table, name: str) -> NDArray[np.float64]:
    values = np.empty(len(table))
    for row, text in enumerate(table.columns[name]):
        try:
            values[row] = np.nan if text.lower() == NOT_AVAILABLE else float(text)
        except ValueError as error:
            raise DataError(f"Row {row + 1} of {table.path}: {name} is {text!r}, but must be a number.") from error
    return values
