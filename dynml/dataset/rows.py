"""Rows of spans: where the series live, and what is made of their rows when they are read.

    Residence     all rows of a dataset, read once: on the device, in host memory, or left in their source
    SubsetRows    rows of one subset's spans: a view, one indexing call or slices of the file; embedded, if asked for
    RowSlicer     rows of one span that must not be in memory whole, read when they are sliced (slicer.py)

Masked samples are rows of NaN in all channels, which pass through all of this as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from dynml.dataset.residency import Residency, check_room, choose_residency
from dynml.dataset.signal_source import EmbedsRows, HoldsRows, RowEmbedding, SignalSource
from dynml.dataset.slicer import RowSlicer
from dynml.dataset.spans import SegmentTable, Spans
from dynml.errors import DataError

_BYTES_PER_READING = 2**26


class Residence:
    """All rows of a dataset's subjects, end to end, and the memory that they live in.

    Parameters
    ----------
    source : SignalSource
    group : str
    device : torch.device
        Where the model computes.
    embedding : RowEmbedding or None
        What is done to rows each time they are read; None where they are kept as they are given.
    n_channels : int
        Channels of the rows that are given.
    n_kept_channels : int
        Channels of the rows that are kept, before `embedding`.

    Attributes
    ----------
    n_rows : int
        Rows of the subjects that this process trains on.
    residency, reason : str
        Where they live, and why; known once all subsets have reserved theirs (`choose`).
    memory : torch.device
        Where they are before they are moved to the device.
    """

    def __init__(
        self,
        source: SignalSource,
        group: str,
        device: torch.device,
        embedding: RowEmbedding | None,
        *,
        n_channels: int,
        n_kept_channels: int,
    ) -> None:
        self.signal_source, self.group, self.device, self.embedding = source, group, device, embedding
        self.n_channels, self.n_kept_channels = n_channels, n_kept_channels
        self.n_rows = 0
        self._series: Tensor | None = None
        self._loaded = False

    def reserve(self, n_rows: int) -> int:
        """Take in so many rows more, and give the number of the first of them."""
        self.n_rows += n_rows
        return self.n_rows - n_rows

    def choose(self, requested: Residency) -> None:
        """Resolve the residency that was asked for, once it is known how many rows there are."""
        self.requested = requested
        self.residency, self.reason = choose_residency(requested, self._n_bytes, self.device)
        self.is_resident = self.residency != "lazy"
        self.memory = self.device if self.residency == "device" else torch.device("cpu")

    @property
    def is_on_device(self) -> bool:
        """Whether rows lie where the model computes, as it will get them."""
        return self.is_resident and self.embedding is None and self.memory == self.device

    @property
    def series(self) -> Tensor | None:
        """All rows, (n_rows, n_kept_channels) float32, in their memory; None when they are left in the source.

        Raises
        ------
        DataError
            Before `load`.
        """
        if not self._loaded:
            raise DataError("The dataset has not been loaded: call load_data() first.")
        return self._series

    def load(self, subsets: Sequence[SubsetRows], *, verify: bool, progress: bool) -> None:
        """Read all rows once; see `MultiSubjectDataset.load_data`."""
        if self._loaded:
            return
        series = self._allocate() if self.is_resident else None
        if series is not None or verify:
            self._read_through(subsets, series, progress)
        self._series, self._loaded = series, True

    def read_source(self, subject: str, start: int, stop: int) -> Tensor:
        """Rows [start, stop) of a subject as they are before `embedding`, from the source into host memory."""
        if self.embedding is not None:
            assert isinstance(self.signal_source, EmbedsRows)
            return torch.from_numpy(self.signal_source.stored_rows(subject, self.group, start, stop))
        read = self.signal_source.read(subject, self.group, start, stop)
        return torch.from_numpy(np.ascontiguousarray(read, dtype=np.float32))

    def __getstate__(self) -> dict[str, Any]:
        # What a worker process gets: resident series stay where they are.
        return {**self.__dict__, "_series": None, "_loaded": self._loaded and not self.is_resident}

    @property
    def _n_bytes(self) -> int:
        return self.n_rows * self.n_kept_channels * 4

    def _allocate(self) -> Tensor:
        check_room(self._n_bytes, self.memory)
        try:
            return torch.empty((self.n_rows, self.n_kept_channels), dtype=torch.float32, device=self.memory)
        except RuntimeError as error:
            raise DataError(
                f"The series take {self._n_bytes / 2**30:.3g} GiB, which the memory of {self.memory} does not hold: "
                "use residency lazy."
            ) from error

    def _read_through(self, subsets: Sequence[SubsetRows], series: Tensor | None, progress: bool) -> None:
        from tqdm import tqdm

        rows_per_reading = max(_BYTES_PER_READING // (4 * self.n_kept_channels), 1)
        numbered = [(subset, int(index)) for subset in subsets for index in np.flatnonzero(subset.is_own)]
        # On a terminal, and where it takes more than a moment.
        shown: dict[str, Any] = {"leave": False, "delay": 1.0, "disable": None if progress else True}
        for subset, index in tqdm(numbered, desc="Reading subjects", unit="subject", **shown):
            subject, n_rows = subset.subjects[index], int(subset.n_rows_of[index])
            own = slice(int(subset.row_offsets[index]), int(subset.row_offsets[index]) + n_rows)
            with self.signal_source.verifying(subject, self.group):
                for start in range(0, n_rows, rows_per_reading):
                    stop = min(start + rows_per_reading, n_rows)
                    rows = self._rows_to_keep(subject, start, stop)
                    if series is not None:
                        series[own][start:stop] = rows
            if series is not None and series.device.type == "cpu" and isinstance(self.signal_source, HoldsRows):
                self.signal_source.share_rows(subject, series[own].numpy())

    def _rows_to_keep(self, subject: str, start: int, stop: int) -> Tensor:
        if self.embedding is None and isinstance(self.signal_source, EmbedsRows):
            return self.signal_source.read_on(self.memory, subject, self.group, start, stop)
        return self.read_source(subject, start, stop)


class SubsetRows:
    """Rows of the subjects of one subset, which are numbered from 0; `MultiSubjectSubset` says who they are.

    Parameters
    ----------
    residence : Residence
    subjects : sequence of str
        Names in the source.
    segments : SegmentTable
        Good stretches.
    n_rows_of : (n_subjects,) int64
        Stored rows of each subject, good or not.
    is_own : (n_subjects,) bool
        Which subjects' rows are kept in this process.

    Attributes
    ----------
    row_offsets : (n_subjects,) int64
        Row of the resident series where each of the own subjects starts; -1 for others.
    n_channels : int
        Columns of every row.
    device : torch.device
        Where `read` gives its rows.
    """

    def __init__(
        self,
        residence: Residence,
        subjects: Sequence[str],
        segments: SegmentTable,
        n_rows_of: NDArray[np.int64],
        is_own: NDArray[np.bool_],
    ) -> None:
        self.subjects, self.segments, self.n_rows_of, self.is_own = list(subjects), segments, n_rows_of, is_own
        self.n_channels, self.device = residence.n_channels, residence.device
        self._residence = residence
        self._scalings: dict[torch.device, Tensor] = {}
        own_rows = np.where(is_own, n_rows_of, 0)
        first_row = residence.reserve(int(own_rows.sum()))
        self.row_offsets = np.where(is_own, first_row + np.cumsum(own_rows) - own_rows, -1)

    def read(self, subject: int, start: int, stop: int) -> Tensor:
        """Rows [start, stop) of a subject on the compute device; a view where they reside there.

        Returns
        -------
        Tensor, (n, C), float32. Not to be written to.
        """
        return self._rows_on(self.device, subject, start, stop).to(self.device)

    def rows(self, subject: int, start: int, stop: int) -> Tensor:
        """Rows [start, stop) of a subject where they reside: a view, or (lazy) host memory read from the file.

        Rows that are embedded when they are read lie within one segment.
        """
        return self._rows_on(self._residence.memory, subject, start, stop)

    def slicer(self, subject: int, start: int, stop: int) -> RowSlicer:
        """Rows [start, stop) of a subject that are read only when sliced."""
        return RowSlicer(
            lambda first, last: self.read(subject, start + first, start + last),
            (stop - start, self.n_channels),
            self.device,
        )

    def packed(self, spans: Spans) -> Tensor:
        """Rows of spans end to end, (n, C), where they reside: a view where they are neighbours there.

        Rows that are embedded when they are read come on the compute device, but from a worker on the host; so in
        `padded`.
        """
        embedding = self._residence.embedding
        if embedding is None or not len(spans):
            return self._kept_packed(spans)
        wider, device = spans.widened(embedding.margin), self._device_of_embedding()
        scaling = self._scaling_of(spans.subject, spans.segment, device)
        return embedding.apply_to_stretches(self._kept_packed(wider).to(device), wider.lengths, scaling)

    def padded(self, spans: Spans) -> Tensor:
        """Rows of spans side by side, (B, T, C), where they reside: 0 after a span's end."""
        embedding = self._residence.embedding
        if embedding is None or not len(spans):
            return self._kept_padded(spans)
        lengths, device = spans.lengths, self._device_of_embedding()
        scaling = self._scaling_of(spans.subject, spans.segment, device)
        signals = embedding.apply_to_windows(self._kept_padded(spans.widened(embedding.margin)).to(device), scaling)
        if (lengths == signals.shape[1]).all():
            return signals
        return signals.masked_fill_(~mask_of(lengths, signals.shape[1]).to(device)[:, :, None], 0.0)

    def _kept(self, subject: int, start: int, stop: int) -> Tensor:
        """Rows of a subject where they reside, before they are embedded."""
        series = self._residence.series
        if series is not None and self.is_own[subject]:
            offset = int(self.row_offsets[subject])
            return series[offset + start : offset + stop]
        return self._residence.read_source(self.subjects[subject], start, stop)

    def _kept_packed(self, spans: Spans) -> Tensor:
        series = self._residence.series
        if series is None:
            pieces = [self._kept(subject, start, stop) for subject, start, stop in _joined(spans)]
            return pieces[0] if len(pieces) == 1 else torch.cat([self._no_rows(0), *pieces])
        first, lengths = self._first_rows(spans), spans.lengths
        if len(spans) and np.array_equal(first[1:], first[:-1] + lengths[:-1]):
            return series[first[0] : first[-1] + lengths[-1]]
        return series.index_select(0, torch.from_numpy(_row_numbers(first, lengths)).to(series.device))

    def _kept_padded(self, spans: Spans) -> Tensor:
        series, lengths = self._residence.series, spans.lengths
        n_times = int(lengths.max(initial=0))
        if series is None:
            signals = self._no_rows(len(spans), n_times)
            for row, span in enumerate(spans):
                signals[row, : span.length] = self._kept(span.subject, span.start, span.stop)
            return signals
        # Only where spans start and how long they are goes to the device; the rows' numbers are made there.
        first = torch.from_numpy(self._first_rows(spans)).to(series.device, non_blocking=True)[:, None]
        position = torch.arange(n_times, device=series.device)
        if (lengths == n_times).all():
            numbers = first + position
            return series.index_select(0, numbers.reshape(-1)).reshape(*numbers.shape, series.shape[1])
        ends = torch.from_numpy(lengths).to(series.device, non_blocking=True)[:, None]
        numbers = first + torch.minimum(position, ends - 1)
        signals = series.index_select(0, numbers.reshape(-1)).reshape(*numbers.shape, series.shape[1])
        return signals.masked_fill_((position >= ends)[:, :, None], 0.0)

    def _no_rows(self, *shape: int) -> Tensor:
        return torch.zeros(*shape, self._residence.n_kept_channels)

    def _first_rows(self, spans: Spans) -> NDArray[np.int64]:
        """Row of the resident series where each span starts."""
        return self.row_offsets[spans.subject] + spans.start

    def _rows_on(self, device: torch.device, subject: int, start: int, stop: int) -> Tensor:
        """Rows where they reside; those that are embedded first, on a device."""
        embedding = self._residence.embedding
        if embedding is None:
            return self._kept(subject, start, stop)
        if start >= stop:
            return torch.zeros(0, self.n_channels, device=device)
        margin = embedding.margin
        # Such rows lie within one segment.
        first = int(np.searchsorted(self.segments.subject, subject))
        own = self.segments.start[first : np.searchsorted(self.segments.subject, subject, side="right")]
        segment = np.searchsorted(own, [start], side="right") - 1
        scaling = self._scaling_of(np.array([subject]), segment, device)
        kept = self._kept(subject, start - margin, stop + margin).to(device)
        return embedding.apply(kept, None if scaling is None else scaling[0])

    def _device_of_embedding(self) -> torch.device:
        return torch.device("cpu") if get_worker_info() is not None else self.device

    def _scaling_of(
        self, subject: NDArray[np.int64], segment: NDArray[np.int64], device: torch.device
    ) -> Tensor | None:
        """What to subtract from components and to multiply them by in given segments, (n, 2, P); None: nothing."""
        embedding = self._residence.embedding
        if embedding is None or not embedding.standardize:
            return None
        index = np.searchsorted(self.segments.subject, subject) + segment
        if device not in self._scalings:
            source = self._residence.signal_source
            assert isinstance(source, EmbedsRows)
            self._scalings[device] = torch.cat([source.scaling(name) for name in self.subjects]).to(device)
        return self._scalings[device].index_select(0, torch.from_numpy(index).to(device))


def mask_of(lengths: NDArray[np.int64], n_times: int) -> Tensor:
    """Which samples of a padded batch belong to its spans, (B, T) bool."""
    return torch.from_numpy(np.arange(n_times) < lengths[:, None])


def _row_numbers(first: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of all rows of stretches, one stretch after another."""
    before = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) + np.repeat(first - before, lengths)


def _joined(spans: Spans) -> Iterator[tuple[int, int, int]]:
    """Join spans that follow one another in a subject's rows, so that the file is read in as few slices as possible."""
    current: tuple[int, int, int] | None = None
    for span in spans:
        if current is not None and (current[0], current[2]) == (span.subject, span.start):
            current = (current[0], current[1], span.stop)
            continue
        if current is not None:
            yield current
        current = (span.subject, span.start, span.stop)
    if current is not None:
        yield current
