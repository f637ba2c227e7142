"""What is decoded: the trials of a subset with their classes, from the events or from a covariate of the subjects.

Shapes: n trials.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.batches.trial_checks import check_has_trials
from dynml.batches.window_cutting import cut_windows
from dynml.configuration import nearest_name
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.spans import SegmentTable
from dynml.dataset.subset import MultiSubjectSubset
from dynml.dataset.trials import TrialTable
from dynml.errors import ConfigurationError, DataError
from dynml.models.sequence.observed_samples import with_observed
from dynml.recording import BETWEEN_COLUMNS, plain_label
from dynml.store.layout import SUBSET_NAMES, natural_order
from dynml.tables import NOT_AVAILABLE

NO_CLASS = -1
"""Code of a trial without a label, or with one that no training trial has."""


@dataclass(frozen=True)
class Trials:
    """Trials of a subset, in stored order; each has a label.

    Parameters
    ----------
    subset : MultiSubjectSubset
    spans : SegmentTable
        The n stretches of rows.
    truth : (n,) int64
        Position in `names`.
    names : tuple of str
        The model's classes, then labels that no training trial has.
    run : sequence of n str
    number : (n,) int64
        Which trial (or window) of its run it is, from 0.
    """

    subset: MultiSubjectSubset
    spans: SegmentTable
    truth: NDArray[np.int64]
    names: tuple[str, ...]
    run: Sequence[str]
    number: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def subjects(self) -> list[str]:
        """Subject of each trial."""
        return [self.subset.subjects[index] for index in self.spans.subject.tolist()]

    @property
    def participants(self) -> list[str]:
        """Participant of each trial."""
        people = self.subset.participants
        return [people[index] for index in self.spans.subject.tolist()]

    def take(self, indices: NDArray) -> Trials:
        """Choose trials by integers or booleans."""
        runs = np.asarray(self.run, dtype=object)[indices].tolist()
        return Trials(
            self.subset, self.spans.take(indices), self.truth[indices], self.names, runs, self.number[indices]
        )


@dataclass(frozen=True)
class Target:
    """A column of labels.

    Parameters
    ----------
    dataset : MultiSubjectDataset
    column : str
    of_events : bool
        Whether the events have it; else it is a covariate of the subjects.
    label_names : tuple of str
        Labels over the whole dataset; codes are positions in it.
    chosen : tuple of str or None
        Labels whose trials count; None: all.
    """

    dataset: MultiSubjectDataset
    column: str
    of_events: bool
    label_names: tuple[str, ...]
    chosen: tuple[str, ...] | None = None

    @classmethod
    def of(cls, dataset: MultiSubjectDataset, column: str, chosen: Sequence[str] | None = None) -> Target:
        """Find a column among the events, then among the covariates.

        Raises
        ------
        ConfigurationError
            When there is none of that name, or no such label in it, with the nearest one.
        """
        target = cls._found(dataset, column)
        plain = None if chosen is None else tuple(map(plain_label, chosen))
        for label in plain or ():
            if label not in target.label_names:
                accepted = f"labels of {column}{nearest_name(label, target.label_names)}"
                raise ConfigurationError("model.classes", label, accepted)
        return dataclasses.replace(target, chosen=plain)

    @classmethod
    def _found(cls, dataset: MultiSubjectDataset, column: str) -> Target:
        events, covariates = columns_of_events(dataset), _covariates(dataset)
        parts = set(column.split(BETWEEN_COLUMNS))
        if column in events or parts <= events:
            return cls(dataset, column, True, dataset.label_names(column))
        values = {plain_label(own[column]) for own in covariates.values() if column in own} - {NOT_AVAILABLE, ""}
        if not values:
            known = sorted(events | {name for own in covariates.values() for name in own})
            near = nearest_name(column, known) if known else " (the store has neither events nor covariates)"
            accepted = f"a label column of the events, or a covariate of the subjects{near}"
            raise ConfigurationError("model.target", column, accepted)
        return cls(dataset, column, False, tuple(sorted(values, key=natural_order)))

    def label_of_subjects(self, subset: MultiSubjectSubset) -> NDArray[np.int64]:
        """Code of each subject's covariate, (n_subjects,) int64; -1 where it has none."""
        position = {name: code for code, name in enumerate(self.label_names)}
        covariates = _covariates(self.dataset)
        values = [plain_label(covariates[subject].get(self.column, "")) for subject in subset.subjects]
        return np.array([position.get(value, NO_CLASS) for value in values], dtype=np.int64)

    def class_of_labels(self, class_names: Sequence[str]) -> NDArray[np.int64]:
        """Class of each label, and at the end (which is at -1) that of no label, (n_labels + 1,) int64."""
        position = {plain_label(name): index for index, name in enumerate(class_names)}
        return np.array([*(position.get(name, NO_CLASS) for name in self.label_names), NO_CLASS], dtype=np.int64)

    def labelled(self, name: str, sampler: BatchSamplerConfig) -> Trials:
        """All trials of a subset, with names as they are in the dataset.

        Parameters
        ----------
        name : str
            training, validation or testing.
        sampler : BatchSamplerConfig
            Delay and length of trials; or, for a covariate, the windows that recordings are cut into.
        """
        found = self._all_labelled(name, sampler)
        if self.chosen is None:
            return found
        codes = [code for code, label in enumerate(self.label_names) if label in self.chosen]
        return found.take(np.isin(found.truth, codes))

    def of_subsets(self, sampler: BatchSamplerConfig) -> dict[str, Trials]:
        """All trials of each subset, as `labelled`; training has some.

        Raises
        ------
        DataError
            When training has none, with the reason.
        """
        subset = self.dataset.training_set
        if self.of_events:
            table = subset.trials(self.column, sampler.onset_shift, sampler.trial_length)
            check_has_trials(table, subset, sampler)
        elif (self.label_of_subjects(subset) == NO_CLASS).all():
            raise DataError(f"No training subject has the covariate {self.column!r}.")
        elif not len(windows_of_subset(subset, sampler)):
            longest = int(subset.segments.lengths.max(initial=0))
            accepted = f"at most {longest}, the samples of the longest training segment"
            raise ConfigurationError("sampler.minimum_length", sampler.minimum_length, accepted)
        return {name: self.labelled(name, sampler) for name in SUBSET_NAMES}

    def _all_labelled(self, name: str, sampler: BatchSamplerConfig) -> Trials:
        subset = self.dataset.subset(name)
        if self.of_events:
            table = subset.trials(self.column, sampler.onset_shift, sampler.trial_length)
            self._check_durations(table, name)
            return Trials(subset, table.spans, table.label, self.label_names, table.run.tolist(), table.number)
        spans = with_observed(subset, windows_of_subset(subset, sampler))
        label = self.label_of_subjects(subset)[spans.subject]
        spans, label = spans.take(label != NO_CLASS), label[label != NO_CLASS]
        run, number = self._runs_of(subset, spans)
        return Trials(subset, spans, label, self.label_names, run, number)

    def _check_durations(self, table: TrialTable, name: str) -> None:
        """Refuse events that last no time where these would say how long a trial is."""
        chosen = self.label_names if self.chosen is None else self.chosen
        is_of_class = np.isin(table.label, [code for code, label in enumerate(self.label_names) if label in chosen])
        n_instants = int((table.is_instant & is_of_class).sum())
        if n_instants:
            raise ConfigurationError(
                "sampler.trial_length",
                None,
                f"the samples of a trial, for {n_instants} of the {int(is_of_class.sum())} {name} trials of "
                f"{self.column!r} have events without a duration",
            )

    def trials(self, name: str, sampler: BatchSamplerConfig, class_names: Sequence[str]) -> Trials:
        """All trials of a subset, with the classes of a model first among the names."""
        found = self.labelled(name, sampler)
        own = {plain_label(name) for name in class_names}
        names = (*class_names, *(label for label in self.label_names if label not in own))
        position = {plain_label(label): code for code, label in enumerate(names)}
        codes = np.array([position[label] for label in self.label_names], dtype=np.int64)
        return Trials(found.subset, found.spans, codes[found.truth], names, found.run, found.number)

    def _runs_of(self, subset: MultiSubjectSubset, spans: SegmentTable) -> tuple[list[str], NDArray[np.int64]]:
        """Name of each window's run, and its number within."""
        source, group = self.dataset.signal_source, self.dataset.group
        run_of = [source.source_samples(subject, group)[:, 1].tolist() for subject in subset.subjects]
        names_of = [source.run_names(subject, group) for subject in subset.subjects]
        runs, numbers, counts = [], [], dict[tuple[int, int], int]()
        for subject, segment in zip(spans.subject.tolist(), spans.segment.tolist()):
            run = int(run_of[subject][segment])
            numbers.append(counts.get((subject, run), 0))
            counts[subject, run] = numbers[-1] + 1
            runs.append(names_of[subject][run])
        return runs, np.array(numbers, dtype=np.int64)


def cross_validation_groups(trials: Trials, *, by_runs: bool) -> tuple[NDArray[np.int64] | None, str]:
    """What stays together in cross-validation, and its name; None: neighbouring trials do."""
    participants = trials.participants
    if not by_runs and len(set(participants)) > 1:
        return np.unique(participants, return_inverse=True)[1], "participants"
    runs = [f"{subject}\n{run}" for subject, run in zip(trials.subjects, trials.run)]
    if len(set(runs)) > 1:
        return np.unique(runs, return_inverse=True)[1], "runs"
    return None, "trials"


def windows_of_subset(subset: MultiSubjectSubset, sampler: BatchSamplerConfig) -> SegmentTable:
    """Cut a subset as the sampler does in validation: windows that never move, ends included."""
    bounds, segments = sampler.window_bounds, subset.segments
    minimum = sampler.minimum_length or 1
    if bounds is None:
        return segments.take(segments.lengths >= minimum)
    longest = bounds[1]
    return cut_windows(segments, longest, sampler.step or longest + sampler.gap, 0, minimum)


def columns_of_events(dataset: MultiSubjectDataset) -> set[str]:
    """Names of the label columns that some subject's events have."""
    columns: set[str] = set()
    for subject in _subjects(dataset):
        events = dataset.signal_source.events(subject, dataset.group)
        columns |= set() if events is None else set(events.names)
    return columns


def _covariates(dataset: MultiSubjectDataset) -> dict[str, dict[str, str]]:
    """Covariates of every subject in force; arrays have none."""
    read: Any = getattr(dataset.signal_source, "covariates", None)
    return {subject: {} if read is None else read(subject) for subject in _subjects(dataset)}


def _subjects(dataset: MultiSubjectDataset) -> list[str]:
    return [subject for name in SUBSET_NAMES for subject in dataset.subset(name).subjects]
