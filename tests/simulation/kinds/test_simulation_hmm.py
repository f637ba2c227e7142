from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigvalsh
from scipy.stats import chi2

from dynml.errors import ConfigurationError, DataError
from dynml.simulation import HMMSimulationConfig
from dynml.simulation.kinds.gaussian_states import random_covariances, vary_covariances
from dynml.simulation.kinds.hmm import sample_path, simulate_hmm, stationary_probabilities, transition_matrix

TRANSITIONS = np.array([[0.9, 0.1, 0.0], [0.05, 0.8, 0.15], [0.3, 0.0, 0.7]])


@pytest.fixture(scope="module")
def long_simulation():
    return simulate_hmm(
        n_states=3, n_channels=4, n_samples=200_000, transition_probabilities=TRANSITIONS, means="random", seed=3
    )


def count_transitions(states, n_states):
    counts = np.zeros((n_states, n_states))
    np.add.at(counts, (states[:-1], states[1:]), 1)
    return counts


def test_empirical_transitions_agree_with_the_truth_by_a_chi_square_test(long_simulation):
    counts = count_transitions(long_simulation.states[0], 3)
    np.testing.assert_array_equal(counts[TRANSITIONS == 0], 0)
    expected = counts.sum(axis=1, keepdims=True) * TRANSITIONS
    possible = TRANSITIONS > 0
    statistic = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    degrees = possible.sum() - 3
    assert chi2.ppf(0.0005, degrees) < statistic < chi2.ppf(0.9995, degrees)


def test_occupancies_tend_to_the_left_eigenvector_of_the_transitions(long_simulation):
    eigenvalues, eigenvectors = np.linalg.eig(TRANSITIONS.T)
    stationary = np.real(eigenvectors[:, np.argmax(np.real(eigenvalues))])
    stationary /= stationary.sum()
    np.testing.assert_allclose(stationary_probabilities(TRANSITIONS), stationary, atol=1e-12)
    occupancies = np.bincount(long_simulation.states[0], minlength=3) / 200_000
    np.testing.assert_allclose(occupancies, stationary, atol=0.015)


def test_means_and_covariances_of_each_state_agree_with_the_truth(long_simulation):
    signals = long_simulation.time_series[0].astype(np.float64)
    for state, (mean, covariance) in enumerate(zip(long_simulation.means, long_simulation.covariances)):
        own = signals[long_simulation.states[0] == state]
        n_samples = len(own)
        # Whitened by the truth, means have variance 1/n, and covariances tend to I with variances of 1/n (2/n).
        white = np.linalg.solve(np.linalg.cholesky(covariance), (own - mean).T)
        assert np.abs(white.mean(axis=1)).max() < 5 / np.sqrt(n_samples)
        error = white @ white.T / n_samples - np.eye(4)
        assert np.abs(error).max() < 5 * np.sqrt(2 / n_samples)


@pytest.mark.parametrize(("initial", "expected"), [("uniform", [1 / 3] * 3), ([0.1, 0.0, 0.9], [0.1, 0.0, 0.9])])
def test_paths_start_in_a_state_drawn_from_the_initial_probabilities(initial, expected):
    simulation = simulate_hmm(n_states=3, n_channels=1, n_subjects=3000, n_samples=1, initial_probabilities=initial)
    starts = np.bincount([states[0] for states in simulation.states], minlength=3) / 3000
    np.testing.assert_allclose(starts, expected, atol=5 * np.sqrt(0.25 / 3000))
    np.testing.assert_array_equal(starts[np.array(expected) == 0], 0)


def test_stationary_start():
    simulation = simulate_hmm(n_states=3, transition_probabilities=TRANSITIONS, initial_probabilities="stationary")
    initial = simulation.initial_probabilities
    np.testing.assert_allclose(initial @ TRANSITIONS, initial, atol=1e-12)
    assert initial.sum() == pytest.approx(1)


def test_named_transitions():
    sequence = transition_matrix(HMMSimulationConfig(n_states=3, stay_probability=0.8))
    np.testing.assert_allclose(sequence, [[0.8, 0.2, 0], [0, 0.8, 0.2], [0.2, 0, 0.8]])
    uniform = HMMSimulationConfig(n_states=3, stay_probability=0.8, transition_probabilities="uniform")
    np.testing.assert_allclose(transition_matrix(uniform), [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    np.testing.assert_array_equal(transition_matrix(HMMSimulationConfig(n_states=1)), [[1]])


def test_lifetimes_under_a_stay_probability_are_geometric():
    states = simulate_hmm(n_states=4, n_channels=1, n_samples=100_000, stay_probability=0.95, seed=1).states[0]
    n_visits = 1 + np.count_nonzero(np.diff(states))
    lifetime = len(states) / n_visits
    assert lifetime == pytest.approx(20, abs=5 * np.sqrt(0.95) * 20 / np.sqrt(n_visits))


def test_impossible_states_are_never_reached_through_rounding():
    class NearlyOne(np.random.Generator):
        def random(self, size=None):
            return np.full(size, np.nextafter(1.0, 0.0))

    row = np.append(np.full(10, 0.1), 0.0)
    transitions = np.tile(row, (11, 1))
    path = sample_path(5, row, transitions, NearlyOne(np.random.PCG64(0)))
    assert path.max() <= 9


def test_same_seed_same_numbers_and_more_subjects_leave_the_first_as_they_were():
    settings = dict(n_states=3, n_channels=5, n_samples_range=[50, 90], means="random", covariance_variability=0.3)
    few, many = simulate_hmm(n_subjects=2, seed=7, **settings), simulate_hmm(n_subjects=4, seed=7, **settings)
    for subject in range(2):
        np.testing.assert_array_equal(few.time_series[subject], many.time_series[subject])
        np.testing.assert_array_equal(few.states[subject], many.states[subject])
    np.testing.assert_array_equal(few.covariances, many.covariances)
    assert not np.array_equal(many.time_series[0][:50], many.time_series[1][:50])
    other = simulate_hmm(n_subjects=2, seed=8, **settings)
    assert not np.array_equal(few.covariances, other.covariances)


def test_the_global_generator_is_neither_used_nor_changed():
    np.random.seed(0)
    first = simulate_hmm(n_samples=20, n_channels=3)
    after = np.random.random()
    np.random.seed(0)
    assert after == np.random.random()
    np.random.seed(1)
    np.testing.assert_array_equal(first.time_series[0], simulate_hmm(n_samples=20, n_channels=3).time_series[0])


def test_numbers_of_samples():
    per_subject = simulate_hmm(n_subjects=3, n_samples=[5, 1, 8], n_channels=2)
    assert [signals.shape for signals in per_subject.time_series] == [(5, 2), (1, 2), (8, 2)]
    assert [len(states) for states in per_subject.states] == [5, 1, 8]
    drawn = simulate_hmm(n_subjects=200, n_samples_range=[3, 6], n_channels=1)
    assert {len(signals) for signals in drawn.time_series} == {3, 4, 5, 6}


def test_standardize_rescales_signals_and_truth_alike():
    simulation = simulate_hmm(
        n_subjects=3, n_samples=[4000, 100, 900], n_states=3, n_channels=6, means="random", covariance_variability=0.2
    )
    standardized = simulation.standardize()
    together = np.concatenate(standardized.time_series).astype(np.float64)
    np.testing.assert_allclose(together.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(together.std(axis=0), 1, atol=1e-6)
    # The Mahalanobis distance of a sample to its state does not depend on the scale.
    for subject in range(3):
        for state in range(3):
            rows = simulation.states[subject] == state
            distances = [
                mahalanobis(one.time_series[subject][rows], one.means[state], one.subject_covariances[subject, state])
                for one in (simulation, standardized)
            ]
            np.testing.assert_allclose(distances[0], distances[1], rtol=2e-2, atol=2e-2)
    raw = np.concatenate(simulation.time_series).astype(np.float64)
    scale = raw.std(axis=0)
    np.testing.assert_allclose(standardized.covariances * np.outer(scale, scale), simulation.covariances, rtol=1e-6)
    np.testing.assert_allclose(standardized.std, scale, rtol=1e-12)
    np.testing.assert_allclose(standardized.means * scale + standardized.mean, simulation.means, atol=1e-12)
    with pytest.raises(DataError, match="already"):
        standardized.standardize()
    with pytest.raises(DataError, match="single sample"):
        simulate_hmm(n_samples=1).standardize()


def mahalanobis(signals, mean, covariance):
    white = np.linalg.solve(np.linalg.cholesky(covariance), (signals.astype(np.float64) - mean).T)
    return np.sqrt((white**2).sum(axis=0))


def test_observation_error_is_part_of_the_covariances():
    settings = dict(n_states=2, n_channels=3, n_samples=50_000, transition_probabilities="uniform", seed=2)
    clean, noisy = simulate_hmm(**settings), simulate_hmm(observation_error=0.5, **settings)
    np.testing.assert_allclose(noisy.covariances, clean.covariances + 0.25 * np.eye(3), rtol=1e-12)
    own = noisy.time_series[0][noisy.states[0] == 0]
    np.testing.assert_allclose(np.cov(own.T, bias=True), noisy.covariances[0], atol=5 * 0.4 * np.sqrt(2 / len(own)))


def test_variability_is_the_root_mean_square_of_relative_log_eigenvalues():
    generator = np.random.default_rng(0)
    group = simulate_hmm(n_states=4, n_channels=12, n_samples=1).covariances
    squares = [
        np.log(eigvalsh(varied, own)) ** 2
        for _ in range(200)
        for varied, own in zip(vary_covariances(group, 0.3, generator), group)
    ]
    assert np.sqrt(np.mean(squares)) == pytest.approx(0.3, rel=0.02)


def test_given_means_and_covariances_are_used_as_they_are():
    means, covariances = np.array([[1.0, -1.0], [5.0, 0.0]]), np.array([np.eye(2), [[2.0, 0.5], [0.5, 1.0]]])
    simulation = simulate_hmm(n_states=2, n_channels=2, n_samples=20_000, means=means, covariances=covariances)
    np.testing.assert_array_equal(simulation.means, means)
    np.testing.assert_array_equal(simulation.covariances, covariances)
    own = simulation.time_series[0][simulation.states[0] == 1]
    np.testing.assert_allclose(own.mean(axis=0), means[1], atol=0.08)
    np.testing.assert_allclose(np.cov(own.T), covariances[1], atol=0.15)


def test_random_covariances_have_active_channels():
    """With 4 channels and many states one row of W is offset by 1/4: variances 4 (0.01 + 1/16) there, 4 * 0.01 else."""
    covariances = random_covariances(4000, 4, np.random.default_rng(0))
    variances = np.sort(np.diagonal(covariances, axis1=1, axis2=2), axis=1)
    assert variances.sum(axis=1).mean() == pytest.approx(4 * 0.04 + 4 / 16, rel=0.02)
    assert variances[:, -1].mean() == pytest.approx(0.04 + 4 / 16, rel=0.03)
    off_diagonal = covariances[:, ~np.eye(4, dtype=bool)]
    assert off_diagonal.mean() == pytest.approx(0, abs=5 * 0.03 / np.sqrt(4000))


def test_one_state_one_channel_one_sample():
    simulation = simulate_hmm(n_states=1, n_channels=1, n_samples=1)
    assert simulation.time_series[0].shape == (1, 1)
    assert simulation.time_series[0].dtype == np.float32
    assert simulation.states[0].tolist() == [0]
    assert simulation.subjects == ["sub-001"]


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ({"n_states": 0}, "n_states", "whole number of at least 1"),
        ({"n_state": 3}, "n_state", "did you mean 'n_states'"),
        ({"n_samples": [5, 5]}, "n_samples", "1 subjects"),
        ({"n_samples_range": [9, 3]}, "n_samples_range", "the shortest and the longest"),
        ({"stay_probability": 1.2}, "stay_probability", "at most 1"),
        ({"transition_probabilities": "sequense"}, "transition_probabilities", "did you mean 'sequence'"),
        ({"transition_probabilities": np.eye(3)}, "transition_probabilities", "5 x 5"),
        ({"n_states": 2, "transition_probabilities": [[0.5, 0.6], [0, 1]]}, "transition_probabilities", "sum to 1"),
        ({"n_states": 2, "initial_probabilities": [1.5, -0.5]}, "initial_probabilities", "sum to 1"),
        ({"means": [[0.0], [1.0, 2.0]]}, "means", "5 x 11"),
        ({"n_states": 1, "n_channels": 2, "covariances": [[[1, 2], [2, 1]]]}, "covariances[0]", "positive definite"),
        ({"observation_error": float("inf")}, "observation_error", "finite"),
        ({"seed": -1}, "seed", "at least 0"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, key, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        simulate_hmm(**settings)
    assert caught.value.key == key


def test_a_config_and_settings_together_are_refused():
    with pytest.raises(ConfigurationError, match="left out where a config is given"):
        simulate_hmm(HMMSimulationConfig(), seed=1)
