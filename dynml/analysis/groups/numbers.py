"""Whether a column of texts holds numbers or labels; one that is mixed is refused rather than guessed at."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.groups.words import counted, listed_names
from dynml.errors import DataError
from dynml.tables import NOT_AVAILABLE

MISSING = (NOT_AVAILABLE, "", "nan", "na")
CODES = {sign * int(digit * n) for digit in "789" for n in (1, 2, 3, 4, 5) for sign in (-1, 1)}
"""What questionnaires write for a missing number: -9, 99, -999, 888, ..."""
FARTHEST = 1e100
"""Numbers farther from 0, such as 1.8e308 for a missing one, have squares that overflow; those that are all nearer than
its inverse have squares that vanish."""
DECIMAL_COMMA = re.compile(r"[+-]?\d[\d.]*,\d+([eE][+-]?\d+)?", re.ASCII)


def is_missing(text: str) -> bool:
    """Whether a cell says that there is no value."""
    return text.lower() in MISSING


def number_of(text: str) -> float | None:
    """The number that a text is, NaN where it is missing; None where it is another text."""
    if is_missing(text):
        return math.nan
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def numbers_or_labels(values: Sequence[str], name: str, path: Path) -> NDArray[np.float64] | None:
    """Numbers of a column, NaN where one is missing; None for a column of labels.

    Parameters
    ----------
    values : sequence of n str
    name : str
        Of the column, for messages.
    path : Path
        Of its table.

    Returns
    -------
    array, (n,), or None

    Raises
    ------
    DataError
        When most values are numbers and others are not, as with decimal commas or another word for a missing one: as
        labels each number would be a group of its own.
    """
    numbers = [number_of(value) for value in values]
    if None not in numbers:
        found = np.array(numbers, dtype=np.float64)
        if (np.abs(found) > FARTHEST).any():
            text = values[int(np.argmax(np.abs(found) > FARTHEST))]
            raise DataError(
                f"The column {name} of {path} has {text!r}, but numbers must be finite and within {FARTHEST:g} of 0, "
                "and missing ones n/a."
            )
        largest = np.nanmax(np.abs(found), initial=0.0)
        if 0 < largest < 1 / FARTHEST:
            raise DataError(f"The column {name} of {path} has no number beyond {largest:g}: give it in other units.")
        return found
    others = list(dict.fromkeys(value for value, number in zip(values, numbers) if number is None))
    with_commas = [value for value in others if DECIMAL_COMMA.fullmatch(value)]
    is_number = [number is not None or value in with_commas for value, number in zip(values, numbers)]
    known = [own for own, value in zip(is_number, values) if not is_missing(value)]
    if 2 * sum(known) <= len(known):
        return None
    what = "numbers with a decimal comma" if with_commas else "numbers, but also other texts"
    raise DataError(
        f"The column {name} of {path} has {what} ({listed_names(with_commas or others)}); write decimal points, n/a "
        "for a missing number, and a word for each label."
    )


def findings_on_column(values: Sequence[str], name: str) -> list[str]:
    """Tell of numbers that look like codes, and of labels that are spelled in two ways or that one row alone has."""
    code = finding_on_codes(values, name)
    if code is not None:
        return [code]
    labels = Counter(value for value in values if not is_missing(value))
    if all(number_of(label) is not None for label in labels):
        return []
    spellings: dict[str, list[str]] = {}
    for label in labels:
        spellings.setdefault(" ".join(label.casefold().split()), []).append(label)
    alike = [" and ".join(own) for own in spellings.values() if len(own) > 1]
    alone = [label for label, n in labels.items() if n == 1] if max(labels.values()) > 1 else []
    found = []
    if alike:
        found.append(f"{name} has labels that differ by case or spaces alone: {listed_names(alike)}; they count apart.")
    if alone:
        found.append(f"{name} is {listed_names(alone)} in one row alone, which tells nothing of how rows vary.")
    return found


def finding_on_codes(values: Sequence[str], name: str) -> str | None:
    """Tell of numbers such as -999 that lie farther from all others than these from each other; None without such."""
    numbers = [number_of(value) for value in values]
    known = [number for number in numbers if number is not None and math.isfinite(number)]
    others = [number for number in known if number not in CODES]
    if len(known) < len([value for value in values if not is_missing(value)]) or len(set(others)) < 3:
        return None
    lowest, highest = min(others), max(others)
    width = highest - lowest
    odd = [number for number in known if number in CODES and not lowest - width <= number <= highest + width]
    if not odd:
        return None
    said = ", ".join(f"{number:g}" for number in dict.fromkeys(odd))
    return (
        f"{name} is {said} in {counted(len(odd), 'row')} and between {lowest:g} and {highest:g} elsewhere: a code for "
        "a missing value? It counts as a number here; write n/a instead if it is none."
    )
