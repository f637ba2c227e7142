"""Whether the units that a config states can be those of numbers that a file declares to be in others.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.readers.meg_eeg.volts import PREFIXES, WORDS, factor_to_volts

TYPICAL = {"V": (1e-7, 1e-2), "T": (1e-15, 1e-9), "T/m": (1e-14, 1e-7)}
"""Typical standard deviations of recordings of brains, in the unit."""
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
