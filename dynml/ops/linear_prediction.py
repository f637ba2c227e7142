"""Linear prediction of some samples of a window from others: second moments of windows, and ridge regression from them.

Shapes: W rows of a window, C channels, P = W C numbers of a window, laid out row by row.

A window is any W consecutive rows of one segment. What a least-squares prediction within windows needs is the P x P
matrix of their second moments. Its blocks for two rows are products of the series with itself at a lag, less what lies
beyond the first or the last window of a segment: so W products of (n, C) make all W^2 blocks, 2 W n C^2 FLOP.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PENALTIES = tuple(10.0**exponent for exponent in range(-6, 3))
"""Shares of the number of windows: a penalty of 0.01 counts as one window of independent channels for every 100."""


@dataclass(frozen=True)
class SecondMoments:
    """Mean products of the numbers of a window."""

    values_PP: Tensor
    """(P, P) float64."""

    n_windows: float

    def of(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Take the block of some rows and columns."""
        return self.values_PP[inputs[:, None], outputs]


@dataclass(frozen=True)
class Halves:
    """Second moments of two halves of the data, so that each can judge what was fitted to the other."""

    first: SecondMoments
    second: SecondMoments

    @property
    def pooled(self) -> SecondMoments:
        """Second moments of all windows."""
        n_windows = self.first.n_windows + self.second.n_windows
        share = self.first.n_windows / n_windows
        return SecondMoments(self.first.values_PP * share + self.second.values_PP * (1 - share), n_windows)

    @property
    def turns(self) -> tuple[tuple[SecondMoments, SecondMoments], tuple[SecondMoments, SecondMoments]]:
        """(fitted to, judged on), both ways round."""
        return (self.first, self.second), (self.second, self.first)


class WindowMoments:
    """Sums over all windows of segments that come one by one or many together, in float64.

    Parameters
    ----------
    window_length : int
        W.
    n_channels : int
        C.
    device : torch.device
    """

    def __init__(self, window_length: int, n_channels: int, device: torch.device) -> None:
        self.window_length, self.n_channels = window_length, n_channels
        edge = (window_length - 1) * n_channels

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        self.n_windows_1, self.lagged_WCC = zeros(1), zeros(window_length, n_channels, n_channels)
        self.heads, self.tails = zeros(edge, edge), zeros(edge, edge)

    def add(self, rows_nC: Tensor, borders: Sequence[int]) -> None:
        """Add segments.

        Parameters
        ----------
        rows_nC : Tensor, (n, C), float64
            Centred; segments end to end.
        borders : sequence of int
            Row where each segment starts, and n; every segment has at least W rows. A longer one may come in pieces
            that overlap by W - 1 rows: the windows are the same.
        """
        starts = torch.tensor(borders[:-1], device=rows_nC.device)
        stops = torch.tensor(borders[1:], device=rows_nC.device)
        edge = self.window_length - 1
        assert borders[-1] == len(rows_nC)
        assert all(stop - start > edge for start, stop in itertools.pairwise(borders))
        self.n_windows_1 += len(rows_nC) - edge * len(starts)
        apart = _with_zeros_between(rows_nC, starts, edge)
        for lag in range(self.window_length):
            self.lagged_WCC[lag] += apart[: len(apart) - lag].T @ apart[lag:]
        steps = torch.arange(edge, device=rows_nC.device)
        for sums, firsts in ((self.heads, starts), (self.tails, stops - edge)):
            rows = rows_nC[firsts[:, None] + steps].flatten(1)
            sums += rows.T @ rows

    @property
    def sums(self) -> list[Tensor]:
        """What adds up over processes, to be written to."""
        return [self.n_windows_1, self.lagged_WCC, self.heads, self.tails]

    def second_moments(self) -> SecondMoments:
        """Mean products; at least one window must have come."""
        n_rows, n_channels = self.window_length, self.n_channels
        blocks = self.lagged_WCC.new_empty(n_rows, n_channels, n_rows, n_channels)
        heads, tails = (sums.view(n_rows - 1, n_channels, n_rows - 1, n_channels) for sums in (self.heads, self.tails))
        for lag in range(n_rows):
            block = self.lagged_WCC[lag].clone()
            for row in range(n_rows - 1 - lag):
                block -= tails[row, :, row + lag]
            for row in range(n_rows - lag):
                blocks[row, :, row + lag], blocks[row + lag, :, row] = block, block.T
                if row + lag < n_rows - 1:
                    block += tails[row, :, row + lag] - heads[row, :, row + lag]
        n_windows = float(self.n_windows_1)
        assert n_windows > 0
        return SecondMoments(blocks.view(n_rows * n_channels, -1) / n_windows, n_windows)


def _with_zeros_between(rows_nC: Tensor, starts: Tensor, n_zeros: int) -> Tensor:
    """Lay segments so far apart that no lag reaches from one into the next."""
    if len(starts) == 1 or n_zeros == 0:
        return rows_nC
    segment = torch.zeros(len(rows_nC), dtype=torch.int64, device=rows_nC.device)
    segment[starts[1:]] = 1
    apart = rows_nC.new_zeros(len(rows_nC) + n_zeros * (len(starts) - 1), rows_nC.shape[1])
    apart[torch.arange(len(rows_nC), device=rows_nC.device) + n_zeros * segment.cumsum(0)] = rows_nC
    return apart


def numbers_of_rows(rows: Sequence[int], n_channels: int, device: torch.device) -> Tensor:
    """Positions of the channels of some rows of a window among its P numbers, row after row, int64."""
    first = torch.tensor(rows, dtype=torch.int64, device=device) * n_channels
    return (first[:, None] + torch.arange(n_channels, device=device)).flatten()


def ridge_coefficients(
    halves: Halves, inputs: Tensor, outputs: Tensor, penalty: float | None = None
) -> tuple[Tensor, float]:
    """Fit outputs = inputs @ coefficients by least squares with a penalty on the coefficients' squares.

    Parameters
    ----------
    halves : Halves
        Of channels with a variance of about 1, or the penalty falls on some more than on others.
    inputs, outputs : Tensor, int64
        Positions among a window's P numbers.
    penalty : float, optional
        As a share of the number of windows. Default: the one of `PENALTIES` with which the halves predict each other
        best.

    Returns
    -------
    coefficients : Tensor, (n_inputs, n_outputs), float64
    penalty : float

    Notes
    -----
    (Z'Z + penalty n I)^-1 Z'Y (Hoerl & Kennard 1970, eq. 2.1); one penalty costs about n_inputs^3 / 3 +
    4 n_inputs^2 n_outputs FLOP a half.
    """
    pooled = halves.pooled
    if penalty is None:
        penalty = _best_penalty(halves, inputs, outputs, pooled.n_windows)
    return _solved(pooled.of(inputs, inputs), pooled.of(inputs, outputs), penalty), penalty


def _best_penalty(halves: Halves, inputs: Tensor, outputs: Tensor, n_windows: float) -> float:
    errors = dict.fromkeys(PENALTIES, 0.0)
    for fitted, judge in halves.turns:
        squares, products = fitted.of(inputs, inputs), fitted.of(inputs, outputs)
        judge_squares, judge_products = judge.of(inputs, inputs), judge.of(inputs, outputs)
        for penalty in PENALTIES:
            # The same weight against half as many windows: what is chosen serves for all of them.
            coefficients = _solved(squares, products, penalty * n_windows / fitted.n_windows)
            explained = (coefficients * (2 * judge_products - judge_squares @ coefficients)).sum()
            errors[penalty] -= judge.n_windows * float(explained)
    return min(PENALTIES, key=lambda penalty: errors[penalty])


def _solved(squares: Tensor, products: Tensor, penalty: float) -> Tensor:
    penalized = squares.clone()
    penalized.diagonal().add_(penalty)
    return torch.cholesky_solve(products, torch.linalg.cholesky(penalized))
