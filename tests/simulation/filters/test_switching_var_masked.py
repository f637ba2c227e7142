from __future__ import annotations

import numpy as np
import pytest
from switching_var_oracles import condition, covariances, joint_gaussian, posterior_mean, random_process, sample

from dynml.simulation.filters.switching_var_hidden import hidden_sample_predictions
from dynml.simulation.filters.switching_var_masked import (
    masked_means_given_states,
    var_as_switching,
    var_masked_means,
    var_one_step_means,
)
from dynml.simulation.filters.switching_var_merged import masked_predictions


def patterns(n_windows, n_samples, n_channels):
    """Hidden channels, hidden samples and hidden entries, turn about."""
    generator = np.random.default_rng(1)
    visible = np.ones((n_windows, n_samples, n_channels), dtype=bool)
    shapes = [(1, n_channels), (n_samples, 1), (n_samples, n_channels)]
    for window in range(n_windows):
        visible[window] &= generator.random(shapes[window % 3]) > 0.4
    return visible


def given_path(process, window, path, visible):
    mean, _, _ = condition(*joint_gaussian(process, path), window.ravel(), visible.ravel())
    return mean.reshape(window.shape)


def test_given_the_states_hidden_entries_agree_with_the_joint_gaussian():
    process = random_process(3, 4, seed=1)
    signals, states = sample(process, 9, 7)
    visible = patterns(*signals.shape)
    means = masked_means_given_states(process, np.where(visible, signals, np.nan), visible, states)
    for window in range(9):
        expected = given_path(process, signals[window], states[window], visible[window])
        np.testing.assert_allclose(means[window], expected, atol=1e-9)


def test_padding_has_no_influence():
    process = random_process(2, 3, seed=2)
    signals, states = sample(process, 4, 6)
    visible = patterns(*signals.shape)
    padded = np.concatenate([signals, np.full((4, 3, 3), np.nan)], axis=1)
    shown = np.concatenate([visible, np.zeros((4, 3, 3), dtype=bool)], axis=1)
    path = np.concatenate([states, np.zeros((4, 3), dtype=np.int64)], axis=1)
    alone = masked_means_given_states(process, signals, visible, states)
    np.testing.assert_allclose(masked_means_given_states(process, padded, shown, path)[:, :6], alone, atol=1e-10)
    alone = masked_predictions(process, signals, visible)
    np.testing.assert_allclose(masked_predictions(process, padded, shown)[:, :6], alone, atol=1e-10)


def test_without_states_one_state_is_exact():
    process = random_process(1, 4, seed=3)
    signals, states = sample(process, 9, 7)
    visible = patterns(*signals.shape)
    exact = masked_means_given_states(process, signals, visible, states)
    for statistic in ("mean", "median"):
        predicted = masked_predictions(process, signals, visible, statistic=statistic)
        np.testing.assert_allclose(predicted, exact, atol=1e-8)


@pytest.mark.parametrize("stay", [0.5, 0.9])
def test_without_states_hidden_channels_are_near_the_mean_over_all_paths(stay):
    """How far the approximation is off, in units of the error that nobody can avoid (root mean squares)."""
    process = random_process(2, 4, seed=0, stay=stay)
    signals, _ = sample(process, 30, 7)
    visible = np.broadcast_to(np.random.default_rng(2).random((30, 1, 4)) > 0.3, signals.shape)
    exact = np.stack([posterior_mean(process, own, shown) for own, shown in zip(signals, visible)])
    unavoidable = np.sqrt(np.square(exact - signals)[~visible].mean())
    off = []
    for memory in (1, 2, 4):
        predicted = masked_predictions(process, np.where(visible, signals, np.nan), visible, memory=memory)
        np.testing.assert_array_equal(predicted[visible], signals[visible])
        off.append(np.sqrt(np.square(predicted - exact)[~visible].mean()) / unavoidable)
    assert (off < np.array([0.25, 0.1, 0.02])).all()
    assert off[0] > 2 * off[1] > 4 * off[2]


def test_a_memory_of_the_whole_window_is_exact():
    process = random_process(3, 2, seed=5)
    signals, _ = sample(process, 6, 4)
    visible = patterns(*signals.shape)
    exact = np.stack([posterior_mean(process, own, shown) for own, shown in zip(signals, visible)])
    np.testing.assert_allclose(masked_predictions(process, signals, visible, memory=4), exact, atol=1e-9)


def test_medians_are_near_those_of_the_exact_mixture():
    """Means of isolated hidden samples are exact; of their mixture the median alone sees the merging."""
    process = random_process(3, 2, seed=6)
    signals, _ = sample(process, 40, 6)
    visible = np.ones((40, 6), dtype=bool)
    visible[:, [0, 3]] = False
    exact, merged = {}, {}
    for statistic in ("mean", "median"):
        exact[statistic] = hidden_sample_predictions(process, signals, visible, statistic=statistic)
        merged[statistic] = masked_predictions(process, signals, visible[..., None], statistic=statistic)
    np.testing.assert_allclose(merged["mean"], exact["mean"], atol=1e-9)
    off = np.square(merged["median"] - exact["median"]).mean()
    assert 0 < off < 0.05 * np.square(exact["mean"] - exact["median"]).mean()


def test_the_lowest_error_lies_between_known_and_merged_states():
    process = random_process(3, 3, seed=4)
    signals, states = sample(process, 1500, 6)
    hidden = np.zeros(signals.shape, dtype=bool)
    hidden[:, 1:4] = True
    predictions = (
        masked_means_given_states(process, signals, ~hidden, states),
        hidden_sample_predictions(process, signals, ~hidden[..., 0]),
        masked_predictions(process, signals, ~hidden),
    )
    known, exact, merged = (np.square(own - signals)[hidden].mean() for own in predictions)
    assert known < 0.9 * exact
    assert exact < merged < 1.05 * exact


@pytest.mark.parametrize("n_lags", [1, 3])
def test_an_autoregression_of_several_lags_agrees_with_its_joint_gaussian(n_lags):
    """The joint Gaussian from the autocovariances, which a long sum of impulse responses gives."""
    generator = np.random.default_rng(n_lags)
    coefficients = 0.35 * generator.normal(size=(n_lags, 2, 2)) / np.arange(1, n_lags + 1)[:, None, None]
    intercept, noise = generator.normal(size=2), covariances(generator, 1, 2)[0]
    responses = [np.eye(2)]
    for _ in range(400):
        terms = zip(coefficients, reversed(responses[-n_lags:]))
        responses.append(sum(matrix @ response for matrix, response in terms))
    n_samples = 6
    blocks = [sum(responses[i + lag] @ noise @ responses[i].T for i in range(400 - lag)) for lag in range(n_samples)]
    covariance = np.block(
        [[blocks[i - j] if i >= j else blocks[j - i].T for j in range(n_samples)] for i in range(n_samples)]
    )
    mean = np.tile(np.linalg.solve(np.eye(2) - coefficients.sum(axis=0), intercept), n_samples)
    signals = generator.multivariate_normal(mean, covariance, size=6).reshape(6, n_samples, 2)
    visible = patterns(6, n_samples, 2)
    means = var_masked_means(coefficients, intercept, noise, signals, visible)
    predicted = var_one_step_means(coefficients, intercept, noise, signals)
    for window, own in enumerate(signals):
        expected, _, _ = condition(mean, covariance, own.ravel(), visible[window].ravel())
        np.testing.assert_allclose(means[window], expected.reshape(own.shape), atol=1e-9)
        for t in range(n_samples):
            past = np.repeat(np.arange(n_samples) < t, 2)
            expected, _, _ = condition(mean, covariance, own.ravel(), past)
            np.testing.assert_allclose(predicted[window, t], expected.reshape(own.shape)[t], atol=1e-9)
    process = var_as_switching(coefficients, intercept, noise)
    np.testing.assert_allclose(process.initial_covariances[0][:2, :2], blocks[0], atol=1e-9)
