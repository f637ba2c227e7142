"""What a model gets: a batch of spans as tensors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.dataset.montages.montages import Montages
from dynml.dataset.slicer import RowSlicer
from dynml.dataset.spans import Spans
from dynml.ops.keyed_noise import span_keys
from dynml.ops.masked_samples import observed_rows

_FIXED_KEYS_SEED = 0x2545F4914F6CDD1D
"""Any number that is nobody's seed."""
_ROWS_PER_READING = 2**16


class SubsetOfBatch(Protocol):
    """What a batch asks of the subset that it was read from; see `MultiSubjectSubset`."""

    subjects: list[str]
    block: NDArray[np.int64]
    sampling_frequencies: NDArray[np.float64]
    n_masked: int
    montages: Montages | None
    montage_of: NDArray[np.int64]

    @property
    def datasets(self) -> list[str]:
        """Name of the data set that each subject comes from."""
        ...

    def seconds_of_rows(
        self, subject: NDArray[np.int64], segment: NDArray[np.int64], row: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Time since the start of the original run of given rows."""
        ...


@dataclass(kw_only=True)
class Batch:
    """Spans of a subset as tensors.

    Shapes: B spans, T samples of the longest, C channels, n samples of all spans.

    Parameters
    ----------
    signals : Tensor or RowSlicer
        padded: (B, T, C), 0 after a span's end. packed: (n, C), spans end to end; a view where resident rows are
        neighbours, so not to be written to. A segment that must not be in memory whole comes as a `RowSlicer`. Masked
        samples are rows that are NaN in all channels; see `observed`.
    mask : Tensor or None
        padded: (B, T) bool, True for samples of the span.
    starts : Tensor or None
        packed: (B + 1,) int64 on the CPU, row where each span starts, and n.
    spans : Spans
        What was read: a sequence of `Span`, on the host.
    subject, segment, start_sample, lengths : Tensor, (B,), int64
        The spans' columns: indices in the subset, first row of the subject, samples.
    trial : Tensor, (B,), int64
        Position in the sampler's table of trials, -1 for windows that are none.
    classes : Tensor, (B,), int64
        The trials' labels, positions in `dataset.label_names(sampler.trials)`; -1 where there are no trials.
    labels : dict or None
        Column of the events to int64 (B, T) or (n,): a position in `dataset.label_names(column)`, -1 for none.
    context : str
        training, validation or testing.
    seed, epoch : int
    sampled : Spans
        The spans before time jitter: with seed and epoch what all noise is keyed by (`keys`).
    subset : MultiSubjectSubset
        Where the spans come from.
    """

    signals: Tensor | RowSlicer
    mask: Tensor | None
    starts: Tensor | None
    spans: Spans
    subject: Tensor
    segment: Tensor
    start_sample: Tensor
    lengths: Tensor
    trial: Tensor
    classes: Tensor
    labels: dict[str, Tensor] | None
    context: str
    seed: int
    epoch: int
    sampled: Spans
    subset: SubsetOfBatch = dataclasses.field(repr=False)

    @property
    def n_samples(self) -> int:
        """Samples of all spans, without padding."""
        return int(self.spans.lengths.sum())

    @property
    def has_masked(self) -> bool:
        """Whether rows may be masked: NaN in all channels, for samples that were not observed."""
        return self.subset.n_masked > 0

    @cached_property
    def observed(self) -> Tensor | None:
        """Which rows are samples of a span that were observed, (B, T) or (n,) bool; None where nothing is masked."""
        if not self.has_masked:
            return None
        if isinstance(self.signals, RowSlicer):
            firsts = range(0, len(self.signals), _ROWS_PER_READING)
            return torch.cat([observed_rows(self.signals[first : first + _ROWS_PER_READING]) for first in firsts])
        observed = observed_rows(self.signals)
        return observed if self.mask is None else observed & self.mask

    @property
    def n_spans(self) -> int:
        """B."""
        return len(self.spans)

    @property
    def is_packed(self) -> bool:
        """Whether spans lie end to end."""
        return self.starts is not None

    @property
    def windows(self) -> Tensor:
        """Signals of a padded batch, (B, T, C), which never come as a reader."""
        assert isinstance(self.signals, Tensor)
        return self.signals

    @property
    def groups(self) -> Tensor:
        """First span of every block of subjects in the batch, and B, int64 on the CPU."""
        blocks = self.subset.block[self.spans.subject]
        firsts = np.flatnonzero(np.diff(blocks, prepend=-1))
        return torch.tensor([*firsts.tolist(), len(blocks)], dtype=torch.int64)

    @property
    def device(self) -> torch.device:
        """Where the signals are, or where slices of them will be."""
        return self.signals.device

    @property
    def times_seconds(self) -> Tensor:
        """Time of every sample since the start of its original run, in seconds: (B, T) or (n,) float64.

        In padding, time goes on. Computed when asked for.
        """
        spans = self.spans
        starts = self._on_device(self.subset.seconds_of_rows(spans.subject, spans.segment, spans.start))
        span, position = self.span_and_position()
        times = starts[span] + position / self._rates()[span]
        return times if self.is_packed else times.reshape(self.signals.shape[:2])

    @property
    def seconds_in_span(self) -> Tensor:
        """Time of every sample since the first of its span, in seconds: (B, T) or (n,) float64.

        Position over the subject's sampling frequency; in padding, time goes on. Computed when asked for.
        """
        rates = self._rates()
        if self.is_packed:
            span, position = self.span_and_position()
            return position / rates[span]
        return torch.arange(self.signals.shape[1], device=self.device) / rates[:, None]

    @cached_property
    def keys(self) -> Tensor:
        """What all noise of a span is keyed by, (B,) int64: seed, epoch and the span as it was sampled."""
        return keys_of(self.sampled, self.seed, self.epoch).to(self.device, non_blocking=True)

    @property
    def fixed_keys(self) -> Tensor:
        """What draws are keyed by that must be the same in every epoch and run, (B,) int64: the span alone."""
        stops = self.start_sample + self.lengths
        return span_keys(_FIXED_KEYS_SEED, 0, self.subject, self.segment, self.start_sample, stops)

    def span_and_position(self) -> tuple[Tensor, Tensor]:
        """Which span each row belongs to and where in it, two (n,) or, padded, (B T,) int64 tensors."""
        if self.is_packed:
            span = torch.arange(self.n_spans, device=self.device).repeat_interleave(
                self.lengths, output_size=self.n_samples
            )
            assert self.starts is not None
            return span, torch.arange(self.n_samples, device=self.device) - self.starts.to(self.device)[span]
        n_times = self.signals.shape[1]
        span = torch.arange(self.n_spans, device=self.device).repeat_interleave(n_times)
        return span, torch.arange(n_times, device=self.device).repeat(self.n_spans)

    def _rates(self) -> Tensor:
        return self._on_device(self.subset.sampling_frequencies[self.spans.subject])

    def _on_device(self, values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values).to(self.device, non_blocking=True)

    def to(self, device: torch.device) -> Batch:
        """Give the same batch with its tensors on a device; `starts` stays on the host, which cuts rows by it."""

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        names = ("mask", "subject", "segment", "start_sample", "lengths", "trial", "classes")
        tensors = {name: moved(getattr(self, name)) for name in names}
        signals = self.signals if isinstance(self.signals, RowSlicer) else moved(self.signals)
        labels = None if self.labels is None else {name: moved(column) for name, column in self.labels.items()}
        return dataclasses.replace(self, signals=signals, labels=labels, **tensors)  # type: ignore[arg-type]


def keys_of(spans: Spans, seed: int, epoch: int) -> Tensor:
    """What all noise of spans is keyed by, (B,) int64 on the CPU."""
    subject, segment, start, stop = torch.from_numpy(spans.columns[:4]).unbind(0)
    return span_keys(seed, epoch, subject, segment, start, stop)
