"""Finds the rows of subjects in a table of participants, also where it spells their names in another way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dynml.data_warnings import DataWarnings
from dynml.errors import DataError
from dynml.store import layout
from dynml.tables import NOT_AVAILABLE, Table, read_table

SUBJECT, PARTICIPANT_ID = "subject", "participant_id"
SESSIONS = ("session_id", "session")
PREFIX, SESSION_PREFIX = "sub-", "ses-"
OTHER_NAMES = "names subjects in another way than their folders are called"
SIMILAR = "Participants whose names differ by zeros or case alone count as different people"
SEVERAL_ROWS = "has several rows for some subjects; columns in which these differ were left out"


@dataclass(frozen=True, kw_only=True)
class SubjectIdentity:
    """A stored subject and the person that it comes from."""

    subject: str
    participant: str
    covariates: dict[str, str] = field(default_factory=dict)
    """Data set and further columns, as text."""


def described_subjects(
    path: Path, subjects: Sequence[str], warned: DataWarnings, session: str | None = None
) -> dict[str, dict[str, str]]:
    """Find what a table says of each subject.

    Parameters
    ----------
    path : Path
        `.tsv`, with a column `subject`, or `participant_id` as in BIDS.
    subjects : sequence of str
        Stored subjects.
    warned : DataWarnings
        Warned where names were matched without their prefix, zeros or case, and where rows of one subject differ.
    session : str, optional
        Of several rows of a subject, take those of this session, where a column says which is.

    Returns
    -------
    dict
        Columns of each subject that the table has, and of the others under their own names, for messages.

    Raises
    ------
    DataError
        When the table has no column of subjects, or names a subject twice in its column `subject`.
    """
    table = read_table(path)
    key = SUBJECT if SUBJECT in table.columns else PARTICIPANT_ID
    if key not in table.columns:
        raise DataError(f"{path} has no column {SUBJECT!r} or {PARTICIPANT_ID!r}; it has {', '.join(table.columns)}.")
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(table.columns[key]):
        rows_of.setdefault(name, []).append(row)
    own_names = names_of_subjects(list(rows_of), subjects)
    described: dict[str, dict[str, str]] = {}
    known = set(subjects)
    for name, rows in rows_of.items():
        subject = own_names.get(name, name)
        if subject != name:
            warned.add(f"{path} {OTHER_NAMES}", f"{name} is {subject}")
        if len(rows) > 1 and key == SUBJECT:
            raise DataError(f"Subject {name} is listed twice in {path}.")
        columns, differing = _merged(table, _of_session(table, rows, session), key)
        if differing and subject in known:
            warned.add(f"{path} {SEVERAL_ROWS}", f"{subject}: {', '.join(differing)}")
        described[subject] = columns
    return described


def names_of_subjects(names: Sequence[str], subjects: Sequence[str]) -> dict[str, str]:
    """Subject of each name that a table spells in another way, where just one fits; the strictest comparison counts."""
    found: dict[str, str] = {}
    for simplified in (_without_prefix, _without_case, _without_zeros):
        taken = {*names, *found.values()}
        lacking = _grouped([subject for subject in subjects if subject not in taken], simplified)
        known = {*subjects, *found}
        for short, alike in _grouped([name for name in names if name not in known], simplified).items():
            fitting = lacking.get(short, [])
            if len(fitting) == 1 and len(alike) == 1:
                found[alike[0]] = fitting[0]
    return found


def check_one_spelling(names: Iterable[str], where: str) -> None:
    """Refuse one participant under two names, such as `001` and `sub-001`, who would count as two people.

    Raises
    ------
    DataError
        Names both, and where they stand.
    """
    alike = names_of_one(names)
    if alike:
        others = f", and {len(alike) - 1} more such names" if len(alike) > 1 else ""
        raise DataError(
            f"{where} names one participant in two ways, {' and '.join(alike[0])}{others}; spell the name in one way, "
            "so that nobody counts twice."
        )


def names_of_one(names: Iterable[str]) -> list[list[str]]:
    """Names that are of one participant, such as `001` and `sub-001`, person by person."""
    return _spelled_twice(names, _without_prefix)


def similar_names(names: Iterable[str]) -> list[str]:
    """Names that differ by zeros or case alone, which may be of one person: `1 and 01`."""
    return [" and ".join(own) for own in _spelled_twice(names, _without_zeros)]


def _spelled_twice(names: Iterable[str], simplified: Callable[[str], str]) -> list[list[str]]:
    groups = _grouped(list(dict.fromkeys(names)), simplified)
    return [own for own in groups.values() if len(own) > 1]


def _grouped(names: Sequence[str], simplified: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(simplified(name), []).append(name)
    return groups


def _without_prefix(name: str) -> str:
    return name.removeprefix(PREFIX)


def _without_case(name: str) -> str:
    return _without_prefix(name.casefold())


def _without_zeros(name: str) -> str:
    short = _without_case(name).removesuffix(".0")
    return str(int(short)) if short.isdecimal() else short


def _of_session(table: Table, rows: list[int], session: str | None) -> list[int]:
    column = next((table.columns[name] for name in SESSIONS if name in table.columns), None)
    if session is None or column is None:
        return rows
    wanted = session.removeprefix(SESSION_PREFIX)
    return [row for row in rows if column[row].removeprefix(SESSION_PREFIX) == wanted] or rows


def _merged(table: Table, rows: list[int], key: str) -> tuple[dict[str, str], list[str]]:
    """Columns in which all rows of one subject agree, and names of the others; empty cells agree with anything."""
    merged: dict[str, str] = {}
    differing: list[str] = []
    for name, column in table.columns.items():
        values = dict.fromkeys(column[row] for row in rows if column[row] != NOT_AVAILABLE)
        if name == key:
            continue
        if len(values) > 1:
            differing.append(name)
        else:
            merged[name] = next(iter(values), NOT_AVAILABLE)
    if PARTICIPANT_ID in merged and layout.PARTICIPANT not in merged:
        merged[layout.PARTICIPANT] = merged.pop(PARTICIPANT_ID)
    return merged, differing
