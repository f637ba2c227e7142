"""Units that headers of EDF and BDF files write, and what makes volts of them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PREFIXES = {"": 1.0, "k": 1e3, "c": 1e-2, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
WORDS = {"": 1.0, "milli": 1e-3, "micro": 1e-6, "nano": 1e-9, "pico": 1e-12}
MICRO_SIGNS = ("\u00b5", "\u03bc", "\x83\xca")
"""Of Latin-1, of Greek, and of Shift-JIS read as Latin-1."""
VOLTS = "V"


@dataclass(frozen=True)
class Scaling:
    """How numbers of channels, as a file has them, become those of one unit."""

    factors: tuple[float, ...]
    """Of each channel."""
    units: str | None
    """None where they have none, or several."""
    fault: str = ""
    """Why the units must be stated, where it is so."""
    warned: tuple[str, ...] = ()


def scaling_of(units: Sequence[str], names: Sequence[str], path: Path) -> Scaling:
    """Find the factors to volts; numbers in other units stay as they are.

    Parameters
    ----------
    units : sequence of C str
        As the header has them.
    names : sequence of C str
        Of the channels.
    path : Path
        For messages.
    """
    factors = [factor_to_volts(unit) for unit in units]
    others = [number for number, (unit, factor) in enumerate(zip(units, factors)) if factor is None and unit]
    fault = ""
    if others:
        more = f", and {len(others) - 1} more are in others" if len(others) > 1 else ""
        fault = f"{path}: channel {names[others[0]]} is in {units[others[0]]!r}, which is no unit of volts{more}"
    blank = [names[number] for number, unit in enumerate(units) if not unit]
    named = ", ".join(blank[:4]) + (f", .., {len(blank)} in all" if len(blank) > 4 else "")
    return Scaling(
        factors=tuple(1.0 if factor is None else factor for factor in factors),
        units=VOLTS if None not in factors else None,
        fault=fault,
        warned=(f"channels without a unit in the header keep their numbers: {named}",) if blank else (),
    )


def factor_to_volts(unit: str) -> float | None:
    """Volts of one unit; None where it is none of volts.

    The case of letters counts only where it can mean two things, as in mV and MV.
    """
    text = unit.strip()
    with contextlib.suppress(UnicodeError):
        text = text.encode("latin-1").decode("utf-8")  # where UTF-8 was read as Latin-1
    for sign in MICRO_SIGNS:
        text = text.replace(sign, "u")
    word = re.fullmatch(r"(milli|micro|nano|pico|)\s?volts?", text, flags=re.IGNORECASE)
    if word is not None:
        return WORDS[word[1].lower()]
    short = re.fullmatch(r"([kcmnpf]|[uU]|)[vV]", text)
    return None if short is None else PREFIXES[short[1].lower()]
