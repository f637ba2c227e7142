"""Covariances of an embedding of a known autoregression, whitened and back."""

import numpy as np
import pytest
from resonating_signals import RATE, true_spectrum

from dynml.ops.spectra.cross_spectra import power
from dynml.ops.spectra.embedded_covariances import autocovariances, spectra_of_autocovariances


def embedded_covariance(coefficient, delay, n_embeddings):
    """Two channels, the second being the first `delay` samples later: E x_i(t) x_j(t + l)."""
    times = np.arange(n_embeddings)
    offsets = np.array([0, delay])
    lags = (times[None, :, None, None] - offsets[None, None, None, :]) - (
        times[:, None, None, None] - offsets[None, None, :, None]
    )
    covariance = coefficient ** np.abs(lags) / (1 - coefficient**2)  # (n, n, C, C)
    return covariance.transpose(0, 2, 1, 3).reshape(1, 2 * n_embeddings, 2 * n_embeddings)


def test_pairs_of_samples_of_one_lag_are_averaged():
    found = autocovariances(embedded_covariance(0.8, 2, 9), 9)[0]
    np.testing.assert_allclose(found[:, 0, 0], 0.8 ** np.arange(9) / 0.36)
    # The second channel at t + 2 is the first at t.
    assert found[2, 0, 1] == pytest.approx(1 / 0.36)
    assert found[2, 1, 0] == pytest.approx(0.8**4 / 0.36)


def test_spectrum_and_phase_of_a_resonance():
    n_lags = 400
    fine = np.linspace(0, RATE / 2, 8001)
    spectrum = true_spectrum(fine, 30)
    lags = np.arange(n_lags)
    r = np.trapezoid(spectrum * np.cos(2 * np.pi * np.outer(lags, fine) / RATE), fine, axis=1)
    found = spectra_of_autocovariances(r[None, :, None, None], RATE, np.arange(5.0, 60.0))
    np.testing.assert_allclose(power(found.values)[0, 0], true_spectrum(np.arange(5.0, 60.0), 30), rtol=0.1)
    assert np.allclose(found.negative_share, 0, atol=1e-6)
