"""What is masked, counted and drawn in batches of windows."""

from __future__ import annotations

import torch
from torch import Tensor

from dynml.batches.batch import Batch
from dynml.models.dynemo.model import DRAWS_SEED
from dynml.ops.keyed_noise import span_keys


def ragged_mask(batch: Batch) -> Tensor | None:
    """Mask of a batch whose windows differ in length; None where there is nothing to mask."""
    assert batch.mask is not None
    return None if batch.spans.lengths.min() == batch.windows.shape[1] else batch.mask


def ragged_lengths(batch: Batch) -> Tensor | None:
    """Samples of each window of such a batch, (B,), on the host; None where there is nothing to mask."""
    return None if ragged_mask(batch) is None else torch.from_numpy(batch.spans.lengths)


def n_observed(batch: Batch) -> int:
    """Samples of a batch that were observed."""
    return batch.n_samples if batch.observed is None else int(batch.observed.sum())


def keys_of_draws(batch: Batch) -> Tensor:
    """What the draws of validation and reports are keyed by, (B,): the window alone, the same in every epoch."""
    starts = batch.start_sample
    return span_keys(DRAWS_SEED, 0, batch.subject, batch.segment, starts, starts + batch.lengths)
