"""Soft alphas, whose components mix: statistics that need no visits, and ways to make visits of them.

Shapes: T samples, K states or modes, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.errors import DataError

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SoftStatistics:
    """Of one subject's alpha, (K,) each, but for the last."""

    mean: Doubles
    standard_deviation: Doubles
    kurtosis: Doubles
    """Excess over the normal distribution's; NaN for a component that does not vary."""
    autocorrelation_time: Doubles
    """Seconds to the first lag at which the autocorrelation is below 1/e; NaN where it does not get there."""
    correlation: Doubles
    """Of each pair of components, (K, K). Negative by the sum of 1 alone."""


def soft_statistics(alpha: ArrayLike, segments: ArrayLike, sampling_frequency: float) -> SoftStatistics:
    """Statistics of all samples in segments.

    Parameters
    ----------
    alpha : array, (T, K)
    segments : array, (n_segments, 2)
        Lags never reach over their borders.
    sampling_frequency : float
        Hz.
    """
    from scipy.stats import kurtosis

    values = np.asarray(alpha, dtype=np.float64)
    pieces = [values[start:stop] for start, stop in np.asarray(segments).reshape(-1, 2) if stop > start]
    rows = np.concatenate(pieces)
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    varies = deviation > 1e-7
    peakedness = np.full(len(mean), np.nan)
    peakedness[varies] = kurtosis(rows[:, varies], axis=0)
    scaled = np.divide(rows - mean, deviation, out=np.zeros_like(rows), where=varies)
    correlation = scaled.T @ scaled / len(rows)
    correlation[~varies], correlation[:, ~varies] = np.nan, np.nan
    return SoftStatistics(
        mean=mean,
        standard_deviation=deviation,
        kurtosis=peakedness,
        autocorrelation_time=_autocorrelation_times([piece - mean for piece in pieces], varies) / sampling_frequency,
        correlation=correlation,
    )


def reweighted(alpha: ArrayLike, covariances: ArrayLike) -> Doubles:
    """Alpha times the trace of each component's covariance, divided by its sum: shares of the variance, (T, K).

    Give covariances of the signals themselves (parcels, sensors): components of a PCA are scaled, and their traces say
    nothing of the signals.

    Parameters
    ----------
    alpha : array, (T, K)
    covariances : array, (K, C, C)
    """
    weighted = np.asarray(alpha, dtype=np.float64) * np.trace(np.asarray(covariances), axis1=1, axis2=2)
    shares: Doubles = weighted / weighted.sum(axis=1, keepdims=True)
    return shares


def largest_is_on(alpha: ArrayLike) -> NDArray[np.bool_]:
    """Whether each component is the largest one, (T, K); the first of equals. False in rows of NaN."""
    values = np.asarray(alpha)
    seen = np.isfinite(values).all(axis=1)
    on = np.zeros(values.shape, dtype=bool)
    on[np.flatnonzero(seen), values[seen].argmax(axis=1)] = True
    return on


def above_percentile(alpha: ArrayLike, percentile: float) -> NDArray[np.bool_]:
    """Whether each component is above a percentile of its own values, (T, K); several may be, or none."""
    values = np.asarray(alpha)
    with np.errstate(invalid="ignore"):
        return np.asarray(values > np.nanpercentile(values, percentile, axis=0))


@dataclass(frozen=True, kw_only=True)
class OnOff:
    """Where a mixture of two Gaussians divides the values of each component, over all subjects together."""

    threshold: Doubles
    """On the logit of alpha, (K,); NaN of a component that one Gaussian describes as well."""
    bic_gain: Doubles
    """BIC of one Gaussian less that of two, (K,); above 0: there are two levels."""

    def is_on(self, alpha: ArrayLike) -> NDArray[np.bool_]:
        """Whether each component is on, (T, K); never of a component without two levels."""
        with np.errstate(invalid="ignore"):
            return np.asarray(_logits(np.asarray(alpha, dtype=np.float64)) > self.threshold)


def on_off_levels(alphas: Sequence[ArrayLike], *, most_samples: int = 50_000, seed: int = 0) -> OnOff:
    """Fit one and two Gaussians to the logits of each component over all subjects, by scikit-learn.

    Levels of all subjects are the same, so that they can be compared.

    Parameters
    ----------
    alphas : sequence of arrays, (T_n, K)
        Rows of NaN are left out.
    most_samples : int
        So many, evenly spread, are fitted.
    seed : int

    Raises
    ------
    DataError
        When no row is finite.
    """
    rows = np.concatenate([np.asarray(alpha, dtype=np.float64) for alpha in alphas])
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        raise DataError("The alphas hold no finite row, so that nothing can be called on or off.")
    rows = rows[:: -(-len(rows) // most_samples)]
    found = [_two_levels(values, seed) for values in _logits(rows).T]
    return OnOff(threshold=np.array([one[0] for one in found]), bic_gain=np.array([one[1] for one in found]))


def _two_levels(logits: Doubles, seed: int) -> tuple[float, float]:
    from sklearn.mixture import GaussianMixture

    values = logits[:, None]
    if np.ptp(logits) < 1e-6:
        return float("nan"), float("nan")
    one = GaussianMixture(1, random_state=seed).fit(values)
    two = GaussianMixture(2, n_init=3, max_iter=1000, random_state=seed).fit(values)
    gain = float(one.bic(values) - two.bic(values))
    if gain <= 0:
        return float("nan"), gain
    upper = int(np.argmax(two.means_[:, 0]))
    low, high = np.sort(two.means_[:, 0])
    between = np.linspace(low, high, 1001)
    is_upper = two.predict_proba(between[:, None])[:, upper] > 0.5
    return float(between[np.argmax(is_upper)]), gain


def _logits(alpha: Doubles) -> Doubles:
    clipped = np.clip(alpha, 1e-6, 1 - 1e-6)
    return np.log(clipped) - np.log1p(-clipped)


def _autocorrelation_times(pieces: Sequence[Doubles], varies: NDArray[np.bool_]) -> Doubles:
    """First lag, in samples, at which each component's autocorrelation is below 1/e, (K,)."""
    from scipy.signal import correlate

    n_lags = max(map(len, pieces))
    products, counts = np.zeros((n_lags, pieces[0].shape[1])), np.zeros(n_lags)
    for piece in pieces:
        for component in range(piece.shape[1]):
            own = piece[:, component]
            products[: len(piece), component] += correlate(own, own, method="fft")[len(piece) - 1 :]
        counts[: len(piece)] += np.arange(len(piece), 0, -1)
    correlations = products / counts[:, None]
    below = correlations < correlations[0] / np.e
    times = np.where(below.any(axis=0), below.argmax(axis=0), np.nan)
    return np.where(varies, times, np.nan)
