"""A batch of windows as the sequence models see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.batches.batch import Batch
from dynml.dataset.montages.montages import Montages


@dataclass(frozen=True)
class Windows:
    """Windows padded at their ends.

    Shapes: B windows, T samples of the longest, C channels, J channels of a second group.
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

    observed_BT: Tensor | None = None
    """bool, True for samples that were observed, never padding; None where no sample is masked. Signals are 0 where
    they are masked."""

    lengths_on_host: tuple[int, ...] | None = None
    """Samples of each window, where the host knows them: not where masked samples may have shortened one."""

    present_BC: Tensor | None = None
    """bool, which channels each window's recording has, where recordings have different ones; signals are 0 in the
    others. None: all of them."""

    montages_on_host: tuple[int, ...] | None = None
    """Number of each window's montage, where there are several."""

    conditioning_BTJ: Tensor | None = None
    """What may be looked at and is not predicted, once it is told apart (`conditioned`); 0 where signals are."""

    @property
    def known_BT(self) -> Tensor:
        """Samples that are neither padding nor masked, bool: what may be looked at, and what counts."""
        return self.mask_BT if self.observed_BT is None else self.observed_BT

    @property
    def lengths_B(self) -> Tensor:
        """Samples of each window, masked ones included, int64."""
        return self.mask_BT.sum(dim=1)

    @property
    def lengths_to_pack_by(self) -> Tensor:
        """`lengths_B` on the host, where torch wants them; a device is asked only if they are not known there."""
        if self.lengths_on_host is None:
            return self.lengths_B.cpu()
        return torch.tensor(self.lengths_on_host, dtype=torch.int64)

    @property
    def rows_BTR(self) -> Tensor:
        """All that may be looked at: signals, and behind them what conditions a model, (B, T, C + J)."""
        if self.conditioning_BTJ is None:
            return self.signals_BTC
        return torch.cat([self.signals_BTC, self.conditioning_BTJ], dim=2)

    def weighted(self, inputs_BTC: Tensor) -> Tensor:
        """Weight channels so that sums over them are as large however many a window has; those that are not, by 0."""
        if self.present_BC is None:
            return inputs_BTC
        n_present_B1 = self.present_BC.sum(dim=1, keepdim=True).clamp(min=1)
        shares_BC = self.present_BC * (self.present_BC.shape[1] / n_present_B1)
        return inputs_BTC * shares_BC.to(self.signals_BTC.dtype)[:, None]

    def chosen(self, rows: Tensor, on_host: Sequence[int]) -> Windows:
        """Give some of the windows.

        Parameters
        ----------
        rows : Tensor, (n,), int64, or (B,), bool
        on_host : sequence of int
            The same, as numbers that the host knows.
        """
        lengths, montages = (
            None if known is None else tuple(known[row] for row in on_host)
            for known in (self.lengths_on_host, self.montages_on_host)
        )
        tensors: dict[str, Any] = {name: value[rows] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return dataclasses.replace(self, **tensors, lengths_on_host=lengths, montages_on_host=montages)

    def conditioned(self, n_conditioning: int) -> Windows:
        """Tell the last J channels apart, which condition a model."""
        if not n_conditioning:
            return self
        signals_BTC, conditioning_BTJ = self.signals_BTC[..., :-n_conditioning], self.signals_BTC[..., -n_conditioning:]
        return dataclasses.replace(self, signals_BTC=signals_BTC, conditioning_BTJ=conditioning_BTJ)

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
    lengths = tuple(batch.spans.lengths.tolist())
    windows = Windows(batch.windows, batch.mask, batch.seconds_in_span, keys_B, ragged=len(set(lengths)) > 1)
    if len(lengths) == len(batch.windows):
        windows = dataclasses.replace(windows, lengths_on_host=lengths)
    if batch.subset.montages is not None:
        windows = _with_montages(windows, batch.subset.montages, batch.subset.montage_of[batch.spans.subject])
    observed_BT = batch.observed
    return windows if observed_BT is None else masked_windows(windows, observed_BT)


def _with_montages(windows: Windows, montages: Montages, montage_of: NDArray[np.int64]) -> Windows:
    """Note which channels each window has; those that it lacks become 0, whatever augmentation has put there."""
    present_BC = torch.from_numpy(montages.present_MC[montage_of]).to(windows.device, non_blocking=True)
    signals_BTC = torch.where(present_BC[:, None], windows.signals_BTC, 0.0)
    return dataclasses.replace(
        windows, signals_BTC=signals_BTC, present_BC=present_BC, montages_on_host=tuple(montage_of.tolist())
    )


def masked_windows(windows: Windows, observed_BT: Tensor) -> Windows:
    """Mask samples that were not observed.

    They become 0, and those behind a window's last observed sample padding: nothing is distinguished by how a window
    ends. A window without an observed sample keeps its first one, masked, so that no window is empty.

    Parameters
    ----------
    windows : Windows
        Signals may be anything, NaN too, in samples that were not observed.
    observed_BT : Tensor, (B, T), bool
        Never True in padding.

    Returns
    -------
    Windows
        The same where everything was observed, if that can be seen without waiting for a device.
    """
    on_host = windows.device.type == "cpu" and not torch.compiler.is_compiling()
    if on_host and torch.equal(observed_BT, windows.mask_BT):
        return windows
    counts_T = torch.arange(1, observed_BT.shape[1] + 1, device=windows.device)
    lengths_B1 = torch.where(observed_BT, counts_T, 1).amax(dim=1, keepdim=True)
    return dataclasses.replace(
        windows,
        signals_BTC=torch.where(observed_BT[:, :, None], windows.signals_BTC, 0.0),
        mask_BT=counts_T <= lengths_B1,
        ragged=True,
        observed_BT=observed_BT,
        lengths_on_host=None,
    )


def patched(windows: Windows, length: int) -> Windows:
    """Make patches of samples: windows whose samples are patches, and whose channels those of all samples of a patch.

    The last patch is filled up by zeros. A patch counts where one of its samples does, and its time is that of its
    first sample.

    Parameters
    ----------
    windows : Windows
        In one piece.
    length : int
        Samples P of a patch.

    Returns
    -------
    Windows
        Of N = ceil(T / P) samples and P C channels; the same for P = 1.
    """
    if length == 1:
        return windows
    assert windows.token_types_BT is None
    observed_BT = windows.observed_BT
    return dataclasses.replace(
        windows,
        signals_BTC=in_patches(windows.signals_BTC, length).flatten(2),
        mask_BT=in_patches(windows.mask_BT, length).any(dim=2),
        seconds_BT=windows.seconds_BT[:, ::length],
        lengths_on_host=None,
        observed_BT=None if observed_BT is None else in_patches(observed_BT, length).any(dim=2),
    )


def in_patches(values: Tensor, length: int) -> Tensor:
    """Stretches of samples, (B, N, P, ..) of (B, T, ..); the last one filled up by zeros."""
    n_missing = -values.shape[1] % length
    padding = (*([0, 0] * (values.dim() - 2)), 0, n_missing)
    filled = torch.nn.functional.pad(values, padding) if n_missing else values
    return filled.unflatten(1, (-1, length))


def of_samples(values_BN: Tensor, length: int, n_times: int) -> Tensor:
    """What is known of each patch for its samples, (B, T, ..) of (B, N, ..)."""
    return values_BN if length == 1 else values_BN.repeat_interleave(length, dim=1)[:, :n_times]


def datasets_of(batch: Batch) -> Tensor:
    """Number of the data set that each window comes from, (B,), int64."""
    numbers = np.unique(batch.subset.datasets, return_inverse=True)[1].astype(np.int64)
    return torch.from_numpy(numbers).to(batch.subject.device)[batch.subject]
