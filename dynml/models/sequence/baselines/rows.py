"""Samples of a batch that are predicted by the same regression, with or without asking the device how many they are.

A regression has a code. The host must know how many samples have it, or else how many have it at most: then their rows
are filled up with a spare row behind the last sample, in which nobody looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

MOST_DISTANCES = 64
"""Where gaps may be longer, asking the device costs less than products for samples that there may not be."""


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
