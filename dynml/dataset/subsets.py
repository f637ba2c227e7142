"""Who trains, validates and tests: subsets read from a store and redrawn by participant.

A participant's subjects (sessions, runs) go together: a model must be judged on people that it has not seen. Only where
the store itself is split by runs are folds made of runs, and every result says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from dynml.configuration import nearest_name
from dynml.dataset.config import SUBSETS_BY_DATASET, DatasetConfig, key_by_dataset
from dynml.dataset.signal_source import KnowsCovariates, SignalSource
from dynml.errors import ConfigurationError, DataError, DataWarning, first_of
from dynml.files import read_json
from dynml.store.layout import DATASET, PREPARATION_FITS, SUBSET_NAMES, WARNINGS, natural_order
from dynml.store.participants_table import SIMILAR, names_of_one, similar_names
from dynml.store.reading import Store
from dynml.store.subsets import Subsets, check_fit_saw_no_held_out, subjects_seen_by_fits

_FOLDS_STREAM, _TRAINING_STREAM, _OF_DATASETS_STREAM = 1, 2, 3


def subsets_in_force(
    source: SignalSource,
    members: Mapping[str, Sequence[str]] | None,
    participants: Mapping[str, str],
    config: DatasetConfig,
    group: str | None = None,
) -> Subsets:
    """Read the lists of a source, or take those that are given instead, and redraw them as a config says.

    Who has none of the groups takes no part in any draw.

    Warns
    -----
    DataWarning
        With those who are left out of a store, and with people who are in it under two names.
    """
    listed = source.subset if members is None else members.__getitem__
    stored = Subsets({name: list(listed(name)) for name in SUBSET_NAMES}, source.split)
    if group is not None:
        stored = _having(source, stored, (group, *(config.further_groups or ())))
    datasets: dict[str, str] = {}
    if config.draws_by_dataset and isinstance(source, KnowsCovariates):
        datasets = {subject: source.covariates(subject).get(DATASET, "") for subject in participants}
    drawn = draw_subsets(stored, participants, config, datasets)
    tell_of_spellings(source, [participants[subject] for subject in drawn.all_subjects])
    return drawn


def tell_of_spellings(source: SignalSource, people: Sequence[str]) -> None:
    """Warn of one participant under two names, whom the conversion refuses today and older stores may hold."""
    where = source.path or "The arrays"
    alike = names_of_one(people)
    if alike:
        more = f", and {len(alike) - 1} more" if len(alike) > 1 else ""
        warnings.warn(
            f"{where} names one participant in two ways, {' and '.join(alike[0])}{more}, who counts as two people; "
            "give each one name (the key participants of a store's config) and make it anew.",
            DataWarning,
            stacklevel=5,
        )
    similar = [names for names in similar_names(people) if names not in map(" and ".join, alike)]
    if similar and isinstance(source, Store) and SIMILAR not in source.root_attributes().get(WARNINGS, ""):
        warnings.warn(f"{where}: {SIMILAR}: {first_of(similar)}.", DataWarning, stacklevel=5)


def _having(source: SignalSource, stored: Subsets, groups: Sequence[str]) -> Subsets:
    """Leave those out who have none of the groups.

    Nobody where that would be everybody: who reads a group that is not there says so.
    """
    everyone, known = stored.all_subjects, set(groups)
    lacking = [subject for subject in everyone if known.isdisjoint(source.groups(subject))]
    if not lacking or len(lacking) == len(everyone):
        return stored
    if isinstance(source, Store):
        named = f"no group {groups[0]}" if len(groups) == 1 else f"none of the groups {', '.join(groups)}"
        warnings.warn(
            f"{source.path}: {len(lacking)} of {len(everyone)} subjects have {named} and are left out "
            f"({first_of(lacking)}).",
            DataWarning,
            stacklevel=5,
        )
    without = set(lacking)
    kept = {name: [one for one in subjects if one not in without] for name, subjects in stored.subjects.items()}
    return Subsets(kept, stored.split)


def refuse_fits_that_saw_held_out(
    source: SignalSource, group: str, subsets: Subsets, participants: Mapping[str, str]
) -> None:
    """Refuse subsets that hold out people whom a store's fitted preparation was learnt from.

    Raises
    ------
    DataError
        Names the fit and the people.
    """
    if isinstance(source, Store):
        where = f"{PREPARATION_FITS}/{group} of {source.path}"
        check_fit_saw_no_held_out(subsets, participants, subjects_seen_by_fits(source, group), where)


def draw_subsets(
    stored: Subsets,
    participants: Mapping[str, str],
    config: DatasetConfig,
    datasets: Mapping[str, str] = MappingProxyType({}),
) -> Subsets:
    """Redraw subsets as a config says.

    Parameters
    ----------
    stored : Subsets
        The store's own.
    participants : mapping
        Participant of every subject in the store.
    config : DatasetConfig
    datasets : mapping
        Data set of every subject in the store, where that is known.

    Raises
    ------
    DataError
        For an unknown or repeated name, a participant in two subsets, or too few participants.
    """
    subsets = stored
    if config.subsets is not None:
        subsets = _from_file(Path(config.subsets), participants)
    if config.folds is not None:
        assert config.fold is not None
        subsets = _with_fold_held_out(subsets, participants, config.folds, config.fold, config.seed)
    if config.held_out != "validation":
        subsets = _without_validation(subsets, config.held_out)
    if config.draws_by_dataset:
        subsets = _drawn_by_dataset(subsets, participants, config, datasets)
    if config.n_training_subjects is not None:
        subsets = _with_fewer_in_training(subsets, participants, config.n_training_subjects, config.seed)
    return subsets


def _from_file(path: Path, participants: Mapping[str, str]) -> Subsets:
    content = read_json(path)
    if not isinstance(content, dict) or not all(_is_list_of_names(names) for names in content.values()):
        raise DataError(
            f'{path} must hold lists of names: {{"training": [...], "validation": [...], "testing": [...]}}.'
        )
    for key in content:
        if key not in SUBSET_NAMES:
            raise DataError(f"{path} has the key {key!r}, which is not a subset{nearest_name(key, SUBSET_NAMES)}.")
    sessions = _subjects_of_participants(participants)
    subjects: dict[str, list[str]] = {}
    for subset in SUBSET_NAMES:
        subjects[subset] = []
        for name in content.get(subset, []):
            if name not in sessions and name not in participants:
                near = nearest_name(name, [*sessions, *participants])
                raise DataError(
                    f"{path} lists {name!r} for {subset}, which is not a participant or subject of the store"
                    f"{near if 'mean' in near else ''}."
                )
            subjects[subset] += sessions.get(name, [name])
    _check_each_subject_once(path, subjects)
    _check_participants_whole(path, subjects, participants, sessions)
    return Subsets(subjects, "participants")


def _is_list_of_names(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _check_each_subject_once(path: Path, subjects: Mapping[str, list[str]]) -> None:
    subset_of: dict[str, str] = {}
    for subset, names in subjects.items():
        for name in names:
            if name in subset_of:
                raise DataError(f"{path} lists subject {name} twice: for {subset_of[name]} and for {subset}.")
            subset_of[name] = subset


def _check_participants_whole(
    path: Path,
    subjects: Mapping[str, list[str]],
    participants: Mapping[str, str],
    sessions: Mapping[str, list[str]],
) -> None:
    subset_of = {name: subset for subset, names in subjects.items() for name in names}
    for name, subset in subset_of.items():
        for sibling in sessions[participants[name]]:
            other = subset_of.get(sibling)
            if other != subset:
                found = "nowhere" if other is None else f"for {other}"
                raise DataError(
                    f"{path} lists subject {name} for {subset} and subject {sibling} {found}, but both are of "
                    f"participant {participants[name]}, whose subjects must stay together."
                )


def _with_fold_held_out(subsets: Subsets, participants: Mapping[str, str], folds: int, fold: int, seed: int) -> Subsets:
    pool = [*subsets.subjects["training"], *subsets.subjects["validation"]]
    if subsets.split == "runs":
        return _with_runs_held_out(subsets, participants, folds, fold, seed)
    people = _people(pool, participants)
    if len(people) < folds:
        raise DataError(
            f"The training and validation subsets hold {_counted(people)}, which cannot be cut into {folds} folds by "
            "participant."
        )
    held_out = set(_shuffled(people, seed, _FOLDS_STREAM)[fold::folds])
    redrawn = {
        "training": [subject for subject in pool if participants[subject] not in held_out],
        "validation": [subject for subject in pool if participants[subject] in held_out],
        "testing": subsets.subjects["testing"],
    }
    return Subsets(redrawn, "participants")


def _without_validation(subsets: Subsets, held_out: str) -> Subsets:
    """Let the validation subjects be the testing subjects, or train."""
    subjects = subsets.subjects
    if held_out == "testing":
        redrawn = {"training": subjects["training"], "validation": [], "testing": subjects["validation"]}
    else:
        redrawn = {**subjects, "training": [*subjects["training"], *subjects["validation"]], "validation": []}
    return Subsets(redrawn, subsets.split)


def _with_runs_held_out(subsets: Subsets, participants: Mapping[str, str], folds: int, fold: int, seed: int) -> Subsets:
    """Hold out runs, as the store does, so that each fold has about as many of each participant's."""
    pool = [*subsets.subjects["training"], *subsets.subjects["validation"]]
    if len(pool) < folds:
        raise DataError(
            f"The training and validation subsets hold {len(pool)} runs, which cannot be cut into {folds} folds by run."
        )
    people = _people(pool, participants)
    runs = [
        run
        for number, person in enumerate(_shuffled(people, seed, _FOLDS_STREAM))
        for run in _shuffled(_runs_of(person, pool, participants), seed, _FOLDS_STREAM, number)
    ]
    held_out = set(runs[fold::folds])
    redrawn = {
        "training": [run for run in pool if run not in held_out],
        "validation": [run for run in pool if run in held_out],
        "testing": subsets.subjects["testing"],
    }
    return Subsets(redrawn, "runs")


def _runs_of(person: str, pool: Sequence[str], participants: Mapping[str, str]) -> list[str]:
    return sorted((run for run in pool if participants[run] == person), key=natural_order)


def _with_fewer_in_training(subsets: Subsets, participants: Mapping[str, str], n: int, seed: int) -> Subsets:
    people = _people(subsets.subjects["training"], participants)
    if subsets.split == "runs" and len(people) == 1:
        raise DataError(
            f"The training subset holds {_counted(people)} split by runs, so dataset.n_training_subjects, which keeps "
            "or drops participants whole, has nothing to choose from."
        )
    if n > len(people):
        raise ConfigurationError("dataset.n_training_subjects", n, f"at most {len(people)}, the training participants")
    kept = set(_shuffled(people, seed, _TRAINING_STREAM)[:n])
    training = [subject for subject in subsets.subjects["training"] if participants[subject] in kept]
    return Subsets({**subsets.subjects, "training": training}, subsets.split)


def _drawn_by_dataset(
    subsets: Subsets, participants: Mapping[str, str], config: DatasetConfig, datasets: Mapping[str, str]
) -> Subsets:
    """Draw so many participants of each data set for one subset after another."""
    people = {name: _people(subsets.subjects[name], participants) for name in SUBSET_NAMES}
    # A participant of several data sets (a travelling subject) stays whole, and counts in the first of them by name.
    home = {participants[subject]: datasets.get(subject, "") for subject in sorted(participants, reverse=True)}
    everyone = {home[person] for name in SUBSET_NAMES for person in people[name]}
    moved: dict[str, str] = {}
    for subset in SUBSETS_BY_DATASET:
        if config.n_by_dataset(subset) is None:
            continue
        pools = [
            {name: [person for person in people[name] if home[person] == dataset] for name in (subset, "training")}
            for dataset in sorted(everyone)
        ]
        drawn = [
            _drawn_of_dataset(subset, pool, config, dataset, whole=subsets.split != "runs")
            for dataset, pool in zip(sorted(everyone), pools)
        ]
        before = set(people[subset])
        people[subset] = [person for persons in drawn for person in persons]
        moved |= {person: subset for person in people[subset] if person not in before}
        people["training"] = [person for person in people["training"] if person not in moved]
    return Subsets(
        {name: _subjects_kept(name, subsets, participants, people, moved) for name in SUBSET_NAMES}, subsets.split
    )


def _drawn_of_dataset(
    subset: str, pool: Mapping[str, list[str]], config: DatasetConfig, dataset: str, *, whole: bool
) -> list[str]:
    """Draw participants of one data set from those of the subset, or from those who train if there are none.

    Raises
    ------
    ConfigurationError
        When there are too few, with their number.
    """
    n_asked, from_training = config.n_by_dataset(subset), whole and subset != "training" and not pool[subset]
    assert n_asked is not None
    people = pool["training"] if from_training else pool[subset]
    n_most = max(len(people) - from_training, 0)
    if n_asked > n_most:
        where = f"data set {dataset}" if dataset else "the data, which name no data set"
        of_whom = f"the {subset} participants of {where}"
        if from_training:
            of_whom = f"so that one of the {len(people)} training participants of {where} goes on to train"
        accepted = f"at most {n_most}, {of_whom}"
        raise ConfigurationError(f"dataset.{key_by_dataset(subset)}", n_asked, accepted)
    return _shuffled(people, config.seed, _OF_DATASETS_STREAM, SUBSETS_BY_DATASET.index(subset))[:n_asked]


def _subjects_kept(
    subset: str,
    subsets: Subsets,
    participants: Mapping[str, str],
    people: Mapping[str, Sequence[str]],
    moved: Mapping[str, str],
) -> list[str]:
    """Stored subjects of the participants whom a subset has now; of those who moved into it, the training ones."""
    own = [subject for subject in subsets.subjects[subset] if participants[subject] in people[subset]]
    given = [subject for subject in subsets.subjects["training"] if moved.get(participants[subject]) == subset]
    return own + [subject for subject in given if participants[subject] in people[subset]]


def _people(subjects: Sequence[str], participants: Mapping[str, str]) -> list[str]:
    """Participants in natural order, so that draws depend on names and seed alone."""
    return sorted({participants[subject] for subject in subjects}, key=natural_order)


def _shuffled(names: list[str], seed: int, *stream: int) -> list[str]:
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *stream])))
    return [names[index] for index in generator.permutation(len(names))]


def _counted(people: list[str]) -> str:
    return f"one participant ({people[0]})" if len(people) == 1 else f"{len(people)} participants"


def _subjects_of_participants(participants: Mapping[str, str]) -> dict[str, list[str]]:
    sessions: dict[str, list[str]] = {}
    for subject, participant in participants.items():
        sessions.setdefault(participant, []).append(subject)
    return sessions
