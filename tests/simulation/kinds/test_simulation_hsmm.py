from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare, gamma

from dynml.analysis.state_statistics import lifetime_mean_and_std, visit_lengths
from dynml.errors import ConfigurationError
from dynml.simulation import HSMMSimulationConfig, read_truth, simulate_hmm, simulate_hsmm, write_simulation
from dynml.store.verification import faults_of_store

TRANSITIONS = np.array([[0, 0.3, 0.7], [1.0, 0, 0], [0.5, 0.5, 0]])


@pytest.fixture(scope="module")
def long_simulation():
    return simulate_hsmm(
        n_states=3,
        n_channels=2,
        n_samples=400_000,
        gamma_shape=[10.0, 2.0, 0.5],
        gamma_scale=[5.0, 8.0, 4.0],
        transition_probabilities=TRANSITIONS,
        seed=3,
    )


def visits(states):
    starts = np.concatenate([[0], np.flatnonzero(np.diff(states)) + 1])
    return states[starts], np.diff(np.append(starts, len(states)))


def test_lifetimes_follow_the_rounded_gamma_distribution(long_simulation):
    """By a chi-square test: P(lifetime = n) = F(n + 1/2) - F(n - 1/2), and all below 3/2 is one sample."""
    visited, lengths = visits(long_simulation.states[0])
    for state, (shape, scale) in enumerate([(10.0, 5.0), (2.0, 8.0), (0.5, 4.0)]):
        own = lengths[1:-1][visited[1:-1] == state]
        distribution = gamma(shape, scale=scale)
        edges = np.unique(np.round(distribution.ppf(np.linspace(0.05, 0.95, 12)))) + 0.5
        edges = np.concatenate([[0], edges[edges > 1], [np.inf]])
        counts = np.histogram(own, edges)[0]
        expected = len(own) * np.diff(distribution.cdf(edges))
        assert chisquare(counts, expected).pvalue > 1e-3
    np.testing.assert_allclose(long_simulation.lifetime_mean, [50, 16, 2])
    np.testing.assert_allclose(long_simulation.lifetime_std, [np.sqrt(10) * 5, np.sqrt(2) * 8, np.sqrt(0.5) * 4])


def test_mean_and_standard_deviation_of_lifetimes_are_those_of_the_truth(long_simulation):
    mean, deviation = lifetime_mean_and_std(long_simulation.states[0])
    np.testing.assert_allclose(mean[:2], long_simulation.lifetime_mean[:2], rtol=0.02)
    np.testing.assert_allclose(deviation[:2], long_simulation.lifetime_std[:2], rtol=0.03)
    in_seconds = lifetime_mean_and_std(long_simulation.alpha[0], sampling_frequency=250.0)
    np.testing.assert_allclose(in_seconds, np.stack([mean, deviation]) / 250)


def test_transitions_follow_the_matrix(long_simulation):
    visited, _ = visits(long_simulation.states[0])
    counts = np.zeros((3, 3))
    np.add.at(counts, (visited[:-1], visited[1:]), 1)
    np.testing.assert_array_equal(counts[TRANSITIONS == 0], 0)
    rates = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(rates, TRANSITIONS, atol=5 * 0.5 / np.sqrt(counts.sum(axis=1).min()))


def test_states_have_their_covariances(long_simulation):
    signals, states = long_simulation.time_series[0].astype(float), long_simulation.states[0]
    for state, covariance in enumerate(long_simulation.covariances):
        own = signals[states == state]
        white = np.linalg.solve(np.linalg.cholesky(covariance), own.T)
        assert np.abs(white @ white.T / len(own) - np.eye(2)).max() < 5 * np.sqrt(2 / len(own))


def test_named_transitions():
    sequence = simulate_hsmm(n_states=3, n_channels=1, n_samples=3000, gamma_scale=1)
    np.testing.assert_array_equal(sequence.transition_probabilities, [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    visited, _ = visits(sequence.states[0])
    assert set((np.diff(visited) % 3).tolist()) == {1}
    uniform = simulate_hsmm(n_states=3, n_samples=10, transition_probabilities="uniform")
    np.testing.assert_allclose(uniform.transition_probabilities, (1 - np.eye(3)) / 2)
    rows = [
        simulate_hsmm(n_states=3, n_samples=1, n_channels=1, transition_probabilities="random", seed=seed)
        for seed in range(300)
    ]
    drawn = np.stack([own.transition_probabilities for own in rows])
    np.testing.assert_array_equal(np.diagonal(drawn, axis1=1, axis2=2), 0)
    np.testing.assert_allclose(drawn.sum(axis=2), 1)
    # Uniform over two probabilities that sum to 1: mean 1/2, variance 1/12.
    np.testing.assert_allclose(drawn[:, 0, 1].mean(), 0.5, atol=5 / np.sqrt(12 * 300))
    np.testing.assert_allclose(drawn[:, 0, 1].var(), 1 / 12, rtol=0.25)


def test_first_states_are_uniform_and_last_ones_cut():
    simulation = simulate_hsmm(n_subjects=2000, n_samples=1, n_states=4, n_channels=1)
    starts = np.bincount([states[0] for states in simulation.states], minlength=4) / 2000
    np.testing.assert_allclose(starts, 0.25, atol=5 * np.sqrt(0.25 * 0.75 / 2000))
    assert {len(signals) for signals in simulation.time_series} == {1}


def test_subjects_are_reproducible_and_independent_of_how_many_there_are():
    settings = dict(n_states=3, n_channels=4, n_samples_range=[30, 60], seed=7, covariance_variability=0.2)
    few, many = simulate_hsmm(n_subjects=2, **settings), simulate_hsmm(n_subjects=4, **settings)
    for subject in range(2):
        np.testing.assert_array_equal(few.time_series[subject], many.time_series[subject])
        np.testing.assert_array_equal(few.states[subject], many.states[subject])


def test_standardize_rescales_the_truth():
    simulation = simulate_hsmm(n_samples=5000, n_channels=3, means="random")
    standardized = simulation.standardize()
    signals = simulation.time_series[0].astype(float)
    scale = signals.std(axis=0)
    np.testing.assert_allclose(standardized.covariances * np.outer(scale, scale), simulation.covariances, rtol=1e-6)
    np.testing.assert_allclose(standardized.means, (simulation.means - signals.mean(axis=0)) / scale, atol=1e-6)
    np.testing.assert_allclose(standardized.time_series[0].std(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_states": 1}, "n_states is 1"),
        ({"gamma_shape": 0}, "gamma_shape is 0"),
        ({"gamma_scale": [1.0, 2.0]}, "gamma_scale.*list of 5"),
        ({"gamma_scale": [1, 2, 3, 4, -1]}, "gamma_scale"),
        ({"gamma_shape": np.inf}, "gamma_shape"),
        ({"n_states": 2, "transition_probabilities": [[0.5, 0.5], [1, 0]]}, "zeros on the diagonal"),
        ({"n_states": 2, "transition_probabilities": [[0, 0.5], [1, 0]]}, "sum to 1"),
        ({"transition_probabilities": "sequense"}, "did you mean 'sequence'"),
        ({"stay_probability": 0.9}, "stay_probability"),
    ],
)
def test_mistakes_are_named(settings, words):
    with pytest.raises(ConfigurationError, match=words):
        simulate_hsmm(**settings)


def test_the_store_holds_the_truth(tmp_path):
    simulation = simulate_hsmm(
        n_subjects=2, n_samples=80, n_states=3, n_channels=2, gamma_shape=[1, 2, 3]
    ).standardize()
    path = tmp_path / "lifetimes.hdf5"
    write_simulation(simulation, path)
    assert faults_of_store(path) == []
    truth = read_truth(path)
    assert (truth.kind, truth.phases, truth.initial_probabilities) == ("hsmm", None, None)
    assert HSMMSimulationConfig(**truth.arguments) == simulation.config
    np.testing.assert_array_equal(truth.gamma_shape, [1, 2, 3])
    np.testing.assert_array_equal(truth.gamma_scale, [5, 5, 5])
    for name in ("means", "covariances", "transition_probabilities"):
        np.testing.assert_array_equal(getattr(truth, name), getattr(simulation, name))
    for number, subject in enumerate(simulation.subjects):
        np.testing.assert_array_equal(truth.states[subject], simulation.states[number])
        np.testing.assert_array_equal(truth.alpha[subject], np.eye(3)[simulation.states[number]])


def test_visits_worked_out_by_hand():
    path = [0, 0, 1, 1, 1, 0, 2, 0, 0, 0]
    whole = visit_lengths(path, n_states=4)
    assert [own.tolist() for own in whole] == [[1], [3], [1], []]
    cut = visit_lengths(path, n_states=4, whole_visits=False)
    assert [own.tolist() for own in cut] == [[2, 1, 3], [3], [1], []]
    assert [own.tolist() for own in visit_lengths(path, [[0, 4], [4, 9]])] == [[1], [], [1]]
    mean, deviation = lifetime_mean_and_std(path, n_states=4, whole_visits=False)
    np.testing.assert_allclose(mean, [2, 3, 1, np.nan])
    np.testing.assert_allclose(deviation, [np.sqrt(2 / 3), 0, 0, np.nan])


def test_an_hmm_gives_time_courses_and_several_activations():
    simulation = simulate_hmm(n_states=3, n_channels=2, n_samples=30)
    np.testing.assert_array_equal(simulation.alpha[0], np.eye(3)[simulation.states[0]])
    # Two activations add 1 / C and 5 / C to rows of W (5 states of 2 channels: one row each): up to 36 / C^2 * C more.
    once = simulate_hmm(n_states=500, n_channels=2, n_samples=1).covariances
    twice = simulate_hmm(n_states=500, n_channels=2, n_samples=1, n_covariance_activations=2).covariances
    traces = [np.trace(own, axis1=1, axis2=2).mean() for own in (once, twice)]
    # E tr = C^2 0.01 + C sum of squared offsets; both activations meet in one row half of the time.
    assert traces[0] == pytest.approx(4 * 0.01 + 2 * 0.25, rel=0.05)
    assert traces[1] == pytest.approx(4 * 0.01 + 2 * (0.25 + 6.25 + 2 * 0.5 * 2.5 * 0.5), rel=0.05)
