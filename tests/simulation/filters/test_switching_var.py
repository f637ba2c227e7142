from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from switching_var_oracles import posterior, posterior_mean, posterior_medians, random_process, sample

from dynml.errors import DynmlError
from dynml.simulation.filters.switching_var import (
    SwitchingVar,
    filtered_states,
    multi_step_means,
    one_step_predictions,
    smoothed_states,
    stationary_moments,
)


@pytest.fixture(scope="module", params=[(1, 2), (2, 3), (3, 2)], ids=["one_state", "two_states", "three_states"])
def problem(request):
    process = random_process(*request.param, seed=request.param[0])
    return process, sample(process, n_windows=3, n_samples=5)[0]


def shares_of_states(process, window, visible, t):
    paths, weights, _, _, _ = posterior(process, window, visible)
    return np.array([weights[paths[:, t] == state].sum() for state in range(process.n_states)])


def up_to(t):
    """Samples before t are visible, of 5."""
    return (np.arange(5) < t)[:, None]


def test_states_given_the_past_and_given_all_agree_with_all_paths(problem):
    process, signals = problem
    predicted, filtered, log_likelihoods = filtered_states(process, signals)
    smoothed = smoothed_states(process, signals)
    for window, own in enumerate(signals):
        logs = posterior(process, own, up_to(5))[-1]
        assert log_likelihoods[window] == pytest.approx(np.logaddexp.reduce(logs), abs=1e-9)
        for t in range(5):
            np.testing.assert_allclose(predicted[window, t], shares_of_states(process, own, up_to(t), t), atol=1e-10)
            np.testing.assert_allclose(filtered[window, t], shares_of_states(process, own, up_to(t + 1), t), atol=1e-10)
            np.testing.assert_allclose(smoothed[window, t], shares_of_states(process, own, up_to(5), t), atol=1e-10)


def test_one_step_mean_and_median_agree_with_all_paths(problem):
    process, signals = problem
    means = one_step_predictions(process, signals)
    medians = one_step_predictions(process, signals, statistic="median")
    for window, own in enumerate(signals):
        for t in range(5):
            np.testing.assert_allclose(means[window, t], posterior_mean(process, own, up_to(t))[t], atol=1e-9)
            np.testing.assert_allclose(medians[window, t], posterior_medians(process, own, up_to(t), t), atol=1e-8)


def test_multi_step_means_agree_with_all_paths(problem):
    process, signals = problem
    means = multi_step_means(process, signals, n_steps=3)
    for window, own in enumerate(signals):
        for last in range(2):
            expected = posterior_mean(process, own, up_to(last + 1))[last + 1 : last + 4]
            np.testing.assert_allclose(means[window, last], expected, atol=1e-9)
    one_step = one_step_predictions(process, signals)
    np.testing.assert_allclose(means[:, :-1, 0], one_step[:, 1:], atol=1e-9)


def test_later_samples_have_no_influence_on_predictions(problem):
    process, signals = problem
    changed = signals.copy()
    changed[:, 3:] = 7
    before, after = one_step_predictions(process, signals), one_step_predictions(process, changed)
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert not np.array_equal(before[:, 4], after[:, 4])


def test_no_prediction_from_the_last_sample_alone_is_better_on_average():
    """On 4000 windows of 6 samples, least squares included, though it has seen the very windows it is scored on."""
    process = random_process(3, 2, seed=5, stay=0.9)
    signals, _ = sample(process, 4000, 6)
    error = np.square(one_step_predictions(process, signals)[:, -1] - signals[:, -1]).mean()
    past = np.column_stack([signals[:, -2], np.ones(4000)])
    fitted = past @ np.linalg.lstsq(past, signals[:, -1], rcond=None)[0]
    assert error < 0.9 * np.square(fitted - signals[:, -1]).mean()
    medians = one_step_predictions(process, signals, statistic="median")[:, -1]
    means = one_step_predictions(process, signals)[:, -1]
    assert np.abs(medians - signals[:, -1]).mean() < np.abs(means - signals[:, -1]).mean()


def test_stationary_moments_are_those_that_one_step_keeps():
    process = random_process(3, 2, seed=2)
    probabilities, means, covariances = stationary_moments(process)
    signals, states = sample(process.from_within(), 40_000, 2, seed=4)
    for state in range(3):
        for t in range(2):
            own = signals[states[:, t] == state, t]
            # Sampling errors are of 1 / sqrt(n) standard deviations, and of kurtosis the covariances' too.
            limit = 5 / np.sqrt(len(own))
            scale = np.sqrt(np.diagonal(covariances[state]))
            assert len(own) / 40_000 == pytest.approx(probabilities[state], abs=5 * 0.5 / 200)
            assert (np.abs(own.mean(axis=0) - means[state]) / scale).max() < limit
            error = (np.cov(own.T) - covariances[state]) / np.outer(scale, scale)
            assert np.abs(error).max() < 3 * limit


def test_stationary_moments_of_one_state_solve_the_lyapunov_equation():
    process = random_process(1, 3, seed=3)
    _, means, covariances = stationary_moments(process)
    matrix, covariance = process.coefficients[0], covariances[0]
    np.testing.assert_allclose(matrix @ covariance @ matrix.T + process.noise_covariances[0], covariance, atol=1e-9)
    np.testing.assert_allclose(matrix @ means[0] + process.intercepts[0], means[0], atol=1e-9)


def test_switching_that_makes_stable_states_unstable_is_found():
    """[[0, 3], [0, 0]] and its transpose have no eigenvalue but 0, yet one after the other they multiply by 9."""
    one = np.array([[0.0, 3.0], [0.0, 0.0]])
    process = SwitchingVar(
        coefficients=np.stack([one, one.T]),
        intercepts=np.zeros((2, 2)),
        noise_covariances=np.stack([np.eye(2)] * 2),
        transition_probabilities=np.array([[0.1, 0.9], [0.9, 0.1]]),
        initial_probabilities=np.array([0.5, 0.5]),
        initial_means=np.zeros((2, 2)),
        initial_covariances=np.stack([np.eye(2)] * 2),
    )
    with pytest.raises(DynmlError, match="grows without end"):
        stationary_moments(process)
    stationary_moments(dataclasses.replace(process, transition_probabilities=np.eye(2) * 0.98 + 0.01))
