"""Masked samples: rows that are NaN in all channels stand for samples that were not observed.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def observed_rows(signals: Tensor) -> Tensor:
    """Say which rows were observed.

    Parameters
    ----------
    signals : Tensor, (..., C)
        Rows are masked whole, so that their first channel tells.

    Returns
    -------
    Tensor, (...,), bool
    """
    return ~signals[..., 0].isnan()


def observed_if_masked(signals_TC: Tensor) -> Tensor | None:
    """Tell the observed rows from masked ones, which are NaN in all channels.

    Parameters
    ----------
    signals_TC : Tensor, (T, C)

    Returns
    -------
    Tensor, (T,), bool, or None
        None where no row is masked. Rows that are NaN in some channels only, or infinite, are faults of the data and
        count as observed, so that they show in the result.
    """
    masked = signals_TC[:, 0].isnan()
    if not bool(masked.any()):
        return None
    masked[masked.clone()] = signals_TC[masked].isnan().all(1)
    return ~masked if bool(masked.any()) else None


def observed_without_waiting(signals_TC: Tensor) -> Tensor:
    """Tell the observed rows from masked ones as `observed_if_masked`, but (T,) in any case: nothing is decided."""
    return ~torch.isnan(signals_TC).all(1)
