"""A source whose rows are the time-delay embedding of another's, made when they are read.

Rows keep their numbers: row t of the embedding lies at row t of the store, and segments lose their ends.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.data_warnings import DataWarnings
from dynml.dataset.config import DatasetConfig
from dynml.dataset.embedding import Embedding, fit_embedding, long_stretches, longest_stretch
from dynml.dataset.signal_source import SignalSource, SourceOfAnother, common_channels
from dynml.errors import DataError, DataWarning, first_of
from dynml.fits import Layout
from dynml.preparation.step import blocks
from dynml.recording import GroupDescription
from dynml.store.layout import natural_order
from dynml.store.subsets import Subsets

ROUNDING = 4.0 * float(np.finfo(np.float32).eps)
"""Share of the largest component below which another's variation may be rounding."""


class EmbeddedSource(SourceOfAnother):
    """Gives what another source gives, but for channels, segments and rows.

    Parameters
    ----------
    base : SignalSource
    group : str
    subjects : sequence of str
        Those that will be read.
    embedding : Embedding

    Raises
    ------
    DataError
        When a subject has no segment that is long enough.

    Warns
    -----
    DataWarning
        When segments are too short.
    """

    def __init__(self, base: SignalSource, group: str, subjects: Sequence[str], embedding: Embedding) -> None:
        super().__init__(base)
        self.embedding = embedding
        self._kept: dict[str, NDArray[np.bool_]] = {}
        self._means: dict[str, NDArray[np.float64]] = {}
        self._scaling: dict[str, Tensor] = {}
        self._masked: dict[str, NDArray[np.bool_]] = {}
        self._n_masked: dict[str, int] = {}
        warned = DataWarnings()
        for subject in subjects:
            stretches, segment = long_stretches(base, group, subject, embedding.shortest_segment)
            kept = np.isin(np.arange(len(base.segments(subject, group))), segment)
            self._kept[subject] = kept
            if base.attributes(subject, group).n_masked:
                self._masked[subject] = _within(self._masked_windows(subject, group), self.segments(subject, group))
                self._n_masked[subject] = int(self._masked[subject].sum())
            if not kept.all():
                shortest = embedding.shortest_segment
                topic = f"Segments of fewer than {shortest} samples cannot be embedded and are left out"
                warned.add(topic, f"{subject}: {int((~kept).sum())} of {len(kept)}")
            if embedding.is_projected:
                self._means[subject] = self._means_of_segments(subject, group, stretches, segment)
            if embedding.standardize:
                self._scaling[subject] = self._scaling_of_segments(subject, group, stretches, segment)
        warned.tell()

    def attributes(self, subject: str, group: str) -> GroupDescription:
        """Describe the embedding of a subject's group."""
        described, embedding = self.base.attributes(subject, group), self.embedding
        moved = described.source_offset + embedding.margin * described.source_step
        names = embedding.channel_names
        return dataclasses.replace(
            described,
            n_channels=len(names),
            channel_names=names,
            units="arbitrary" if embedding.is_projected else described.units,
            rank=min(len(names), described.rank * embedding.n_embeddings),
            source_offset=moved - np.floor(moved + 0.5),
            n_masked=self._n_masked.get(subject, 0),
        )

    def segments(self, subject: str, group: str) -> NDArray[np.int64]:
        """Good stretches, without the ends that have not enough neighbours."""
        margin = self.embedding.margin
        return self._long(subject, group) + np.array([margin, -margin])

    def source_samples(self, subject: str, group: str) -> NDArray[np.int64]:
        """Give the sample of its run where each segment starts, and that run."""
        described = self.base.attributes(subject, group)
        samples = self.base.source_samples(subject, group)[self._kept[subject]].copy()
        samples[:, 0] += int(np.floor(described.source_offset + self.embedding.margin * described.source_step + 0.5))
        return samples

    def masked_rows(self, subject: str, group: str) -> NDArray[np.bool_]:
        """Say of every row whether it is masked, (T,), as all are whose window holds a masked row of the store."""
        if subject not in self._masked:
            return np.zeros(self.base.attributes(subject, group).n_samples, dtype=bool)
        return self._masked[subject]

    def fingerprint(self, group: str, subjects: Iterable[str]) -> str:
        """SHA-256 over the subjects, the settings of the embedding, and what its components were fitted to."""
        embedding = self.embedding
        n_components = embedding.n_channels if embedding.is_projected else None
        settings = [embedding.n_embeddings, n_components, embedding.whiten, embedding.fitted_to]
        settings += ["standardized"] if embedding.standardize else []
        line = [self.base.fingerprint(group, subjects), *settings]
        return hashlib.sha256(json.dumps(line).encode()).hexdigest()

    def stored_rows(self, subject: str, group: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows [start, stop) of the store, (n, C): before a projection, each segment's about the mean of its run."""
        rows = np.ascontiguousarray(self.base.read(subject, group, start, stop), dtype=np.float32)
        if subject not in self._means:
            return rows
        centred = rows.copy()
        for (first, last), mean in zip(self._long(subject, group).tolist(), self._means[subject]):
            begin, end = max(first - start, 0), min(last, stop) - start
            if begin < end:
                centred[begin:end] = rows[begin:end] - mean
        return centred

    def read(self, subject: str, group: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Rows [start, stop) of the embedding, (n, P); NaN outside segments."""
        stop = self.base.attributes(subject, group).n_samples if stop is None else stop
        return self.read_on(torch.device("cpu"), subject, group, start, stop).numpy()

    def read_on(self, device: torch.device, subject: str, group: str, start: int, stop: int) -> Tensor:
        """Do the same where the convolution is to be done."""
        rows = torch.full((stop - start, self.embedding.n_channels), torch.nan, device=device)
        margin = self.embedding.margin
        for number, (first, last) in enumerate(self.segments(subject, group).tolist()):
            begin, end = max(first, start), min(last, stop)
            if begin < end:
                stored = torch.from_numpy(self.stored_rows(subject, group, begin - margin, end + margin)).to(device)
                scaling = self._scaling[subject][number].to(device) if self.embedding.standardize else None
                rows[begin - start : end - start] = self.embedding.apply(stored, scaling)
        return rows

    def scaling(self, subject: str) -> Tensor:
        """Mean and inverse standard deviation of the components of each segment's run, (n_segments, 2, P), float32."""
        return self._scaling[subject]

    def _long(self, subject: str, group: str) -> NDArray[np.int64]:
        """Those of the base's segments that are long enough."""
        segments: NDArray[np.int64] = self.base.segments(subject, group)[self._kept[subject]]
        return segments

    def _masked_windows(self, subject: str, group: str) -> NDArray[np.bool_]:
        """Say of each row whether its window holds a masked row of the base, (T,)."""
        margin = self.embedding.margin
        # The number of masked rows before each row, with margins at both ends.
        before = np.cumsum(np.pad(self.base.masked_rows(subject, group), (margin + 1, margin)))
        return before[2 * margin + 1 :] > before[: -2 * margin - 1]

    def _means_of_segments(
        self, subject: str, group: str, stretches: NDArray[np.int64], segment: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Mean of the run of each segment over the stretches that are kept, (n_segments, C), read in blocks."""
        run_of_segment = self.base.source_samples(subject, group)[:, 1]
        runs, runs_of_stretches = run_of_segment[self._kept[subject]], run_of_segment[segment]
        means = np.empty((len(runs), len(self.embedding.layout.channel_names)))
        for run in np.unique(runs):
            own = stretches[runs_of_stretches == run]
            total = sum(rows.sum(axis=0, dtype=np.float64) for rows in self._read_blocks(subject, group, own))
            means[runs == run] = total / (own[:, 1] - own[:, 0]).sum()
        return means

    def _scaling_of_segments(
        self, subject: str, group: str, stretches: NDArray[np.int64], segment: NDArray[np.int64]
    ) -> Tensor:
        """Moments of the components over each run's rows that are kept, by one pass over its convolution.

        Raises
        ------
        DataError
            When a component does not vary.
        """
        run_of_segment = self.base.source_samples(subject, group)[:, 1]
        runs, runs_of_stretches = run_of_segment[self._kept[subject]], run_of_segment[segment]
        scaling = np.empty((len(runs), 2, self.embedding.n_channels))
        margin = self.embedding.margin
        for run in np.unique(runs):
            total, squares, count = np.zeros(scaling.shape[2]), np.zeros(scaling.shape[2]), 0
            inner = stretches[runs_of_stretches == run] + np.array([margin, -margin])
            for first, last in blocks(inner):
                stored = torch.from_numpy(self.stored_rows(subject, group, first - margin, last + margin))
                rows = self.embedding.apply(stored).double()
                # Rows are made of signals about their run's mean, so that their squares lose no digits.
                total += rows.sum(dim=0).numpy()
                squares += rows.square().sum(dim=0).numpy()
                count += len(rows)
            mean = total / count
            variance = squares / count - mean**2
            if not (variance > ROUNDING**2 * variance.max()).all():
                name = self.run_names(subject, group)[run]
                raise DataError(
                    f"Subject {subject}, group {group}, run {name}: component {int(np.argmin(variance))} of the "
                    f"{self.embedding.in_words} does not vary; set dataset.standardize_components to false, or leave "
                    "the run out."
                )
            scaling[runs == run] = [mean, 1.0 / np.sqrt(variance)]
        return torch.from_numpy(scaling.astype(np.float32))

    def _read_blocks(self, subject: str, group: str, segments: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        for first, last in blocks(segments):
            yield self.base.read(subject, group, first, last)


class EmbeddedDataset:
    """The part of a dataset that knows of an embedding; there may be none.

    Attributes
    ----------
    left_out : list of str
        Subjects of the store whose segments are all too short to be embedded.
    """

    signal_source: SignalSource
    group: str
    config: DatasetConfig
    embedding: Embedding | None
    subjects: list[str]
    channel_names: tuple[str, ...]
    _subsets: Subsets
    left_out: list[str]

    @property
    def sampling_frequency(self) -> float:
        """Hz, of all subjects."""
        raise NotImplementedError

    def _embed(self) -> None:
        """Put the embedding that is asked for between the source and everybody else."""
        self.left_out = []
        if self.embedding is None and not self.config.embeds:
            return
        everyone, shortest = self.subjects, (self.embedding or self.config).shortest_segment
        self._subsets = _with_long_stretches(self.signal_source, self.group, self._subsets, shortest)
        self.subjects = self._subsets.all_subjects
        self.left_out = sorted({*everyone} - {*self.subjects}, key=natural_order)
        layout = Layout(sampling_frequency=self.sampling_frequency, channel_names=self.channel_names)
        if self.embedding is None:
            training = self._subsets.subjects["training"]
            self.embedding = fit_embedding(self.signal_source, self.group, layout, training, self.config)
        else:
            where = str(self.signal_source.path or "The dataset")
            self.embedding.check_layout(layout, where, named=self.signal_source.path is not None)
        self.signal_source = EmbeddedSource(self.signal_source, self.group, self.subjects, self.embedding)
        self.channel_names = common_channels(self.signal_source, self.group, self.subjects)


def _with_long_stretches(source: SignalSource, group: str, subsets: Subsets, shortest: int) -> Subsets:
    """Leave out subjects of a store without any stretch of at least `shortest` samples, unless all are.

    Arrays that their user listed stay, so that places in the list keep their meaning: the embedding refuses them.
    """
    if source.path is None:
        return subsets
    everyone = subsets.all_subjects
    short = {subject for subject in everyone if longest_stretch(source, group, subject) < shortest}
    if not short or len(short) == len(everyone):
        return subsets
    warnings.warn(
        f"{source.path}: {len(short)} of {len(everyone)} subjects have no segment of at least {shortest} samples, "
        f"which the embedding needs, and are left out ({first_of(sorted(short, key=natural_order))}).",
        DataWarning,
        stacklevel=6,
    )
    kept = {name: [one for one in subjects if one not in short] for name, subjects in subsets.subjects.items()}
    return Subsets(kept, subsets.split)


def _within(rows: NDArray[np.bool_], segments: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which rows are chosen and lie in a segment."""
    within = np.zeros_like(rows)
    for start, stop in segments.tolist():
        within[start:stop] = rows[start:stop]
    return within
