"""Frequency bands: power within a band, and mean coherence.

Shapes: F frequencies, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.errors import ConfigurationError, DataError

ALL = "all"
NEAR = 1e-9
ACCEPTED = "NAME=LOW-HIGH in Hz, such as alpha=8-13"


@dataclass(frozen=True)
class Band:
    """A range of frequencies."""

    name: str
    low: float
    """Hz."""
    high: float
    """Hz."""

    @property
    def in_words(self) -> str:
        """Name and limits."""
        return f"{self.name} ({self.low:g} to {self.high:g} Hz)"


def chosen_bands(
    words: Sequence[str] | None, frequencies: NDArray[np.float64], known: Sequence[Band] = ()
) -> list[Band]:
    """Read bands as a user writes them; without any, those that are known, or one band of all frequencies.

    Raises
    ------
    ConfigurationError
        For a band that cannot be read, or is named twice.
    DataError
        For one that reaches beyond the frequencies of the spectra.
    """
    lowest, highest = float(frequencies[0]), float(frequencies[-1])
    bands = [_band(word) for word in words or ()] or list(known) or [Band(ALL, lowest, highest)]
    for place, band in enumerate(bands):
        if band.name in {other.name for other in bands[:place]}:
            raise ConfigurationError("--bands", band.name, "each name once")
        if band.low < lowest - NEAR * highest or band.high > highest * (1 + NEAR):
            raise DataError(
                f"The band {band.in_words} reaches beyond the frequencies of the spectra, {lowest:g} to {highest:g} Hz."
            )
    return bands


def _band(word: str) -> Band:
    name, _, limits = word.partition("=")
    low, _, high = limits.partition("-")
    try:
        band = Band(name, float(low), float(high))
    except ValueError:
        raise ConfigurationError("--bands", word, ACCEPTED) from None
    if not name or "/" in name or not name.isprintable() or not 0 <= band.low < band.high < np.inf:
        raise ConfigurationError("--bands", word, ACCEPTED)
    return band


def band_integral(frequencies: ArrayLike, spectra: ArrayLike, band: Band) -> NDArray[np.float64]:
    """Integrate spectra over a band, by the trapezoidal rule with interpolated ends, so that neighbouring bands add up.

    Parameters
    ----------
    frequencies : array, (F,)
        Hz, ascending; at least 2.
    spectra : array, (.., F)
        Per Hz.
    band : Band

    Returns
    -------
    array, (..)
        A variance, where spectra are power.
    """
    from scipy.integrate import trapezoid

    grid, values = np.asarray(frequencies, dtype=np.float64), np.asarray(spectra, dtype=np.float64)
    inner = (grid > band.low) & (grid < band.high)
    points = np.concatenate([[band.low], grid[inner], [band.high]])
    ends = [_at(grid, values, limit) for limit in (band.low, band.high)]
    within = np.concatenate([ends[0][..., None], values[..., inner], ends[1][..., None]], axis=-1)
    return np.asarray(trapezoid(within, points, axis=-1))


def band_mean(frequencies: ArrayLike, spectra: ArrayLike, band: Band) -> NDArray[np.float64]:
    """Average spectra over a band, (.., F) to (..): the integral divided by the band's width."""
    return band_integral(frequencies, spectra, band) / (band.high - band.low)


def _at(grid: NDArray[np.float64], values: NDArray[np.float64], frequency: float) -> NDArray[np.float64]:
    place = int(np.clip(np.searchsorted(grid, frequency, side="right") - 1, 0, len(grid) - 2))
    share = (frequency - grid[place]) / (grid[place + 1] - grid[place])
    return np.asarray((1.0 - share) * values[..., place] + share * values[..., place + 1])
