"""What is compared: rows of measures beside a design, after all that cannot be used was left out and named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.groups.design import Design, design_of, names_in, rows_with
from dynml.analysis.groups.exchangeability import Exchangeability
from dynml.analysis.groups.measures import Measure, read_measures, without_constants
from dynml.analysis.groups.numbers import findings_on_column
from dynml.analysis.groups.participants import (
    Matched,
    Participants,
    averaged,
    matched,
    paired,
    read_participants,
    with_columns_of_recordings,
)
from dynml.analysis.groups.words import counted, listed_names
from dynml.errors import ConfigurationError, DataError


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user asks for."""

    table: Path
    participants: Path
    formula: str
    measures: Sequence[str] | None = None
    keys: Sequence[str] | None = None
    sessions: Literal["mean", "separate"] = "mean"
    paired: str | None = None
    within: str | None = None
    whole: str | None = None


@dataclass(frozen=True)
class Question:
    """Rows, measures and a design that fit each other."""

    people: list[str]
    values: NDArray[np.float64]
    """(R, M)"""
    measures: list[Measure]
    design: Design
    exchangeability: Exchangeability
    difference: str | None
    """What was subtracted from what, in a paired design."""
    findings: list[str]
    """What was left out or averaged, and why."""


def read_question(asked: Asked) -> Question:
    """Read both tables and make rows of them.

    Raises
    ------
    DynmlError
        When tables, formula and blocks do not fit each other.
    """
    if asked.paired is not None and asked.sessions != "mean":
        raise ConfigurationError(
            "--sessions", asked.sessions, "absent with --paired, which makes one row per participant"
        )
    participants = read_participants(asked.participants)
    known = names_in(asked.formula, list(participants.table.columns))
    measures = read_measures(asked.table, asked.measures, asked.keys, asked.paired, known)
    found = matched(measures, participants)
    difference = None
    if asked.paired is not None:
        found, difference = paired(found, asked.paired, known)
    elif asked.sessions == "mean":
        found = averaged(found)
    else:
        found = with_columns_of_recordings(found)
        _check_repeated(found, asked)
    return _question(found, asked, difference)


def _check_repeated(found: Matched, asked: Asked) -> None:
    if len(set(found.people)) < len(found.people) and asked.within is None and asked.whole is None:
        who = found.participants.who
        raise DataError(
            f"Rows of one participant cannot be exchanged freely: with --sessions separate, give --within {who} for "
            f"effects within participants, or --whole {who} for effects between them."
        )


def _question(found: Matched, asked: Asked, difference: str | None) -> Question:
    table, findings = found.participants.table, list(found.findings)
    blocks = [name for name in (asked.within, asked.whole) if name is not None]
    for key, name in (("--within", asked.within), ("--whole", asked.whole)):
        if name is not None:
            found.participants.column(name, key)
    used = list(dict.fromkeys([*names_in(asked.formula, list(table.columns)), *blocks]))
    kept, lacking = rows_with(table, used)
    for name, rows in lacking.items():
        people = list(dict.fromkeys(found.people[row] for row in rows))
        findings.append(f"{name} is missing for {listed_names(people)} ({counted(len(rows), 'row')}), left out.")
    for name in used:
        findings += findings_on_column([table.columns[name][row] for row in kept], name) if name not in blocks else []
    if len(kept) < 2:
        raise DataError(
            f"{len(kept)} of {len(table)} participants in {table.path} have results and all of "
            f"{', '.join(used) or 'the formula'}; at least two are needed."
        )
    values = found.measures.values[kept]
    varies, constant = without_constants(values, [measure.name for measure in found.measures.measures])
    if difference is None and constant:
        findings.append(_of_constants(constant, values))
    if difference is not None:
        # A difference that is the same for all is no constant unless it is 0 for all.
        varies = varies | (np.nan_to_num(values) != 0).any(axis=0)
    if not varies.any():
        keys = list(dict.fromkeys(key for measure in found.measures.measures for key, _ in measure.of))
        advice = f"; each is taken to be of one {', '.join(keys)}, unless --keys names others" if keys else ""
        raise DataError(f"No measure of {asked.table} varies between the {len(kept)} rows that are left{advice}.")
    people = [found.people[row] for row in kept]
    chosen = Participants(table.rows(kept), found.participants.who, found.participants.apart)
    return Question(
        people,
        values[:, varies],
        [measure for measure, does in zip(found.measures.measures, varies) if does],
        design_of(asked.formula, chosen.table),
        _exchangeability(chosen, asked, people),
        difference,
        findings,
    )


def _of_constants(names: list[str], values: NDArray[np.float64]) -> str:
    return (
        f"{len(names)} of {values.shape[1]} measures were left out, since no two rows differ in them: "
        f"{listed_names(names)}."
    )


def _exchangeability(participants: Participants, asked: Asked, people: list[str]) -> Exchangeability:
    within = None if asked.within is None else participants.column(asked.within, "--within")
    whole = None if asked.whole is None else participants.column(asked.whole, "--whole")
    return Exchangeability.of(len(people), within, whole)
