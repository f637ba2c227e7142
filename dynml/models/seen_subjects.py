"""Which subjects a trained model has seen, and which subsets were in force when it was trained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.signal_source import SignalSource
from dynml.dataset.subset import MultiSubjectSubset
from dynml.errors import DataWarning
from dynml.store.layout import SUBSET_NAMES

USED_BEFORE = {"validation": ("training",), "testing": ("training", "validation")}
"""For each subset, those whose subjects it must not share: what was learnt from, and what chose the best epoch."""

_N_NAMED = 3


def overlap_with(
    trained: Mapping[str, Any], data: MultiSubjectDataset, subset: MultiSubjectSubset, among: Sequence[str]
) -> dict[str, list[str]]:
    """Find what a subset shares with the subjects that a model was trained (or validated) on.

    Where both split by runs, one participant stands on both sides on purpose: then subjects and files alone count.

    Parameters
    ----------
    trained : mapping
        The section `dataset` of the model's parameters.json.
    data : MultiSubjectDataset
    subset : MultiSubjectSubset
        One of its subsets.
    among : sequence of str
        Subsets of the training.

    Returns
    -------
    dict
        subjects (of the subset, that overlap), participants and files (SHA-256) that are shared.
    """
    seen: list[dict[str, Any]] = [(trained.get("subsets") or {}).get(name) or {} for name in among]
    by_runs = data.split == "runs" and trained.get("split") == "runs"
    people = "subjects" if by_runs else "participants"
    seen_people = {name for one in seen for name in one.get(people, one.get("subjects", ()))}
    seen_files = {digest for one in seen for digests in (one.get("sources") or {}).values() for digest in digests}
    subjects, shared_people, shared_files = [], set[str](), set[str]()
    for subject, person in zip(subset.subjects, subset.subjects if by_runs else subset.participants):
        files = {source.sha256 for source in data.signal_source.attributes(subject, data.group).sources} & seen_files
        if person in seen_people or files:
            subjects.append(subject)
            shared_files |= files
            shared_people |= {person} & seen_people
    return {"subjects": subjects, "participants": sorted(shared_people), "files": sorted(shared_files)}


def seen_before(trained: Mapping[str, Any], data: MultiSubjectDataset, name: str) -> list[str]:
    """Subjects of a held-out subset that the model was trained or validated on; a warning names them."""
    if name not in USED_BEFORE:
        return []
    seen = overlap_with(trained, data, data.subset(name), USED_BEFORE[name])["subjects"]
    if seen:
        used = " or ".join({"training": "trained", "validation": "validated"}[one] for one in USED_BEFORE[name])
        warnings.warn(
            f"{len(seen)} of {data.subset(name).n_subjects} {name} subjects ({', '.join(seen[:_N_NAMED])}"
            f"{', ..' if len(seen) > _N_NAMED else ''}) were among those that the model was {used} on, so that what "
            "is said of them says nothing about new data.",
            DataWarning,
            stacklevel=3,
        )
    return seen


def is_training_data(trained: Mapping[str, Any], data: MultiSubjectDataset) -> bool:
    """Whether the training subset of a dataset is that of the training, to the last sample."""
    noted = (trained.get("subsets") or {}).get("training") or {}
    return bool(data.fingerprints["training"] == noted.get("fingerprint"))


def redrawn_members(trained: Mapping[str, Any], store: SignalSource, group: str) -> dict[str, list[str]] | None:
    """Subsets that a training has drawn anew, if a store has all of their subjects; None where it drew none."""
    if not trained.get("redrawn"):
        return None
    members = {name: list(trained["subsets"][name]["subjects"]) for name in SUBSET_NAMES}
    if trained.get("groups"):
        stored = (trained["groups"].get(group) or {}).get("subjects") or {}
        members = {name: [stored[one] for one in listed if one in stored] for name, listed in members.items()}
    there = {subject for subject in store.subjects if group in store.groups(subject)}
    if not any(members.values()):
        return None
    return members if there.issuperset(subject for listed in members.values() for subject in listed) else None


def has_data_of_training(trained: Mapping[str, Any], data: MultiSubjectDataset) -> bool:
    """Whether a dataset's subsets hold what they did in the training, or recordings of the same files."""
    subsets = trained["subsets"]
    if all(data.fingerprints[name] == subsets[name].get("fingerprint") for name in SUBSET_NAMES):
        return True
    noted = {subject: files for name in SUBSET_NAMES for subject, files in (subsets[name].get("sources") or {}).items()}
    of_group = (trained.get("groups") or {}).get(data.group)
    if of_group is not None:
        noted = {stored: noted.get(subject, []) for subject, stored in of_group["subjects"].items()}
    sources = {
        subject: [source.sha256 for source in data.signal_source.attributes(subject, data.group).sources]
        for subject in data.subjects
    }
    return all(files and noted.get(subject) == files for subject, files in sources.items())


def tell_of_redrawn(data: MultiSubjectDataset, store: SignalSource) -> None:
    """Say that the subsets are not the store's own, and who stands in none."""
    counts = ", ".join(f"{name} {data.subset(name).n_subjects}" for name in SUBSET_NAMES)
    listed = {one for name in SUBSET_NAMES for one in store.subset(name) if data.group in store.groups(one)}
    n_left = len(listed - set(data.subjects))
    left = f"; {n_left} of the store's subjects stand in none of them and are left out" if n_left else ""
    warnings.warn(
        f"The subsets are those that the training has drawn ({counts} subjects), not those of {store.path}{left}; "
        '--subsets_of store (subsets_of="store" in Python) takes the store\'s own.',
        DataWarning,
        stacklevel=3,
    )
