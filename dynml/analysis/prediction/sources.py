"""Where sets of features come from: tables, folders of inference, a store, a model.

Each gives one row per participant; those of sessions are averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.groups.measures import Measures, read_measures, without_constants
from dynml.analysis.groups.participants import Matched, Participants, averaged, matched
from dynml.analysis.groups.words import counted, listed_names
from dynml.analysis.prediction.embeddings import mean_embeddings
from dynml.analysis.prediction.features import FeatureSet, positive_definite, together
from dynml.analysis.prediction.fisher import fisher_scores
from dynml.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from dynml.models.experiment import Experiment

Doubles = NDArray[np.float64]
TABLES = {"state_statistics.tsv": None, "transitions.tsv": ("probability",)}
"""Of a folder of inference, with the columns that are features."""
DUAL, STATIC, FISHER, EMBEDDINGS, ALL = "covariances", "static", "fisher", "embeddings", "all"


@dataclass
class Gathered:
    """Rows by participant, of each set of features."""

    sets: dict[str, dict[str, Doubles]] = field(default_factory=dict)
    """Set to participant to values."""
    participants: dict[str, dict[str, str]] = field(default_factory=dict)
    """Participant to what is known of it."""
    columns: list[str] = field(default_factory=list)
    path: Path = field(default_factory=Path)
    """Of the table of participants."""
    findings: list[str] = field(default_factory=list)

    def add(self, name: str, found: Matched) -> None:
        """Take one row per participant."""
        self.sets[name] = dict(zip(found.people, found.measures.values))
        table = found.participants.table
        self.columns, self.path = list(table.columns), table.path
        for row, person in enumerate(found.people):
            self.participants.setdefault(person, {key: values[row] for key, values in table.columns.items()})
        self.findings += [one for one in found.findings if one not in self.findings]

    def feature_sets(self, people: Sequence[str]) -> list[FeatureSet]:
        """Sets of some participants, and all tables together."""
        sets = []
        for name, own in self.sets.items():
            values = np.stack([own[person] for person in people])
            if values.ndim == 4:
                values, n_shrunk = positive_definite(values)
                if n_shrunk:
                    what = counted(n_shrunk, "covariance")
                    self.findings.append(f"{name}: {what} not positive definite, shrunk by a tenth to the diagonal.")
            else:
                values = self._varying(name, values)
            if values.shape[1]:
                sets.append(FeatureSet(name, values))
        joined = together([one for one in sets if one.name != FISHER], ALL)
        return sets if joined is None else [*sets, joined]

    def _varying(self, name: str, values: Doubles) -> Doubles:
        varies, constant = without_constants(values, [str(number + 1) for number in range(values.shape[1])])
        if constant:
            self.findings.append(f"{name}: {counted(len(constant), 'constant feature')} left out.")
        return values[:, varies]


def gather_table(
    gathered: Gathered,
    path: Path,
    participants: Participants,
    columns: Sequence[str] | None,
    known: Sequence[str] = (),
) -> None:
    """Take a table: one set for each quantity of a long table, one set of a wide one, without the columns `known`."""
    found = averaged(matched(read_measures(path, columns, known=known), participants))
    by_quantity: dict[str, list[int]] = {}
    for number, measure in enumerate(found.measures.measures):
        by_quantity.setdefault(measure.quantity if measure.of else "table", []).append(number)
    for name, chosen in by_quantity.items():
        measures = found.measures
        part = Measures(
            measures.path,
            measures.people,
            measures.recordings,
            [measures.measures[number] for number in chosen],
            measures.values[:, chosen],
        )
        gathered.add(name, Matched(part, found.participants, found.people, found.findings))


def gather_folder(gathered: Gathered, folder: Path, participants: Participants) -> None:
    """Take what dynml_infer_from_model.py has written: statistics, transitions, and covariances of dual estimation.

    Raises
    ------
    DataError
        When there is none of it.
    """
    from dynml.files import read_json

    known = [name for name in TABLES if (folder / name).is_file()]
    if not known:
        raise DataError(
            f"{folder} has no {' or '.join(TABLES)}, nor embeddings; TABLE must be a table, a folder of inference or "
            "extracted features."
        )
    for name in known:
        gather_table(gathered, folder / name, participants, TABLES[name])
    summary = read_json(folder / "summary.json") if (folder / "summary.json").is_file() else {}
    names = {path.name.removesuffix("_covariances.npy"): path for path in sorted(folder.glob("*_covariances.npy"))}
    names = {name: path for name, path in names.items() if _is_of_run(name, summary)}
    if names:
        gather_arrays(gathered, DUAL, {name: np.load(path) for name, path in names.items()}, participants)
    _tell_of_training(gathered, summary)


def _is_of_run(subject: str, summary: Mapping[str, Any]) -> bool:
    """Whether the folder's last inference gave covariances of a subject; those of an earlier one may lie there, too."""
    if "dual_estimation" not in summary:
        return True
    subjects = [name for own in (summary.get("subsets") or {}).values() for name in own]
    return bool(summary["dual_estimation"]) and subject in subjects


def gather_embeddings(gathered: Gathered, path: Path, participants: Participants) -> None:
    """Take what dynml_extract_features.py has written, the mean over each subject's windows or trials.

    Raises
    ------
    DataError
        When it cannot be read, or numbers of dimensions differ.
    """
    embeddings, summary = mean_embeddings(path)
    gather_arrays(gathered, EMBEDDINGS, embeddings, participants)
    _tell_of_training(gathered, summary)


def _tell_of_training(gathered: Gathered, summary: Mapping[str, Any]) -> None:
    seen = [name for own in (summary.get("subjects_seen_in_training") or {}).values() if own for name in _names(own)]
    if seen:
        gathered.findings.append(
            f"The model was trained on {len(seen)} of the subjects, though without their targets; features of new "
            "people may be worse."
        )


def _names(own: Any) -> list[str]:
    return [str(name) for name in own] if isinstance(own, list) else []


def gather_arrays(gathered: Gathered, name: str, arrays: Mapping[str, Doubles], participants: Participants) -> None:
    """Take one array per subject; those of one participant are averaged."""
    subjects = list(arrays)
    nothing = Measures(participants.table.path, subjects, [{} for _ in subjects], [], np.zeros((len(subjects), 0)))
    found = matched(nothing, participants)
    by_person: dict[str, list[Doubles]] = {}
    for subject, person in zip(found.measures.people, found.people):
        by_person.setdefault(person, []).append(np.asarray(arrays[subject], dtype=np.float64))
    shapes = {own.shape for each in by_person.values() for own in each}
    if len(shapes) > 1:
        raise DataError(f"The {name} of subjects have different shapes: {', '.join(map(str, sorted(shapes)))}.")
    averages = averaged(found)
    gathered.add(name, averages)
    gathered.sets[name] = {person: np.mean(own, axis=0) for person, own in by_person.items()}


def static_covariances(hdf5: Path, group: str | None) -> dict[str, Doubles]:
    """Covariance of each subject's observed samples, (1, C, C): what needs no dynamics.

    Raises
    ------
    DataError
        When the group is not there, or has to be named.
    """
    from dynml.store.reading import Store

    found = {}
    with Store(hdf5) as store:
        groups = sorted({name for subject in store.subjects for name in store.groups(subject)})
        if group is None and len(groups) != 1:
            raise DataError(f"{hdf5} has the groups {listed_names(groups)}; choose one by --group.")
        name = groups[0] if group is None else group
        if name not in groups:
            raise DataError(f"{hdf5} has no group {name!r}; it has {listed_names(groups)}.")
        for subject in store.subjects:
            if name not in store.groups(subject):
                continue
            pieces = [store.read(subject, name, int(a), int(b)) for a, b in store.segments(subject, name)]
            rows = np.concatenate(pieces).astype(np.float64)
            rows = rows[np.isfinite(rows).all(axis=1)]
            found[subject] = np.cov(rows, rowvar=False, bias=True).reshape(1, rows.shape[1], rows.shape[1])
    return found


def scores_of_model(experiment: Experiment, hdf5: Path, group: str | None) -> Iterator[tuple[str, Doubles]]:
    """Subject and its Fisher scores under an HMM.

    Raises
    ------
    CheckpointError
        When the model is none.
    """
    from dynml.models.experiment import SUBSETS
    from dynml.models.inferred import ModelWithArrays, inferred_subjects

    model = experiment.model
    arrays = model.arrays() if isinstance(model, ModelWithArrays) else {}
    if "transition_probabilities" not in arrays:
        raise CheckpointError(f"Fisher scores need a hidden Markov model, but this is one of {experiment.family.name}.")
    dataset = experiment.open(hdf5, group=group)
    covariances = np.asarray(arrays["covariances"], dtype=np.float64)
    if covariances.ndim == 2:
        covariances = covariances[:, :, None] * np.eye(covariances.shape[1])
    for name in SUBSETS:
        subset = dataset.subset(name)
        for index, result in enumerate(inferred_subjects(experiment.family, model, subset)):
            assert result.transitions is not None
            pieces = [subset.read(index, int(a), int(b)).cpu().numpy() for a, b in result.segments]
            alpha = np.concatenate([result.alpha[a:b] for a, b in result.segments]).astype(np.float64)
            signals = np.concatenate(pieces).astype(np.float64)
            firsts = result.alpha[result.segments[:, 0]].astype(np.float64).sum(axis=0)
            seen = np.isfinite(signals).all(axis=1)
            if result.observed is not None:
                seen &= np.concatenate([result.observed[a:b] for a, b in result.segments])
            yield (
                result.subject,
                fisher_scores(
                    signals[seen],
                    alpha[seen],
                    firsts,
                    result.transitions,
                    np.asarray(arrays["initial_probabilities"], dtype=np.float64),
                    np.asarray(arrays["transition_probabilities"], dtype=np.float64),
                    np.asarray(arrays["means"], dtype=np.float64),
                    covariances,
                ),
            )
