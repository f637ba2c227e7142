"""Rows of spans gathered into one tensor: a view, one indexing call, or slices of the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.embedding import Embedding
from dynml.dataset.spans import Span, Spans
from dynml.dataset.subset import MultiSubjectSubset
from dynml.recording import NO_LABEL

SpanData = tuple[Tensor, dict[str, Tensor]]
"""Signals and, by column, labels of the spans of a batch."""


class SpanReader:
    """Reads the rows of a batch; this is what a worker process holds.

    Parameters
    ----------
    dataset : MultiSubjectDataset
    collate : {"padded", "packed"}
    labels : sequence of str
        Columns of the events to read.
    """

    def __init__(self, dataset: MultiSubjectDataset, collate: str, labels: Sequence[str]) -> None:
        self._dataset, self._packed, self._columns = dataset, collate == "packed", tuple(labels)

    def read(self, context: str, spans: Sequence[Span]) -> SpanData:
        """Signals (B, T, C) or (n, C) and labels (B, T) or (n,) of spans, where the series reside.

        Signals that are embedded when they are read come on the compute device, but from a worker on the host.
        """
        subset, spans = self._dataset.subset(context), Spans.of(spans)
        embedding = self._dataset.embedding_of_rows
        if embedding is not None and len(spans):
            signals = self._embedded_signals(subset, spans, embedding)
        else:
            signals = self._packed_signals(subset, spans) if self._packed else self._padded_signals(subset, spans)
        return signals, {column: self._labels(subset, spans, column) for column in self._columns}

    def labels(self, context: str, spans: Sequence[Span]) -> dict[str, Tensor]:
        """Give the labels alone."""
        subset, spans = self._dataset.subset(context), Spans.of(spans)
        return {column: self._labels(subset, spans, column) for column in self._columns}

    def _embedded_signals(self, subset: MultiSubjectSubset, spans: Spans, embedding: Embedding) -> Tensor:
        """Read spans with the neighbours that their ends need, and embed them all by one convolution."""
        margin, lengths = embedding.margin, spans.lengths
        wider = spans.widened(margin)
        device = torch.device("cpu") if get_worker_info() is not None else self._dataset.device
        scaling = subset.scaling_of(spans.subject, spans.segment, device)
        if self._packed:
            return embedding.apply_to_stretches(self._packed_signals(subset, wider).to(device), wider.lengths, scaling)
        signals = embedding.apply_to_windows(self._padded_signals(subset, wider).to(device), scaling)
        if (lengths == signals.shape[1]).all():
            return signals
        return signals.masked_fill_(~mask_of(lengths, signals.shape[1]).to(device)[:, :, None], 0.0)

    def _packed_signals(self, subset: MultiSubjectSubset, spans: Spans) -> Tensor:
        series = self._dataset.series
        if series is None:
            pieces = [subset.stored_rows(subject, start, stop) for subject, start, stop in _joined(spans)]
            return pieces[0] if len(pieces) == 1 else torch.cat([self._no_rows(), *pieces])
        first, lengths = _first_rows(subset, spans), spans.lengths
        if len(spans) and np.array_equal(first[1:], first[:-1] + lengths[:-1]):
            return series[first[0] : first[-1] + lengths[-1]]
        return series.index_select(0, torch.from_numpy(_row_numbers(first, lengths)).to(series.device))

    def _no_rows(self) -> Tensor:
        return torch.zeros(0, self._dataset.n_channels_before_embedding)

    def _padded_signals(self, subset: MultiSubjectSubset, spans: Spans) -> Tensor:
        series, lengths = self._dataset.series, spans.lengths
        n_times = int(lengths.max(initial=0))
        if series is None:
            signals = torch.zeros(len(spans), n_times, self._dataset.n_channels_before_embedding)
            for row, span in enumerate(spans):
                signals[row, : span.length] = subset.stored_rows(span.subject, span.start, span.stop)
            return signals
        # Only where spans start and how long they are goes to the device; the rows' numbers are made there.
        first = torch.from_numpy(_first_rows(subset, spans)).to(series.device, non_blocking=True)[:, None]
        position = torch.arange(n_times, device=series.device)
        if (lengths == n_times).all():
            numbers = first + position
            return series.index_select(0, numbers.reshape(-1)).reshape(*numbers.shape, series.shape[1])
        ends = torch.from_numpy(lengths).to(series.device, non_blocking=True)[:, None]
        numbers = first + torch.minimum(position, ends - 1)
        signals = series.index_select(0, numbers.reshape(-1)).reshape(*numbers.shape, series.shape[1])
        return signals.masked_fill_((position >= ends)[:, :, None], 0.0)

    def _labels(self, subset: MultiSubjectSubset, spans: Spans, column: str) -> Tensor:
        pieces = [subset.labels(span.subject, span.start, span.stop, column) for span in spans]
        if self._packed:
            return torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *pieces]))
        labels = np.full((len(spans), int(spans.lengths.max(initial=0))), NO_LABEL, dtype=np.int64)
        for row, piece in enumerate(pieces):
            labels[row, : len(piece)] = piece
        return torch.from_numpy(labels)


def mask_of(lengths: NDArray[np.int64], n_times: int) -> Tensor:
    """Which samples of a padded batch belong to its spans, (B, T) bool."""
    return torch.from_numpy(np.arange(n_times) < lengths[:, None])


def _first_rows(subset: MultiSubjectSubset, spans: Spans) -> NDArray[np.int64]:
    """Row of the resident series where each span starts."""
    return subset.row_offsets[spans.subject] + spans.start


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
