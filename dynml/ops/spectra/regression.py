"""Spectra of modes that mix: tapered cross spectra regressed on the modes' weights, without intercept.

Shapes: T samples, C channels, J modes, W samples of a window, H tapers, M windows, F frequencies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.ops.spectra.cross_spectra import CrossSpectra, Real, in_band, one_sided, positive_semidefinite
from dynml.ops.spectra.multitaper import FEWEST_SAMPLES
from dynml.ops.spectra.windows import resolution_of_tapers, tapered_transforms


def regression_spectra(
    signals_TC: NDArray[np.floating],
    weights_TJ: NDArray[np.floating],
    starts_M: NDArray[np.int64],
    tapers_HW: Real,
    sampling_frequency: float,
    frequency_range: tuple[float, float] = (0.0, np.inf),
) -> CrossSpectra:
    """Cross spectra of modes, of which every window holds a mixture.

    Parameters
    ----------
    signals_TC : array, (T, C)
    weights_TJ : array, (T, J)
        Mixing coefficients.
    starts_M, tapers_HW, sampling_frequency, frequency_range
        As for `multitaper_spectra`.

    Returns
    -------
    CrossSpectra
        Positive semi-definite, with its condition number. A mode whose weights sum to less than 10 samples is NaN.

    Notes
    -----
    Within a window where mixing is slow, P_m = sum over j of a_mj S_j, with a_mj the mean of the mode's weight over the
    window, each sample weighted by its squared taper as the power is. There is no intercept: weights sum to 1 and
    would be collinear with it. Auto spectra come from non-negative least squares, cross spectra from least squares,
    and both are made positive semi-definite, so that no coherence exceeds 1.

    A mode's estimate is worth (diagonal of the inverse of A'A)^-1 windows times tapers, or less where windows overlap.
    """
    frequencies = np.asarray(np.fft.rfftfreq(tapers_HW.shape[1], 1 / sampling_frequency), dtype=np.float64)
    bins = in_band(frequencies, *frequency_range)
    frequencies = frequencies[bins]
    n_modes, n_channels = weights_TJ.shape[1], signals_TC.shape[1]
    profile = np.square(tapers_HW).mean(axis=0)
    means_MJ = np.stack(
        [profile @ weights_TJ[start : start + len(profile)] for start in starts_M.tolist()] or [np.zeros(n_modes)]
    ).astype(np.float64)
    values = np.full((n_modes, len(frequencies), n_channels, n_channels), np.nan, dtype=np.complex128)
    weight = np.square(means_MJ).sum(axis=0) * _step(starts_M, tapers_HW)
    present = np.flatnonzero(weight >= FEWEST_SAMPLES)
    n_independent = np.full(n_modes, np.nan)
    condition = 1.0
    negative_share, negative_share_KF = np.full(n_modes, np.nan), np.full(values.shape[:2], np.nan)
    if len(present):
        chosen = means_MJ[:, present]
        normal = chosen.T @ chosen
        condition = _condition(normal)
        sums = _weighted_sums(signals_TC, chosen, starts_M, tapers_HW, bins)
        sums *= (one_sided(frequencies, sampling_frequency) / sampling_frequency / len(tapers_HW))[:, None, None]
        inverse = np.linalg.pinv(normal, hermitian=True)
        crossed = np.einsum("jk,kfab->jfab", inverse, sums)
        autos = _non_negative(normal, np.diagonal(sums, axis1=2, axis2=3).real)
        values[present], negative_share[present], negative_share_KF[present] = positive_semidefinite(crossed, autos)
        n_independent[present] = _n_independent(inverse, starts_M, tapers_HW)
    return CrossSpectra(
        frequencies=frequencies,
        values=values,
        weight=np.where(weight >= FEWEST_SAMPLES, weight, 0.0),
        n_independent=n_independent,
        resolution=np.full(n_modes, resolution_of_tapers(tapers_HW, sampling_frequency)),
        condition=condition,
        negative_share=negative_share,
        negative_share_KF=negative_share_KF,
    )


def correlated_modes(weights_TJ: NDArray[np.floating], threshold: float = 0.95) -> list[tuple[int, int, float]]:
    """Pairs of modes, numbered from 0, whose weights correlate beyond a threshold, and how much."""
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = np.atleast_2d(np.corrcoef(weights_TJ, rowvar=False))
    first, second = np.nonzero(np.triu(correlations, 1) > threshold)
    return [(int(a), int(b), float(correlations[a, b])) for a, b in zip(first, second)]


def _weighted_sums(
    signals_TC: NDArray[np.floating], means_MJ: Real, starts_M: NDArray[np.int64], tapers_HW: Real, bins: slice
) -> NDArray[np.complex128]:
    """Sum over windows of a mode's weight times the window's cross spectra, summed over tapers, (J, F, C, C)."""
    total: NDArray[np.complex128] | None = None
    for windows, transforms in tapered_transforms(signals_TC, None, starts_M, tapers_HW, bins):
        conjugate = np.conj(np.swapaxes(transforms, 1, 2))
        factors = np.repeat(means_MJ[windows], len(tapers_HW), axis=0)
        found = np.stack([conjugate @ (transforms * own[:, None]) for own in factors.T])
        total = found if total is None else total + found
    assert total is not None
    return total


def _non_negative(normal: Real, right_JFC: Real) -> Real:
    """Non-negative least squares from the normal equations, for every frequency and channel, (J, F, C)."""
    from scipy.optimize import nnls

    eigenvalues, vectors = np.linalg.eigh(normal)
    kept = eigenvalues > eigenvalues.max() * 1e-12
    roots = np.sqrt(eigenvalues[kept])
    matrix = roots[:, None] * vectors[:, kept].T
    targets = (vectors[:, kept].T @ right_JFC.reshape(len(normal), -1)) / roots[:, None]
    plain = np.linalg.lstsq(matrix, targets, rcond=None)[0]
    for column in np.flatnonzero((plain < 0).any(axis=0)):
        plain[:, column] = nnls(matrix, targets[:, column])[0]
    return np.asarray(plain.reshape(right_JFC.shape))


def _condition(normal: Real) -> float:
    scale = np.sqrt(np.diagonal(normal))
    return float(np.linalg.cond(normal / np.outer(scale, scale)))


def _step(starts_M: NDArray[np.int64], tapers_HW: Real) -> float:
    """Samples that a window adds to those before it."""
    if len(starts_M) < 2:
        return float(tapers_HW.shape[1])
    return float(min(np.diff(starts_M).min(), tapers_HW.shape[1]))


def _n_independent(inverse: NDArray[Any], starts_M: NDArray[np.int64], tapers_HW: Real) -> Real:
    shared = _step(starts_M, tapers_HW) / tapers_HW.shape[1]
    return np.asarray(len(tapers_HW) * min(1.0, shared * 2) / np.diagonal(inverse))
