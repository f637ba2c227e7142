"""A table of files in the place of a folder a subject: one row per run.

Columns: `subject` and `file` are needed; `session`, `run`, `group`, `subset`, `events` and `participant` may be there;
every other column is a covariate. Paths are relative to the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dynml.configuration import nearest_name
from dynml.errors import DataError
from dynml.readers.formats import extension_of
from dynml.reading_files import is_file, is_folder
from dynml.store.layout import PARTICIPANT, SUBSET_NAMES, is_valid_name
from dynml.store.participants_table import SubjectIdentity
from dynml.tables import NOT_AVAILABLE, read_table

EXTENSIONS = {".csv": ",", ".tsv": "\t"}
SUBJECT, FILE, SESSION, RUN, GROUP, SUBSET, EVENTS = "subject", "file", "session", "run", "group", "subset", "events"
OF_A_ROW = (FILE, RUN, GROUP, EVENTS)
OWN_COLUMNS = (SUBJECT, SESSION, *OF_A_ROW, SUBSET, PARTICIPANT)


@dataclass(frozen=True, kw_only=True)
class TableRun:
    """One row."""

    path: Path
    file: str
    """As the table has it."""
    name: str
    """Of the run."""
    events: Path | None = None


@dataclass(frozen=True, kw_only=True)
class TableSubject:
    """All rows of one stored subject: a subject, or one session of it."""

    identity: SubjectIdentity
    subset: str | None
    runs: dict[str, list[TableRun]] = field(default_factory=dict)
    """Runs of each group, in the table's order."""


@dataclass(frozen=True, kw_only=True)
class SourceTable:
    """What a table says."""

    path: Path
    subjects: dict[str, TableSubject]
    has_subsets: bool
    describes_participants: bool
    """Whether there are participants or covariates."""

    @property
    def subsets(self) -> dict[str, list[str]]:
        """Subjects of each subset, in the table's order."""
        return {
            subset: [name for name, subject in self.subjects.items() if subject.subset == subset]
            for subset in SUBSET_NAMES
        }

    def runs_of(self, subject: str, group: str) -> list[TableRun]:
        """Runs of one subject's group.

        Raises
        ------
        DataError
            When the table has none.
        """
        runs = self.subjects[subject].runs.get(group)
        if not runs:
            raise DataError(f"Subject {subject}, group {group}: {self.path} has no row of them.")
        return runs


def is_table(source: Path) -> bool:
    """Say whether a source is a table, by its extension."""
    return source.suffix.lower() in EXTENSIONS and not is_folder(source)


def read_source_table(path: Path, groups: Sequence[str]) -> SourceTable:
    """Read and check a table of files.

    Parameters
    ----------
    path : Path
        `.csv` or `.tsv`.
    groups : sequence of str
        Groups of the config.

    Raises
    ------
    DataError
        For a column that is missing or misspelt, a value that cannot be used, a file that is not there or stands twice,
        or rows of one subject that contradict each other; names the table, the line and the value.
    """
    table = read_table(path, delimiter=EXTENSIONS[path.suffix.lower()])
    for column in (SUBJECT, FILE):
        if column not in table.columns:
            near = nearest_name(column, table.columns)
            raise DataError(f"{path} has no column {column!r}{near}.")
    if not len(table):
        raise DataError(f"{path} has no row below its first line.")
    if GROUP not in table.columns and len(groups) > 1:
        raise DataError(
            f"{path} has no column {GROUP!r}, but the config has {len(groups)} groups: {', '.join(groups)}."
        )
    covariates = [name for name in table.columns if name not in OWN_COLUMNS]
    subjects: dict[str, TableSubject] = {}
    home: dict[Path, str] = {}
    for number in range(len(table)):
        row = {name: values[number] for name, values in table.columns.items()}
        where = f"{path}, row {number + 1}"
        subject = _subject(row, covariates, where)
        name = subject.identity.subject
        known = subjects.setdefault(name, subject)
        _check_same(known, subject, where)
        group = _group(row, groups, where)
        run = _run(row, path.parent, where)
        if home.setdefault(run.path, name) != name or any(run.path == other.path for other in _runs(known, group)):
            raise DataError(f"{where}: {run.file} stands in an earlier row, too.")
        if any(run.name == other.name for other in _runs(known, group)):
            raise DataError(f"{where}: subject {name} has two runs {run.name!r} in group {group}; name them in 'run'.")
        known.runs.setdefault(group, []).append(run)
    for name, subject in subjects.items():
        _check_events(path, name, subject)
    return SourceTable(
        path=path,
        subjects=subjects,
        has_subsets=SUBSET in table.columns,
        describes_participants=bool(covariates) or PARTICIPANT in table.columns,
    )


def _subject(row: dict[str, str], covariates: Iterable[str], where: str) -> TableSubject:
    person, session = row[SUBJECT], row.get(SESSION, NOT_AVAILABLE)
    for column in (SUBJECT, SESSION):
        value = row.get(column, NOT_AVAILABLE)
        if (column == SUBJECT and value == NOT_AVAILABLE) or not is_valid_name(value.replace(NOT_AVAILABLE, "-")):
            raise DataError(f"{where}: {column} is {value!r}, but must be a name without '/'.")
    subset = row.get(SUBSET)
    if subset is not None and subset not in SUBSET_NAMES:
        raise DataError(f"{where}: subset is {subset!r}{nearest_name(subset, SUBSET_NAMES)}.")
    name = person
    if session != NOT_AVAILABLE:
        name += f"_{session}" if session.startswith("ses-") else f"_ses-{session}"
    participant = row.get(PARTICIPANT, NOT_AVAILABLE)
    values = {column: row[column] for column in covariates if row[column] != NOT_AVAILABLE}
    participant = person if participant == NOT_AVAILABLE else participant
    return TableSubject(
        identity=SubjectIdentity(subject=name, participant=participant, covariates=values), subset=subset
    )


def _check_same(known: TableSubject, subject: TableSubject, where: str) -> None:
    """Refuse rows of one subject that differ in what is the subject's."""
    name = subject.identity.subject
    first, second = ({PARTICIPANT: one.identity.participant, **one.identity.covariates} for one in (known, subject))
    first[SUBSET], second[SUBSET] = str(known.subset), str(subject.subset)
    for column in sorted({*first, *second}):
        if first.get(column) != second.get(column):
            raise DataError(
                f"{where}: {column} of subject {name} is {second.get(column, NOT_AVAILABLE)!r}, but "
                f"{first.get(column, NOT_AVAILABLE)!r} in an earlier row."
            )


def _group(row: dict[str, str], groups: Sequence[str], where: str) -> str:
    group = row.get(GROUP, groups[0])
    if group not in groups:
        raise DataError(f"{where}: {group!r} is not a group of the config{nearest_name(group, groups)}.")
    return group


def _run(row: dict[str, str], folder: Path, where: str) -> TableRun:
    paths: dict[str, Path | None] = {}
    for column in (FILE, EVENTS):
        value = row.get(column, NOT_AVAILABLE)
        paths[column] = None if value == NOT_AVAILABLE else folder / value
        found = paths[column]
        if found is not None and not is_file(found):
            raise DataError(f"{where}: {column} {found} does not exist.")
    path = paths[FILE]
    if path is None:
        raise DataError(f"{where}: file is not given.")
    name = row.get(RUN, NOT_AVAILABLE)
    if name == NOT_AVAILABLE:
        name = path.name[: -len(extension_of(path))]
    return TableRun(path=path, file=row[FILE], name=name, events=paths[EVENTS])


def _runs(subject: TableSubject, group: str) -> list[TableRun]:
    return subject.runs.get(group, [])


def _check_events(path: Path, name: str, subject: TableSubject) -> None:
    for group, runs in subject.runs.items():
        with_events = [run.events is not None for run in runs]
        if any(with_events) and not all(with_events):
            lacking = runs[with_events.index(False)].name
            raise DataError(f"{path}: subject {name}, group {group} has events, but none in run {lacking}.")
