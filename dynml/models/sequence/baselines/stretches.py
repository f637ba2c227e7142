"""Predictions of whole stretches of samples from what lies before each: what a causal model of patches is given, too.

Shapes: B windows, T samples, C channels, P samples of a stretch, M stretches with one before them, K samples before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from dynml.models.sequence.objectives.tasks import Task
from dynml.models.sequence.windows import Windows, in_patches

LEAST_BEFORE = 32
"""Samples before a stretch that are looked at; more where a stretch is longer. Linear baselines read the last few."""


def predicted_by_stretch(predict: Callable[[Task], Tensor], task: Task) -> Tensor:
    """Let a baseline predict each stretch in a window of its own, which ends with it and hides it.

    Parameters
    ----------
    predict : callable
        Of a causal task with hidden samples.
    task : Task
        With a `block` P above 1; windows in one piece.

    Returns
    -------
    Tensor, (B, T, C)
        0 in the first stretch.
    """
    windows, length = task.windows, task.block
    n_windows, n_times, n_channels = windows.shape
    assert windows.token_types_BT is None
    before = -(-LEAST_BEFORE // length) * length

    def unfolded(values: Tensor) -> Tensor:
        """Stretches with what lies before them, (B, M, K + P, ..)."""
        filled = in_patches(values, length).flatten(1, 2)
        padding = (*([0, 0] * (filled.dim() - 2)), before - length, 0)
        return torch.nn.functional.pad(filled, padding).unfold(1, before + length, length).movedim(-1, 2)

    longest_gap = None if task.longest_gap is None else task.longest_gap + length
    is_before_T = torch.arange(before + length, device=windows.device) < before
    visible, scored = task.visible.expand(-1, -1, 1), task.scored.expand(-1, -1, 1)
    n_stretches = -(-n_times // length) - 1
    if not n_stretches:
        return torch.zeros_like(windows.signals_BTC)
    own = Windows(
        unfolded(windows.signals_BTC).flatten(0, 1),
        torch.ones(n_windows * n_stretches, before + length, dtype=torch.bool, device=windows.device),
        torch.zeros(n_windows * n_stretches, before + length, dtype=torch.float64, device=windows.device),
        windows.keys_B.repeat_interleave(n_stretches),
    )
    if windows.conditioning_BTJ is not None:
        own = dataclasses.replace(own, conditioning_BTJ=unfolded(windows.conditioning_BTJ).flatten(0, 1))
    shown = unfolded(visible).flatten(0, 1) & is_before_T[:, None]
    asked = unfolded(scored).flatten(0, 1) & ~is_before_T[:, None]
    predicted = predict(Task(own, shown, asked, causal=True, longest_gap=longest_gap))[:, before:]
    stretches = predicted.reshape(n_windows, n_stretches * length, n_channels)
    return torch.nn.functional.pad(stretches, (0, 0, length, 0))[:, :n_times]
