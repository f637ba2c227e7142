"""Data without states that are like the recordings otherwise: Gaussian, linear and stationary.

Shapes: T samples, C channels, p lags.

References
----------
Prichard & Theiler 1994, Physical Review Letters 73:951 (phases). Liegeois et al. 2017, NeuroImage 163:437 (both kinds).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SHARE_TRIMMED, MOST_TRIMMED = 0.05, 200
"""Of a stretch, at either end, and in samples: what may be cut off so that the ends match."""
LARGEST_ORDER, LARGEST_RADIUS = 10, 0.995
BURN_IN = 500


def with_matching_ends(signals_TC: Array) -> Array:
    """Cut a few samples off either end so that the last is most like the first.

    A Fourier transform takes a stretch as a circle, and a jump where it closes would be spread over all frequencies.
    """
    n_most = min(int(len(signals_TC) * SHARE_TRIMMED), MOST_TRIMMED)
    if n_most < 1:
        return signals_TC
    scale = signals_TC.std(axis=0)
    scaled = signals_TC / np.where(scale > 0, scale, 1.0)
    firsts, lasts = scaled[: n_most + 1], scaled[len(scaled) - n_most - 1 :]
    distances = ((firsts[:, None] - lasts[None]) ** 2).sum(axis=2)
    start, position = np.unravel_index(int(distances.argmin()), distances.shape)
    return signals_TC[start : len(signals_TC) - n_most + int(position)]


def phase_randomized(signals_TC: Array, generator: np.random.Generator) -> Array:
    """Add one random phase a frequency to all channels: all spectra and cross-spectra stay, and the mean.

    Parameters
    ----------
    signals_TC : array, (T, C)
        One stretch without gaps.
    generator : numpy Generator

    Returns
    -------
    array, (T, C)
    """
    n_samples = len(signals_TC)
    coefficients = np.fft.rfft(signals_TC, axis=0)
    phases = generator.uniform(0, 2 * np.pi, len(coefficients))
    phases[0] = 0.0
    if n_samples % 2 == 0:
        phases[-1] = 0.0
    return np.fft.irfft(coefficients * np.exp(1j * phases)[:, None], n=n_samples, axis=0)


@dataclass(frozen=True)
class StationaryVAR:
    """A vector autoregression x_t = m + sum_l A_l (x_t-l - m) + noise that neither explodes nor drifts."""

    mean_C: Array
    coefficients_PCC: Array
    noise_CC: Array

    @property
    def order(self) -> int:
        """Lags p; 0: white noise."""
        return len(self.coefficients_PCC)

    def draw(self, n_samples: int, generator: np.random.Generator) -> Array:
        """Draw a stretch, (n_samples, C), after a burn-in."""
        values, vectors = np.linalg.eigh(self.noise_CC)
        factor = vectors * np.sqrt(np.clip(values, 0, None))
        n_before = BURN_IN if self.order else 0
        noise = generator.standard_normal((n_before + n_samples, len(self.mean_C))) @ factor.T
        if not self.order:
            return np.asarray(self.mean_C + noise)
        flat = np.concatenate(list(self.coefficients_PCC), axis=1).T
        series = np.zeros((self.order + len(noise), noise.shape[1]))
        for time, innovation in enumerate(noise, self.order):
            series[time] = series[time - self.order : time][::-1].ravel() @ flat + innovation
        return np.asarray(self.mean_C + series[self.order + n_before :])


def fitted_var(stretches: Sequence[Array], largest_order: int = LARGEST_ORDER) -> StationaryVAR:
    """Fit a VAR by least squares to the stretches of one subject; the order has the lowest BIC.

    Parameters
    ----------
    stretches : sequence of arrays (T, C)
    largest_order : int
        Fewer are tried where there are too few samples for so many coefficients.
    """
    together = np.concatenate(list(stretches))
    mean, n_channels = together.mean(axis=0), together.shape[1]
    longest = max(len(own) for own in stretches)
    largest = max(0, min(largest_order, len(together) // (5 * n_channels), longest // 2 - 1))
    centred = [own - mean for own in stretches if len(own) > largest]
    if not centred:
        return StationaryVAR(
            mean, np.zeros((0, n_channels, n_channels)), np.cov(together.T, bias=True).reshape(n_channels, -1)
        )
    targets = np.concatenate([own[largest:] for own in centred])
    lags = [np.concatenate([own[largest - lag : len(own) - lag] for own in centred]) for lag in range(1, largest + 1)]
    best: tuple[float, StationaryVAR] | None = None
    for order in range(largest + 1):
        found = _of_order(targets, lags[:order], mean)
        floor = 1e-12 * float(np.diag(found.noise_CC).mean())
        _, log_determinant = np.linalg.slogdet(found.noise_CC + floor * np.eye(n_channels))
        criterion = log_determinant + np.log(len(targets)) * order * n_channels**2 / len(targets)
        if best is None or criterion < best[0]:
            best = float(criterion), found
    assert best is not None
    return _made_stationary(best[1], targets)


def _of_order(targets: Array, lags: Sequence[Array], mean: Array) -> StationaryVAR:
    n_channels = targets.shape[1]
    if not lags:
        return StationaryVAR(mean, np.zeros((0, n_channels, n_channels)), targets.T @ targets / len(targets))
    past = np.concatenate(list(lags), axis=1)
    solution = np.linalg.lstsq(past, targets, rcond=None)[0]
    errors = targets - past @ solution
    coefficients = solution.T.reshape(n_channels, len(lags), n_channels).transpose(1, 0, 2)
    return StationaryVAR(mean, coefficients, errors.T @ errors / len(targets))


def _made_stationary(found: StationaryVAR, targets: Array) -> StationaryVAR:
    """Pull the roots inside the unit circle where they are not, and scale the noise to keep the variances."""
    radius = spectral_radius(found.coefficients_PCC)
    if radius < LARGEST_RADIUS:
        return found
    powers = (LARGEST_RADIUS / radius) ** np.arange(1, found.order + 1)
    pulled = StationaryVAR(found.mean_C, found.coefficients_PCC * powers[:, None, None], found.noise_CC)
    drawn = pulled.draw(20 * BURN_IN, np.random.default_rng(0))
    scale = np.sqrt(targets.var(axis=0).mean() / max(drawn.var(axis=0).mean(), 1e-300))
    return StationaryVAR(pulled.mean_C, pulled.coefficients_PCC, pulled.noise_CC * scale**2)


def spectral_radius(coefficients_PCC: Array) -> float:
    """Largest modulus of the companion matrix's eigenvalues: below 1 for a stationary process; 0 without lags."""
    order = len(coefficients_PCC)
    if not order:
        return 0.0
    n_channels = coefficients_PCC.shape[1]
    companion = np.zeros((order * n_channels, order * n_channels))
    companion[:n_channels] = np.concatenate(list(coefficients_PCC), axis=1)
    companion[n_channels:, :-n_channels] = np.eye((order - 1) * n_channels)
    return float(np.abs(np.linalg.eigvals(companion)).max())
