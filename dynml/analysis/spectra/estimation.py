"""One subject's spectra: its observed samples, laid over the model's, and the estimator.

Shapes: T samples, C channels, K states or modes, F frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.spectra.alignment import AlignedSpan
from dynml.analysis.spectra.settings import Method, Settled
from dynml.ops.spectra.cross_spectra import CrossSpectra, in_band
from dynml.ops.spectra.lagged_pairs import pair_spectra
from dynml.ops.spectra.multitaper import multitaper_spectra
from dynml.ops.spectra.regression import regression_spectra
from dynml.ops.spectra.windows import hann_taper, slepian_tapers, window_starts
from dynml.stretches import rows_are_finite, stretches_of


@dataclass(frozen=True, kw_only=True)
class WeightedSignals:
    """Samples that were observed in the signals and have a state, one aligned span after another."""

    signals: NDArray[np.float32]
    """(T, C), about the mean of each run."""
    weights: NDArray[np.float32]
    """(T, K)."""
    stretches: NDArray[np.int64]
    """(n, 2), [start, stop) without a gap; rows outside them are not used."""

    @property
    def n_samples(self) -> int:
        """Samples in stretches."""
        return int((self.stretches[:, 1] - self.stretches[:, 0]).sum())


def weighted_signals(
    alpha_TK: NDArray[np.floating],
    observed_T: NDArray[np.bool_] | None,
    signals_SC: NDArray[np.floating],
    spans: Sequence[AlignedSpan],
) -> WeightedSignals:
    """Lay a subject's alpha over its signals and leave out what either has not.

    Parameters
    ----------
    alpha_TK : array, (T, K)
        NaN where there is none.
    observed_T : array of bool, (T,), optional
        False for rows whose alpha was inferred without their samples.
    signals_SC : array, (S, C)
        NaN in masked rows.
    spans : sequence of AlignedSpan
        Rows of alpha and of the signals.
    """
    rows = [np.arange(span.first, span.first + span.length) for span in spans]
    signals = np.concatenate([signals_SC[span.second : span.second + span.length] for span in spans])
    weights = np.concatenate([alpha_TK[own] for own in rows])
    good = rows_are_finite(weights) & rows_are_finite(signals)
    if observed_T is not None:
        good &= np.concatenate([observed_T[own] for own in rows])
    ends = np.cumsum([span.length for span in spans])
    begins = ends - [span.length for span in spans]
    stretches = [stretches_of(good[first:last]) + first for first, last in zip(begins, ends)]
    centred = np.where(good[:, None], signals, 0.0).astype(np.float32)
    for run in dict.fromkeys(span.run for span in spans):
        own = np.zeros(len(good), dtype=bool)
        for span, first, last in zip(spans, begins, ends):
            own[first:last] = span.run == run
        own &= good
        if own.any():
            centred[own] -= centred[own].mean(axis=0, dtype=np.float64)
    kept = np.where(good[:, None], weights, 0.0).astype(np.float32)
    return WeightedSignals(signals=centred, weights=kept, stretches=np.concatenate(stretches))


def estimated(data: WeightedSignals, method: Method, settled: Settled) -> CrossSpectra:
    """Estimate the spectra of each state or mode.

    Parameters
    ----------
    data : WeightedSignals
    method : {"multitaper", "pairs", "regression"}
    settled : Settled
    """
    rate, window = settled.sampling_frequency, settled.window
    if method == "pairs":
        return pair_spectra(data.signals, data.weights, data.stretches, settled.lags, rate, frequencies_of(settled))
    if method == "regression":
        starts = window_starts(data.stretches, window, max(window // 2, 1))
        tapers = hann_taper(window)
        return regression_spectra(data.signals, data.weights, starts, tapers, rate, settled.frequency_range)
    assert method == "multitaper", method
    starts = window_starts(data.stretches, window, window)
    tapers = slepian_tapers(window, settled.time_half_bandwidth)
    return multitaper_spectra(data.signals, data.weights, starts, tapers, rate, settled.frequency_range)


def frequencies_of(settled: Settled) -> NDArray[np.float64]:
    """Frequencies in Hz at which pairs are transformed: twice as many as there are lags."""
    frequencies = np.asarray(np.fft.rfftfreq(2 * settled.lags, 1 / settled.sampling_frequency), dtype=np.float64)
    return frequencies[in_band(frequencies, *settled.frequency_range)]


def static(data: WeightedSignals) -> WeightedSignals:
    """Give the same samples with one state that is always there."""
    ones = np.ones((len(data.weights), 1), dtype=np.float32)
    return WeightedSignals(signals=data.signals, weights=ones, stretches=data.stretches)
