"""The linear prediction of hidden networks from the visible ones of the same sample."""

from __future__ import annotations

import torch
from torch import Tensor

from dynml.models.sequence.baselines.baseline import Baseline, TrainingMoments
from dynml.models.sequence.objectives.tasks import Task
from dynml.ops.linear_prediction import PENALTIES, Halves

GROUPS = 8
"""Penalties are judged with each eighth of the networks hidden in turn."""

_BYTES_AT_A_TIME = 2**28


class RidgeFromOtherNetworks(Baseline):
    """Hidden networks from all visible ones at the same time, whichever are hidden in a window.

    The conditional mean of a Gaussian with the covariance S of all training samples, standardized, plus penalty times
    the identity: mean_h - (L_hh)^-1 L_hv (x_v - mean_v), with L the inverse of that matrix (Bishop 2006, eq. 2.75).
    A network counts as hidden in a window where any of its observed samples is. The mean is predicted for visible
    networks.

    A window with H of C networks hidden costs H^2 (H / 3 + 2 C) FLOP in float64 and 2 H C FLOP a sample.

    Parameters
    ----------
    n_channels : int

    Attributes
    ----------
    penalty : Tensor, (), float64
        Chosen ridge penalty, as a share of the number of training samples (standardized).
    """

    name = "ridge_from_other_networks"
    mean_C: Tensor
    precision_CC: Tensor
    penalty: Tensor

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.register_buffer("mean_C", torch.zeros(n_channels))
        # Networks that are nearly sums of others make it so large that float32 would lose what tells them apart.
        self.register_buffer("precision_CC", torch.eye(n_channels, dtype=torch.float64))
        self.register_buffer("penalty", torch.zeros((), dtype=torch.float64))

    def fit(self, moments: TrainingMoments) -> None:
        """Set means, the inverse covariance and its penalty."""
        mean, scale = moments.mean_and_scale
        halves = moments.halves(moments.longest_window(1))
        penalty = _best_penalty(halves)
        self.mean_C.copy_(mean)
        self.precision_CC.copy_(_inverse(halves.pooled.values_PP, penalty) / torch.outer(scale, scale))
        self.penalty.fill_(penalty)

    def _predicted(self, task: Task) -> Tensor:
        n_windows, n_times, n_channels = task.windows.shape
        known_BT1 = task.windows.known_BT[:, :, None]
        visible_BTC = task.visible.expand(n_windows, n_times, n_channels)
        hidden_BC = (known_BT1 & ~visible_BTC).any(dim=1)
        n_hidden = task.n_hidden_networks
        if n_hidden is None:
            n_hidden = int(hidden_BC.sum(dim=1).max()) if n_windows else 0
        visible_BTC = visible_BTC & ~hidden_BC[:, None]
        deviations_BTC = torch.where(visible_BTC, task.windows.signals_BTC - self.mean_C, 0.0)
        predicted_BTC = torch.zeros_like(deviations_BTC)
        if n_hidden:
            n_together = max(1, _BYTES_AT_A_TIME // (8 * n_hidden * (2 * n_hidden + 2 * n_channels)))
            for first in range(0, n_windows, n_together):
                some = slice(first, first + n_together)
                _fill_hidden(predicted_BTC[some], deviations_BTC[some], hidden_BC[some], n_hidden, self.precision_CC)
        return self.mean_C + predicted_BTC


def _fill_hidden(
    predicted_BTC: Tensor, deviations_BTC: Tensor, hidden_BC: Tensor, n_hidden: int, precision_CC: Tensor
) -> None:
    # Windows with fewer hidden networks are filled up with visible ones, to which nothing happens.
    index_BH = hidden_BC.int().argsort(dim=1, descending=True, stable=True)[:, :n_hidden]
    is_hidden_BH = hidden_BC.gather(1, index_BH)
    both = is_hidden_BH[:, :, None] & is_hidden_BH[:, None, :]
    identity = torch.eye(n_hidden, dtype=precision_CC.dtype, device=precision_CC.device)
    among_BHH = torch.where(both, precision_CC[index_BH[:, :, None], index_BH[:, None, :]], identity)
    across_BHC = torch.where(is_hidden_BH[:, :, None] & ~hidden_BC[:, None], precision_CC[index_BH], 0.0)
    weights_BHC = -torch.cholesky_solve(across_BHC, torch.linalg.cholesky(among_BHH)).to(deviations_BTC.dtype)
    found_BTH = deviations_BTC @ weights_BHC.transpose(1, 2)
    predicted_BTC.scatter_(2, index_BH[:, None].expand_as(found_BTH), found_BTH)


def _best_penalty(halves: Halves) -> float:
    n_windows = halves.pooled.n_windows
    errors = dict.fromkeys(PENALTIES, 0.0)
    for fitted, judge in halves.turns:
        for penalty in PENALTIES:
            precision = _inverse(fitted.values_PP, penalty * n_windows / fitted.n_windows)
            errors[penalty] += judge.n_windows * _held_out_error(precision, judge.values_PP)
    return min(PENALTIES, key=lambda penalty: errors[penalty])


def _held_out_error(precision_CC: Tensor, covariance_CC: Tensor) -> float:
    """Mean square of x_g - E(x_g | the others), summed over networks, each group g hidden in turn."""
    error, n_channels = 0.0, len(precision_CC)
    # x_g less its conditional mean is (L_gg)^-1 (L x)_g.
    scatter = precision_CC @ covariance_CC @ precision_CC
    for group in range(min(GROUPS, n_channels)):
        index = torch.arange(group, n_channels, GROUPS, device=precision_CC.device)
        factor = torch.linalg.cholesky(precision_CC[index[:, None], index])
        half_way = torch.cholesky_solve(scatter[index[:, None], index], factor)
        error += float(torch.cholesky_solve(half_way.T, factor).diagonal().sum())
    return error


def _inverse(covariance_CC: Tensor, penalty: float) -> Tensor:
    penalized = covariance_CC.clone()
    penalized.diagonal().add_(penalty)
    return torch.cholesky_inverse(torch.linalg.cholesky(penalized))
