"""Rows of one subject that are read piece by piece: for segments that must not be in memory whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from dynml.dataset.dataset import MultiSubjectSubset


class RowSlicer:
    """Rows [start, stop) of a subject that look like a tensor (n, C) and are read when sliced.

    Parameters
    ----------
    subset : MultiSubjectSubset
    subject : int
        Index in the subset.
    start, stop : int
        Rows of the subject.
    transform : callable, optional
        Maps (rows, position of the first of them) to rows of the same shape: augmentation.
    """

    dtype = torch.float32

    def __init__(
        self,
        subset: MultiSubjectSubset,
        subject: int,
        start: int,
        stop: int,
        transform: Callable[[Tensor, int], Tensor] | None = None,
    ) -> None:
        self._subset, self._subject, self._start, self._stop, self._transform = subset, subject, start, stop, transform

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and channels."""
        return self._stop - self._start, self._subset.n_channels

    def __len__(self) -> int:
        return self._stop - self._start

    @property
    def device(self) -> torch.device:
        """Where slices come to lie."""
        return self._subset.device

    def __getitem__(self, rows: slice) -> Tensor:
        first, last, step = rows.indices(len(self))
        assert step == 1, "rows are read in order"
        piece = self._subset.read(self._subject, self._start + first, self._start + max(first, last))
        return piece if self._transform is None else self._transform(piece, first)

    def transformed(self, transform: Callable[[Tensor, int], Tensor]) -> RowSlicer:
        """Give the same rows, transformed when they are read."""
        assert self._transform is None
        return RowSlicer(self._subset, self._subject, self._start, self._stop, transform)
