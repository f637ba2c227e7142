"""Vector autoregression by ridge regression, and forecasts over gaps with it."""

from __future__ import annotations

from collections.abc import Sequence

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
from dynml.models.sequence.objectives.tasks import Task
from dynml.ops.linear_prediction import Halves, numbers_of_rows, ridge_coefficients


class RidgeVar(Baseline):
    """All channels from the last samples before: mean + sum over lags of (sample - mean) A_lag.

    There is one regression for every number of lags from 1 to `n_lags`. A sample is predicted by the longest one whose
    lags lie in its window (and part of a pair). Over hidden samples the forecast goes on: they are replaced by their
    own predictions, from the visible samples in a row before the gap; what is hidden before those is left out. That is
    the exact conditional mean at distance 1, and for an autoregression of no higher order at every distance. The mean
    is predicted where nothing is visible before; 0 where nothing is scored. Masked samples are hidden ones, and it is
    fitted to samples of which none that is needed is masked.

    Fitting takes n_lags + 1 products of the whole training subset and solves of n_lags C equations: for 1,024 channels
    and 3 lags about two minutes on two CPU cores, 1.5 GiB, and 24 MiB of coefficients.

    Channels of a second group are looked at wherever a visible sample is; they are not predicted, and over hidden
    samples they are taken to be at their mean.

    Parameters
    ----------
    n_channels, n_lags : int
    n_conditioning : int
        Channels of a second group, J.

    Attributes
    ----------
    mean_C : Tensor, (C + J,)
    coefficients_NCC : Tensor, (n_lags (n_lags + 1) / 2, C + J, C)
    penalties : Tensor, (n_lags,), float64
        Chosen ridge penalty of each number of lags, as a share of the number of training samples (standardized).
    """

    name = "ridge_var"
    mean_C: Tensor
    coefficients_NCC: Tensor
    penalties: Tensor

    def __init__(self, n_channels: int, n_lags: int, n_conditioning: int = 0) -> None:
        super().__init__()
        self.n_lags, self.n_channels = n_lags, n_channels
        n_rows = n_channels + n_conditioning
        self.register_buffer("mean_C", torch.zeros(n_rows))
        self.register_buffer("coefficients_NCC", torch.zeros(n_lags * (n_lags + 1) // 2, n_rows, n_channels))
        self.register_buffer("penalties", torch.zeros(n_lags, dtype=torch.float64))

    def fit(self, moments: TrainingMoments) -> None:
        """Set means, coefficients and penalties; lags for which segments are too short are left out."""
        window_length = moments.longest_window(self.n_lags + 1)
        mean, scale = moments.mean_and_scale
        halves = moments.halves(window_length)
        coefficients, penalties = fitted_orders(
            halves, window_length, self.n_lags, scale, backward=False, n_predicted=self.n_channels
        )
        self.mean_C.copy_(mean)
        self.coefficients_NCC.copy_(coefficients)
        self.penalties.copy_(penalties)

    def _predicted(self, task: Task) -> Tensor:
        visible_BT, scored_BT = wholly_visible(task), scored_samples(task)
        deviations_BTR = torch.where(visible_BT[:, :, None], task.windows.rows_BTR - self.mean_C, 0.0)
        return self.mean_C[: self.n_channels] + forecasts(
            deviations_BTR,
            visible_BT,
            parts_of(task),
            scored_BT,
            self.coefficients_NCC,
            self.n_lags,
            longest_gap=task.longest_gap,
        )


def fitted_orders(
    halves: Halves, window_length: int, n_lags: int, scale_C: Tensor, *, backward: bool, n_predicted: int | None = None
) -> tuple[Tensor, Tensor]:
    """Regress a sample on the 1, 2, .. `n_lags` samples before it (backward: after it).

    With `n_predicted`, only as many channels of it, the first ones: coefficients are (.., C, n_predicted) then.

    Returns
    -------
    coefficients : Tensor, (n_lags (n_lags + 1) / 2, C, C)
        Lag by lag, for one lag, then two, and so on; of channels as they are measured. Where windows have too few rows,
        those of the longest regression there is, with zeros.
    penalties : Tensor, (n_lags,), float64
    """
    orders, penalties = [], []
    for n in range(1, n_lags + 1):
        n_fitted = min(n, window_length - 1)
        if n_fitted == n:
            last = window_length - 1
            rows = list(range(1, n + 1)) if backward else list(range(last - 1, last - 1 - n, -1))
            blocks, penalty = coefficients_of_rows(halves, rows, 0 if backward else last, scale_C, None, n_predicted)
        orders.append(torch.cat([blocks, blocks.new_zeros(n - n_fitted, *blocks.shape[1:])]))
        penalties.append(penalty)
    return torch.cat(orders), torch.tensor(penalties, dtype=torch.float64)


def coefficients_of_rows(
    halves: Halves,
    rows: Sequence[int],
    target: int,
    scale_C: Tensor,
    penalty: float | None = None,
    n_predicted: int | None = None,
) -> tuple[Tensor, float]:
    """Regress one row of a window on others: (n_rows, C, C) for channels as they are measured, and the penalty.

    With `n_predicted`, only as many channels of that row, the first ones.
    """
    n_channels, device = len(scale_C), scale_C.device
    inputs = numbers_of_rows(rows, n_channels, device)
    outputs = numbers_of_rows([target], n_channels, device)[:n_predicted]
    coefficients, penalty = ridge_coefficients(halves, inputs, outputs, penalty)
    scaled = coefficients.view(len(rows), n_channels, -1) / scale_C[:, None] * scale_C[:n_predicted]
    return scaled, penalty


def forecasts(
    deviations_BTC: Tensor,
    visible_BT: Tensor,
    parts_BT: Tensor,
    wanted_BT: Tensor,
    coefficients_NCC: Tensor,
    n_lags: int,
    *,
    longest_gap: int | None = None,
) -> Tensor:
    """Predict wanted samples from those before them, over gaps by way of the hidden samples' own predictions.

    Parameters
    ----------
    deviations_BTC : Tensor, (B, T, C or C + J)
        From the mean; 0 where hidden. Channels beyond those that the coefficients predict are looked at alone.
    visible_BT, wanted_BT : Tensor, (B, T), bool
    parts_BT : Tensor, (B, T), int64
    coefficients_NCC : Tensor
        As of `fitted_orders`.
    n_lags : int
    longest_gap : int, optional
        As in `Task`. With it, an accelerator need not be asked.

    Returns
    -------
    Tensor, (B, T, C)
        Deviations; 0 where nothing is wanted or nothing visible before.
    """
    runs = Runs.before(visible_BT, parts_BT)
    n_known_BT = (runs.distance_BT - 1 + runs.length_BT).clamp(max=n_lags)
    # Hidden samples on the way from the last visible one to a wanted one are needed too.
    needed_BT = (wanted_BT | _on_the_way(wanted_BT, visible_BT, runs)) & (runs.distance_BT > 0)
    codes_BT = torch.where(needed_BT, (runs.distance_BT - 1) * n_lags + n_known_BT - 1, -1)
    most = None
    if asks_nothing(codes_BT.device, longest_gap):
        assert longest_gap is not None
        most = _most_by_code(codes_BT.shape, n_lags, longest_gap)
    known = with_spare_rows(deviations_BTC.flatten(0, 1), 1)
    own = known[:, : coefficients_NCC.shape[2]]
    predicted, hidden = torch.zeros_like(own), with_spare_rows(~visible_BT.flatten()[:, None], 1)
    for code, rows in rows_by_code(codes_BT, most):
        n = code % n_lags + 1
        blocks = coefficients_NCC[n * (n - 1) // 2 :][:n]
        found = products_of_neighbours(known, rows, range(-1, -n - 1, -1), blocks)
        predicted[rows] = found
        own[rows] += hidden[rows] * found
    return torch.where(wanted_BT[:, :, None], predicted[:-1].view(*wanted_BT.shape, -1), 0.0)


def _most_by_code(shape_BT: torch.Size, n_lags: int, longest_gap: int) -> dict[int, int]:
    """Samples of a code at most: of those at a distance, each has as many samples of its window for itself."""
    n_windows, n_times = shape_BT
    return {
        (distance - 1) * n_lags + n - 1: n_windows * (n_times // distance)
        for distance in range(1, min(longest_gap + 2, n_times))
        for n in range(min(distance, n_lags), min(n_lags + 1, n_times))
    }


def _on_the_way(wanted_BT: Tensor, visible_BT: Tensor, runs: Runs) -> Tensor:
    """Mark hidden samples that have a wanted one after them before the next visible one comes."""
    n_times = wanted_BT.shape[1]
    times = torch.arange(n_times, device=wanted_BT.device)
    next_wanted = torch.where(wanted_BT, times, n_times).flip(1).cummin(dim=1).values.flip(1)
    at = next_wanted.clamp(max=n_times - 1)
    last_visible = times - runs.distance_BT
    same_gap = (next_wanted < n_times) & (last_visible.gather(1, at) == last_visible)
    return ~visible_BT & same_gap
