"""Rows of one subject that are read piece by piece: for segments that must not be in memory whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class RowSlicer:
    """Rows that look like a tensor (n, C) and are read when sliced.

    Parameters
    ----------
    read : callable
        Gives rows [first, last), (last - first, C), on the device.
    shape : tuple of int
        Rows and channels.
    device : torch.device
        Where slices come to lie.
    transform : callable, optional
        Maps (rows, position of the first of them) to rows of the same shape: augmentation.
    """

    read: Callable[[int, int], Tensor]
    shape: tuple[int, int]
    device: torch.device
    transform: Callable[[Tensor, int], Tensor] | None = None

    dtype = torch.float32

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Tensor:
        first, last, step = rows.indices(len(self))
        assert step == 1, "rows are read in order"
        piece = self.read(first, max(first, last))
        return piece if self.transform is None else self.transform(piece, first)

    def transformed(self, transform: Callable[[Tensor, int], Tensor]) -> RowSlicer:
        """Give the same rows, transformed when they are read."""
        assert self.transform is None
        return replace(self, transform=transform)
