"""Takes one subject's signals out of a store, as `.npy` or as a table."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.files import replacing, sweep_partial
from dynml.locks.writing import writes_alone
from dynml.reading_files import is_folder, is_there
from dynml.store.reading import Store

EXTENSIONS = (".npy", ".tsv")


def signals_in_original_units(store: Store, subject: str, group: str) -> NDArray[np.float64]:
    """Undo the standardization: multiply by the stored standard deviations and add the means.

    Returns
    -------
    array, (T, C), float64
        What the files held after the steps of the store's preparation, to the precision of float32.
    """
    signals = _signals(store, subject, group).astype(np.float64)
    mean, std = store.mean(subject, group), store.std(subject, group)
    borders = np.append(store.run_starts(subject, group), len(signals))
    for run, (start, stop) in enumerate(pairwise(borders.tolist())):
        row = run if len(mean) > 1 else 0
        signals[start:stop] = signals[start:stop] * std[row] + mean[row]
    return signals


@writes_alone()
def extract(
    store: Store, subject: str, group: str, target: Path, *, original_units: bool = False, overwrite: bool = False
) -> tuple[int, ...]:
    """Write one subject's signals as `.npy` (time x channels), or as `.tsv` with channel names in its first line.

    Returns
    -------
    tuple of int
        The shape, (T, C).

    Raises
    ------
    DataError
        When the target exists or has another extension, or the subject or group is unknown.
    DynmlError
        When the target cannot be written.
    """
    if target.suffix.lower() not in EXTENSIONS:
        raise DataError(f"{target} must end in {' or '.join(EXTENSIONS)}.")
    if not is_folder(target.parent):
        raise DataError(f"{target} cannot be written: the folder {target.parent} does not exist.")
    if is_there(target) and not overwrite:
        raise DataError(f"{target} exists already; use -f to replace it.")
    signals = signals_in_original_units(store, subject, group) if original_units else _signals(store, subject, group)
    names = store.attributes(subject, group).channel_names
    sweep_partial(target)
    with replacing(target) as temporary:
        if target.suffix.lower() == ".npy":
            with temporary.open("wb") as stream:
                np.save(stream, signals)
        else:
            np.savetxt(
                temporary, signals, fmt="%.9g", delimiter="\t", header="\t".join(names), comments="", encoding="utf-8"
            )
    return signals.shape


def _signals(store: Store, subject: str, group: str) -> NDArray[np.float32]:
    with store.verifying(subject, group):
        return store.read(subject, group)
