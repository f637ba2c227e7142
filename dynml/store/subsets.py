"""Who trains, validates and tests in a store, and whom the fits in it have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py

from dynml.errors import DataCorruptionError, DataError
from dynml.store.integrity import read_table
from dynml.store.layout import PREPARATION_FITS, SUBJECTS, natural_order
from dynml.store.reading import Store


@dataclass(frozen=True)
class Subsets:
    """Subjects of each subset, and what separates the subsets.

    Parameters
    ----------
    subjects : dict
        Lists of subjects of `training`, `validation` and `testing`.
    split : str
        "participants", or "runs" when a participant stands in several subsets.
    """

    subjects: dict[str, list[str]]
    split: str

    @property
    def all_subjects(self) -> list[str]:
        """Those of all subsets."""
        return [subject for names in self.subjects.values() for subject in names]


def subjects_seen_by_fits(store: Store, group: str) -> list[str]:
    """Subjects that what is stored under /preparation/<group> was fitted to: its `subjects`, dataset or attribute."""
    path = f"{PREPARATION_FITS}/{group}"
    if path not in store.file:
        return []
    seen: set[str] = set()

    def collect(_: str, node: Any) -> None:
        names = list(node.attrs.get(SUBJECTS, ()))
        if isinstance(node, h5py.Group) and isinstance(node.get(SUBJECTS), h5py.Dataset):
            try:
                names += list(read_table(node[SUBJECTS]))
            except (OSError, ValueError) as error:
                what = f"the subjects of {node.name}"
                raise DataCorruptionError(f"{store.path}: {what} cannot be read: {error}.") from error
        seen.update(name.decode() if isinstance(name, bytes) else str(name) for name in names)

    fits = store.file[path]
    collect(path, fits)
    fits.visititems(collect)
    return sorted(seen, key=natural_order)


def check_fit_saw_no_held_out(
    subsets: Subsets, participants: Mapping[str, str], seen: Sequence[str], where: str
) -> None:
    """Refuse subsets that hold out someone whom a stored fit across subjects has seen.

    Parameters
    ----------
    subsets : Subsets
    participants : mapping
        Participant of every subject.
    seen : sequence of str
        Subjects that the fit has seen.
    where : str
        The file and its group that hold the fit, for the message.
    """
    seen_subjects = set(seen)
    seen_participants = {participants.get(subject, subject) for subject in seen_subjects}
    for subset in ("validation", "testing"):
        for subject in subsets.subjects[subset]:
            both_by_runs = subsets.split == "runs" and subject not in seen_subjects
            if participants[subject] in seen_participants and not both_by_runs:
                raise DataError(
                    f"Subject {subject} of the {subset} subset has been seen by the fit stored at {where}: "
                    "leave it in training, or prepare the data anew with these subsets."
                )
