"""Modes of known spectra and coherence, mixed by known weights."""

import numpy as np
import pytest
from resonating_signals import RATE, resonating, true_spectrum

from dynml.ops.spectra.cross_spectra import coherence, power
from dynml.ops.spectra.multitaper import multitaper_spectra
from dynml.ops.spectra.regression import correlated_modes, regression_spectra
from dynml.ops.spectra.windows import hann_taper, window_starts

PEAKS = (10, 20, 35)


def mixed(generator, n_samples, peaks=PEAKS):
    """Sum over modes of the root of a slow weight times the mode's signals; the first mode is coherent."""
    times = np.arange(n_samples) / RATE
    logits = 2 * np.sin(2 * np.pi * np.outer(times, [0.11, 0.07, 0.05]) + [0, 2, 4])
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    signals = np.zeros((n_samples, 3))
    for mode, peak in enumerate(peaks):
        own = resonating(generator, n_samples, peak, 3)
        if mode == 0:
            own = np.sqrt(0.95) * resonating(generator, n_samples, peak) + np.sqrt(0.05) * own
        signals += np.sqrt(weights[:, mode : mode + 1]) * own
    return signals, weights


def spectra(signals, weights, length=125):
    starts = window_starts(np.array([[0, len(signals)]]), length, length // 2)
    return regression_spectra(signals, weights, starts, hann_taper(length), RATE)


def test_modes_have_their_own_power_and_coherence():
    signals, weights = mixed(np.random.default_rng(0), 150000)
    found = spectra(signals, weights, length=250)
    peaks = [np.searchsorted(found.frequencies, peak) for peak in PEAKS]
    for mode, place in enumerate(peaks):
        own = power(found.values)[mode].mean(axis=0)
        assert own[place] == pytest.approx(true_spectrum([PEAKS[mode]], PEAKS[mode])[0], rel=0.2)
        others = [peak for other, peak in enumerate(peaks) if other != mode]
        assert (own[others] < 0.1 * own[place]).all()
        between = coherence(found.values)[mode][np.triu_indices(3, 1)][:, place].mean()
        assert between == pytest.approx(0.95 if mode == 0 else 0, abs=0.1)
    assert found.condition < 10


def test_one_mode_is_the_plain_spectrum():
    signals = resonating(np.random.default_rng(1), 5000, 10, 2)
    starts = window_starts(np.array([[0, 5000]]), 250, 125)
    expected = multitaper_spectra(signals, np.ones((5000, 1)), starts, hann_taper(250), RATE)
    found = regression_spectra(signals, np.ones((5000, 1)), starts, hann_taper(250), RATE)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-9, atol=1e-15)


def test_no_coherence_is_above_one_and_no_power_below_zero():
    signals, weights = mixed(np.random.default_rng(2), 4000)
    found = spectra(signals, weights)
    assert power(found.values).min() >= 0
    values = coherence(found.values)
    assert np.nanmax(values) <= 1
    assert np.linalg.eigvalsh(found.values).min() > -1e-12


def test_modes_that_cannot_be_told_apart_are_named():
    generator = np.random.default_rng(3)
    signals, weights = mixed(generator, 10000)
    twins = np.column_stack([weights[:, 0] / 2, weights[:, 0] / 2 + 1e-4 * generator.random(10000), weights[:, 1]])
    found = spectra(signals, twins)
    assert found.condition > 1e4
    assert [pair[:2] for pair in correlated_modes(twins)] == [(0, 1)]


def test_mode_that_never_is_there_is_nan():
    signals, weights = mixed(np.random.default_rng(4), 3000)
    found = spectra(signals, np.column_stack([weights, np.zeros(3000)]))
    assert np.isnan(found.values[3]).all()
    assert np.isfinite(found.values[:3]).all()
