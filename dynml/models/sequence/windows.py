"""A batch of windows as the sequence models see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dynml.training.batch import Batch


@dataclass(frozen=True)
class Windows:
    """Windows padded at their ends.

    Shapes: B windows, T samples of the longest, C channels.
    """

    signals_BTC: Tensor
    """float32, 0 in padding."""

    mask_BT: Tensor
    """bool, True for samples."""

    seconds_BT: Tensor
    """float64, since the window's first sample; goes on in padding."""

    keys_B: Tensor
    """int64, what all noise of a window is keyed by: in training the epoch is part of it, in validation the window
    alone."""

    token_types_BT: Tensor | None = None
    """int64, 0 in the first part of a pair of sequences, 1 in the second; None for windows in one piece."""

    ragged: bool = True
    """Whether some windows may be shorter than others: known on the host, so that the device need not be asked."""

    @property
    def lengths_B(self) -> Tensor:
        """Samples of each window, int64."""
        return self.mask_BT.sum(dim=1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """B, T and C."""
        n_windows, n_times, n_channels = self.signals_BTC.shape
        return n_windows, n_times, n_channels

    @property
    def device(self) -> torch.device:
        """Where the signals are."""
        return self.signals_BTC.device


def windows_of(batch: Batch) -> Windows:
    """Take windows out of a padded batch."""
    assert batch.mask is not None
    keys_B = batch.keys if batch.context == "training" else batch.fixed_keys
    ragged = len({span.length for span in batch.spans}) > 1
    return Windows(batch.windows, batch.mask, batch.seconds_in_span, keys_B, ragged=ragged)


def datasets_of(batch: Batch) -> Tensor:
    """Number of the data set that each window comes from, (B,), int64."""
    numbers = np.unique(batch.subset.datasets, return_inverse=True)[1].astype(np.int64)
    return torch.from_numpy(numbers).to(batch.subject.device)[batch.subject]
