"""Whether units fit: those that a config states with a file's numbers, and those of one recording with another's.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.preparation import checks
from dynml.preparation.standardization import median_of, moments
from dynml.readers.meg_eeg.volts import PREFIXES, WORDS, factor_to_volts
from dynml.recording import Recording
from dynml.store.reading import Store

TYPICAL = {"V": (1e-7, 1e-2), "T": (1e-15, 1e-9), "T/m": (1e-14, 1e-7)}
"""Typical standard deviations of recordings of brains, in the unit."""
MOST_SUBJECTS, MOST_ROWS = 64, 4096
_PER_METRE = {"m": 1.0, "cm": 1e2, "mm": 1e3}


def check_stated_units(run_TC: NDArray[np.floating], stated: str, declared: str | None, where: str) -> None:
    """Refuse stated units where the numbers can be in the declared ones only.

    A wrong header is what `units` overrides; a wrong config would make signals wrong by a factor of, say, a million.

    Parameters
    ----------
    run_TC : array, (T, C)
        As the file has them.
    stated : str
        Units that the config states.
    declared : str or None
        Those of the file, one or several such as `T (mag), T/m (grad)`.
    where : str
        Subject, group and run.

    Raises
    ------
    DataError
        With both units and the size of the numbers.
    """
    if declared is None or stated == declared:
        return
    in_stated, in_declared = _in_si(stated), [_in_si(one.partition(" (")[0]) for one in declared.split(", ")]
    if in_stated is None or None in in_declared or all(one == in_stated for one in in_declared):
        return
    deviation = float(np.median(np.nanstd(run_TC, axis=0, dtype=np.float64)))
    if not _is_typical(deviation, in_stated) and all(one and _is_typical(deviation, one) for one in in_declared):
        raise DataError(
            f"{where}: the file's units are {declared}, of which the typical standard deviation, {deviation:.2g}, is "
            f"that of a recording, but not of {stated!r} as 'units' states; leave 'units' out (it converts no number)."
        )


def deviations_of(recording: Recording, subject: str) -> dict[str, float]:
    """Typical standard deviation of each run of a standardized recording, before that."""
    assert recording.std is not None
    deviations = recording.std
    if (deviations == 1.0).all():
        _, deviations = moments(recording, "per_run")
    names = recording.run_names if len(deviations) == len(recording.run_names) else ["all runs"]
    return {f"subject {subject}, {name}": float(median_of(row)) for name, row in zip(names, deviations)}


def stored_deviations(store: Store, group: str) -> dict[str, float]:
    """Typical standard deviations, before standardization, of some subjects (at most 64) of a store.

    These stand for all, since a store's own subjects were compared when it was made.
    """
    having = [subject for subject in store.subjects if group in store.groups(subject)]
    numbers = np.unique(np.linspace(0, len(having) - 1, min(len(having), MOST_SUBJECTS)).astype(int))
    found = {}
    for subject in [having[number] for number in numbers]:
        deviations = store.std(subject, group).ravel()
        if (deviations == 1.0).all():
            start, stop = max(store.segments(subject, group).tolist(), key=lambda one: one[1] - one[0])
            rows = store.read(subject, group, start, min(stop, start + MOST_ROWS))
            deviations = np.nanstd(rows, axis=0, dtype=np.float64)
        found[f"subject {subject} of {store.path}"] = float(np.median(deviations))
    return found


def check_units(units: dict[str, float], group: str) -> None:
    """Refuse runs whose sizes differ so much that they must be in different units; keeps the extremes of `units`.

    Raises
    ------
    DataError
        Names two runs and their typical standard deviations.
    """
    smallest, largest = (choose(units, key=units.__getitem__) for choose in (min, max))
    if units[largest] > checks.SAME_UNITS * units[smallest] > 0:
        raise DataError(
            f"Group {group}: a typical standard deviation is {units[largest]:.2g} in {largest}, but "
            f"{units[smallest]:.2g} in {smallest}, as if they were in different units; bring all files to one unit."
        )
    for other in set(units) - {smallest, largest}:
        del units[other]


def _in_si(unit: str) -> tuple[str, float] | None:
    """Unit of SI and its multiple: volts, tesla or tesla per metre; None for others."""
    found = re.fullmatch(r"(.*?)(teslas?|T)(?:/([cm]?m))?", unit.strip())
    if found is None:
        factor = factor_to_volts(unit)
        return None if factor is None else ("V", factor)
    prefix, word, length = found.groups()
    factors = PREFIXES if word == "T" else WORDS
    prefix = prefix.replace("\u00b5", "u").replace("\u03bc", "u")
    if prefix not in factors:
        return None
    return ("T", factors[prefix]) if length is None else ("T/m", factors[prefix] * _PER_METRE[length])


def _is_typical(deviation: float, unit: tuple[str, float]) -> bool:
    base, factor = unit
    least, most = TYPICAL[base]
    return least <= deviation * factor <= most
