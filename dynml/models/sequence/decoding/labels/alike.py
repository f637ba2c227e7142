"""Labels that look like one, but count apart."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from dynml.models.sequence.decoding.numbers.written import number_of
from dynml.recording import plain_label

N_NAMED = 3


def alike_labels(names: Iterable[str]) -> list[str]:
    """Tell of labels that are the same but for case, blanks or ways of writing a number; nothing where there are none.

    Parameters
    ----------
    names : iterable of str
        All labels of a target.

    Returns
    -------
    list of str
        At most one clause.
    """
    groups: dict[object, list[str]] = {}
    for name in dict.fromkeys(map(plain_label, names)):
        groups.setdefault(_meaning(name), []).append(name)
    alike = [" and ".join(map(repr, own)) for own in groups.values() if len(own) > 1]
    if not alike:
        return []
    more = f", and {len(alike) - N_NAMED} more" if len(alike) > N_NAMED else ""
    named = ", ".join(alike[:N_NAMED])
    return [f"labels that differ by case, blanks or the writing of a number count apart: {named}{more}"]


def _meaning(name: str) -> object:
    number = number_of(name)
    if number is not None:
        return number
    letters = "".join(letter for letter in unicodedata.normalize("NFKC", name) if unicodedata.category(letter) != "Cf")
    return " ".join(letters.casefold().split())
