"""Spans to batches: read on the host (in workers, if the data are lazy), then moved and augmented on the device."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dynml.batches.batch import Batch, keys_of
from dynml.batches.loader_config import BatchLoaderConfig
from dynml.batches.sampler import CONTEXTS, BatchSampler, check_dataset
from dynml.configuration import check_choice, check_instance, config_from
from dynml.dataset.dataset import MultiSubjectDataset, MultiSubjectSubset
from dynml.dataset.rows import mask_of
from dynml.dataset.slicer import RowSlicer
from dynml.dataset.spans import Span, Spans
from dynml.errors import ConfigurationError, DataWarning, DynmlError
from dynml.ops.augmentation.rows import augmented_rows, jittered_starts
from dynml.process_life import die_with_parent

__all__ = ["Batch", "BatchLoader", "BatchLoaderConfig"]

SpanData = tuple[Tensor | RowSlicer, dict[str, Tensor]]
"""Signals and, by column, labels of the spans of a batch."""


class BatchLoader:
    """Makes batches of a dataset's spans.

    Parameters
    ----------
    dataset : MultiSubjectDataset
        Loaded before batches are asked for.
    model : object, optional
        A model whose `n_channels`, if it has any, must be the dataset's.
    input_group_name : str, optional
        Group of the store that the model is meant for; must be the dataset's.
    config : BatchLoaderConfig, optional
        Or its fields as keywords.
    seed : int
        What all noise is keyed by, together with epoch and span.

    Raises
    ------
    ConfigurationError
        For settings that cannot be used with this dataset or model.

    Warns
    -----
    DataWarning
        When n_workers has no effect.
    """

    def __init__(
        self,
        dataset: MultiSubjectDataset,
        model: Any = None,
        input_group_name: str | None = None,
        config: BatchLoaderConfig | None = None,
        *,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        if config is not None and settings:
            raise ConfigurationError("loader", sorted(settings), "a config or single settings, not both")
        check_dataset("BatchLoader's dataset", dataset)
        check_instance("BatchLoader's model", model, (torch.nn.Module, type(None)), "a model, or None")
        if config is not None:
            check_instance("loader.config", config, BatchLoaderConfig, "a BatchLoaderConfig")
        self.dataset, self.seed, self.context = dataset, seed, "training"
        self.config = config if config is not None else config_from(BatchLoaderConfig, settings, "loader")
        self._check(model, input_group_name)
        self._changes_values = self.config.changes_values

    @property
    def n_channels(self) -> int:
        """Channels of the batches."""
        return self.dataset.n_channels

    def set_context(self, context: Literal["training", "validation", "testing"]) -> None:
        """Choose the subset that spans refer to; only training is augmented."""
        check_choice("context", context, CONTEXTS)
        self.context = context

    def load_batch(self, spans: Sequence[Span], epoch: int = 0) -> Batch:
        """Read the spans of a batch where the series reside, without augmentation of their values.

        Parameters
        ----------
        spans : sequence of Span
            As the sampler gave them; an empty one gives an empty batch.
        epoch : int
        """
        return self._load(Spans.of(spans), epoch, self.dataset.subset(self.context))

    def on_device(self, batch: Batch) -> Batch:
        """Move a batch to the compute device and, in training, augment it there."""
        batch = batch.to(self.dataset.device)
        if batch.context == "training" and self._changes_values:
            batch.signals = self._augmented(batch)
        return batch

    def iterate(self, sampler: BatchSampler, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches of an epoch from number `start` on, on the compute device.

        With workers, lazy data are read ahead; the batches are the same.

        Parameters
        ----------
        sampler : BatchSampler
            In the same context as the loader.
        epoch : int
        start : int
            How many batches are skipped.
        """
        assert sampler.context == self.context, (sampler.context, self.context)
        # The subset is kept, so that validating amid an epoch does not disturb the epoch.
        batches = zip(sampler.batches(epoch, start), sampler.passes(epoch, start))
        arguments = (sampler, batches, self.dataset.subset(self.context))
        if self.dataset.residence.is_resident or not self.config.n_workers:
            return self._iterate_here(*arguments)
        return self._iterate_with_workers(*arguments)

    def _iterate_here(
        self, sampler: BatchSampler, batches: Iterator[tuple[Spans, int]], subset: MultiSubjectSubset
    ) -> Iterator[Batch]:
        may_be_sliced = self._may_be_sliced
        for spans, epoch in batches:
            is_sliced = may_be_sliced and sampler.is_oversized(spans, subset.name)
            load = self._sliced_batch if is_sliced else self._load
            yield self.on_device(load(spans, epoch, subset))

    def _iterate_with_workers(
        self, sampler: BatchSampler, batches: Iterator[tuple[Spans, int]], subset: MultiSubjectSubset
    ) -> Iterator[Batch]:
        under_way: deque[tuple[Spans, Spans | None, int]] = deque()
        may_be_sliced = self._may_be_sliced

        def orders() -> Iterator[Spans | None]:
            for sampled, epoch in batches:
                is_sliced = may_be_sliced and sampler.is_oversized(sampled, subset.name)
                moved = None if is_sliced else self._moved(sampled, epoch, subset)
                under_way.append((sampled, moved, epoch))
                yield moved

        reading = _Reading(subset, self.config.collate == "packed", self.config.labels)
        for data in _worker_pool(reading, orders(), self.config.n_workers, self.dataset.device):
            sampled, moved, epoch = under_way.popleft()
            if isinstance(data, DynmlError):
                raise data
            if moved is None:
                yield self.on_device(self._sliced_batch(sampled, epoch, subset))
            else:
                yield self.on_device(self._assembled(sampled, moved, epoch, subset, data))

    @property
    def _may_be_sliced(self) -> bool:
        """Whether a segment that is longer than a batch may be is read in pieces: not where it lies on the device."""
        return self.config.collate == "packed" and not self.dataset.residence.is_on_device

    def _moved(self, sampled: Spans, epoch: int, subset: MultiSubjectSubset) -> Spans:
        """Spans after time jitter."""
        if subset.name != "training" or not self.config.time_jitter:
            return sampled
        index = np.searchsorted(subset.segments.subject, sampled.subject) + sampled.segment
        borders = torch.from_numpy(np.stack([subset.segments.start[index], subset.segments.stop[index]], axis=1))
        start, stop = torch.from_numpy(sampled.columns[2:4]).unbind(0)
        keys = keys_of(sampled, self.seed, epoch)
        return sampled.starting_at(jittered_starts(keys, start, stop, borders, self.config.time_jitter).numpy())

    def _load(self, sampled: Spans, epoch: int, subset: MultiSubjectSubset) -> Batch:
        spans = self._moved(sampled, epoch, subset)
        data = read_spans(subset, spans, packed=self.config.collate == "packed", columns=self.config.labels)
        return self._assembled(sampled, spans, epoch, subset, data)

    def _sliced_batch(self, sampled: Spans, epoch: int, subset: MultiSubjectSubset) -> Batch:
        spans = self._moved(sampled, epoch, subset)
        (span,) = spans
        labels = {column: subset.labels_of_spans(spans, column, packed=True) for column in self.config.labels}
        return self._assembled(
            sampled, spans, epoch, subset, (subset.slicer(span.subject, span.start, span.stop), labels)
        )

    def _assembled(self, sampled: Spans, spans: Spans, epoch: int, subset: MultiSubjectSubset, data: SpanData) -> Batch:
        signals, labels = data
        lengths, columns = spans.lengths, torch.from_numpy(spans.columns)
        packed = self.config.collate == "packed"
        return Batch(
            signals=signals,
            mask=None if packed else mask_of(lengths, int(lengths.max(initial=0))),
            starts=torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])) if packed else None,
            spans=spans,
            subject=columns[0],
            segment=columns[1],
            start_sample=columns[2],
            lengths=torch.from_numpy(lengths),
            trial=columns[4],
            classes=columns[5],
            labels=labels if self.config.labels else None,
            context=subset.name,
            seed=self.seed,
            epoch=epoch,
            sampled=sampled,
            subset=subset,
        )

    def _augmented(self, batch: Batch) -> Tensor | RowSlicer:
        if isinstance(batch.signals, RowSlicer):
            return batch.signals.transformed(lambda rows, first: self._augmented_piece(batch, rows, first))
        span, position = batch.span_and_position()
        rows = batch.signals.reshape(-1, self.n_channels)
        augmented = self._changed_rows(batch, rows, span, position)
        augmented = augmented.reshape(batch.signals.shape)
        return augmented if batch.mask is None else torch.where(batch.mask[:, :, None], augmented, 0.0)

    def _augmented_piece(self, batch: Batch, rows: Tensor, first: int) -> Tensor:
        position = torch.arange(first, first + len(rows), device=rows.device)
        return self._changed_rows(batch, rows, torch.zeros_like(position), position)

    def _changed_rows(self, batch: Batch, rows: Tensor, span: Tensor, position: Tensor) -> Tensor:
        n_own = self.n_channels - self.dataset.n_conditioning
        changed = augmented_rows(
            rows[:, :n_own], span, position, batch.keys, batch.lengths, self.config, has_masked=batch.has_masked
        )
        return changed if n_own == self.n_channels else torch.cat([changed, rows[:, n_own:]], dim=1)

    def _check(self, model: Any, input_group_name: str | None) -> None:
        if input_group_name is not None and input_group_name != self.dataset.group:
            raise ConfigurationError(
                "input_group_name", input_group_name, f"the dataset's group ({self.dataset.group})"
            )
        n_channels = getattr(model, "n_channels", None)
        if isinstance(n_channels, int) and n_channels != self.dataset.n_channels:
            raise ConfigurationError("model.n_channels", n_channels, f"the data's ({self.dataset.n_channels})")
        known = ("auto", self.dataset.residence.requested, self.dataset.residency)
        if self.config.residency not in known:
            raise ConfigurationError("loader.residency", self.config.residency, f"the dataset's ({known[-1]})")
        if self.config.n_workers and self.dataset.residence.is_resident:
            warnings.warn(
                f"loader.n_workers is {self.config.n_workers}, but is not used: workers read ahead from the file, and "
                f"the series reside in {self.dataset.residency} ({self.dataset.residency_reason}).",
                DataWarning,
                stacklevel=3,
            )


def read_spans(subset: MultiSubjectSubset, spans: Spans, *, packed: bool, columns: Sequence[str]) -> SpanData:
    """Signals (n, C) or (B, T, C) of spans, where the series reside, and labels (n,) or (B, T) by column."""
    signals = subset.packed(spans) if packed else subset.padded(spans)
    return signals, {column: subset.labels_of_spans(spans, column, packed=packed) for column in columns}


class _Reading(Dataset):
    """Reads spans in a worker process; a user's errors come back as values, to be raised as they are."""

    def __init__(self, subset: MultiSubjectSubset, packed: bool, columns: Sequence[str]) -> None:
        self._subset, self._packed, self._columns = subset, packed, columns

    def __getitem__(self, spans: Spans | None) -> SpanData | DynmlError | None:
        try:
            if spans is None:
                return None
            return read_spans(self._subset, spans, packed=self._packed, columns=self._columns)
        except DynmlError as error:
            return error


def _begin_as_worker(parent: int, of_main_thread: bool, _number: int) -> None:
    # A worker that stays behind would keep the lock of the experiment of a killed run.
    die_with_parent(parent, of_main_thread)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _worker_pool(reading: _Reading, orders: Iterator[Any], n_workers: int, device: torch.device) -> Iterable[Any]:
    return DataLoader(
        reading,
        sampler=_Orders(orders),
        batch_size=None,
        num_workers=n_workers,
        collate_fn=_as_it_is,
        worker_init_fn=functools.partial(_begin_as_worker, os.getpid(), _is_main_thread()),
        pin_memory=device.type not in ("cpu", "mps"),  # on mps both share one memory
        # A generator of its own: workers must not draw from the one that the model's dropout uses.
        generator=torch.Generator().manual_seed(0),
    )


class _Orders:
    """An iterator as what a DataLoader takes for a sampler."""

    def __init__(self, orders: Iterator[Any]) -> None:
        self._orders = orders

    def __iter__(self) -> Iterator[Any]:
        return self._orders


def _as_it_is(data: Any) -> Any:
    return data
