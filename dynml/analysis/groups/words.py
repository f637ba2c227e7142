"""Names in sentences."""

from __future__ import annotations

from collections.abc import Sequence

N_NAMED = 5


def listed_names(names: Sequence[str]) -> str:
    """`a, b, c and 2 more`."""
    more = len(names) - N_NAMED
    return ", ".join(names[:N_NAMED]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, noun: str) -> str:
    """`1 participant`, `2 participants`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
