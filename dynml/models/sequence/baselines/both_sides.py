"""The linear prediction of hidden samples from the nearest visible ones on both sides."""

from __future__ import annotations

import torch
from torch import Tensor

from dynml.models.sequence.baselines.baseline import Baseline, TrainingMoments
from dynml.models.sequence.baselines.neighbours import (
    Runs,
    asks_nothing,
    parts_of,
    products_of_neighbours,
    rows_by_code,
    scored_samples,
    wholly_visible,
    with_spare_rows,
)
from dynml.models.sequence.baselines.var import coefficients_of_rows, fitted_orders, forecasts
from dynml.models.sequence.objectives.tasks import Task
from dynml.ops.linear_prediction import Halves

MOST_HIDDEN = 8
_BYTES_OF_GAPS = 2**26
_SIDE_NUMBERS = 1536
"""Regressions look at no more numbers than this on each side, so that their equations stay solvable in seconds."""


class RidgeBothSides(Baseline):
    """All channels of a sample from the nearest visible samples before and after it.

    - A lone sample between visible ones: regression on as many on each side as are visible in a row, up to `n_sides`.
    - In a gap of several hidden samples, up to `longest_gap`: regression on the nearest sample on each side, one for
      every pair of distances.
    - In longer gaps and at a window's ends: the forecast (see `RidgeVar`) from the nearer side, or from the only one.

    Each is a ridge regression on all training windows of that shape, so the conditional mean of a Gaussian with their
    covariance. The mean is predicted where nothing is visible; 0 where nothing is scored.

    Parameters
    ----------
    n_channels : int
        The more there are, the shorter are the sides (one sample from 769 on) and the gaps (3 samples at 1,024
        channels), so that there are at most 64 MiB of coefficients for gaps; fitting 1,024 channels takes one or
        two minutes on two CPU cores and 2 GiB.
    n_lags : int
        Samples on each side at most.

    Attributes
    ----------
    penalties : Tensor, (3 n_sides,), float64
        Chosen ridge penalties, for 1, 2, .. samples each: of forecasts, of regressions on both sides (the first one
        serves in all gaps), of forecasts backward; as shares of the number of training samples (standardized).
    """

    name = "ridge_both_sides"
    mean_C: Tensor
    forward_NCC: Tensor
    backward_NCC: Tensor
    sides_NCC: Tensor
    gaps_N2CC: Tensor
    longest_gap: Tensor
    penalties: Tensor

    def __init__(self, n_channels: int, n_lags: int) -> None:
        super().__init__()
        self.n_sides = max(1, min(n_lags, _SIDE_NUMBERS // n_channels))
        self.most_hidden = most_hidden(n_channels)
        n_forecasts, n_gaps = (n * (n + 1) // 2 for n in (self.n_sides, self.most_hidden))
        square = (n_channels, n_channels)
        self.register_buffer("mean_C", torch.zeros(n_channels))
        self.register_buffer("forward_NCC", torch.zeros(n_forecasts, *square))
        self.register_buffer("backward_NCC", torch.zeros(n_forecasts, *square))
        self.register_buffer("sides_NCC", torch.zeros(2 * n_forecasts - 2, *square))
        self.register_buffer("gaps_N2CC", torch.zeros(n_gaps, 2, *square))
        self.register_buffer("longest_gap", torch.zeros((), dtype=torch.int64))
        self.register_buffer("penalties", torch.zeros(3 * self.n_sides, dtype=torch.float64))

    def fit(self, moments: TrainingMoments) -> None:
        """Set means, coefficients and penalties; gaps and sides for which segments are too short are left out."""
        window_length = moments.longest_window(max(self.most_hidden + 2, 2 * self.n_sides + 1))
        mean, scale = moments.mean_and_scale
        halves = moments.halves(window_length)
        forward, forward_penalties = fitted_orders(halves, window_length, self.n_sides, scale, backward=False)
        backward, backward_penalties = fitted_orders(halves, window_length, self.n_sides, scale, backward=True)
        side_penalties = torch.zeros_like(forward_penalties)
        self.longest_gap.fill_(min(self.most_hidden, window_length - 2))
        if self.longest_gap > 0:
            side_penalties[0] = self._fit_gaps(halves, scale)
            self._fit_sides(halves, scale, (window_length - 1) // 2, side_penalties)
        self.mean_C.copy_(mean)
        self.forward_NCC.copy_(forward)
        self.backward_NCC.copy_(backward)
        self.penalties.copy_(torch.cat([forward_penalties, side_penalties, backward_penalties]))

    def _fit_gaps(self, halves: Halves, scale_C: Tensor) -> float:
        penalty = None
        for n_hidden in range(1, int(self.longest_gap) + 1):
            for distance in range(1, n_hidden + 1):
                # As many numbers predict in every gap, so one penalty serves for all.
                blocks, penalty = coefficients_of_rows(halves, [0, n_hidden + 1], distance, scale_C, penalty)
                self.gaps_N2CC[n_hidden * (n_hidden - 1) // 2 + distance - 1].copy_(blocks)
        assert penalty is not None
        return penalty

    def _fit_sides(self, halves: Halves, scale_C: Tensor, longest_side: int, penalties: Tensor) -> None:
        blocks = self.gaps_N2CC[0].to(scale_C)
        for n in range(2, self.n_sides + 1):
            table = self.sides_NCC[n * (n - 1) - 2 :][: 2 * n].view(2, n, *blocks.shape[1:])
            if n <= longest_side:
                rows = [*range(n - 1, -1, -1), *range(n + 1, 2 * n + 1)]
                blocks, penalties[n - 1] = coefficients_of_rows(halves, rows, n, scale_C)
            n_fitted = len(blocks) // 2
            table[:, :n_fitted].copy_(blocks.view(2, n_fitted, *blocks.shape[1:]))

    def _predicted(self, task: Task) -> Tensor:
        visible_BT, scored_BT, parts_BT = wholly_visible(task), scored_samples(task), parts_of(task)
        assert not task.causal, "both sides are looked at"
        deviations_BTC = torch.where(visible_BT[:, :, None], task.windows.signals_BTC - self.mean_C, 0.0)
        before = Runs.before(visible_BT, parts_BT)
        after = Runs.before(visible_BT.flip(1), parts_BT.flip(1))
        after = Runs(after.distance_BT.flip(1), after.length_BT.flip(1))
        has_before, has_after = before.distance_BT > 0, after.distance_BT > 0
        n_hidden_BT = before.distance_BT + after.distance_BT - 1
        is_between_BT = has_before & has_after & (n_hidden_BT <= self.longest_gap)
        is_forward_BT = ~is_between_BT & has_before & (~has_after | (before.distance_BT <= after.distance_BT))
        is_backward_BT = ~is_between_BT & ~is_forward_BT & has_after

        codes_BT = torch.where(is_between_BT & scored_BT, self._codes(before, after), -1)
        predicted_BTC = forecasts(
            deviations_BTC,
            visible_BT,
            parts_BT,
            scored_BT & is_forward_BT,
            self.forward_NCC,
            self.n_sides,
            longest_gap=task.longest_gap,
        )
        predicted_BTC += forecasts(
            deviations_BTC.flip(1),
            visible_BT.flip(1),
            parts_BT.flip(1),
            (scored_BT & is_backward_BT).flip(1),
            self.backward_NCC,
            self.n_sides,
            longest_gap=task.longest_gap,
        ).flip(1)
        predicted_BTC += self._between(deviations_BTC, codes_BT, task.longest_gap)
        return self.mean_C + predicted_BTC

    def _codes(self, before: Runs, after: Runs) -> Tensor:
        """Number of the regression: gaps by length and position, then sides of 2, 3, .. samples."""
        n_hidden = before.distance_BT + after.distance_BT - 1
        gap = n_hidden * (n_hidden - 1) // 2 + before.distance_BT - 1
        n = torch.minimum(before.length_BT, after.length_BT).clamp(max=self.n_sides)
        return torch.where((n_hidden == 1) & (n >= 2), len(self.gaps_N2CC) + n - 2, gap)

    def _between(self, deviations_BTC: Tensor, codes_BT: Tensor, longest_gap: int | None) -> Tensor:
        most = None
        if asks_nothing(codes_BT.device, longest_gap):
            assert longest_gap is not None
            most = self._most_by_code(codes_BT.shape, longest_gap)
        # A spare sample has spare neighbours, as far as any regression looks ahead.
        deviations = with_spare_rows(deviations_BTC.flatten(0, 1), 1 + max(self.most_hidden, self.n_sides))
        predicted = torch.zeros_like(deviations)
        for code, rows in rows_by_code(codes_BT, most):
            if code >= len(self.gaps_N2CC):
                n = code - len(self.gaps_N2CC) + 2
                offsets = [*range(-1, -n - 1, -1), *range(1, n + 1)]
                blocks = self.sides_NCC[n * (n - 1) - 2 :][: 2 * n]
            else:
                offsets, blocks = _offsets_of_gap(code), self.gaps_N2CC[code]
            predicted[rows] = products_of_neighbours(deviations, rows, offsets, blocks)
        return predicted[: codes_BT.numel()].view_as(deviations_BTC)

    def _most_by_code(self, shape_BT: torch.Size, longest_gap: int) -> dict[int, int]:
        n_windows, n_times = shape_BT
        most = {}
        for code in range(len(self.gaps_N2CC)):
            back, ahead = _offsets_of_gap(code)
            if ahead - back - 1 <= longest_gap + 1:
                most[code] = n_windows * (n_times // max(-back, ahead))
        n_gaps = len(self.gaps_N2CC)
        return most | dict.fromkeys(range(n_gaps, n_gaps + self.n_sides - 1), n_windows * n_times)


def most_hidden(n_channels: int) -> int:
    """Longest gap that has regressions of its own: 8 samples, or fewer if there are many channels."""
    n_gaps = _BYTES_OF_GAPS // (2 * 4 * n_channels**2)
    return max((n for n in range(1, MOST_HIDDEN + 1) if n * (n + 1) // 2 <= n_gaps), default=1)


def _offsets_of_gap(code: int) -> list[int]:
    """Distances to both sides of the gap with a code, signed."""
    n_hidden = 1
    while code >= n_hidden * (n_hidden + 1) // 2:
        n_hidden += 1
    distance = code - n_hidden * (n_hidden - 1) // 2 + 1
    return [-distance, n_hidden + 1 - distance]
