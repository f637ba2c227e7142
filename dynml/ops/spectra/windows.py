"""Windows that lie within stretches without gaps, and their tapered Fourier transforms.

Shapes: T samples, C channels, W samples of a window, H tapers, M windows, F frequencies.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dynml.ops.spectra.cross_spectra import Complex, Real, Stretches

BYTES_PER_BLOCK = 2**22
"""What the tapered windows of one block hold: they stay near the processor, whatever the recording's length."""


def window_starts(stretches: Stretches, length: int, step: int) -> NDArray[np.int64]:
    """First samples of windows that lie within a stretch each, from its start on, (M,)."""
    starts = [np.arange(start, stop - length + 1, step) for start, stop in stretches.tolist()]
    return np.concatenate([np.zeros(0, dtype=np.int64), *starts]).astype(np.int64)


def slepian_tapers(length: int, time_half_bandwidth: float) -> Real:
    """Discrete prolate spheroidal sequences of unit energy, as many as are well concentrated, (H, W)."""
    from scipy.signal.windows import dpss

    return np.atleast_2d(dpss(length, time_half_bandwidth, max(int(2 * time_half_bandwidth) - 1, 1)))


def hann_taper(length: int) -> Real:
    """One Hann window of unit energy, (1, W)."""
    from scipy.signal.windows import hann

    window = np.asarray(hann(length, sym=False), dtype=np.float64)
    return (window / np.sqrt(np.square(window).sum()))[None]


def resolution_of_tapers(tapers_HW: Real, sampling_frequency: float) -> float:
    """Width in Hz of the rectangle that has the height and the power of the tapers' mean spectral window."""
    length = tapers_HW.shape[1]
    transforms = np.fft.rfft(tapers_HW, 2 * length)
    lags = np.fft.irfft(np.square(np.abs(transforms)).mean(axis=0), 2 * length)
    return float(sampling_frequency / np.square(lags).sum())


def tapered_transforms(
    signals_TC: NDArray[np.floating],
    weights_T: NDArray[np.floating] | None,
    starts_M: NDArray[np.int64],
    tapers_HW: Real,
    bins: slice,
) -> Iterator[tuple[slice, Complex]]:
    """Fourier transforms of windows, tapered and weighted, block by block.

    Parameters
    ----------
    signals_TC : array, (T, C)
        float32 or float64; transforms have the same precision.
    weights_T : array, (T,), optional
        What the samples are multiplied by.
    starts_M : array, (M,)
    tapers_HW : array, (H, W)
    bins : slice
        Which of the W // 2 + 1 frequencies are given.

    Yields
    ------
    slice
        Which windows they are.
    array, (F, m H, C)
        Of window and taper.
    """
    from scipy.fft import rfft

    n_tapers, length = tapers_HW.shape
    n_channels = signals_TC.shape[1]
    size = max(1, BYTES_PER_BLOCK // (n_tapers * length * n_channels * signals_TC.itemsize))
    columns = np.ascontiguousarray(tapers_HW.T, dtype=signals_TC.dtype)
    for first in range(0, len(starts_M), size):
        chosen = starts_M[first : first + size]
        rows = np.arange(length)[:, None] + chosen
        factors = np.broadcast_to(columns[:, None, :], (length, len(chosen), n_tapers))
        if weights_T is not None:
            factors = factors * weights_T[rows].astype(signals_TC.dtype)[:, :, None]
        tapered = (signals_TC[rows][:, :, None, :] * factors[..., None]).reshape(length, -1, n_channels)
        yield slice(first, first + len(chosen)), rfft(tapered, axis=0, overwrite_x=True)[bins]
