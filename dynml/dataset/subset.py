"""One subset of a dataset: its subjects, their segments and their rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.dataset.embedding import Embedding
from dynml.dataset.segment_table import SegmentTable, segment_table
from dynml.dataset.signal_source import SignalSource
from dynml.dataset.slicer import RowSlicer
from dynml.dataset.trials import TrialCut, TrialTable, trial_table
from dynml.recording import NO_LABEL
from dynml.store.layout import DATASET

_BLOCK_SAMPLES, _MANY_BLOCKS = 4096, 64


@runtime_checkable
class KnowsCovariates(Protocol):
    """A source that knows more about its subjects than their participants, as a store does."""

    def covariates(self, subject: str) -> dict[str, str]:
        """Give a subject's data set and covariates, by name."""
        ...


class SeriesOfSubjects(Protocol):
    """What a subset asks of its dataset: who the subjects are, and where their rows live."""

    source: SignalSource
    group: str
    device: torch.device
    rank: int
    world_size: int
    n_channels: int

    @property
    def series(self) -> Tensor | None:
        """All resident rows end to end; None when they are read from the file."""
        ...

    @property
    def series_device(self) -> torch.device:
        """Where rows are before they are moved to the compute device."""
        ...

    @property
    def embedding_of_rows(self) -> Embedding | None:
        """What is done to rows when they are read."""
        ...

    def participant(self, subject: str) -> str:
        """Name the person that a subject's signals come from."""
        ...

    def label_names(self, column: str) -> tuple[str, ...]:
        """Labels of an events' column over all subjects."""
        ...

    def stored_rows(self, subject: str, start: int, stop: int) -> Tensor:
        """Rows that `embedding_of_rows` is applied to, read from the source."""
        ...


@runtime_checkable
class KnowsScaling(Protocol):
    """A source that knows the moments of embedded components, segment by segment."""

    def scaling(self, subject: str) -> Tensor:
        """Mean and inverse standard deviation of the components of each segment's run, (n_segments, 2, P)."""
        ...


class MultiSubjectSubset:
    """Subjects of one subset, numbered from 0.

    Parameters
    ----------
    dataset : MultiSubjectDataset
    name : str
        training, validation or testing.
    subjects : sequence of str
        Names in the store.
    first_row : int
        Where the first subject's rows start in the dataset's resident series.

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
    row_offsets : (n_subjects,) int64
        Row of the resident series where each of the own subjects starts; -1 for others.
    sampling_frequencies : (n_subjects,) float64
        Hz.
    n_masked_of : (n_subjects,) int64
        Rows within each subject's segments that are masked.
    segments : SegmentTable
        Good stretches.
    """

    def __init__(self, dataset: SeriesOfSubjects, name: str, subjects: Sequence[str], first_row: int) -> None:
        self._dataset, self.name, self.subjects = dataset, name, list(subjects)
        source, group = dataset.source, dataset.group
        described = [source.attributes(subject, group) for subject in self.subjects]
        self.n_rows_of = np.array([one.n_samples for one in described], dtype=np.int64)
        self.sampling_frequencies = np.array([one.sampling_frequency for one in described], dtype=np.float64)
        self._source_offsets = np.array([one.source_offset for one in described], dtype=np.float64)
        self._source_steps = np.array([one.source_step for one in described], dtype=np.float64)
        self.ranks = np.array([one.rank for one in described], dtype=np.int64)
        self.n_masked_of = np.array([one.n_masked for one in described], dtype=np.int64)
        self.segments: SegmentTable = segment_table([source.segments(subject, group) for subject in self.subjects])
        self._labels: dict[tuple[int, str], NDArray[np.int32]] = {}
        self._trials: dict[TrialCut, TrialTable] = {}
        self._scalings: dict[torch.device, Tensor] = {}
        samples_of = np.bincount(self.segments.subject, weights=self.segments.lengths, minlength=len(self.subjects))
        self.block = blocks_of_subjects(samples_of)
        samples_of_block = np.bincount(self.block, weights=samples_of)
        self.owner = shares(samples_of_block, dataset.world_size)[self.block]
        self.is_own = self.owner == dataset.rank
        own_rows = np.where(self.is_own, self.n_rows_of, 0)
        self.n_own_rows = int(own_rows.sum())
        self.row_offsets = np.where(self.is_own, first_row + np.cumsum(own_rows) - own_rows, -1)

    @property
    def n_subjects(self) -> int:
        """How many subjects there are."""
        return len(self.subjects)

    @property
    def participants(self) -> list[str]:
        """The person behind each subject."""
        return [self._dataset.participant(subject) for subject in self.subjects]

    @cached_property
    def datasets(self) -> list[str]:
        """Name of the data set that each subject comes from; empty where none is stated."""
        return [self.covariates(subject).get(DATASET, "") for subject in range(self.n_subjects)]

    def covariates(self, subject: int) -> dict[str, str]:
        """Data set and covariates of a subject, by name; none where the data are arrays."""
        source = self._dataset.source
        return dict(source.covariates(self.subjects[subject])) if isinstance(source, KnowsCovariates) else {}

    def run_names(self, subject: int) -> list[str]:
        """Names of a subject's runs, in stored order."""
        return self._dataset.source.run_names(self.subjects[subject], self._dataset.group)

    def runs_of_segments(self, subject: int) -> NDArray[np.int64]:
        """Position in `run_names` of the run that each of a subject's segments comes from, (n_segments,)."""
        return self._dataset.source.source_samples(self.subjects[subject], self._dataset.group)[:, 1]

    @property
    def n_rows(self) -> int:
        """Stored rows, good or not."""
        return int(self.n_rows_of.sum())

    @property
    def n_samples(self) -> int:
        """Samples in segments, masked ones included."""
        return self.segments.n_samples

    @property
    def n_masked(self) -> int:
        """Samples in segments that are masked: their rows are NaN in all channels."""
        return int(self.n_masked_of.sum())

    def observed(self, subject: int) -> NDArray[np.bool_] | None:
        """Which rows of a subject lie in segments and are not masked, (T,); None where none is masked."""
        if not self.n_masked_of[subject]:
            return None
        observed = ~self._dataset.source.masked_rows(self.subjects[subject], self._dataset.group)
        own = self.segments.take(self.segments.subject == subject)
        steps = np.zeros(len(observed) + 1, dtype=np.int64)
        steps[own.start] += 1
        np.subtract.at(steps, own.stop, 1)
        return observed & (np.cumsum(steps)[:-1] > 0)

    @property
    def n_channels(self) -> int:
        """Columns of every row."""
        return self._dataset.n_channels

    @property
    def device(self) -> torch.device:
        """Where `read` gives its rows."""
        return self._dataset.device

    def read(self, subject: int, start: int, stop: int) -> Tensor:
        """Rows [start, stop) of a subject on the compute device; a view where they reside there.

        Returns
        -------
        Tensor, (n, C), float32. Not to be written to.
        """
        return self._rows_on(self._dataset.device, subject, start, stop).to(self._dataset.device)

    def rows(self, subject: int, start: int, stop: int) -> Tensor:
        """Rows [start, stop) of a subject where they reside: a view, or (lazy) host memory read from the file.

        Rows that are embedded when they are read lie within one segment.
        """
        return self._rows_on(self._dataset.series_device, subject, start, stop)

    def stored_rows(self, subject: int, start: int, stop: int) -> Tensor:
        """Rows [start, stop) where they reside, as they are before `dataset.embedding_of_rows`, if there is one."""
        series = self._dataset.series
        if series is not None and self.is_own[subject]:
            offset = int(self.row_offsets[subject])
            return series[offset + start : offset + stop]
        if self._dataset.embedding_of_rows is not None:
            return self._dataset.stored_rows(self.subjects[subject], start, stop)
        read = self._dataset.source.read(self.subjects[subject], self._dataset.group, start, stop)
        return torch.from_numpy(np.ascontiguousarray(read, dtype=np.float32))

    def slicer(self, subject: int, start: int, stop: int) -> RowSlicer:
        """Rows [start, stop) of a subject that are read only when sliced."""
        return RowSlicer(
            lambda first, last: self.read(subject, start + first, start + last),
            (stop - start, self.n_channels),
            self.device,
        )

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
            self._trials[cut] = trial_table(dataset.source, dataset.group, self.subjects, names, cut)
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
        source, group = self._dataset.source, self._dataset.group
        starts = [source.source_samples(subject, group)[:, 0] for subject in self.subjects]
        return np.concatenate([np.zeros(0, np.int64), *starts])

    def _rows_on(self, device: torch.device, subject: int, start: int, stop: int) -> Tensor:
        """Rows where they reside; those that are embedded first, on a device."""
        embedding = self._dataset.embedding_of_rows
        if embedding is None:
            return self.stored_rows(subject, start, stop)
        if start >= stop:
            return torch.zeros(0, self.n_channels, device=device)
        margin = embedding.margin
        # Such rows lie within one segment.
        first = int(np.searchsorted(self.segments.subject, subject))
        own = self.segments.start[first : np.searchsorted(self.segments.subject, subject, side="right")]
        segment = np.searchsorted(own, [start], side="right") - 1
        scaling = self.scaling_of(np.array([subject]), segment, device)
        stored = self.stored_rows(subject, start - margin, stop + margin).to(device)
        return embedding.apply(stored, None if scaling is None else scaling[0])

    def scaling_of(self, subject: NDArray[np.int64], segment: NDArray[np.int64], device: torch.device) -> Tensor | None:
        """What to subtract from components and to multiply them by in given segments, (n, 2, P); None: nothing."""
        embedding = self._dataset.embedding_of_rows
        if embedding is None or not embedding.standardize:
            return None
        index = np.searchsorted(self.segments.subject, subject) + segment
        if device not in self._scalings:
            source = self._dataset.source
            assert isinstance(source, KnowsScaling)
            self._scalings[device] = torch.cat([source.scaling(name) for name in self.subjects]).to(device)
        return self._scalings[device].index_select(0, torch.from_numpy(index).to(device))

    def _labels_of_subject(self, subject: int, column: str) -> NDArray[np.int32]:
        # Each subject numbers the labels that occur in it; here they get the numbers of the whole dataset.
        names = self._dataset.label_names(column)
        n_rows, name = int(self.n_rows_of[subject]), self.subjects[subject]
        events = self._dataset.source.events(name, self._dataset.group)
        if events is None or column not in events.labels:
            return np.full(n_rows, NO_LABEL, dtype=np.int32)
        common = [names.index(label) for label in events.names[column]]
        codes = np.array([*common, NO_LABEL], dtype=np.int32)
        return codes[events.labels_of_samples(column, n_rows)]


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
