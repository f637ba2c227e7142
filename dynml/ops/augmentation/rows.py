"""Augmentation of windows, on the device where they lie.

Shapes: n rows (samples of all spans of a batch, one under another), C channels, B spans. A padded batch (B, T, C) is
handled as its B T rows. What happens to a row depends on its span's key and its position in the span alone, so a span
is augmented in the same way in whatever batch it comes, packed, padded or read piece by piece.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dynml.ops.augmentation.amounts import Augmentation
from dynml.ops.keyed_noise import derived_keys, keyed_integers, keyed_normal, keyed_uniform
from dynml.ops.masked_samples import observed_rows

_NOISE, _SIGN, _DROPOUT, _AMPLITUDE, _SHIFT, _TIME_MASK, _CHANNEL_MASK = range(1, 8)
_VALUES_PER_BLOCK = {"cpu": 2**16}
_VALUES_PER_BLOCK_ELSEWHERE = 2**24


def augmented_rows(
    signals: Tensor,
    span: Tensor,
    position: Tensor,
    keys: Tensor,
    lengths: Tensor,
    augmentation: Augmentation,
    *,
    has_masked: bool = False,
) -> Tensor:
    """Apply amplitude jitter, sign flips, noise, channel dropout, channel and time masking, in that order.

    Parameters
    ----------
    signals : Tensor, (n, C), float32
        Left as it is.
    span : Tensor, (n,), int64
        Which of the B spans each row belongs to.
    position : Tensor, (n,), int64
        Sample of the span, from 0.
    keys : Tensor, (B,), int64
        From `span_keys`.
    lengths : Tensor, (B,), int64
        Samples of each span.
    augmentation : Augmentation
    has_masked : bool
        Whether rows may be NaN in all channels, for masked samples: they stay so.

    Returns
    -------
    Tensor, (n, C), float32
    """
    observed = observed_rows(signals) if has_masked else None
    n_channels = signals.shape[1]
    channels = torch.arange(n_channels, device=signals.device)
    factors = _factors(keys, augmentation)
    if factors is not None:
        signals = signals * factors[span][:, None]
    if augmentation.noise:
        signals = _with_noise(signals, derived_keys(keys, _NOISE)[span], position, augmentation.noise)
    kept = _kept_channels(keys, channels, augmentation)
    if kept is not None:
        signals = torch.where(kept[span], signals, 0.0)
    if augmentation.time_masking:
        starts, stops = _masked_stretches(keys, lengths, augmentation.time_masking)
        masked = (position >= starts[span]) & (position < stops[span])
        signals = torch.where(masked[:, None], 0.0, signals)
    return signals if observed is None else torch.where(observed[:, None], signals, torch.nan)


def jittered_starts(keys: Tensor, starts: Tensor, stops: Tensor, borders: Tensor, time_jitter: int) -> Tensor:
    """Where spans start after being moved by up to `time_jitter` samples within their segments.

    Parameters
    ----------
    keys : Tensor, (B,), int64
    starts, stops : Tensor, (B,), int64
        The spans.
    borders : Tensor, (B, 2), int64
        [start, stop) of the segment around each span.
    time_jitter : int

    Returns
    -------
    Tensor, (B,), int64
    """
    back = torch.clamp(starts - borders[:, 0], max=time_jitter)
    ahead = torch.clamp(borders[:, 1] - stops, max=time_jitter)
    return starts - back + keyed_integers(derived_keys(keys, _SHIFT), torch.zeros_like(keys), back + ahead + 1)


def _with_noise(signals: Tensor, keys_of_rows: Tensor, position: Tensor, deviation: float) -> Tensor:
    n_rows, n_channels = signals.shape
    channels = torch.arange(n_channels, device=signals.device)
    # The generator's integers take several times the memory of the signals, and on a CPU belong in its cache.
    n_block = max(_VALUES_PER_BLOCK.get(signals.device.type, _VALUES_PER_BLOCK_ELSEWHERE) // n_channels, 1)
    noisy = torch.empty_like(signals)
    for first in range(0, n_rows, n_block):
        block = slice(first, first + n_block)
        noise = keyed_normal(keys_of_rows[block, None], position[block, None] * n_channels + channels)
        torch.add(signals[block], noise, alpha=deviation, out=noisy[block])
    return noisy


def _factors(keys: Tensor, augmentation: Augmentation) -> Tensor | None:
    """Draw what every span is multiplied by, (B,)."""
    if not augmentation.amplitude_jitter and not augmentation.sign_flip:
        return None
    nothing = torch.zeros_like(keys)
    factors = torch.ones(len(keys), dtype=torch.float32, device=keys.device)
    if augmentation.amplitude_jitter:
        uniform = keyed_uniform(derived_keys(keys, _AMPLITUDE), nothing)
        factors = factors + augmentation.amplitude_jitter * (2.0 * uniform - 1.0)
    if augmentation.sign_flip:
        flipped = keyed_uniform(derived_keys(keys, _SIGN), nothing) < augmentation.sign_flip
        factors = torch.where(flipped, -factors, factors)
    return factors


def _kept_channels(keys: Tensor, channels: Tensor, augmentation: Augmentation) -> Tensor | None:
    """Which channels of each span are neither dropped nor masked, (B, C) bool."""
    if not augmentation.channel_dropout and not augmentation.channel_masking:
        return None
    kept = torch.ones(len(keys), len(channels), dtype=torch.bool, device=keys.device)
    if augmentation.channel_dropout:
        kept &= keyed_uniform(derived_keys(keys, _DROPOUT)[:, None], channels) >= augmentation.channel_dropout
    if augmentation.channel_masking:
        mask_keys = derived_keys(keys, _CHANNEL_MASK)[:, None]
        ranks = keyed_uniform(mask_keys, channels).argsort(dim=1, stable=True).argsort(dim=1)
        bound = torch.full_like(mask_keys, min(augmentation.channel_masking, len(channels)) + 1)
        kept &= ranks >= keyed_integers(mask_keys, torch.full_like(mask_keys, len(channels)), bound)
    return kept


def _masked_stretches(keys: Tensor, lengths: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """[start, stop) of the stretch of each span that is masked, (B,) each."""
    mask_keys, zero = derived_keys(keys, _TIME_MASK), torch.zeros_like(keys)
    masked = keyed_integers(mask_keys, zero, torch.clamp(lengths, max=longest) + 1)
    starts = keyed_integers(mask_keys, zero + 1, lengths - masked + 1)
    return starts, starts + masked
