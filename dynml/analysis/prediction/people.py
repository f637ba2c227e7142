"""Who is predicted, by which sets of features, and how well.

Shapes: N participants, A targets (the true one first, then permutations), L classes (1 for numbers).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.groups.numbers import findings_on_column, is_missing, number_of, numbers_or_labels
from dynml.analysis.groups.words import listed_names
from dynml.analysis.prediction.cross_validation import Predicted, PredictionSettings, cross_validated
from dynml.analysis.prediction.features import FeatureSet
from dynml.analysis.prediction.folds import connected_groups
from dynml.analysis.prediction.scores import Scores, difference_from, scores_of
from dynml.analysis.prediction.sources import STATIC, Gathered
from dynml.configuration import nearest_name
from dynml.errors import ConfigurationError, DataError

Doubles = NDArray[np.float64]
CONFOUNDS = "confounds"
MOST_CLASSES = 20


@dataclass(frozen=True)
class People:
    """Participants with their target."""

    names: list[str]
    target: str
    truth: list[str]
    """(N,) as it stands in the table."""
    classes: list[str]
    """Names of classes; [] for numbers."""
    confounds: Doubles
    """(N, c)"""
    confound_names: tuple[str, ...]
    groups: NDArray[np.int64]
    """(N,) number of those who stay together."""


@dataclass(frozen=True)
class Result:
    """Of one set of features."""

    features: str
    n_features: int
    predicted: Predicted
    """Of the true target alone (A = 1)."""
    scores: Scores
    gain_over_static: tuple[float, float] | None
    """In mean squared error or share classified right, and its p; None without the baseline."""


def people_of(
    gathered: Gathered, target: str, confounds: Sequence[str], together: Sequence[str], settings: PredictionSettings
) -> People:
    """Find those who have all that is needed; others are left out and named in `gathered.findings`.

    Raises
    ------
    DynmlError
        When a column is absent, the target does not vary, or there are too few people or groups.
    """
    for key, names in (("TARGET", [target]), ("--confounds", confounds), ("--groups", together)):
        for name in names:
            if name not in gathered.columns:
                accepted = f"a column of the participants{nearest_name(name, gathered.columns)}"
                raise ConfigurationError(key, name, accepted)
    if target in confounds:
        raise ConfigurationError("--confounds", target, "another column than TARGET")
    names = _complete(gathered, [target, *confounds, *together])
    known = [gathered.participants[name] for name in names]
    truth = [own[target] for own in known]
    for name in (target, *confounds):
        gathered.findings += findings_on_column([own[name] for own in known], name)
    if len({value if (number := number_of(value)) is None else number for value in truth}) < 2:
        raise DataError(f"The target {target} is the same for all {len(names)} participants that are left.")
    columns = [[own[name] for own in known] for name in together]
    groups = connected_groups(columns, len(names))
    n_groups = int(groups.max()) + 1
    if n_groups < max(settings.n_folds, 3):
        raise DataError(
            f"{settings.n_folds} folds need {max(settings.n_folds, 3)} groups of people who do not belong "
            f"together, but there are {n_groups} ({len(names)} participants)."
        )
    classes = _classes(truth, target, gathered.path)
    numbers, varying = _confounds(gathered, names, confounds)
    _check_rank(numbers, varying, len(names), settings)
    return People(names, target, truth, classes, numbers, varying, groups)


def _complete(gathered: Gathered, columns: Sequence[str]) -> list[str]:
    names = list(gathered.participants)
    for what, own in gathered.sets.items():
        lacking = [name for name in names if name not in own]
        if lacking:
            who = listed_names(lacking)
            gathered.findings.append(f"{len(lacking)} participants have no {what}, left out: {who}.")
        names = [name for name in names if name in own]
    for column in columns:
        lacking = [name for name in names if is_missing(gathered.participants[name][column])]
        if lacking:
            gathered.findings.append(f"{column} is missing for {listed_names(lacking)}, left out.")
        names = [name for name in names if name not in lacking]
    if len(names) < 3:
        raise DataError(
            f"{len(names)} participants have results and {', '.join(dict.fromkeys(columns))}; three are needed."
        )
    return names


def _classes(truth: list[str], target: str, path: Path) -> list[str]:
    if numbers_or_labels(truth, target, path) is not None:
        return []
    counts = Counter(truth)
    rare = [name for name, n in counts.items() if n < 2]
    if rare or len(counts) > MOST_CLASSES:
        raise DataError(
            f"The target {target} has {len(counts)} classes, of which {len(rare)} have one participant "
            f"({listed_names(rare or sorted(counts))}); give numbers, or classes of at least two."
        )
    return sorted(counts)


def _confounds(gathered: Gathered, names: Sequence[str], confounds: Sequence[str]) -> tuple[Doubles, tuple[str, ...]]:
    """Columns of the confounds that vary, (N, c), and their names."""
    columns, varying = [np.zeros((len(names), 0))], list[str]()
    for name in confounds:
        own = _columns_of([gathered.participants[one][name] for one in names], name, gathered.path)
        if own.size and np.ptp(own, axis=0).any():
            columns.append(own)
            varying.append(name)
        else:
            gathered.findings.append(f"{name} is the same for all {len(names)} participants, so it is no confound.")
    return np.concatenate(columns, axis=1), tuple(varying)


def _check_rank(numbers: Doubles, confounds: Sequence[str], n_people: int, settings: PredictionSettings) -> None:
    """Refuse confounds that explain whatever the training people of a fold have."""
    n_train = n_people - math.ceil(n_people / settings.n_folds)
    if numbers.shape[1] and np.linalg.matrix_rank(numbers - numbers.mean(axis=0)) + 1 >= n_train:
        raise DataError(
            f"The confounds {listed_names(confounds)} have {numbers.shape[1]} columns for {n_train} training people of "
            "a fold, so that they explain whatever these have; give fewer, or numbers instead of labels."
        )


def _columns_of(values: list[str], name: str, path: Path) -> Doubles:
    """A confound as columns: as it is, or indicators of all classes but the first."""
    numbers = numbers_or_labels(values, name, path)
    if numbers is not None:
        return numbers[:, None]
    classes = sorted(set(values))[1:]
    return np.array([[float(value == one) for one in classes] for value in values]).reshape(len(values), -1)


def predicted_by_all(gathered: Gathered, people: People, settings: PredictionSettings) -> list[Result]:
    """Predict by each set of features, and by the confounds alone.

    Raises
    ------
    DataError
        When no feature varies.
    """
    targets = _targets(people, settings)
    sets = gathered.feature_sets(people.names)
    if not sets:
        named = ", ".join(gathered.sets)
        raise DataError(f"No feature ({named}) varies between the {len(people.names)} participants that are left.")
    whole = {one.name: cross_validated(one, targets, people.confounds, people.groups, settings) for one in sets}
    n_features = {one.name: int(np.prod(one.values.shape[1:])) for one in sets}
    if people.confound_names:
        nothing, n = np.zeros((len(people.names), 0)), people.confounds.shape[1]
        alone = FeatureSet(CONFOUNDS, people.confounds)
        whole[CONFOUNDS] = cross_validated(alone, targets, nothing, people.groups, settings)
        n_features[CONFOUNDS] = n
    return [
        Result(
            name,
            n_features[name],
            _true_one(own),
            _scores(name, own, people, settings),
            None if name in (STATIC, CONFOUNDS) or STATIC not in whole else difference_from(own, whole[STATIC]),
        )
        for name, own in whole.items()
    ]


def _scores(name: str, own: Predicted, people: People, settings: PredictionSettings) -> Scores:
    found = scores_of(own, people.groups, settings.seed)
    # Permutations leave what confounds tell with the person, so that they are no test of confounds.
    return replace(found, p=math.nan) if name == CONFOUNDS else found


def _true_one(own: Predicted) -> Predicted:
    return Predicted(own.truth[:, :, :1], own.predicted[:, :, :1], own.baseline[:, :, :1], own.fold)


def _targets(people: People, settings: PredictionSettings) -> Doubles:
    """The target and its permutations, (N, A, L); what confounds tell of a number stays with the person."""
    n = len(people.names)
    if people.classes:
        own = np.array([[float(value == name) for name in people.classes] for value in people.truth])
        fit = np.zeros_like(own)
    else:
        own = np.array([[float(value)] for value in people.truth])
        design = np.concatenate([np.ones((n, 1)), people.confounds], axis=1)
        fit = design @ np.linalg.lstsq(design, own, rcond=None)[0]
    permutations = _permutations(people.groups, settings)
    targets = np.empty((n, 1 + len(permutations), own.shape[1]))
    targets[:, 0] = own
    for number, permuted in enumerate(permutations, start=1):
        targets[:, number] = fit + (own - fit)[permuted]
    return targets


def _permutations(groups: NDArray[np.int64], settings: PredictionSettings) -> list[NDArray[np.int64]]:
    """Groups of people are exchanged as wholes with groups of their size, and people within their group."""
    generator = np.random.default_rng([settings.seed, 1])
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    by_size: dict[int, list[NDArray[np.int64]]] = {}
    for own in members:
        by_size.setdefault(len(own), []).append(own)
    permutations = []
    for _ in range(settings.n_permutations):
        permuted = np.arange(len(groups))
        for same in by_size.values():
            for own, other in zip(same, generator.permutation(len(same))):
                permuted[own] = generator.permutation(same[other])
        permutations.append(permuted)
    return permutations
