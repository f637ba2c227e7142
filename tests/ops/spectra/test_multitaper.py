"""Against SciPy, white noise and autoregressions of known spectra."""

import numpy as np
import pytest
from resonating_signals import RATE, resonating, switching, true_spectrum
from scipy.signal import csd, welch

from dynml.ops.spectra.cross_spectra import coherence, coherence_floor, power
from dynml.ops.spectra.multitaper import multitaper_spectra
from dynml.ops.spectra.windows import hann_taper, slepian_tapers, window_starts

TAPERS = slepian_tapers(500, 4)


def spectra(signals, weights=None, stretches=None, tapers=TAPERS, step=None, **options):
    weights = np.ones((len(signals), 1)) if weights is None else weights
    stretches = np.array([[0, len(signals)]]) if stretches is None else np.array(stretches)
    length = tapers.shape[1]
    starts = window_starts(stretches, length, step or length)
    return multitaper_spectra(signals, weights, starts, tapers, RATE, **options)


def test_equal_to_scipy_with_one_state_at_every_frequency():
    signals = np.random.default_rng(0).standard_normal((3100, 3))
    signals[1:, 1] += signals[:-1, 0]
    found = spectra(signals, tapers=hann_taper(500), step=250)
    for first in range(3):
        for second in range(3):
            frequencies, expected = csd(signals[:, first], signals[:, second], RATE, "hann", 500, 250, detrend=False)
            np.testing.assert_allclose(found.values[0, :, first, second], expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.frequencies, frequencies)
    np.testing.assert_allclose(
        power(found.values)[0, 0], welch(signals[:, 0], RATE, "hann", 500, 250, detrend=False)[1]
    )


@pytest.mark.parametrize("n_samples", [500, 730, 1000, 5400])
def test_white_noise_is_flat_however_long_it_is(n_samples):
    signals = np.random.default_rng(1).standard_normal((n_samples, 60))
    found = power(spectra(signals).values)[0].mean(axis=0) / (2 / RATE)
    n_windows = n_samples // 500
    assert abs(np.median(found[1:-1]) - 1) < 3 / np.sqrt(60 * n_windows * 7)
    assert found[0] == pytest.approx(0.5, abs=0.15)
    assert found[-1] == pytest.approx(0.5, abs=0.15)


def test_windows_stay_within_stretches():
    signals = np.random.default_rng(2).standard_normal((2600, 2))
    signals[1100:1500] = np.nan
    found = spectra(signals, stretches=[[0, 1100], [1500, 2600]])
    joined = spectra(np.concatenate([signals[:1000], signals[1500:2500]]))
    np.testing.assert_allclose(found.values, joined.values, rtol=1e-12)
    assert found.weight[0] == 2000


def test_scale_order_of_states_and_joining_go_through():
    generator = np.random.default_rng(3)
    signals, states = switching(generator, 20000, 0.5)
    weights = np.eye(2)[states]
    one = spectra(signals, weights)
    np.testing.assert_allclose(spectra(2 * signals, weights).values, 4 * one.values, rtol=1e-10)
    np.testing.assert_allclose(spectra(signals, weights[:, ::-1]).values, one.values[::-1], rtol=1e-10)
    halves = [spectra(signals[part], weights[part]) for part in (slice(0, 10000), slice(10000, 20000))]
    np.testing.assert_allclose(coherence(spectra(3 * signals, weights).values), coherence(one.values), atol=1e-12)
    assert halves[0].weight + halves[1].weight == pytest.approx(one.weight)


def test_autoregression_under_the_tapers_window():
    signals = resonating(np.random.default_rng(4), 200000, 10, n_channels=4)
    found = spectra(signals)
    fine = np.linspace(0, RATE / 2, 5001)
    expected = true_spectrum(fine, 10)
    df = found.frequencies[1]
    assert power(found.values)[0].mean(axis=0).sum() * df == pytest.approx(signals.var(axis=0).mean(), rel=0.01)
    smooth = (np.abs(fine - 10) <= 2) & (fine > 0)
    at_peak = power(found.values)[0, :, np.searchsorted(found.frequencies, 10.0)].mean()
    assert at_peak == pytest.approx(expected[smooth].mean(), rel=0.1)


@pytest.mark.parametrize("mean_visit", [None, 0.1])
def test_coherence_floor_of_independent_channels(mean_visit):
    generator = np.random.default_rng(5)
    signals = generator.standard_normal((20 * 500, 16))
    weights = np.ones((len(signals), 1))
    if mean_visit:
        weights = switching(generator, len(signals), mean_visit)[1][:, None].astype(float)
    found = spectra(signals, weights, frequency_range=(5, 120))
    pairs = np.triu_indices(16, 1)
    measured = coherence(found.values)[0][pairs].mean()
    assert measured == pytest.approx(coherence_floor(found.n_independent)[0], rel=0.05)


def test_short_visits_smear_another_states_peak_into_a_state():
    """What the estimate does, so that it is known: visits of 50 ms let many times the power in."""
    signals, states = switching(np.random.default_rng(6), 150000, 0.05, n_channels=1)
    found = spectra(signals, np.eye(2)[states], frequency_range=(1, 45))
    at_30 = np.searchsorted(found.frequencies, 30.0)
    assert power(found.values)[0, 0, at_30] > 5 * true_spectrum([30], 10)[0]


def test_a_state_that_is_not_there_is_nan_and_the_others_are_not():
    signals = np.random.default_rng(7).standard_normal((2000, 2))
    weights = np.stack([np.ones(2000), np.zeros(2000)], axis=1)
    found = spectra(signals, weights)
    assert np.isfinite(found.values[0]).all()
    assert np.isnan(found.values[1]).all()
    assert np.isnan(found.n_independent[1])
    assert found.weight[1] == 0


def test_shorter_than_a_window_is_nan():
    assert np.isnan(spectra(np.random.default_rng(8).standard_normal((300, 2))).values).all()
