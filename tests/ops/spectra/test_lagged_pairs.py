"""Against sums over pairs, SciPy's phase, and autoregressions that switch quickly."""

import numpy as np
import pytest
from resonating_signals import RATE, resonating, switching, true_spectrum
from scipy.signal import csd

from dynml.ops.spectra.cross_spectra import CrossSpectra, coherence, coherence_floor, positive_semidefinite, power
from dynml.ops.spectra.lagged_pairs import pair_spectra, parzen_window, resolution_of_lags

FREQUENCIES = np.arange(2, 91) / 2


def spectra(signals, weights, stretches=None, n_lags=250, frequencies=FREQUENCIES):
    stretches = np.array([[0, len(signals)]] if stretches is None else stretches)
    return pair_spectra(signals, weights, stretches, n_lags, RATE, frequencies)


def brute_force(signals, weight, stretches, n_lags):
    """Transform of the windowed means over pairs, one pair at a time."""
    sums = np.zeros((n_lags + 1, signals.shape[1], signals.shape[1]))
    counts = np.zeros(n_lags + 1)
    for start, stop in stretches:
        for time in range(start, stop):
            for lag in range(min(n_lags, stop - 1 - time) + 1):
                both = weight[time] * weight[time + lag]
                sums[lag] += both * np.outer(signals[time], signals[time + lag])
                counts[lag] += both
    products = sums / counts[:, None, None] * parzen_window(n_lags)[:, None, None]
    phases = np.exp(-2j * np.pi * np.outer(FREQUENCIES, np.arange(n_lags + 1)) / RATE)
    positive = np.einsum("fl,lij->fij", phases[:, 1:], products[1:])
    return 2 / RATE * (products[0] + positive + np.conj(np.swapaxes(positive, 1, 2)))


def test_equal_to_sums_over_pairs_within_stretches():
    generator = np.random.default_rng(0)
    signals = resonating(generator, 1300, 10, n_channels=2)
    signals[:, 1] += np.roll(signals[:, 0], 3)
    weight = np.repeat(generator.integers(0, 2, 65), 20).astype(float)
    stretches = [[0, 500], [520, 1290]]
    found = spectra(signals, weight[:, None], stretches, n_lags=12)
    expected = brute_force(signals, weight, stretches, 12)
    assert (np.linalg.eigvalsh(expected) > 0).all()
    np.testing.assert_allclose(found.values[0], expected, rtol=1e-9, atol=1e-12)


def test_phase_is_scipys():
    generator = np.random.default_rng(1)
    source = generator.standard_normal(50001)
    signals = np.stack([source[1:], source[:-1]], axis=1)
    found = spectra(signals, np.ones((50000, 1)))
    _, expected = csd(signals[:, 0], signals[:, 1], RATE, "hann", 500, detrend=False)
    phase = np.angle(found.values[0, :, 0, 1])
    np.testing.assert_allclose(phase, -2 * np.pi * FREQUENCIES / RATE, atol=5e-3)
    np.testing.assert_allclose(phase, np.angle(expected[2:91]), atol=2e-2)


@pytest.mark.parametrize("mean_visit", [0.05, 0.1, 0.25, 1.0])
def test_short_visits_neither_smear_power_nor_coherence(mean_visit):
    found = []
    for seed in range(4):
        signals, states = switching(np.random.default_rng(seed), 150000, mean_visit, n_channels=3)
        found.append(spectra(signals, np.eye(2)[states], frequencies=np.array([10.0, 30.0])))
    powers = np.mean([power(one.values).mean(axis=1) for one in found], axis=0)
    own = powers[[0, 1], [0, 1]] / [true_spectrum([10], 10)[0], true_spectrum([30], 30)[0]]
    np.testing.assert_allclose(own, 1, atol=0.2)
    # The state with a peak at 10 Hz has 1/354 of it at 30 Hz; the other one 1/47.
    assert 0.8 < powers[1, 0] / true_spectrum([10], 30)[0] < 1.3
    assert 0.5 < powers[0, 1] / true_spectrum([30], 10)[0] < 1.6
    cross = np.mean([one.values for one in found], axis=0)
    assert coherence(cross)[0, 0, 1, 0] == pytest.approx(0.75, abs=0.05)
    assert coherence(cross)[1, 0, 1, 1] < 0.1


def posterior(generator, states, mean_visit):
    """State probabilities of two states, given a marker of either that is normal and 2 standard deviations away."""
    marker = generator.standard_normal(len(states)) + 2 * states
    ahead = np.exp(-np.square(marker[:, None] - [0, 2]) / 2)
    leave = 1 / (mean_visit * RATE)
    matrix = np.array([[1 - leave, leave], [leave, 1 - leave]])
    forward, backward = np.empty((len(states), 2)), np.ones((len(states), 2))
    message = np.array([0.5, 0.5])
    for time, likelihood in enumerate(ahead):
        message = message @ matrix * likelihood
        message /= message.sum()
        forward[time] = message
    for time in range(len(states) - 2, -1, -1):
        message = matrix @ (ahead[time + 1] * backward[time + 1])
        backward[time] = message / message.sum()
    both = forward * backward
    return both / both.sum(axis=1, keepdims=True)


def test_soft_probabilities_let_little_of_other_states_in():
    generator = np.random.default_rng(3)
    signals, states = switching(generator, 60000, 0.1, n_channels=6, coherent=None)
    soft = posterior(generator, states, 0.1)
    assert 0.95 < (soft.argmax(axis=1) == states).mean() < 0.98
    both = spectra(signals, soft, frequencies=np.array([10.0, 30.0]))
    assigned = spectra(signals, np.eye(2)[soft.argmax(axis=1)], frequencies=np.array([10.0, 30.0]))
    excess = [power(one.values)[0, :, 1].mean() / true_spectrum([30], 10)[0] - 1 for one in (both, assigned)]
    assert abs(excess[0]) < 0.5 * abs(excess[1])
    own = power(both.values).mean(axis=1)[[0, 1], [0, 1]]
    np.testing.assert_allclose(own, [true_spectrum([10], 10)[0], true_spectrum([30], 30)[0]], rtol=0.2)


def test_power_of_soft_states_adds_up_to_that_of_the_signals():
    generator = np.random.default_rng(8)
    signals, states = switching(generator, 40000, 0.05, n_channels=2, coherent=None)
    soft = posterior(generator, states, 0.05)
    every = np.arange(0, 251) / 2
    found = power(spectra(signals, soft, frequencies=every).values).mean(axis=1).sum(axis=1) / 2
    np.testing.assert_allclose(found, 1, atol=0.05)


def test_is_positive_semidefinite_and_keeps_power():
    generator = np.random.default_rng(4)
    signals = generator.standard_normal((8000, 12))
    weights = np.eye(4)[np.repeat(generator.integers(0, 4, 400), 20)]
    found = spectra(signals, weights)
    assert (found.negative_share > 0).all()
    assert np.linalg.eigvalsh(found.values).min() > -1e-12
    values = coherence(found.values)
    assert np.nanmin(values) >= 0
    assert np.nanmax(values) <= 1
    assert power(found.values).min() >= 0
    assert power(found.values).mean() == pytest.approx(2 / RATE, rel=0.05)
    own = np.diagonal(values, axis1=1, axis2=2)
    assert np.allclose(own[~np.isnan(own)], 1)
    assert np.isnan(own).mean() < 0.02


def test_coherence_floor_of_two_independent_channels():
    generator = np.random.default_rng(5)
    signals = generator.standard_normal((15000, 2))
    weights = np.eye(2)[np.repeat(generator.integers(0, 2, 600), 25)]
    found = [spectra(generator.permutation(signals), weights) for _ in range(12)]
    measured = np.mean([coherence(one.values)[:, 0, 1].mean() for one in found])
    assert measured == pytest.approx(coherence_floor(found[0].n_independent).mean(), rel=0.1)
    assert found[0].resolution[0] == pytest.approx(1.855, abs=0.01)
    assert resolution_of_lags(500, RATE) == pytest.approx(1.855 / 2, abs=0.01)


def test_lags_with_few_pairs_are_left_out_and_the_resolution_says_so():
    signals = np.random.default_rng(6).standard_normal((5000, 2))
    weights = np.zeros((5000, 3))
    weights[:180, 0], weights[200:260, 1] = 1, 1
    weights[260:, 2] = 1
    found = spectra(signals, weights)
    assert found.resolution[0] > 5 > found.resolution[2]
    assert np.isnan(found.values[1]).all()
    assert found.weight[1] == 0
    assert np.isfinite(found.values[[0, 2]]).all()


def test_states_that_share_their_times_are_told_by_the_condition():
    signals = np.random.default_rng(7).standard_normal((5000, 1))
    even = spectra(signals, np.full((5000, 2), 0.5))
    apart = spectra(signals, np.eye(2)[np.arange(5000) // 50 % 2])
    assert even.condition > 1e6
    assert apart.condition == pytest.approx(1, abs=1e-6)
    assert np.isfinite(even.values).all()


def test_coherence_is_not_told_where_too_much_of_a_cross_spectrum_is_negative():
    sound = np.full((3, 3), 0.5) + 0.5 * np.eye(3)
    # Three channels whose power is lost in that of another state: one eigenvalue of four is above 0.
    direction = np.array([1.0, 1.0, 0.5])
    lost = np.outer(direction, direction) - 0.9 * np.eye(3)
    values, share, shares = positive_semidefinite(np.stack([sound, lost]).astype(complex)[None])
    assert shares[0] == pytest.approx([0, 1.8 / (1.8 + 1.35)])
    assert share[0] == pytest.approx(1.8 / (1.8 + 1.35 + 3))
    nothing = np.array([np.nan])
    found = CrossSpectra(
        frequencies=np.array([10.0, 30.0]),
        values=values,
        weight=nothing,
        n_independent=nothing,
        resolution=nothing,
        negative_share_KF=shares,
    )
    assert coherence(values)[0, 0, 1] == pytest.approx([0.5, 1.0])
    np.testing.assert_allclose(found.coherence[0, 0, 1], [0.5, np.nan])
