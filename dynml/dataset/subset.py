"""One subset of a dataset: its subjects, their segments, trials and times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.dataset.montages.montages import Montages
from dynml.dataset.rows import Residence, SubsetRows
from dynml.dataset.signal_source import KnowsCovariates, SignalSource
from dynml.dataset.spans import Spans, segment_table
from dynml.dataset.trials import TrialCut, TrialTable, trial_table, with_joined
from dynml.errors import DataError, first_of
from dynml.recording import NO_LABEL
from dynml.store.layout import DATASET

_BLOCK_SAMPLES, _MANY_BLOCKS = 4096, 64


class SubjectsOfDataset(Protocol):
    """What a subset asks of its dataset: who the subjects are, and which processes share them."""

    signal_source: SignalSource
    group: str
    rank: int
    world_size: int
    montages: Montages | None

    def participant(self, subject: str) -> str:
        """Name the person that a subject's signals come from."""
        ...

    def label_names(self, column: str) -> tuple[str, ...]:
        """Labels of an events' column over all subjects."""
        ...


class MultiSubjectSubset(SubsetRows):
    """Subjects of one subset, numbered from 0; see `SubsetRows` for how their rows are read.

    Parameters
    ----------
    dataset : MultiSubjectDataset
    name : str
        training, validation or testing.
    subjects : sequence of str
        Names in the store.
    residence : Residence
        Where the rows of the dataset live.

    Attributes
    ----------
    n_rows_of : (n_subjects,) int64
        Stored rows of each subject, good or not.
    block : (n_subjects,) int64
        Number of the block of neighbours that each subject belongs to: what is dealt out to processes, and what sums
        are made of, so that they come out the same however many processes there are.
    owner : (n_subjects,) int64
        Rank of the process that trains on each subject.
    is_own : (n_subjects,) bool
        Which subjects this process trains on, among the processes that share a run: all of them where there is one.
    sampling_frequencies : (n_subjects,) float64
        Hz.
    n_masked_of : (n_subjects,) int64
        Rows within each subject's segments that are masked.
    n_masked : int
        Samples in segments that are masked: their rows are NaN in all channels.
    segments : SegmentTable
        Good stretches.
    montages : Montages or None
        Which channels subjects have; None: all of them.
    montage_of : (n_subjects,) int64
        Montage of each subject, where there are several.
    """

    def __init__(self, dataset: SubjectsOfDataset, name: str, subjects: Sequence[str], residence: Residence) -> None:
        self._dataset, self.name = dataset, name
        source, group = dataset.signal_source, dataset.group
        described = [source.attributes(subject, group) for subject in subjects]
        n_rows_of = np.array([one.n_samples for one in described], dtype=np.int64)
        self.sampling_frequencies = np.array([one.sampling_frequency for one in described], dtype=np.float64)
        self._source_offsets = np.array([one.source_offset for one in described], dtype=np.float64)
        self._source_steps = np.array([one.source_step for one in described], dtype=np.float64)
        self.ranks = np.array([one.rank for one in described], dtype=np.int64)
        self.n_masked_of = np.array([one.n_masked for one in described], dtype=np.int64)
        self.n_masked = int(self.n_masked_of.sum())
        segments = segment_table([source.segments(subject, group) for subject in subjects])
        self.montages = dataset.montages
        numbers = {} if self.montages is None else self.montages.number_of
        self.montage_of = np.array([numbers.get(subject, 0) for subject in subjects], dtype=np.int64)
        self._runs: dict[int, NDArray[np.int64]] = {}
        self._labels: dict[tuple[int, str], NDArray[np.int32]] = {}
        self._trials: dict[TrialCut, TrialTable] = {}
        samples_of = np.bincount(segments.subject, weights=segments.lengths, minlength=len(subjects))
        self.block = blocks_of_subjects(samples_of)
        samples_of_block = np.bincount(self.block, weights=samples_of)
        self.owner = shares(samples_of_block, dataset.world_size)[self.block]
        super().__init__(residence, subjects, segments, n_rows_of, self.owner == dataset.rank)

    @property
    def n_subjects(self) -> int:
        """How many subjects there are."""
        return len(self.subjects)

    @cached_property
    def participants(self) -> list[str]:
        """The person behind each subject."""
        return [self._dataset.participant(subject) for subject in self.subjects]

    @cached_property
    def datasets(self) -> list[str]:
        """Name of the data set that each subject comes from; empty where none is stated."""
        return [self.covariates(subject).get(DATASET, "") for subject in range(self.n_subjects)]

    def covariates(self, subject: int) -> dict[str, str]:
        """Data set and covariates of a subject, by name; none where the data are arrays."""
        source = self._dataset.signal_source
        return dict(source.covariates(self.subjects[subject])) if isinstance(source, KnowsCovariates) else {}

    def run_names(self, subject: int) -> list[str]:
        """Names of a subject's runs, in stored order."""
        return self._dataset.signal_source.run_names(self.subjects[subject], self._dataset.group)

    def runs_of_segments(self, subject: int) -> NDArray[np.int64]:
        """Position in `run_names` of the run that each of a subject's segments comes from, (n_segments,)."""
        if subject not in self._runs:
            source_samples = self._dataset.signal_source.source_samples(self.subjects[subject], self._dataset.group)
            self._runs[subject] = source_samples[:, 1].copy()
        return self._runs[subject]

    def segments_of_runs(self, subject: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """Position in `run_names` of each of a subject's runs, with its segments [start, stop), in stored order."""
        table, runs = self.segments.of_subject(subject), self.runs_of_segments(subject)
        segments = list(zip(table.start.tolist(), table.stop.tolist(), strict=True))
        for run in dict.fromkeys(runs.tolist()):
            yield run, [segments[number] for number in np.flatnonzero(runs == run)]

    @property
    def n_rows(self) -> int:
        """Stored rows, good or not."""
        return int(self.n_rows_of.sum())

    @property
    def n_samples(self) -> int:
        """Samples in segments, masked ones included."""
        return self.segments.n_samples

    def observed(self, subject: int) -> NDArray[np.bool_] | None:
        """Which rows of a subject lie in segments and are not masked, (T,); None where none is masked."""
        if not self.n_masked_of[subject]:
            return None
        observed = ~self._dataset.signal_source.masked_rows(self.subjects[subject], self._dataset.group)
        own = self.segments.of_subject(subject)
        steps = np.zeros(len(observed) + 1, dtype=np.int64)
        steps[own.start] += 1
        np.subtract.at(steps, own.stop, 1)
        return observed & (np.cumsum(steps)[:-1] > 0)

    def labels(self, subject: int, start: int, stop: int, column: str) -> NDArray[np.int64]:
        """Label of each row in a column of the events; -1 where there is none.

        Returns
        -------
        (n,) int64
            Positions in `dataset.label_names(column)`.
        """
        key = (subject, column)
        if key not in self._labels:
            self._labels[key] = self._labels_of_subject(subject, column)
        return self._labels[key][start:stop].astype(np.int64)

    def labels_of_spans(self, spans: Spans, column: str, *, packed: bool) -> Tensor:
        """Labels of the rows of spans, end to end, (n,), or side by side, (B, T), int64."""
        pieces = [self.labels(span.subject, span.start, span.stop, column) for span in spans]
        if packed:
            return torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *pieces]))
        labels = np.full((len(spans), int(spans.lengths.max(initial=0))), NO_LABEL, dtype=np.int64)
        for row, piece in enumerate(pieces):
            labels[row, : len(piece)] = piece
        return torch.from_numpy(labels)

    def trials(self, column: str, onset_shift: float = 0.0, trial_length: int | None = None) -> TrialTable:
        """Stretches of samples that events mark, in stored order; events without a label are no trials.

        Parameters
        ----------
        column : str
            Column of the events that labels the trials.
        onset_shift : float
            Seconds from the onset of an event to that of its trial (the haemodynamic delay, say); rounded to whole
            samples at the subject's sampling frequency.
        trial_length : int, optional
            Samples of a trial; default: the event's duration, at least 1.

        Returns
        -------
        TrialTable
            With what was left out. A trial that reaches beyond its segment is cut there if at least half of it
            remains, and left out otherwise.

        Raises
        ------
        DataError
            When no subject has the column.
        """
        cut = TrialCut(column, onset_shift, trial_length)
        if cut not in self._trials:
            dataset = self._dataset
            names = dataset.label_names(column)
            self._trials[cut] = trial_table(dataset.signal_source, dataset.group, self.subjects, names, cut)
        return self._trials[cut]

    def seconds_of_rows(
        self, subject: NDArray[np.int64], segment: NDArray[np.int64], row: NDArray[np.int64]
    ) -> NDArray:
        """Time since the start of the original run of given rows, in seconds, float64."""
        index = np.searchsorted(self.segments.subject, subject) + segment
        starts = self._source_starts[index] + self._source_offsets[subject]
        samples = starts + (row - self.segments.start[index]) * self._source_steps[subject]
        return samples / (self.sampling_frequencies[subject] * self._source_steps[subject])

    @cached_property
    def _source_starts(self) -> NDArray[np.int64]:
        source, group = self._dataset.signal_source, self._dataset.group
        starts = [source.source_samples(subject, group)[:, 0] for subject in self.subjects]
        return np.concatenate([np.zeros(0, np.int64), *starts])

    def describe(self) -> dict[str, Any]:
        """Plain values that say whom a run has seen; `sources` are SHA-256 of the files that each was read from."""
        attributes, group = self._dataset.signal_source.attributes, self._dataset.group
        return {
            "n_subjects": self.n_subjects,
            "n_participants": len(set(self.participants)),
            "n_segments": len(self.segments),
            "n_samples": self.n_samples,
            "n_masked": self.n_masked,
            "subjects": list(self.subjects),
            "participants": list(self.participants),
            "sources": {name: [one.sha256 for one in attributes(name, group).sources] for name in self.subjects},
        }

    def _labels_of_subject(self, subject: int, column: str) -> NDArray[np.int32]:
        # Each subject numbers the labels that occur in it; here they get the numbers of the whole dataset.
        names = self._dataset.label_names(column)
        n_rows, name = int(self.n_rows_of[subject]), self.subjects[subject]
        events = with_joined(self._dataset.signal_source.events(name, self._dataset.group), column)
        if events is None or column not in events.labels:
            return np.full(n_rows, NO_LABEL, dtype=np.int32)
        common = [names.index(label) for label in events.names[column]]
        codes = np.array([*common, NO_LABEL], dtype=np.int32)
        return codes[events.labels_of_samples(column, n_rows)]


def check_ranks(training: MultiSubjectSubset, world_size: int) -> None:
    """Refuse more processes than there is training data for.

    Raises
    ------
    DataError
        With the most that may share it.
    """
    n_blocks = len(set(training.block.tolist()))
    if world_size > 1 and world_size > n_blocks:
        shared = f"{world_size} processes were started to share {training.n_subjects} training subjects"
        raise DataError(f"{shared}: start at most {n_blocks}.")


def only_rate(rates: Sequence[float]) -> float:
    """Sampling frequency of all subjects, of those that occur.

    Raises
    ------
    DataError
        When there are several.
    """
    if len(rates) > 1:
        listed = ", ".join(f"{rate:g}" for rate in rates)
        raise DataError(f"The sampling frequencies differ between subjects: {listed} Hz.")
    return rates[0]


def facts_of(
    subsets: Iterable[MultiSubjectSubset], channel_names: Sequence[str], path: Path | None, groups: Sequence[str]
) -> dict[str, str]:
    """Say in words what a dataset holds: subjects and hours of each subset, channels, rates, origin."""
    facts: dict[str, str] = {}
    found_rates: set[str] = set()
    for subset in subsets:
        rates = subset.sampling_frequencies
        hours = float((subset.segments.lengths / rates[subset.segments.subject]).sum()) / 3600
        facts[subset.name] = f"{subset.n_subjects} subjects, {subset.n_samples} samples ({hours:.3g} h)"
        found_rates.update(f"{rate:g}" for rate in rates)
    shown = first_of(channel_names)
    facts["channels"] = f"{len(channel_names)} ({shown}) at {', '.join(sorted(found_rates))} Hz"
    return {**facts, "from": "arrays" if path is None else f"{path}, group {' and '.join(groups)}"}


def blocks_of_subjects(n_samples_of: NDArray[Any]) -> NDArray[np.int64]:
    """Join neighbouring subjects of few samples until a block is worth a piece of work of its own.

    A block has 4,096 samples or more, or the 64th part of all samples if that is less.

    Parameters
    ----------
    n_samples_of : (n_subjects,)

    Returns
    -------
    (n_subjects,) int64
        From 0, rising by 1 from block to block.
    """
    enough = min(_BLOCK_SAMPLES, n_samples_of.sum() / _MANY_BLOCKS)
    block = np.zeros(len(n_samples_of), dtype=np.int64)
    current, filled = 0, 0.0
    for subject, n_samples in enumerate(n_samples_of):
        if filled and filled >= enough:
            current, filled = current + 1, 0.0
        block[subject] = current
        filled += n_samples
    return block


def shares(n_samples_of_block: NDArray[Any], n_shares: int) -> NDArray[np.int64]:
    """Deal blocks out to processes so that each has about as many samples: the largest first, to who has least.

    Returns
    -------
    (n_blocks,) int64
        Number of the share that each block belongs to.
    """
    share, load = np.zeros(len(n_samples_of_block), dtype=np.int64), np.zeros(n_shares)
    for block in np.argsort(-n_samples_of_block, kind="stable"):
        share[block] = np.argmin(load)
        load[share[block]] += n_samples_of_block[block]
    return share
