"""Where the nearest visible samples are, for every sample of a task.

In a pair of sequences, the other part's samples are no neighbours: nothing says how far away they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dynml.models.sequence.objectives.tasks import Task


@dataclass(frozen=True)
class Neighbours:
    """The nearest visible samples on one side, not counting a sample itself.

    Shapes: (B, T, C), or (B, T, 1) where channels are visible or not together.
    """

    distance: Tensor
    """int64 samples; 0 where there is none."""

    direction: int
    """-1: before, 1: after."""

    @classmethod
    def before(cls, task: Task) -> Neighbours:
        """Nearest visible samples before."""
        return cls(_distances(task.visible, parts_of(task)), -1)

    @classmethod
    def after(cls, task: Task) -> Neighbours:
        """Nearest visible samples after."""
        return cls(_distances(task.visible.flip(1), parts_of(task).flip(1)).flip(1), 1)

    @property
    def exist(self) -> Tensor:
        """Whether there is one, bool."""
        return self.distance > 0

    def values(self, signals_BTC: Tensor) -> Tensor:
        """Values of the neighbours, (B, T, C); 0 where there is none."""
        times = torch.arange(signals_BTC.shape[1], device=signals_BTC.device)[:, None]
        found = (times + self.direction * self.distance).expand_as(signals_BTC)
        return torch.where(self.exist, signals_BTC.gather(1, found), 0.0)


@dataclass(frozen=True)
class Runs:
    """Samples of which all channels are visible, and how they lie before (in the order of the arguments)."""

    distance_BT: Tensor
    """int64: samples to the last visible one before; 0 where there is none."""

    length_BT: Tensor
    """int64: how many visible ones in a row end there; 0 where there is none."""

    @classmethod
    def before(cls, visible_BT: Tensor, parts_BT: Tensor) -> Runs:
        """Find runs before every sample."""
        distance_BT = _distances(visible_BT[:, :, None], parts_BT)[:, :, 0]
        times = torch.arange(visible_BT.shape[1], device=visible_BT.device)
        # The last sample that ends a run going back: a hidden one, or the one before the part's first.
        ends = torch.where(visible_BT, torch.where(_starts_part(parts_BT), times - 1, -1), times).cummax(dim=1).values
        length_BT = (times - ends).gather(1, times - distance_BT)
        return cls(distance_BT, torch.where(distance_BT > 0, length_BT, 0))


def parts_of(task: Task) -> Tensor:
    """Number of the part that each sample belongs to, (B, T) int64."""
    types_BT = task.windows.token_types_BT
    return torch.zeros_like(task.windows.mask_BT, dtype=torch.int64) if types_BT is None else types_BT


def wholly_visible(task: Task) -> Tensor:
    """Samples that are visible in all channels, (B, T) bool."""
    n_windows, n_times, _ = task.windows.shape
    return task.visible.all(dim=2).expand(n_windows, n_times)


def scored_samples(task: Task) -> Tensor:
    """Samples that are scored in some channel, (B, T) bool."""
    n_windows, n_times, _ = task.windows.shape
    return task.scored.any(dim=2).expand(n_windows, n_times) & task.windows.mask_BT


def _distances(visible: Tensor, parts_BT: Tensor) -> Tensor:
    """Samples to the last visible one before in the same part, (B, T, 1 or C); 0 where there is none."""
    n_windows, n_times = parts_BT.shape
    visible = visible.expand(n_windows, n_times, -1)
    times = torch.arange(n_times, device=visible.device)[:, None]
    last = torch.where(visible, times, -1).cummax(dim=1).values
    last = torch.nn.functional.pad(last[:, :-1], (0, 0, 1, 0), value=-1)
    first_of_part = torch.where(_starts_part(parts_BT)[:, :, None], times, 0).cummax(dim=1).values
    return torch.where(last >= first_of_part, times - last, 0)


def _starts_part(parts_BT: Tensor) -> Tensor:
    """Whether a sample is of another part than the one before; the first sample may go either way."""
    return parts_BT != parts_BT.roll(1, dims=1)
