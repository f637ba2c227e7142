"""Windows that do not move: those that scores and reports are made of."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from dynml.batches.batch import Batch
from dynml.batches.loader import BatchLoader
from dynml.batches.sampler import BatchSampler
from dynml.dataset.dataset import MultiSubjectDataset

WINDOWS_PER_BATCH = 64


class FixedWindows:
    """All samples of a subset in windows laid end to end, the same every time; the last of a segment may be shorter.

    Parameters
    ----------
    dataset : MultiSubjectDataset
    length : int
        Samples of a window.
    """

    def __init__(self, dataset: MultiSubjectDataset, length: int) -> None:
        self.dataset, self._length = dataset, length
        self._sampler = BatchSampler(
            dataset,
            strategy="fixed_windows",
            window_length=length,
            minimum_length=1,
            batch_size_training=WINDOWS_PER_BATCH,
        )
        self._loader = BatchLoader(dataset, collate="padded")

    def __call__(self, context: str, n_samples: int | None = None) -> Iterator[Batch]:
        """Padded batches of this process.

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
        batches = itertools.islice(self._loader.iterate(self._sampler, 0), n_batches)
        return (batch for batch in batches if batch.spans)
