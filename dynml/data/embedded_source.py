"""A source whose rows are the time-delay embedding of another's, made when they are read.

Rows keep their numbers: row t of the embedding lies at row t of the store, and segments lose their ends.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.data.embedding import Embedding, long_segments
from dynml.data.preparation_steps.step import blocks
from dynml.data.recording import Events
from dynml.data.remarks import Remarks
from dynml.data.signal_source import SignalSource
from dynml.data.store_reading import GroupDescription


class EmbeddedSource:
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
        self.base, self.embedding = base, embedding
        self._kept: dict[str, NDArray[np.bool_]] = {}
        self._means: dict[str, NDArray[np.float64]] = {}
        remarks = Remarks()
        for subject in subjects:
            kept = long_segments(base, group, subject, embedding.shortest_segment)
            self._kept[subject] = kept
            if not kept.all():
                shortest = embedding.shortest_segment
                topic = f"Segments of fewer than {shortest} samples cannot be embedded and are left out"
                remarks.add(topic, f"{subject}: {int((~kept).sum())} of {len(kept)}")
            if embedding.is_projected:
                self._means[subject] = self._means_of_segments(subject, group)
        remarks.tell()

    @property
    def path(self) -> Path | None:
        """File that is read, None for arrays."""
        return self.base.path

    @property
    def split(self) -> str:
        """What separates the subsets."""
        return self.base.split

    @property
    def subjects(self) -> list[str]:
        """All subjects."""
        return self.base.subjects

    def subset(self, name: str) -> list[str]:
        """List a subset's subjects."""
        return self.base.subset(name)

    def groups(self, subject: str) -> list[str]:
        """List a subject's groups."""
        return self.base.groups(subject)

    def participant(self, subject: str) -> str:
        """Name the person behind a subject."""
        return self.base.participant(subject)

    def covariates(self, subject: str) -> dict[str, str]:
        """Give a subject's data set and covariates; arrays have none."""
        read = getattr(self.base, "covariates", None)
        return {} if read is None else read(subject)

    def run_names(self, subject: str, group: str) -> list[str]:
        """List the names of the runs, in stored order."""
        return self.base.run_names(subject, group)

    def events(self, subject: str, group: str) -> Events | None:
        """Give the events, whose rows are the store's."""
        return self.base.events(subject, group)

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

    def fingerprint(self, group: str, subjects: Iterable[str]) -> str:
        """SHA-256 over the subjects, the settings of the embedding, and what its components were fitted to."""
        embedding = self.embedding
        n_components = embedding.n_channels if embedding.is_projected else None
        settings = [embedding.n_embeddings, n_components, embedding.whiten, embedding.fitted_to]
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
        for first, last in self.segments(subject, group).tolist():
            begin, end = max(first, start), min(last, stop)
            if begin < end:
                stored = self.stored_rows(subject, group, begin - margin, end + margin)
                rows[begin - start : end - start] = self.embedding.apply(torch.from_numpy(stored).to(device))
        return rows

    def _long(self, subject: str, group: str) -> NDArray[np.int64]:
        """Those of the base's segments that are long enough."""
        segments: NDArray[np.int64] = self.base.segments(subject, group)[self._kept[subject]]
        return segments

    def _means_of_segments(self, subject: str, group: str) -> NDArray[np.float64]:
        """Mean of the run of each segment over the good rows that are kept, (n_segments, C), read in blocks."""
        segments = self._long(subject, group)
        runs = self.base.source_samples(subject, group)[self._kept[subject], 1]
        means = np.empty((len(segments), len(self.embedding.layout.channel_names)))
        for run in np.unique(runs):
            own = segments[runs == run]
            total = sum(rows.sum(axis=0, dtype=np.float64) for rows in self._read_blocks(subject, group, own))
            means[runs == run] = total / (own[:, 1] - own[:, 0]).sum()
        return means

    def _read_blocks(self, subject: str, group: str, segments: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        for first, last in blocks(segments):
            yield self.base.read(subject, group, first, last)
