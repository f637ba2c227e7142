"""What does not need states: envelope correlations, and correlations in windows.

Power spectra and coherence of all samples together are those of one state that is always there: `estimation.static`.

Shapes: T samples, C channels, M windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.spectra.settings import Band
from dynml.errors import ConfigurationError, DataError
from dynml.ops.spectra.windows import window_starts

Real = NDArray[np.float64]
ORDER = 4
CYCLES_AT_EDGES = 3.0
"""Cycles of the band's lowest frequency that are left out at each end of a stretch, where the filter has no past."""


def amplitude_envelope_correlation(
    signals_TC: NDArray[np.floating],
    stretches: NDArray[np.int64],
    sampling_frequency: float,
    band: Band,
    *,
    orthogonalized: bool = True,
) -> Real:
    """Correlate the amplitudes of a band, (C, C) with NaN on the diagonal.

    Parameters
    ----------
    signals_TC : array, (T, C)
    stretches : array, (n, 2)
        [start, stop) without gaps.
    sampling_frequency : float
        Hz.
    band : Band
        Between 0 and half the sampling frequency.
    orthogonalized : bool
        Take out of each channel, sample by sample, what has the other's phase, before its amplitude is taken; both
        directions are averaged. What volume conduction alone makes common is then not counted.

    Raises
    ------
    ConfigurationError
        When the band does not lie below half the sampling frequency.
    DataError
        When no stretch is long enough.
    """
    from scipy.signal import butter, hilbert, sosfiltfilt

    if not 0 < band.lowest < band.highest < sampling_frequency / 2:
        accepted = f"above 0 and below half the sampling frequency ({sampling_frequency / 2:g} Hz)"
        raise ConfigurationError("bands", f"{band.name}={band.lowest:g}-{band.highest:g}", accepted)
    edge = int(np.ceil(CYCLES_AT_EDGES * sampling_frequency / band.lowest))
    sections = butter(ORDER, [band.lowest, band.highest], btype="bandpass", fs=sampling_frequency, output="sos")
    long = [(start, stop) for start, stop in stretches.tolist() if stop - start > 2 * edge + 2]
    if not long:
        raise DataError(f"No stretch is longer than {2 * edge + 2} samples, which the band {band.name} needs.")
    analytic = np.concatenate(
        [hilbert(sosfiltfilt(sections, signals_TC[start:stop], axis=0), axis=0)[edge:-edge] for start, stop in long]
    )
    amplitudes = np.abs(analytic)
    found = _orthogonalized(analytic, amplitudes) if orthogonalized else np.corrcoef(amplitudes, rowvar=False)
    found = np.array(np.atleast_2d(found))
    np.fill_diagonal(found, np.nan)
    return found


def _orthogonalized(analytic: NDArray[np.complex128], amplitudes: Real) -> Real:
    n_channels = analytic.shape[1]
    found = np.full((n_channels, n_channels), np.nan)
    unit = np.divide(np.conj(analytic), amplitudes, out=np.zeros_like(analytic), where=amplitudes > 0)
    for channel in range(n_channels):
        others = np.abs((analytic * unit[:, channel, None]).imag)
        others -= others.mean(axis=0)
        own = amplitudes[:, channel] - amplitudes[:, channel].mean()
        norms = np.linalg.norm(others, axis=0) * np.linalg.norm(own)
        found[channel] = np.divide(own @ others, norms, out=np.zeros(n_channels), where=norms > 0)
    return (found + found.T) / 2


def sliding_correlations(
    signals_TC: NDArray[np.floating], stretches: NDArray[np.int64], window: int, step: int
) -> tuple[NDArray[np.int64], Real]:
    """Correlate channels within windows that lie in one stretch each.

    Returns
    -------
    array, (M,)
        First sample of each window.
    array, (M, C, C)

    Raises
    ------
    DataError
        When no stretch is as long as a window.
    """
    starts = window_starts(stretches, window, step)
    if not len(starts):
        raise DataError(f"No stretch has the {window} samples of a window.")
    with np.errstate(invalid="ignore", divide="ignore"):
        found = [np.corrcoef(signals_TC[start : start + window], rowvar=False) for start in starts.tolist()]
    return starts, np.stack(found)
