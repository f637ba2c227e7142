"""Random numbers that depend on a key and a counter alone, not on what was drawn before.

The same (seed, epoch, span) has the same noise in whatever batch, on whatever rank or worker it comes. One call draws
for a whole batch on its device: keys and counters are integer tensors that broadcast against each other.

The generator is SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators"): the output
for counter i is mix(key + i * golden gamma), so that any position of a stream is reached at once.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_GOLDEN_GAMMA = 0x9E3779B97F4A7C15 - 2**64
_FIRST_FACTOR = 0xBF58476D1CE4E5B9 - 2**64
_SECOND_FACTOR = 0x94D049BB133111EB - 2**64
_FACTORS = np.array([_FIRST_FACTOR, _SECOND_FACTOR], np.int64).view(np.uint64)


def derived_keys(keys: Tensor, *parts: int | Tensor) -> Tensor:
    """Keys that depend on other keys and on every further part, in their order.

    Parameters
    ----------
    keys : Tensor, int64
    parts : int or int64 Tensor that broadcasts against `keys`

    Returns
    -------
    Tensor, int64
    """
    if keys.device.type == "cpu":
        return _derived_on_host(keys, parts)
    for part in parts:
        keys = _mixed(_mixed(keys) + part)
    return keys


def span_keys(seed: int, epoch: int, subject: Tensor, segment: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """One key a span.

    Parameters
    ----------
    seed, epoch : int
    subject, segment, start, stop : Tensor, (B,), int64
        What a span is.

    Returns
    -------
    Tensor, (B,), int64
    """
    return derived_keys(torch.full_like(subject, seed), epoch, subject, segment, start, stop)


def keyed_bits(keys: Tensor, counters: Tensor) -> Tensor:
    """64 random bits for every pair of key and counter.

    Parameters
    ----------
    keys, counters : Tensor, int64, that broadcast against each other

    Returns
    -------
    Tensor, int64
    """
    return _mix_in_place(keys + (counters + 1) * _GOLDEN_GAMMA)


def keyed_uniform(keys: Tensor, counters: Tensor) -> Tensor:
    """Draw uniform numbers in [0, 1), float32, from the highest 24 of the 64 bits."""
    return _shifted(keyed_bits(keys, counters), 40).to(torch.float32).mul_(2.0**-24)


def keyed_integers(keys: Tensor, counters: Tensor, bounds: Tensor) -> Tensor:
    """Draw whole numbers from 0 to `bounds` - 1, int64; bounds up to 2^31 and at least 1.

    The highest 32 bits are scaled, which favours no number by more than bounds / 2^32.
    """
    return _shifted(_shifted(keyed_bits(keys, counters), 32) * bounds, 32)


def keyed_normal(keys: Tensor, counters: Tensor) -> Tensor:
    """Draw standard normal numbers, float32, one from each 64 bits (Box & Muller 1958); none is beyond 6.8."""
    bits = keyed_bits(keys, counters)
    radius = _shifted(bits, 32).to(torch.float32).add_(0.5).mul_(2.0**-32)
    angle = bits.bitwise_and_(0xFFFFFFFF).to(torch.float32).mul_(2.0 * math.pi * 2.0**-32)
    return radius.log_().mul_(-2.0).sqrt_().mul_(angle.cos_())


def _derived_on_host(keys: Tensor, parts: tuple[int | Tensor, ...]) -> Tensor:
    """NumPy's calls cost a fraction of torch's, and the keys of a batch are a few numbers."""
    tensors = [keys, *(part for part in parts if isinstance(part, Tensor))]
    value = np.atleast_1d(keys.numpy()).view(np.uint64)
    for part in parts:
        added = part.numpy() if isinstance(part, Tensor) else np.array([part], np.int64)
        value = _mixed_on_host(_mixed_on_host(value) + added.view(np.uint64))
    return torch.from_numpy(value.view(np.int64)).reshape(torch.broadcast_shapes(*(one.shape for one in tensors)))


def _mixed_on_host(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * _FACTORS[0]
    value = (value ^ (value >> np.uint64(27))) * _FACTORS[1]
    return value ^ (value >> np.uint64(31))


def _mixed(value: Tensor) -> Tensor:
    return _mix_in_place(value.clone())


def _mix_in_place(value: Tensor) -> Tensor:
    value.bitwise_xor_(_shifted(value, 30)).mul_(_FIRST_FACTOR)
    value.bitwise_xor_(_shifted(value, 27)).mul_(_SECOND_FACTOR)
    return value.bitwise_xor_(_shifted(value, 31))


def _shifted(value: Tensor, n_bits: int) -> Tensor:
    """Shift right and fill with zeros: torch's own shift of int64 copies the sign."""
    return (value >> n_bits).bitwise_and_((1 << (64 - n_bits)) - 1)
