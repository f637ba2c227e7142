"""Draws the three subsets of a new store: by participant, seeded, and stratified if asked for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynml.configuration import check_at_least, nearest_name
from dynml.errors import ConfigurationError, DataError
from dynml.store.layout import SUBSET_NAMES, natural_order
from dynml.store.participants_table import SubjectIdentity
from dynml.tables import NOT_AVAILABLE

HELD_OUT = SUBSET_NAMES[1:]
_DRAW_STREAM = 5


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How to draw."""

    validation: float = 0.0
    """Share of the participants."""
    testing: float = 0.0
    """Share of the participants."""
    seed: int = 0
    stratify: str | None = None
    """Covariate whose values are to be as frequent in each subset."""

    def __post_init__(self) -> None:
        for key in HELD_OUT:
            value = getattr(self, key)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0.0 <= value < 1.0:
                raise ConfigurationError(key, value, "a share of the participants, from 0 to below 1")
        if self.validation + self.testing >= 1.0:
            raise ConfigurationError("testing", self.testing, f"below 1 - validation ({1.0 - self.validation:g})")
        if self.validation + self.testing == 0.0:
            raise ConfigurationError("validation", self.validation, "above 0, or testing must be")
        if not isinstance(self.seed, int):
            raise ConfigurationError("seed", self.seed, "a whole number")
        check_at_least("seed", self.seed, 0)

    def as_dictionary(self) -> dict[str, Any]:
        """Plain values, as they are stored."""
        return dataclasses.asdict(self)


def drawn_subsets(identities: Mapping[str, SubjectIdentity], draw: Draw) -> dict[str, list[str]]:
    """Draw subsets of participants, whose subjects stay together.

    Parameters
    ----------
    identities : mapping
        Of every subject.
    draw : Draw

    Returns
    -------
    dict
        Subset name to subjects, in natural order. The same names, covariates and seed give the same subsets, whatever
        the order of the subjects.

    Raises
    ------
    DataError
        When there are too few participants, or the covariate cannot be stratified by.

    Notes
    -----
    A subset gets its share of all participants, rounded, at least one. With strata, each stratum gives its share of
    these, rounded down; what is then lacking comes from the strata with the largest remainders, drawn where they are
    equal.
    """
    strata = _strata(identities, draw.stratify)
    n_participants = sum(map(len, strata.values()))
    wanted = {name: _number(n_participants, getattr(draw, name)) for name in HELD_OUT}
    if sum(wanted.values()) >= n_participants:
        raise DataError(
            f"{n_participants} participants are too few to hold out {wanted['validation']} for validation and "
            f"{wanted['testing']} for testing and keep one for training."
        )
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([draw.seed, _DRAW_STREAM])))
    shuffled = {value: [people[i] for i in generator.permutation(len(people))] for value, people in strata.items()}
    subset_of: dict[str, str] = {}
    for subset in HELD_OUT:
        sizes = [len(people) for people in strata.values()]
        left = [len(people) for people in shuffled.values()]
        for people, number in zip(shuffled.values(), _apportioned(wanted[subset], sizes, left, generator)):
            subset_of |= dict.fromkeys(people[:number], subset)
            del people[:number]
    subsets: dict[str, list[str]] = {subset: [] for subset in SUBSET_NAMES}
    for subject in sorted(identities, key=natural_order):
        subsets[subset_of.get(identities[subject].participant, SUBSET_NAMES[0])].append(subject)
    return subsets


def _number(n_participants: int, share: float) -> int:
    return 0 if share == 0.0 else max(1, math.floor(share * n_participants + 0.5))


def _strata(identities: Mapping[str, SubjectIdentity], column: str | None) -> dict[str, list[str]]:
    """Participants of each value of a covariate, all in natural order."""
    values: dict[str, str] = {}
    for subject, identity in identities.items():
        value = "" if column is None else identity.covariates.get(column, NOT_AVAILABLE)
        if values.setdefault(identity.participant, value) != value:
            raise DataError(
                f"Participant {identity.participant} has {column} {values[identity.participant]!r} and, as {subject}, "
                f"{value!r}, so that participants cannot be stratified by it."
            )
    if column is not None:
        _check_column(column, identities, set(values.values()))
    strata: dict[str, list[str]] = {value: [] for value in sorted(set(values.values()), key=natural_order)}
    for participant in sorted(values, key=natural_order):
        strata[values[participant]].append(participant)
    return strata


def _check_column(column: str, identities: Mapping[str, SubjectIdentity], values: set[str]) -> None:
    known = sorted({name for identity in identities.values() for name in identity.covariates})
    if column not in known:
        near = nearest_name(column, known) if known else ": there are no covariates"
        raise DataError(f"{column!r} is not a covariate of the participants{near}.")
    n_participants = len({identity.participant for identity in identities.values()})
    if 2 * len(values) > n_participants:
        raise DataError(
            f"{column!r} has {len(values)} values in {n_participants} participants, too many to stratify by; give a "
            "column of fewer groups."
        )


def _apportioned(number: int, sizes: Sequence[int], left: Sequence[int], generator: np.random.Generator) -> list[int]:
    """Divide a number over strata in proportion to their sizes, by largest remainders, at most what is left in each."""
    quotas = [number * size / sum(sizes) for size in sizes]
    shares = [min(math.floor(quota), most) for quota, most in zip(quotas, left)]
    ties = generator.permutation(len(sizes))
    # Rounded, so that remainders that are equal but for the arithmetic are drawn among.
    order = sorted(range(len(sizes)), key=lambda i: (-round(quotas[i] - math.floor(quotas[i]), 9), ties[i]))
    while sum(shares) < number:
        for stratum in order:
            if sum(shares) < number and shares[stratum] < left[stratum]:
                shares[stratum] += 1
    return shares
