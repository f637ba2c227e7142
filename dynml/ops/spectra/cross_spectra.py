"""Cross spectra with what must be known to read them, and what is made of them.

Shapes: T samples, C channels, K states or modes, F frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]
Stretches = NDArray[np.int64]
MOST_REMOVED = 0.2
"""Of a matrix of which a larger share was negative, too few eigenvalues are left for a coherence: it would go to 1."""


@dataclass(frozen=True, kw_only=True)
class CrossSpectra:
    """One-sided cross spectral densities of each state or mode."""

    frequencies: Real
    """Hz, (F,)."""

    values: Complex
    """Mean of conj(X_i) X_j, as SciPy's `csd` has it, in squared units per Hz, (K, F, C, C); NaN for a state that is
    not there."""

    weight: Real
    """Samples that each state's estimate is worth: the sum of squared weights that entered it, (K,)."""

    n_independent: Real
    """Independent estimates that each spectrum is the mean of, (K,); its relative standard deviation is one by the
    root of it."""

    resolution: Real
    """Width in Hz of the window that each spectrum is smoothed by: that of a rectangle of the same height and power,
    (K,)."""

    condition: float = 1.0
    """Condition number of the equations by which the states were separated; 1 where each stands for itself."""

    negative_share: Real | None = None
    """Share of the eigenvalues' sum that was negative and was removed, (K,); None where nothing had to be."""

    negative_share_KF: Real | None = None
    """The same at each frequency, (K, F)."""

    @property
    def coherence(self) -> Real:
        """Magnitude of coherence, (K, C, C, F); NaN at frequencies at which more than a fifth was negative."""
        found = coherence(self.values)
        if self.negative_share_KF is not None:
            found[np.broadcast_to((self.negative_share_KF > MOST_REMOVED)[:, None, None], found.shape)] = np.nan
        return found


def in_band(frequencies: Real, lowest: float, highest: float) -> slice:
    """Say which of ascending frequencies lie in [lowest, highest]."""
    tolerance = 1e-9 * max(abs(highest), 1e-300)
    first = int(np.searchsorted(frequencies, lowest - tolerance))
    return slice(first, int(np.searchsorted(frequencies, highest + tolerance, side="right")))


def one_sided(frequencies: Real, sampling_frequency: float) -> Real:
    """Give the factor by which power of negative frequencies is added: 2, but 1 at 0 and at half the rate, (F,)."""
    edges = np.isclose(frequencies, 0.0) | np.isclose(frequencies, sampling_frequency / 2)
    return np.where(edges, 1.0, 2.0)


def power(values: Complex) -> Real:
    """Auto spectra, (K, C, F), of cross spectra (K, F, C, C)."""
    autos = np.diagonal(values, axis1=-2, axis2=-1).real
    return np.ascontiguousarray(np.moveaxis(autos, -2, -1))


def coherence(values: Complex) -> Real:
    """Magnitude of coherence, (K, C, C, F), of cross spectra (K, F, C, C): in [0, 1], and 1 of a channel with itself.

    NaN where a channel has no power.
    """
    n_states, n_frequencies, n_channels = values.shape[:3]
    result = np.empty((n_states, n_channels, n_channels, n_frequencies))
    for state, own in enumerate(values):
        deviations = np.sqrt(np.maximum(np.diagonal(own, axis1=1, axis2=2).real, 0.0))
        products = deviations[:, :, None] * deviations[:, None, :]
        ratio = np.divide(np.abs(own), products, out=np.full(products.shape, np.nan), where=products > 0)
        result[state] = np.moveaxis(np.minimum(ratio, 1.0), 0, -1)
    return result


def coherence_floor(n_independent: Real) -> Real:
    """Give the coherence that independent channels have on average, by the number of independent estimates.

    Notes
    -----
    Of L estimates, Gamma(L) Gamma(3/2) / Gamma(L + 1/2), about the root of pi / 4 L.
    """
    counts = np.maximum(np.asarray(n_independent, dtype=np.float64), 1.0)
    floor = np.exp(gammaln(counts) + gammaln(1.5) - gammaln(counts + 0.5))
    return np.where(np.isnan(n_independent), np.nan, np.minimum(floor, 1.0))


def positive_semidefinite(values: Complex, autos: Real | None = None) -> tuple[Complex, Real, Real]:
    """Project cross spectra to positive semi-definite ones, and keep or set their auto spectra.

    Parameters
    ----------
    values : array, (K, F, C, C)
        Hermitian.
    autos : array, (K, F, C), optional
        Auto spectra of the result, none negative; default: those given, negative ones as 0.

    Returns
    -------
    array, (K, F, C, C)
        Eigenvalues below 0 are set to 0; rows and columns are then scaled, so that removing them does not add power.
    array, (K,)
        Share of the absolute sum of the eigenvalues, over all frequencies, that was below 0.
    array, (K, F)
        The same at each frequency.
    """
    if autos is None:
        autos = np.maximum(np.diagonal(values, axis1=-2, axis2=-1).real, 0.0)
    result = np.full(values.shape, np.nan, dtype=np.complex128)
    share, share_KF = np.full(len(values), np.nan), np.full(values.shape[:2], np.nan)
    for state in np.flatnonzero(np.isfinite(values).all(axis=(1, 2, 3))):
        eigenvalues, vectors = np.linalg.eigh(values[state])
        negative, sizes = -np.minimum(eigenvalues, 0).sum(axis=1), np.abs(eigenvalues).sum(axis=1)
        share[state] = negative.sum() / max(sizes.sum(), 1e-300)
        share_KF[state] = negative / np.maximum(sizes, 1e-300)
        roots = vectors * np.sqrt(np.maximum(eigenvalues, 0))[:, None, :]
        projected = roots @ np.conj(np.swapaxes(roots, 1, 2))
        found = np.diagonal(projected, axis1=1, axis2=2).real
        scale = np.sqrt(np.divide(autos[state], found, out=np.zeros_like(found), where=found > 0))
        result[state] = projected * scale[:, :, None] * scale[:, None, :]
        channels = np.arange(values.shape[-1])
        result[state][:, channels, channels] = autos[state]
    return result, share, share_KF
