"""Baselines that look at one channel at a time: zero, persistence, interpolation, and AR(1)."""

from __future__ import annotations

import torch
from torch import Tensor

from dynml.models.sequence.baselines.baseline import Baseline, TrainingMoments
from dynml.models.sequence.baselines.neighbours import Neighbours
from dynml.models.sequence.objectives.tasks import Task


class Zero(Baseline):
    """Predicts 0."""

    name = "zero"

    def _predicted(self, task: Task) -> Tensor:
        return torch.zeros_like(task.windows.signals_BTC)


class Persistence(Baseline):
    """Predicts the last visible sample before; 0 where there is none."""

    name = "persistence"

    def _predicted(self, task: Task) -> Tensor:
        before = Neighbours.before(task)
        return before.values(task.windows.signals_BTC)


class Interpolation(Baseline):
    """Predicts on the straight line between the nearest visible samples on both sides.

    At a window's ends, where one side has none: the nearest one on the other. 0 where nothing is visible.
    """

    name = "interpolation"

    def _predicted(self, task: Task) -> Tensor:
        assert not task.causal, "interpolation looks ahead"
        signals_BTC = task.windows.signals_BTC
        before, after = Neighbours.before(task), Neighbours.after(task)
        share = after.distance / (before.distance + after.distance).clamp(min=1)
        share = torch.where(after.exist, torch.where(before.exist, share, 0.0), 1.0)
        return share * before.values(signals_BTC) + (1 - share) * after.values(signals_BTC)


class Ar1(Baseline):
    """Each channel from its own last visible sample: mean + coefficient^distance (sample - mean).

    The mean where there is none. The coefficient is fitted by least squares to neighbouring samples.
    """

    name = "ar1"
    mean_C: Tensor
    coefficients_C: Tensor

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.register_buffer("mean_C", torch.zeros(n_channels))
        self.register_buffer("coefficients_C", torch.zeros(n_channels))

    def fit(self, moments: TrainingMoments) -> None:
        """Set mean and coefficients."""
        moments.longest_window(2)
        products, squares = moments.neighbour_products()
        # Powers of a coefficient above 1 would grow without limit.
        coefficients = (products / squares.clamp(min=torch.finfo(squares.dtype).tiny)).clamp(-1, 1)
        n_channels = len(self.mean_C)  # without those of a second group
        self.mean_C.copy_(moments.mean_and_scale[0][:n_channels])
        self.coefficients_C.copy_(coefficients[:n_channels])

    def _predicted(self, task: Task) -> Tensor:
        before = Neighbours.before(task)
        deviations = before.values(task.windows.signals_BTC - self.mean_C)
        return self.mean_C + deviations * self.coefficients_C.pow(before.distance)
