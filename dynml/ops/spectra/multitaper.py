"""State-weighted multitaper estimates of cross spectra.

Shapes: T samples, C channels, K states, W samples of a window, H tapers, M windows, F frequencies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynml.ops.spectra.cross_spectra import Complex, CrossSpectra, Real, in_band, one_sided
from dynml.ops.spectra.windows import resolution_of_tapers, tapered_transforms

FEWEST_SAMPLES = 10.0
"""A state that weighs less than so many samples has no spectrum."""


def multitaper_spectra(
    signals_TC: NDArray[np.floating],
    weights_TK: NDArray[np.floating],
    starts_M: NDArray[np.int64],
    tapers_HW: Real,
    sampling_frequency: float,
    frequency_range: tuple[float, float] = (0.0, np.inf),
) -> CrossSpectra:
    """Cross spectra of signals that are multiplied by each state's weights.

    Parameters
    ----------
    signals_TC : array, (T, C)
    weights_TK : array, (T, K)
        Probabilities of states, or ones.
    starts_M : array, (M,)
        Of windows whose samples are all there; see `window_starts`.
    tapers_HW : array, (H, W)
    sampling_frequency : float
        Hz.
    frequency_range : (float, float)
        Hz, both included.

    Returns
    -------
    CrossSpectra
        A state that weighs less than 10 samples is NaN.

    Notes
    -----
    S_k = sum of conj(X_i) X_j / sum of h^2 w_k^2, by the sampling frequency, over the windows and tapers that were
    used, X being the transform of h w_k x. With weights of 1 that is SciPy's `csd` of the same windows without
    detrending.

    Multiplying by weights smears each frequency by about one by the length of a visit: with visits of 50 ms, a state
    takes over the power of another state's peak that is 20 Hz away.

    In white noise an estimate is worth (sum of |v|^2)^2 / sum of (v u)^2 independent ones, v and u being the tapered
    weights of a window; what windows that overlap have in common is left out of it.
    """
    frequencies = np.asarray(np.fft.rfftfreq(tapers_HW.shape[1], 1 / sampling_frequency), dtype=np.float64)
    bins = in_band(frequencies, *frequency_range)
    frequencies = frequencies[bins]
    n_states, n_channels = weights_TK.shape[1], signals_TC.shape[1]
    values = np.full((n_states, len(frequencies), n_channels, n_channels), np.nan, dtype=np.complex128)
    weight, n_independent = np.zeros(n_states), np.full(n_states, np.nan)
    scale = (one_sided(frequencies, sampling_frequency) / sampling_frequency)[:, None, None]
    for state in range(n_states):
        own = np.ascontiguousarray(weights_TK[:, state])
        weight[state], energy, n_independent[state] = _used(own, starts_M, tapers_HW)
        if weight[state] < FEWEST_SAMPLES:
            n_independent[state] = np.nan
            continue
        total = np.zeros(values.shape[1:], dtype=np.complex128)
        is_one = bool((own == 1).all())
        for _, transforms in tapered_transforms(signals_TC, None if is_one else own, starts_M, tapers_HW, bins):
            total += gram(transforms)
        values[state] = total * scale / energy
    resolution = np.full(n_states, resolution_of_tapers(tapers_HW, sampling_frequency))
    return CrossSpectra(
        frequencies=frequencies,
        values=values,
        weight=weight,
        n_independent=n_independent,
        resolution=resolution,
    )


def gram(transforms_FnC: Complex) -> Complex:
    """Sum over n of conj(X_i) X_j, (F, C, C)."""
    return np.conj(np.swapaxes(transforms_FnC, 1, 2)) @ transforms_FnC


def _used(weights_T: NDArray[np.floating], starts_M: NDArray[np.int64], tapers_HW: Real) -> tuple[float, float, float]:
    """Squared weights in the windows, those times squared tapers, and what the estimate is worth."""
    if not len(starts_M):
        return 0.0, 0.0, np.nan
    squares = np.square(weights_T.astype(np.float64))
    windows = squares[starts_M[:, None] + np.arange(tapers_HW.shape[1])]
    # Products of every two tapers, so that one matrix product gives the Gram matrix of each window.
    n_tapers = len(tapers_HW)
    products = (tapers_HW[:, None] * tapers_HW[None]).reshape(n_tapers**2, -1)
    grams = windows @ products.T
    trace = grams[:, :: n_tapers + 1].sum()
    counted = float(np.square(trace) / max(np.square(grams).sum(), 1e-300))
    return float(windows.sum()), float(trace), counted
