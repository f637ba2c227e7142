from __future__ import annotations

import numpy as np
import pytest

from dynml.errors import ConfigurationError, DataError
from dynml.simulation import simulate_var
from dynml.simulation.kinds.autoregression import random_coefficients


def companion_radius(coefficients):
    n_lags, n_channels, _ = coefficients.shape
    matrix = np.zeros((n_lags * n_channels, n_lags * n_channels))
    matrix[:n_channels] = np.hstack(coefficients)
    matrix[n_channels:, :-n_channels] = np.eye((n_lags - 1) * n_channels)
    return np.abs(np.linalg.eigvals(matrix)).max()


def regression(signals, n_lags):
    """Coefficients (p, C, C), intercept and residual covariance by least squares."""
    signals = signals.astype(np.float64)
    n_samples, n_channels = signals.shape
    past = [signals[n_lags - lag : n_samples - lag] for lag in range(1, n_lags + 1)]
    design = np.column_stack([*past, np.ones(n_samples - n_lags)])
    solution = np.linalg.lstsq(design, signals[n_lags:], rcond=None)[0]
    residuals = signals[n_lags:] - design @ solution
    return solution[:-1].T.reshape(n_channels, n_lags, n_channels).swapaxes(0, 1), solution[-1], np.cov(residuals.T)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("n_lags", [1, 3])
def test_regression_finds_the_truth(n_lags, standardize):
    simulation = simulate_var(n_lags=n_lags, n_channels=4, n_samples=40_000, seed=1)
    simulation = simulation.standardize() if standardize else simulation
    coefficients, intercept, noise = regression(simulation.time_series[0], n_lags)
    np.testing.assert_allclose(coefficients, simulation.coefficients, atol=0.04)
    np.testing.assert_allclose(intercept, simulation.intercepts, atol=0.03)
    np.testing.assert_allclose(noise, simulation.noise_covariances, atol=0.03)
    if standardize:
        signals = simulation.time_series[0].astype(np.float64)
        np.testing.assert_allclose(signals.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(signals.std(axis=0), 1, atol=1e-6)
        with pytest.raises(DataError, match="already"):
            simulation.standardize()


@pytest.mark.parametrize(("n_lags", "radius"), [(1, 0.9), (1, 0.5), (4, 0.95)])
def test_the_spectral_radius_is_the_one_that_is_asked_for(n_lags, radius):
    simulation = simulate_var(n_lags=n_lags, n_channels=7, n_samples=5, spectral_radius=radius)
    assert companion_radius(simulation.coefficients) == pytest.approx(radius, rel=1e-8)


def test_each_channel_is_driven_by_a_share_of_the_others():
    sparse = random_coefficients(2, 11, 0.3, 0.9, np.random.default_rng(0))
    linked = (sparse != 0) & ~np.eye(11, dtype=bool)
    np.testing.assert_array_equal(linked.sum(axis=2), 3)
    np.testing.assert_array_equal(linked[0], linked[1])
    assert (np.diagonal(sparse, axis1=1, axis2=2) != 0).all()
    assert (random_coefficients(1, 11, 1.0, 0.9, np.random.default_rng(0)) != 0).all()


def test_noise_is_full():
    noise = simulate_var(n_channels=6, n_samples=5).noise_covariances
    assert (np.abs(noise[~np.eye(6, dtype=bool)]) > 1e-4).all()
    assert np.linalg.eigvalsh(noise)[0] > 0.01


def test_the_first_samples_come_from_the_distribution_that_is_kept():
    """Over 20 000 subjects: covariances of the first two samples are those of a long recording's neighbours."""
    settings = {"n_lags": 2, "n_channels": 2, "seed": 3}
    short = np.stack(simulate_var(n_subjects=20_000, n_samples=3, **settings).time_series).reshape(20_000, -1)
    long = simulate_var(n_samples=200_000, **settings).time_series[0]
    triples = np.column_stack([long[:-2], long[1:-1], long[2:]])
    np.testing.assert_allclose(np.cov(short.T), np.cov(triples.T), atol=0.12 * np.cov(triples.T).max())


def test_more_subjects_leave_the_first_as_they_were_and_data_sets_take_turns():
    settings = {"n_channels": 3, "n_samples_range": [20, 60], "sampling_frequencies": [0.5, 1.25], "seed": 5}
    few, many = simulate_var(n_subjects=2, **settings), simulate_var(n_subjects=5, **settings)
    for own, same in zip(few.time_series, many.time_series):
        np.testing.assert_array_equal(own, same)
    assert many.datasets == ["dataset-0", "dataset-1", "dataset-0", "dataset-1", "dataset-0"]
    assert many.sampling_frequencies == [0.5, 1.25, 0.5, 1.25, 0.5]
    assert simulate_var(n_samples=9).datasets is None
    assert not np.array_equal(many.time_series[0][:20], many.time_series[2][:20])


def test_one_channel_and_fewer_samples_than_lags():
    simulation = simulate_var(n_channels=1, n_lags=5, n_samples=3)
    assert simulation.time_series[0].shape == (3, 1)
    assert simulation.time_series[0].dtype == np.float32


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ({"n_lag": 2}, "n_lag", "did you mean 'n_lags'"),
        ({"n_lags": 0}, "n_lags", "at least 1"),
        ({"spectral_radius": 1.0}, "spectral_radius", "below 1"),
        ({"density": 0.0}, "density", "above 0"),
        ({"sampling_frequencies": []}, "sampling_frequencies", "above 0"),
        ({"sampling_frequencies": [1.0, -1.0]}, "sampling_frequencies", "above 0"),
        ({"n_samples": [5, 5]}, "n_samples", "1 subjects"),
        ({"coefficients": "randm"}, "coefficients", "did you mean 'random'"),
        ({"coefficients": np.zeros((1, 3, 3))}, "coefficients", "1 x 8 x 8"),
        ({"n_channels": 1, "coefficients": [[[1.0]]]}, "coefficients", "below 1: stable"),
        ({"n_channels": 2, "noise_covariance": [[1, 2], [2, 1]]}, "noise_covariance", "positive definite"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, key, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        simulate_var(**settings)
    assert caught.value.key == key
