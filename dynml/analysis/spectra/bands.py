"""What spectra come to over bands of frequencies, and over spectral components.

Shapes: F frequencies.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.spectra.settings import Band

Real = NDArray[np.float64]


def power_weights(frequencies: Real, band: Band) -> Real:
    """Weights by which power is integrated over a band, in Hz, (F,).

    The trapezoid rule between the band's borders, which may lie between two frequencies: bands that touch add up to
    what they are together. Frequencies outside the estimated ones count as nothing.
    """
    weights = np.zeros(len(frequencies))
    for position, (left, right) in enumerate(itertools.pairwise(frequencies.tolist())):
        low, high = max(left, band.lowest), min(right, band.highest)
        if high > low:
            middle = ((low + high) / 2 - left) / (right - left)
            weights[position] += (high - low) * (1 - middle)
            weights[position + 1] += (high - low) * middle
    return weights


def mean_weights(frequencies: Real, band: Band) -> Real:
    """Weights that sum to 1 by which a spectrum is averaged over a band, (F,); NaN for one without frequencies."""
    weights = power_weights(frequencies, band)
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(frequencies), np.nan)


def weighted(spectra: NDArray[np.floating], weights: Real) -> Real:
    """Average or sum spectra (.., F) by weights (F,); frequencies without a value are left out of it, (..)."""
    values = np.asarray(spectra, dtype=np.float64)
    known = np.isfinite(values)
    shares = np.where(known, weights, 0.0)
    found = shares.sum(axis=-1)
    total = (np.where(known, values, 0.0) * shares).sum(axis=-1)
    ratio = weights.sum() / np.where(found > 0, found, np.nan)
    return np.asarray(total * ratio)
