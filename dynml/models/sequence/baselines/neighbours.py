"""Where the nearest visible samples are, for every sample of a task.

In a pair of sequences, the other part's samples are no neighbours: nothing says how far away they are.

Samples with the same neighbours are predicted by the same regression, which has a code. The host must know how many
samples have it, or else how many have it at most: then their rows are filled up with a spare row behind the last
sample, in which nobody looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dynml.models.sequence.objectives.tasks import Task

MOST_DISTANCES = 64
"""Where gaps may be longer, asking the device costs less than products for samples that there may not be."""


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


def asks_nothing(device: torch.device, longest_gap: int | None) -> bool:
    """Whether to go by the most samples that a code can have: on an accelerator, where gaps are known to be short."""
    return device.type != "cpu" and longest_gap is not None and longest_gap < MOST_DISTANCES


def rows_by_code(codes_BT: Tensor, most_by_code: Mapping[int, int] | None = None) -> Iterator[tuple[int, Tensor]]:
    """Each code from 0 on, rising, and its positions in the flattened tensor. Negative codes are left out.

    Parameters
    ----------
    codes_BT : Tensor, (B, T), int64
    most_by_code : mapping, optional
        Codes that may occur, and of how many samples each is at most. Then all of them come, with so many positions,
        of which those too many are B T. Default: the codes that occur, for which the device is asked once.
    """
    if most_by_code is not None:
        yield from _filled_rows(codes_BT, most_by_code)
        return
    order = codes_BT.flatten().argsort(stable=True)
    counts = (codes_BT.flatten() + 1).bincount().tolist()
    first = counts[0]
    for code, count in enumerate(counts[1:]):
        if count:
            yield code, order[first : first + count]
        first += count


def _filled_rows(codes_BT: Tensor, most_by_code: Mapping[int, int]) -> Iterator[tuple[int, Tensor]]:
    n_rows = codes_BT.numel()
    codes, order = codes_BT.flatten().sort(stable=True)
    numbers = torch.arange(n_rows, device=codes.device)
    first = torch.searchsorted(codes, torch.arange(max(most_by_code, default=0) + 2, device=codes.device))
    for code, most in sorted(most_by_code.items()):
        at = first[code] + numbers[:most]
        yield code, torch.where(at < first[code + 1], order[at.clamp(max=n_rows - 1)], n_rows)


def with_spare_rows(values: Tensor, n_spare: int) -> Tensor:
    """Copy of values (n, C) with rows of zeros behind them."""
    return torch.cat([values, values.new_zeros(n_spare, *values.shape[1:])])


def products_of_neighbours(known: Tensor, rows: Tensor, offsets: Sequence[int], blocks: Tensor) -> Tensor:
    """Sum over offsets of known[rows + offset] @ block, (n_rows, C)."""
    found = known[rows + offsets[0]] @ blocks[0]
    for offset, block in zip(offsets[1:], blocks[1:], strict=True):
        found.addmm_(known[rows + offset], block)
    return found
