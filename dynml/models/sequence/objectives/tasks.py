"""What a model is shown of a window, what it must predict, and what its errors cost: ways to learn without labels.

Every prediction lies where its target does: `predicted[:, t]` is what is said of `signals[:, t]`, whatever the model.
So models and baselines are scored on the same numbers. All draws are keyed by window (`Windows.keys_B`). Masked
samples, which were not observed, are never shown and never scored: tasks are made of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dynml.models.sequence.config import SequenceConfig
from dynml.models.sequence.windows import Windows, in_patches, of_samples
from dynml.ops.keyed_noise import derived_keys, keyed_integers, keyed_uniform

_POSITION, _TIMES, _NETWORKS = 101, 102, 103


@dataclass(frozen=True)
class Task:
    """Windows, what of them may be looked at, and what is scored."""

    windows: Windows
    visible: Tensor
    """bool, broadcastable to (B, T, C); never padding, never masked."""

    scored: Tensor
    """bool, broadcastable to (B, T, C); never padding, never masked."""

    causal: bool = False
    """A prediction may look only at visible samples before its target."""

    block: int = 1
    """Causal tasks: samples of a stretch of so many, counted from the window's start, are predicted at once; only
    visible samples before the stretch may be looked at."""

    follows_B: Tensor | None = None
    """bool: whether the second part of a pair follows on the first; None where there are no pairs."""

    longest_gap: int | None = None
    """Hidden samples in a row at most, around a scored sample or before it where `causal`; those with no visible one
    before or after them in their part aside. Known on the host, so that a device need not be asked; None: unknown."""

    n_hidden_networks: int | None = None
    """Networks that are hidden in a window at most; None: unknown to the host."""

    def of_present_channels(self) -> Task:
        """Score only channels that a window's recording has."""
        present_BC = self.windows.present_BC
        return self if present_BC is None else replace(self, scored=self.scored & present_BC[:, None])


def next_sample_task(windows: Windows, block: int = 1) -> Task:
    """Predict every sample but the first from those before it; or every patch of `block` samples but the first."""
    known_BT = windows.known_BT
    if block > 1:
        patch_BN = in_patches(known_BT, block).any(dim=2).long()
        follows_BN = patch_BN.cumsum(dim=1) - patch_BN > 0
        scored_BT = known_BT & of_samples(follows_BN, block, known_BT.shape[1])
        shown, asked = known_BT[:, :, None], scored_BT[:, :, None]
        return Task(windows, shown, asked, causal=True, block=block, longest_gap=_gap(windows, 0))
    scored_BT = known_BT & (known_BT.cumsum(dim=1) > 1)
    return Task(windows, known_BT[:, :, None], scored_BT[:, :, None], causal=True, longest_gap=_gap(windows, 0))


def single_position_task(windows: Windows) -> Task:
    """Predict one sample of each window, drawn evenly from its second to its last, from those before it."""
    known_BT = windows.known_BT
    one_B, n_known_B = torch.zeros_like(windows.keys_B), known_BT.sum(dim=1)
    drawn_B = keyed_integers(derived_keys(windows.keys_B, _POSITION), one_B, (n_known_B - 1).clamp(min=1)) + 1
    numbers_BT = known_BT.cumsum(dim=1) - 1
    scored_BT = (numbers_BT == drawn_B[:, None]) & known_BT
    visible_BT = (numbers_BT < drawn_B[:, None]) & known_BT
    return Task(windows, visible_BT[:, :, None], scored_BT[:, :, None], causal=True, longest_gap=_gap(windows, 0))


def masked_samples_task(windows: Windows, rate: float, follows_B: Tensor | None = None, patch_length: int = 1) -> Task:
    """Hide a share of each window's samples, all networks of a sample at once: at least one, and never all.

    With `patch_length` above 1, patches of so many samples are hidden.
    """
    known_BT = windows.known_BT
    known_BN = known_BT if patch_length == 1 else in_patches(known_BT, patch_length).any(dim=2)
    counters = torch.arange(known_BN.shape[1], device=windows.device)
    noise_BN = keyed_uniform(derived_keys(windows.keys_B, _TIMES)[:, None], counters)
    hidden_BN = _least(torch.where(known_BN, noise_BN, 2.0), n_hidden(known_BN.sum(dim=1), rate))
    hidden_BT = of_samples(hidden_BN, patch_length, known_BT.shape[1]) & known_BT
    longest = _gap(windows, patch_length * _most_hidden(known_BN.shape[1], rate))
    visible_BT = known_BT & ~hidden_BT
    return Task(windows, visible_BT[:, :, None], hidden_BT[:, :, None], follows_B=follows_B, longest_gap=longest)


def masked_networks_task(windows: Windows, rate: float, follows_B: Tensor | None = None) -> Task:
    """Hide a share of the networks that a window has, over all of it: at least one, and never all."""
    n_windows, _, n_channels = windows.shape
    keys_B1 = derived_keys(windows.keys_B, _NETWORKS)[:, None]
    n_networks = _most_hidden(n_channels, rate)
    known_BTC = windows.known_BT[:, :, None]
    if windows.present_BC is None:
        noise_BC = keyed_uniform(keys_B1, torch.arange(n_channels, device=windows.device))
        n_networks_B = torch.full((n_windows,), n_channels, device=windows.device)
    else:
        # Counted among those that are there, so that draws are those of a recording by itself.
        present_BC, known_BTC = windows.present_BC, known_BTC & windows.present_BC[:, None]
        noise_BC = torch.where(present_BC, keyed_uniform(keys_B1, present_BC.cumsum(dim=1) - 1), 2.0)
        n_networks_B = present_BC.sum(dim=1)
    hidden_B1C = _least(noise_BC, n_hidden(n_networks_B, rate))[:, None]
    shown, asked = known_BTC & ~hidden_B1C, known_BTC & hidden_B1C
    return Task(windows, shown, asked, follows_B=follows_B, n_hidden_networks=n_networks)


def reconstruction_task(windows: Windows) -> Task:
    """Predict every sample of a window that is seen whole, through a code."""
    known_BT1 = windows.known_BT[:, :, None]
    return Task(windows, known_BT1, known_BT1)


def elementwise_loss(predicted: Tensor, target: Tensor, config: SequenceConfig) -> Tensor:
    """Cost of each error: |e|, e^2, or Huber's function of it.

    Huber (1964): e^2 / 2 for |e| below delta, delta (|e| - delta / 2) beyond.
    """
    if config.loss == "l1":
        return (predicted - target).abs()
    if config.loss == "l2":
        return (predicted - target).square()
    return torch.nn.functional.huber_loss(predicted, target, reduction="none", delta=config.huber_delta)


def mean_loss(
    predicted_BTC: Tensor, target_BTC: Tensor, scored: Tensor, config: SequenceConfig
) -> tuple[Tensor, Tensor]:
    """Mean cost over scored samples and channels.

    Parameters
    ----------
    predicted_BTC, target_BTC : Tensor, (B, T, C)
    scored : Tensor, bool, broadcastable to (B, T, C)
    config : SequenceConfig

    Returns
    -------
    loss : Tensor, ()
        0 where nothing is scored.
    n_scored : Tensor, ()
        Scored numbers (samples x channels), float64.
    """
    weights = scored.expand_as(target_BTC)
    # Not masked by multiplication: what is predicted for padding may be anything.
    costs = torch.where(weights, elementwise_loss(predicted_BTC.float(), target_BTC, config), 0.0)
    n_scored = weights.sum(dtype=torch.float64)
    return (costs.sum() / n_scored.clamp(min=1.0)).float(), n_scored


def n_hidden(n: Tensor, rate: float) -> Tensor:
    """How many of `n` are hidden: the nearest number to their share, at least one, and not all unless there is one.

    The number is fixed, and only who is hidden is drawn: a batch then weighs the same whatever the draw.
    """
    return (n * rate).round().long().clamp(min=1).minimum((n - 1).clamp(min=1))


def _most_hidden(n: int, rate: float) -> int:
    """As `n_hidden`, for a number that the host knows."""
    return int(n_hidden(torch.tensor(n), rate))


def _gap(windows: Windows, n_hidden_at_most: int) -> int | None:
    """Longest gap of a task; masked samples, of which only the device knows, may make it any longer."""
    return n_hidden_at_most if windows.observed_BT is None else None


def _least(noise: Tensor, counts_B: Tensor) -> Tensor:
    """Mark the `counts_B` smallest entries of each row."""
    ranks = torch.empty_like(noise, dtype=torch.int64)
    ranks.scatter_(1, noise.argsort(dim=1), torch.arange(noise.shape[1], device=noise.device).expand(noise.shape))
    return ranks < counts_B[:, None]
