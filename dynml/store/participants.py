"""Who is who: the participant, data set and covariates of each stored subject."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dynml.configuration import nearest_name
from dynml.data_warnings import DataWarnings
from dynml.errors import DataError, first_of
from dynml.reading_files import is_file
from dynml.store import layout
from dynml.store.participants_table import SubjectIdentity, check_one_spelling, described_subjects
from dynml.tables import NOT_AVAILABLE

RECORDING_OF = re.compile(
    r"(?:(?P<person>.+?)[_-])?(?:ses|session|run|rec|recording|block)(?:[_-].+|\d.*)", re.IGNORECASE
)
"""Name of a session or run, alone or after that of a person."""


def identities(
    subjects: list[str], participants: str | dict[str, Any] | None, folders: list[Path], warned: DataWarnings
) -> dict[str, SubjectIdentity]:
    """Say for each subject whose it is; by default its own.

    Parameters
    ----------
    subjects : list of str
        Stored subjects.
    participants : str, dict or None
        A `.tsv` file whose column `subject` names the subjects, or, without one, `participant_id` does. A column
        `participant` (or `participant_id` beside `subject`) names the person; the others are covariates. Or a mapping
        {subject: participant} or {subject: {"participant": .., "dataset": .., ..}}.
    folders : list of Path
        Where a relative path is looked for, in this order.
    warned : DataWarnings
        Warned where a table does not fit the subjects quite.

    Raises
    ------
    DataError
        When a subject is not described, or described twice.
    """
    if participants is None:
        several = _of_several_persons(subjects)
        if several:
            warned.add(
                "These subjects are named as runs or sessions, and each counts as a person of its own, in subsets and "
                "in tests; name the person of each by 'participants' in the config, if several are of one person",
                first_of(several),
            )
        return {subject: SubjectIdentity(subject=subject, participant=subject) for subject in subjects}
    if isinstance(participants, str):
        path = _find(participants, folders)
        descriptions, where = described_subjects(path, subjects, warned), str(path)
    else:
        descriptions, where = _from_mapping(participants), "the key 'participants' of the config"
    found = {}
    for subject in subjects:
        if subject not in descriptions:
            near = nearest_name(subject, descriptions)
            raise DataError(f"Subject {subject} is not in {where}{near if 'did you mean' in near else ''}.")
        columns = {name: value for name, value in descriptions[subject].items() if value != NOT_AVAILABLE}
        participant = columns.pop(layout.PARTICIPANT, subject)
        found[subject] = SubjectIdentity(subject=subject, participant=participant, covariates=columns)
    return found


def _of_several_persons(subjects: Sequence[str]) -> list[str]:
    """Those that look like one of several recordings of a person: run-1 and run-2, or sub-1_ses-1 and sub-1_ses-2."""
    persons = {subject: found["person"] for subject in subjects if (found := RECORDING_OF.fullmatch(subject))}
    n_of = Counter(persons.values())
    return [subject for subject, person in persons.items() if n_of[person] > 1]


def check_split(
    subsets: dict[str, list[str]],
    identified: dict[str, SubjectIdentity],
    split: str,
    where: str = "The list of subjects",
) -> None:
    """Refuse a participant in two subsets, unless the config says that runs are split, and one under two names.

    Parameters
    ----------
    subsets : dict
        Subset name to its subjects.
    identified : dict
        Subject to whose it is.
    split : str
        "participants" or "runs".
    where : str
        What names the participants, for the message.

    Raises
    ------
    DataError
        Names the participant, two subjects and their subsets.
    """
    check_one_spelling((one.participant for one in identified.values()), where)
    home: dict[str, tuple[str, str]] = {}
    for subset, subjects in subsets.items():
        for subject in subjects:
            participant = identified[subject].participant
            other_subset, other = home.setdefault(participant, (subset, subject))
            if other_subset != subset and split != "runs":
                raise DataError(
                    f"Participant {participant} is in two subsets: subject {other} in {other_subset}, subject "
                    f"{subject} in {subset}; a score would then not be about new people. If that is meant, say "
                    '"split": "runs" in the config.'
                )


def _find(name: str, folders: list[Path]) -> Path:
    for folder in folders:
        if is_file(folder / name):
            return folder / name
    raise DataError(f"The table of participants {name} is neither in {' nor in '.join(map(str, folders))}.")


def _from_mapping(mapping: dict[str, Any]) -> dict[str, dict[str, str]]:
    descriptions = {}
    for subject, value in mapping.items():
        if isinstance(value, str):
            descriptions[subject] = {layout.PARTICIPANT: value}
        elif isinstance(value, dict):
            descriptions[subject] = {str(name): str(item) for name, item in value.items()}
        else:
            raise DataError(f"participants.{subject} is {value!r}, but must be a participant's name or a mapping.")
    return descriptions
