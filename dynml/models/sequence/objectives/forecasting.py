"""Forecasts of several samples: what was predicted is fed back, by models and baselines alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dynml.models.sequence.objectives.tasks import Task
from dynml.models.sequence.windows import Windows

Predictor = Callable[[Task], Tensor]
"""Task to (B, T, C): each sample's prediction at its target's position."""


def forecast(
    predictor: Predictor,
    windows: Windows,
    n_samples: int,
    seconds_per_sample_B: Tensor,
    conditioning_BHJ: Tensor | None = None,
) -> Tensor:
    """Predict the samples after windows.

    Parameters
    ----------
    predictor : callable
        Of a causal task; asked for one sample at a time.
    windows : Windows
        Of equal length, without padding; samples may be masked.
    n_samples : int
        How far ahead.
    seconds_per_sample_B : Tensor, (B,)
    conditioning_BHJ : Tensor, (B, n_samples, J), optional
        What was recorded of a second group beside the samples that are predicted: each prediction is fed back with it.

    Returns
    -------
    Tensor, (B, n_samples, C), float32
    """
    n_known = windows.shape[1]
    for number in range(n_samples):
        longer = _with_unknown_sample(windows, seconds_per_sample_B)
        if conditioning_BHJ is not None:
            assert windows.conditioning_BTJ is not None
            parts = [windows.conditioning_BTJ, conditioning_BHJ[:, number : number + 1]]
            longer = dataclasses.replace(longer, conditioning_BTJ=torch.cat(parts, dim=1))
        is_last_BT = torch.zeros_like(longer.mask_BT)
        is_last_BT[:, -1] = True
        task = Task(longer, (longer.known_BT & ~is_last_BT)[:, :, None], is_last_BT[:, :, None], causal=True)
        predicted_BC = predictor(task)[:, -1].float()
        signals_BTC = torch.cat([windows.signals_BTC, predicted_BC[:, None]], dim=1)
        windows = dataclasses.replace(longer, signals_BTC=signals_BTC)
    return windows.signals_BTC[:, n_known:]


def _with_unknown_sample(windows: Windows, seconds_per_sample_B: Tensor) -> Windows:
    seconds_B1 = windows.seconds_BT[:, -1:] + seconds_per_sample_B[:, None]
    return dataclasses.replace(
        windows,
        signals_BTC=nn.functional.pad(windows.signals_BTC, (0, 0, 0, 1)),
        mask_BT=nn.functional.pad(windows.mask_BT, (0, 1), value=True),
        observed_BT=None if windows.observed_BT is None else nn.functional.pad(windows.observed_BT, (0, 1), value=True),
        seconds_BT=torch.cat([windows.seconds_BT, seconds_B1], dim=1),
    )
