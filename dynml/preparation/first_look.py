"""Channels of a run that may have bad stretches, found row by row as the signals lie in memory.

Most runs have none, and to turn all channels into columns takes several times as long as this does.

Shapes: T samples, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.preparation.standardization import robust_moments
from dynml.stretches import blocks_in_cache

FEWEST_EQUAL = 5
"""Fewer equal neighbours are nothing, however finely a channel is resolved."""
FEWEST_CLIPPED = 10
SPIKE_SD = 50.0
"""Robust standard deviations from the median that a spike has at least."""
ROWS_FOR_MEDIANS = 5_000
ROWS_AT_ONCE = 16
"""Rows that are put together before NumPy goes through them, since it is slow with short ones."""


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """What is to be looked at as columns."""

    channels: NDArray[np.bool_]
    """(C,): whether a channel may stand still, be clipped, or have spikes."""
    together: bool
    """Whether all channels may stand still at once."""

    @classmethod
    def all(cls, n_channels: int) -> Suspects:
        """Give everything."""
        return cls(channels=np.ones(n_channels, dtype=bool), together=True)


def suspects_of(signals: NDArray[np.floating[Any]]) -> Suspects:
    """Find the channels of a run that may have bad stretches; no other one has any.

    Parameters
    ----------
    signals : array, (T, C)
    """
    n_channels = signals.shape[1]
    if not signals.size:
        return Suspects.all(n_channels)
    seen = _seen(signals)
    if not (np.isfinite(seen.lowest).all() and np.isfinite(seen.highest).all()):
        return Suspects.all(n_channels)
    still = seen.n_equal >= FEWEST_EQUAL - 1
    together = bool(still.all()) or seen.n_zero_rows > 1
    channels = still | _may_be_clipped(signals, seen) | _may_have_spikes(signals, seen)
    return Suspects(channels=channels, together=together)


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What all samples were asked for, B blocks of rows."""

    n_equal: NDArray[np.int64]
    """(C,): pairs of equal neighbours."""
    n_zero_rows: int
    """Rows that are zero in all channels."""
    lowest: NDArray[Any]
    """(B, C); NaN where anything is."""
    highest: NDArray[Any]
    """(B, C)."""


def _seen(signals: NDArray[np.floating[Any]]) -> _Seen:
    n_equal, n_zero_rows = np.zeros(signals.shape[1], dtype=np.int64), 0
    lowest, highest = [], []
    for start, block in blocks_in_cache(signals):
        following = signals[start + 1 : start + 1 + len(block)]
        equal = block[: len(following)] == following
        # To count all of a block takes a small part of the time that it takes channel by channel.
        if np.count_nonzero(equal):
            n_equal += np.count_nonzero(equal, axis=0)
        zero = block[block[:, 0] == 0.0]
        n_zero_rows += len(zero) - int(np.count_nonzero(zero.any(axis=1)))
        lowest.append(_over_rows(np.minimum, block))
        highest.append(_over_rows(np.maximum, block))
    return _Seen(n_equal=n_equal, n_zero_rows=n_zero_rows, lowest=np.stack(lowest), highest=np.stack(highest))


def _over_rows(choose: np.ufunc, block: NDArray[Any]) -> NDArray[Any]:
    """Smallest or largest value of each channel, (C,)."""
    n_channels = block.shape[1]
    n_whole = len(block) // ROWS_AT_ONCE * ROWS_AT_ONCE
    rest = block[n_whole:]
    if not n_whole:
        return np.asarray(choose.reduce(rest, axis=0))
    joined = choose.reduce(block[:n_whole].reshape(-1, ROWS_AT_ONCE * n_channels), axis=0)
    return np.asarray(choose.reduce(np.concatenate([joined.reshape(-1, n_channels), rest]), axis=0))


def _may_be_clipped(signals: NDArray[np.floating[Any]], seen: _Seen) -> NDArray[np.bool_]:
    """Whether a channel has its smallest or largest value often, (C,)."""
    may_be = np.zeros(signals.shape[1], dtype=bool)
    for of_blocks, extremes in ((seen.lowest, seen.lowest.min(axis=0)), (seen.highest, seen.highest.max(axis=0))):
        n_there = np.zeros(signals.shape[1], dtype=np.int64)
        for (_, block), of_block in zip(blocks_in_cache(signals), of_blocks):
            channels = np.flatnonzero(of_block == extremes)
            if len(channels):
                n_there[channels] += np.count_nonzero(block[:, channels] == extremes[channels], axis=0)
        may_be |= n_there >= FEWEST_CLIPPED
    return may_be


def _may_have_spikes(signals: NDArray[np.floating[Any]], seen: _Seen) -> NDArray[np.bool_]:
    """Whether a channel has a sample far from its median, (C,)."""
    sampled = signals[:: max(1, len(signals) // ROWS_FOR_MEDIANS)]
    found = robust_moments(np.ascontiguousarray(sampled.T))
    median, spread = (one.astype(np.float64) for one in found)
    lowest, highest = seen.lowest.min(axis=0).astype(np.float64), seen.highest.max(axis=0).astype(np.float64)
    farthest = np.maximum(highest - median, median - lowest)
    return np.asarray(~((spread == 0.0) | (farthest <= SPIKE_SD * spread)))
