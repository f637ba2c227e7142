from __future__ import annotations

import numpy as np
import pytest

from dynml.errors import ConfigurationError
from dynml.simulation import simulate_phase_multiplication


@pytest.fixture(scope="module")
def simulation():
    return simulate_phase_multiplication(
        n_subjects=40, n_samples=600, n_channels=3, n_sources=2, nonlinear_share=0.8, phase_noise=0.05, seed=1
    )


def pairs_of(simulation, label, lag=1):
    """Sources and channels `lag` samples apart within the trials of a class."""
    rows = [
        (number, time)
        for number, trials in enumerate(simulation.trials)
        for onset, duration, own in trials.tolist()
        if own == label
        for time in range(onset + lag, onset + duration)
    ]
    both = [np.hstack([s, x]) for s, x in zip(simulation.sources, simulation.time_series)]
    return np.stack([both[n][t - lag] for n, t in rows]), np.stack([both[n][t] for n, t in rows])


@pytest.mark.parametrize("label", [0, 1])
def test_the_next_sample_is_the_polynomial_of_the_class_and_of_no_other(simulation, label):
    """Under the distribution of a cosine of a uniform phase T_2 and T_3 are orthogonal, with the mean square 1/2."""
    before, after = (sources[:, :2] for sources in pairs_of(simulation, label))
    polynomials = (2 * before**2 - 1, 4 * before**3 - 3 * before)
    tolerance = 5 / np.sqrt(len(before))
    np.testing.assert_allclose((polynomials[label] * after).mean(axis=0), 0.5, atol=tolerance)
    np.testing.assert_allclose((polynomials[1 - label] * after).mean(axis=0), 0.0, atol=tolerance)
    assert np.abs(polynomials[label] - after).max() < 1


def test_classes_share_means_covariances_and_covariances_at_lags(simulation):
    for label in (0, 1):
        before, after = (signals[:, 2:] for signals in pairs_of(simulation, label))
        tolerance = 5 / np.sqrt(len(before))
        weights, noise = simulation.source_weights, simulation.noise_deviations
        truth = weights @ weights.T / 2 + np.diag(noise**2)
        np.testing.assert_allclose(after.mean(axis=0), 0, atol=tolerance * 2)
        np.testing.assert_allclose(np.cov(after.T), truth, atol=tolerance * 3)
        for lag in (1, 2, 3):
            before, after = (signals[:, 2:] for signals in pairs_of(simulation, label, lag))
            np.testing.assert_allclose(before.T @ after / len(before), 0, atol=tolerance * 3)


def test_the_share_of_the_sources_is_as_stated_and_the_rest_is_noise(simulation):
    standardized = simulation.standardize()
    for made in (simulation, standardized):
        clean = np.concatenate(made.sources) @ made.source_weights.T + made.offsets
        noise = np.concatenate(made.time_series) - clean
        np.testing.assert_allclose(noise.std(axis=0) / made.noise_deviations, 1, atol=0.03)
        assert np.abs(noise.mean(axis=0) / made.noise_deviations).max() < 0.04
    signals = np.concatenate(simulation.time_series)
    share = (np.concatenate(simulation.sources) @ simulation.source_weights.T).var(axis=0).mean()
    assert share / signals.var(axis=0).mean() == pytest.approx(0.8, abs=0.02)


def test_trials_are_events_and_more_subjects_leave_the_first_as_they_were(simulation):
    for trials, events in zip(simulation.trials, simulation.events):
        np.testing.assert_array_equal(events.onset, trials[:, 0])
        names = np.array(events.names["trial_type"])[events.labels["trial_type"]]
        assert names.tolist() == [f"class-{label}" for label in trials[:, 2]]
        assert np.bincount(trials[:, 2]).tolist() == [10, 10]
    few, many = (simulate_phase_multiplication(n_subjects=n, seed=3, multipliers=[2, 3, 5]) for n in (2, 3))
    np.testing.assert_array_equal(few.time_series[1], many.time_series[1])
    assert set(np.concatenate(many.trials)[:, 2].tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ({"multipliers": [2]}, "multipliers", "two or more different"),
        ({"multipliers": [2, 2]}, "multipliers", "two or more different"),
        ({"multipliers": [1, 2]}, "multipliers", "above 1"),
        ({"n_sources": 5}, "n_sources", "at most n_channels"),
        ({"nonlinear_share": 1.5}, "nonlinear_share", "1"),
        ({"phase_noise": 0.0}, "phase_noise", "above 0"),
        ({"n_samples": 29}, "n_samples", "enough for one trial"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, key, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        simulate_phase_multiplication(**settings)
    assert caught.value.key == key
