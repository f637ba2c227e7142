"""Who is held out of a fit to choose the best epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import ConfigurationError

LEARNT, HELD_OUT = "learnt from", "held out"
"""What trials are called that are drawn one by one."""


def check_fraction_held_out(fraction: float | None) -> None:
    """Refuse what is no share above 0 and below 1.

    Raises
    ------
    ConfigurationError
    """
    is_number = isinstance(fraction, (int, float)) and not isinstance(fraction, bool)
    if fraction is not None and not (is_number and 0 < fraction < 1):
        raise ConfigurationError("validation_fraction", fraction, "a number above 0 and below 1, or None")


def people_held_out(people: Sequence[str], fraction: float, seed: int) -> frozenset[str]:
    """Draw the people whom nothing is learnt from.

    Parameters
    ----------
    people : sequence of str
        Of each recording or trial.
    fraction : float
        Share of the people; one at least, and not all.
    seed : int

    Raises
    ------
    ConfigurationError
        When there are fewer than two.
    """
    names = sorted(set(people))
    if set(names) == {LEARNT, HELD_OUT}:
        return frozenset({HELD_OUT})
    if len(names) < 2:
        accepted = "None where there is one recording (or one group) only: there is nobody to hold out"
        raise ConfigurationError("validation_fraction", fraction, accepted)
    n_held_out = min(max(1, round(fraction * len(names))), len(names) - 1)
    return frozenset(np.random.default_rng(seed).permutation(names)[:n_held_out].tolist())


def trials_held_out(codes: NDArray[Any], fraction: float, seed: int, *, by_class: bool = True) -> NDArray[np.object_]:
    """Draw trials, as `groups` that `people_held_out` knows.

    Parameters
    ----------
    codes : array, (n,)
        Class of each trial, or its number.
    fraction : float
    seed : int
    by_class : bool
        Whether to draw this share of the trials of each class.

    Raises
    ------
    ConfigurationError
        When there are too few trials for each class to be on both sides.
    """
    from sklearn.model_selection import train_test_split

    numbers = np.arange(len(codes))
    try:
        _, held_out = train_test_split(
            numbers, test_size=fraction, random_state=seed % 2**32, stratify=codes if by_class else None
        )
    except ValueError as error:
        accepted = f"a share that leaves trials of each class on both sides ({str(error).partition('.')[0]})"
        raise ConfigurationError("validation_fraction", fraction, accepted) from error
    groups = np.full(len(codes), LEARNT, dtype=object)
    groups[held_out] = HELD_OUT
    return groups
