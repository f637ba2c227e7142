"""The table of participants, and which of its rows belongs to which row of measures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dynml.analysis.groups.measures import RECORDINGS, Measures, read_any_table
from dynml.analysis.groups.words import counted, listed_names
from dynml.configuration import nearest_name
from dynml.errors import DataError
from dynml.store.layout import natural_order
from dynml.store.participants_table import SIMILAR, check_one_spelling, names_of_subjects, similar_names
from dynml.tables import Table

NAMES = ("participant_id", "participant", "subject", "subject_id")
"""Columns that name participants, the one that BIDS has first."""
OF_RECORDING = re.compile(r"(_(ses|run)-[A-Za-z0-9]+)+$")
"""End of a subject's name by which a table of files, whose sessions are subjects, tells those of one person apart."""


@dataclass(frozen=True)
class Participants:
    """The table, with what names its rows."""

    table: Table
    who: str
    apart: tuple[str, ...]
    """Further columns that rows of one participant differ in, such as session."""

    def column(self, name: str, key: str) -> list[str]:
        """Values of a column.

        Raises
        ------
        DataError
            When there is none of this name.
        """
        if name not in self.table.columns:
            known = list(self.table.columns)
            raise DataError(
                f"{key} names {name!r}, but {self.table.path} has no such column{nearest_name(name, known)}."
            )
        return self.table.columns[name]


@dataclass(frozen=True)
class Matched:
    """Measures and rows of the table of participants, row by row."""

    measures: Measures
    participants: Participants
    """With the rows of `measures`, in their order."""
    people: list[str]
    """Participant of each row."""
    findings: list[str] = field(default_factory=list)


def read_participants(path: Path) -> Participants:
    """Read the table of participants.

    Raises
    ------
    DataError
        When no column names them, or one stands there twice.
    """
    table = read_any_table(path)
    who = next((name for name in NAMES if name in table.columns), None)
    if who is None:
        raise DataError(f"{path} has no column {' or '.join(NAMES)}: its columns are {', '.join(table.columns)}.")
    apart = tuple(name for name in RECORDINGS if name in table.columns and name != who)
    names = list(zip(*(table.columns[name] for name in (who, *apart))))
    twice = [name for name, n in Counter(names).items() if n > 1]
    check_one_spelling(table.columns[who], str(path))
    if twice:
        raise DataError(f"{path} has {' '.join(twice[0])} {Counter(names)[twice[0]]} times, but needs one row of each.")
    return Participants(table, who, apart if len(set(table.columns[who])) < len(table) else ())


def matched(measures: Measures, participants: Participants) -> Matched:
    """Find the participant of each row of measures, by its whole name or by its `sub-` entity.

    Raises
    ------
    DataError
        When none is found, or one person stands under two names.
    """
    check_one_spelling((_whose(name) for name in measures.people), str(measures.path))
    known = _known(participants)
    others = _spelled_otherwise(measures.people, list(known))
    known |= {own: known[other] for own, other in others.items()}
    kept, rows, people, unknown = [], [], [], list[str]()
    for number, name in enumerate(measures.people):
        row = _row_of(name, measures.recordings[number], known, participants)
        if row is None:
            unknown.append(name)
            continue
        kept.append(number)
        rows.append(row)
        people.append(participants.table.columns[participants.who][row])
    if not kept:
        raise DataError(
            f"No subject of {measures.path} ({listed_names(list(dict.fromkeys(measures.people)))}) is in the column "
            f"{participants.who} of {participants.table.path} ({listed_names(list(_known(participants)))})."
        )
    findings = []
    if others:
        findings.append(
            f"{participants.table.path.name} spells {len(others)} of the names otherwise: "
            f"{listed_names([f'{other} is {own}' for own, other in others.items()])}."
        )
    similar = list(dict.fromkeys([*similar_names(_known(participants)), *similar_names(map(_whose, measures.people))]))
    if similar:
        findings.append(f"{SIMILAR}: {listed_names(similar)}.")
    if measures.known:
        findings.append(
            f"Not taken as measures of {measures.path.name}, since they are what is asked about: "
            f"{listed_names(measures.known)}."
        )
    if measures.ignored:
        findings.append(
            f"Columns of {measures.path.name} with text or amounts of data were not taken as measures: "
            f"{listed_names(measures.ignored)}."
        )
    if unknown:
        unknown = list(dict.fromkeys(unknown))
        findings.append(
            f"{len(unknown)} of the table's {len(set(measures.people))} subjects have no row in "
            f"{participants.table.path.name} and were left out: {listed_names(unknown)}."
        )
    absent = sorted(set(participants.table.columns[participants.who]) - set(people))
    if absent:
        findings.append(f"Left out without results: {counted(len(absent), 'participant')} ({listed_names(absent)}).")
    chosen = Participants(participants.table.rows(rows), participants.who, participants.apart)
    return Matched(measures.rows(kept), chosen, people, findings)


def averaged(found: Matched) -> Matched:
    """Give one row per participant: the mean of its rows, without values that are missing."""
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(found.people):
        rows_of.setdefault(name, []).append(row)
    if len(rows_of) == len(found.people):
        return found
    values = np.full((len(rows_of), found.measures.values.shape[1]), np.nan)
    for number, rows in enumerate(rows_of.values()):
        own = found.measures.values[rows]
        seen = np.isfinite(own)
        means = np.where(seen, own, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        values[number] = np.where(seen.any(axis=0), means, np.nan)
    several = sum(len(rows) > 1 for rows in rows_of.values())
    table = found.participants.table
    columns = {name: [_agreed(column, rows) for rows in rows_of.values()] for name, column in table.columns.items()}
    participants = Participants(Table(table.path, columns), found.participants.who, found.participants.apart)
    sentence = (
        f"{several} participants have several rows (sessions or runs), {len(found.people)} in all; they were averaged, "
        "so that each participant counts once."
    )
    return Matched(
        found.measures.with_values(list(rows_of), values), participants, list(rows_of), [*found.findings, sentence]
    )


def paired(found: Matched, column: str, used: Sequence[str] = ()) -> tuple[Matched, str]:
    """Give one row per participant: the difference between the two values of a column.

    Parameters
    ----------
    found : Matched
    column : str
    used : sequence of str
        Columns of the participants that the design uses: the first row's value stands for both, which a finding tells
        where they differ.

    Returns
    -------
    Matched
        Participants that lack one of the two are left out.
    str
        What was subtracted from what: `session 2 - session 1`.

    Raises
    ------
    DataError
        When the column has not two values, or nobody has both.
    """
    labels = _labels_of_rows(found, column)
    kinds = sorted(set(labels))
    if len(kinds) != 2:
        raise DataError(
            f"--paired {column} needs a column of two values, but it has {len(kinds)}: {listed_names(kinds)}."
        )
    sides: dict[str, tuple[list[int], list[int]]] = {}
    for row, (name, label) in enumerate(zip(found.people, labels)):
        sides.setdefault(name, ([], []))[kinds.index(label)].append(row)
    whole = {name: own for name, own in sides.items() if all(own)}
    if not whole:
        raise DataError(f"No participant has both {kinds[0]} and {kinds[1]} in the column {column}.")
    twice = next((name for name, own in whole.items() if max(map(len, own)) > 1), None)
    if twice is not None:
        raise DataError(f"{twice} has several rows with the same {column}, but a pair needs one of each.")
    values = found.measures.values
    differences = np.stack([values[second[0]] - values[first[0]] for first, second in whole.values()])
    words = f"{column} {kinds[1]} - {column} {kinds[0]}"
    findings = [*found.findings, f"Measures are differences, {words}, of {len(whole)} participants."]
    lacking = [name for name in sides if name not in whole]
    if lacking:
        findings.append(
            f"Left out without one of the pair: {counted(len(lacking), 'participant')} ({listed_names(lacking)})."
        )
    table = found.participants.table
    changing = [
        name
        for name in used
        if name != column
        and any(len({table.columns[name][row] for row in (*one, *two)}) > 1 for one, two in whole.values())
    ]
    if changing:
        findings.append(
            f"{listed_names(changing)} changes between {column} {kinds[0]} and {column} {kinds[1]}: the value of "
            f"{kinds[0]} is used, so that effects of its change are not removed. For these, give a column of "
            "differences."
        )
    table = table.rows([first[0] for first, _ in whole.values()])
    participants = Participants(table, found.participants.who, found.participants.apart)
    return Matched(found.measures.with_values(list(whole), differences), participants, list(whole), findings), words


def with_columns_of_recordings(found: Matched) -> Matched:
    """Let a design name what tells the rows of a participant apart (session, run), where the participants lack it.

    Rows are ordered by it, since blocks as wholes are exchanged row by row: session 1 with session 1.
    """
    found = _ordered(found)
    table = found.participants.table
    names = [name for name in dict.fromkeys(key for own in found.measures.recordings for key in own)]
    added = {
        name: [own.get(name, "n/a") for own in found.measures.recordings] for name in names if name not in table.columns
    }
    participants = Participants(
        Table(table.path, {**table.columns, **added}), found.participants.who, found.participants.apart
    )
    return Matched(found.measures, participants, found.people, found.findings)


def _ordered(found: Matched) -> Matched:
    recordings = found.measures.recordings
    order = sorted(range(len(recordings)), key=lambda row: [natural_order(one) for one in recordings[row].values()])
    participants = Participants(found.participants.table.rows(order), found.participants.who, found.participants.apart)
    return Matched(found.measures.rows(order), participants, [found.people[row] for row in order], found.findings)


def _labels_of_rows(found: Matched, column: str) -> Sequence[str]:
    if all(column in own for own in found.measures.recordings):
        return [own[column] for own in found.measures.recordings]
    return found.participants.column(column, "--paired")


def _agreed(values: list[str], rows: list[int]) -> str:
    """A value that all rows share; n/a where they differ, so that a design cannot use one session's for all."""
    own = {values[row] for row in rows}
    return own.pop() if len(own) == 1 else "n/a"


def _known(participants: Participants) -> dict[str, list[int]]:
    known: dict[str, list[int]] = {}
    for row, name in enumerate(participants.table.columns[participants.who]):
        known.setdefault(name, []).append(row)
    return known


def _row_of(
    name: str, recording: dict[str, str], known: dict[str, list[int]], participants: Participants
) -> int | None:
    rows = next((known[each] for each in _spellings(name) if each in known), None)
    if rows is None or len(rows) == 1:
        return None if rows is None else rows[0]
    for row in rows:
        own = {column: participants.table.columns[column][row] for column in participants.apart}
        if all(_is_same(recording, column, value) for column, value in own.items()):
            return row
    columns = ", ".join(participants.apart)
    raise DataError(
        f"{name} has {len(rows)} rows in {participants.table.path}, but the table of results does not say by {columns} "
        "which one is meant."
    )


def _is_same(said: dict[str, str], column: str, value: str) -> bool:
    short = column.removesuffix("_id")
    short = "ses" if short == "session" else short
    own = next((said[name] for name in (column, f"{short}_id", short, "session", "session_id") if name in said), None)
    return own is not None and own.removeprefix(f"{short}-") == value.removeprefix(f"{short}-")


def _spelled_otherwise(people: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """Participants of results that no name of the table is, and the one name that differs by zeros or case alone."""
    found = {name: next((one for one in _spellings(name) if one in known), None) for name in people}
    taken = set(found.values())
    lacking = [_whose(name) for name, own in found.items() if not own]
    others = names_of_subjects([name for name in known if name not in taken], list(dict.fromkeys(lacking)))
    return {own: other for other, own in others.items()}


def _whose(name: str) -> str:
    """Participant of a name of BIDS (sub-01_task-rest), or of a session or run (p1_ses-2); other names as they are."""
    return re.sub(r"_.*", "", name) if name.startswith("sub-") else OF_RECORDING.sub("", name)


def _spellings(name: str) -> list[str]:
    """The name, and its participant where it names a recording (sub-01_ses-2, p1_ses-2), with and without `sub-`."""
    found = re.match(r"(?:sub-)?([A-Za-z0-9]+)(?:_|$)", name)
    names = [name, name.removeprefix("sub-"), f"sub-{name}"]
    if found and name.startswith("sub-"):
        names += [f"sub-{found[1]}", found[1]]
    elif _whose(name) != name:
        names += [_whose(name), f"sub-{_whose(name)}"]
    return names
