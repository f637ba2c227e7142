"""Windows that do not move, and what is counted and drawn in them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from torch import Tensor

from dynml.batches.batch import Batch
from dynml.batches.loader import BatchLoader
from dynml.batches.sampler import BatchSampler
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.models.dynemo.model import DRAWS_SEED
from dynml.ops.keyed_noise import span_keys

WINDOWS_PER_BATCH = 64


class FixedWindows:
    """All samples of a subset in windows laid end to end; the last one of a segment may be shorter.

    Parameters
    ----------
    dataset : MultiSubjectDataset
    length : int
        Samples of a window.
    """

    def __init__(self, dataset: MultiSubjectDataset, length: int) -> None:
        self._length = length
        self.dataset = dataset
        self._sampler = BatchSampler(
            dataset,
            strategy="fixed_windows",
            window_length=length,
            minimum_length=1,
            batch_size_training=WINDOWS_PER_BATCH,
        )
        self._loader = BatchLoader(dataset, collate="padded")

    def __call__(self, context: str, n_samples: int | None = None) -> Iterator[tuple[Batch, Tensor | None]]:
        """Batches of this process, each with its mask where windows differ in length.

        Parameters
        ----------
        context : str
            Name of the subset.
        n_samples : int, optional
            Only as many batches as have so many samples of all processes, always the same ones; those of the training
            subset are windows of all subjects, in a fixed random order.
        """
        self._sampler.set_context(context)  # type: ignore[arg-type]
        self._loader.set_context(context)  # type: ignore[arg-type]
        n_batches = None if n_samples is None else -(-n_samples // (WINDOWS_PER_BATCH * self._length))
        for batch in itertools.islice(self._loader.iterate(self._sampler, 0), n_batches):
            if batch.spans:
                yield batch, ragged_mask(batch)


def ragged_mask(batch: Batch) -> Tensor | None:
    """Mask of a batch whose windows differ in length; None where there is nothing to mask."""
    assert batch.mask is not None
    return None if batch.spans.lengths.min() == batch.windows.shape[1] else batch.mask


def n_observed(batch: Batch) -> int:
    """Samples of a batch that were observed."""
    return batch.n_samples if batch.observed is None else int(batch.observed.sum())


def keys_of_draws(batch: Batch) -> Tensor:
    """What the draws of validation and reports are keyed by, (B,): the window alone, the same in every epoch."""
    starts = batch.start_sample
    return span_keys(DRAWS_SEED, 0, batch.subject, batch.segment, starts, starts + batch.lengths)
