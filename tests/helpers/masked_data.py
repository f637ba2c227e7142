"""Windows and recordings of which some samples were not observed."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from dynml.models.sequence.windows import Windows, masked_windows

RUBBISH = 1e6


def observed_at_random(given: Windows, rate: float = 0.3, seed: int = 5) -> Tensor:
    """Samples that were observed, (B, T): most of them, the first of each window among them."""
    generator = torch.Generator().manual_seed(seed)
    observed_BT = given.mask_BT & (torch.rand(given.mask_BT.shape, generator=generator) >= rate)
    observed_BT[:, 0] = True
    return observed_BT


def masked(given: Windows, observed_BT: Tensor, rubbish: float = float("nan")) -> Windows:
    """The windows with something else in the place of what was not observed, masked."""
    signals_BTC = torch.where((given.mask_BT & ~observed_BT)[:, :, None], rubbish, given.signals_BTC)
    return masked_windows(dataclasses.replace(given, signals_BTC=signals_BTC), observed_BT)


def with_gaps(arrays: list[np.ndarray], rate: float = 0.15, seed: int = 3, length: int = 3) -> list[np.ndarray]:
    """Arrays with stretches of NaN rows, none at their ends; a sample that would be alone between two is NaN, too."""
    generator = np.random.default_rng(seed)
    found = []
    for array in arrays:
        array = array.copy()
        for start in generator.integers(2, len(array) - length - 1, int(rate * len(array) / length)):
            array[start : start + length] = np.nan
        known = np.isfinite(array[:, 0])
        array[1:-1][~known[:-2] & ~known[2:]] = np.nan
        found.append(array)
    return found
