from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from switching_var_oracles import posterior_mean, posterior_medians, random_process, sample

from dynml.simulation.filters.switching_var import one_step_predictions
from dynml.simulation.filters.switching_var_hidden import hidden_sample_predictions, longest_exact_stretch
from dynml.simulation.filters.switching_var_masked import masked_means_given_states

PATTERNS = {
    "isolated": "101011",
    "stretch_of_two": "100110",
    "stretch_of_three": "100011",
    "stretch_of_four": "100001",
    "start": "001101",
    "end": "110100",
    "both_edges": "001000",
    "nothing_visible": "000000",
    "all_visible": "111111",
}


def visible_of(pattern):
    return np.array([letter == "1" for letter in pattern])


@pytest.fixture(scope="module", params=[(2, 3), (3, 2)], ids=["two_states", "three_states"])
def problem(request):
    process = random_process(*request.param, seed=request.param[0])
    return process, sample(process, n_windows=2, n_samples=6)[0]


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_means_agree_with_all_paths(problem, pattern):
    process, signals = problem
    visible = visible_of(pattern)
    means = hidden_sample_predictions(process, signals, np.stack([visible] * 2))
    for window, own in enumerate(signals):
        expected = posterior_mean(process, own, visible[:, None])
        np.testing.assert_allclose(means[window], expected, atol=1e-9)
        np.testing.assert_array_equal(means[window, visible], own[visible])


@pytest.mark.parametrize("pattern", ["101011", "100011", "001010"])
def test_medians_agree_with_all_paths(problem, pattern):
    process, signals = problem
    visible = visible_of(pattern)
    medians = hidden_sample_predictions(process, signals, np.stack([visible] * 2), statistic="median")
    for t in np.flatnonzero(~visible):
        expected = posterior_medians(process, signals[0], visible[:, None], t)
        np.testing.assert_allclose(medians[0, t], expected, atol=1e-7)


def test_windows_may_be_hidden_and_padded_each_in_its_own_way(problem):
    process, signals = problem
    visible = np.stack([visible_of("101111"), visible_of("110011")])
    together = hidden_sample_predictions(process, signals, visible, lengths_B=np.array([4, 6]))
    alone = hidden_sample_predictions(process, signals[:1, :4], visible[:1, :4])
    np.testing.assert_allclose(together[0, :4], alone[0], atol=1e-12)
    np.testing.assert_array_equal(together[0, 4:], 0)
    np.testing.assert_allclose(together[1], posterior_mean(process, signals[1], visible[1][:, None]), atol=1e-9)


def test_what_stands_at_hidden_samples_has_no_influence(problem):
    process, signals = problem
    visible = np.stack([visible_of("101001")] * 2)
    changed = np.where(visible[..., None], signals, np.nan)
    np.testing.assert_array_equal(
        hidden_sample_predictions(process, signals, visible), hidden_sample_predictions(process, changed, visible)
    )


def test_a_hidden_last_sample_is_predicted_from_the_past(problem):
    process, signals = problem
    visible = np.stack([visible_of("111110")] * 2)
    for statistic in ("mean", "median"):
        predicted = one_step_predictions(process, signals, statistic=statistic)[:, -1]
        hidden = hidden_sample_predictions(process, signals, visible, statistic=statistic)[:, -1]
        np.testing.assert_allclose(hidden, predicted, atol=1e-8)


def test_longer_stretches_are_followed_along_the_likeliest_paths():
    """Of 2^9 paths through 8 hidden samples with rare changes, a quarter gives nearly the exact mean."""
    process = dataclasses.replace(
        random_process(2, 2, seed=6), transition_probabilities=np.array([[0.95, 0.05], [0.1, 0.9]])
    )
    signals, _ = sample(process, 20, 10)
    visible = np.ones((20, 10), dtype=bool)
    visible[:, 1:9] = False
    exact = hidden_sample_predictions(process, signals, visible, max_paths=512)
    np.testing.assert_allclose(exact[0], posterior_mean(process, signals[0], visible[0][:, None]), atol=1e-9)
    quarter = hidden_sample_predictions(process, signals, visible, max_paths=128)
    few = hidden_sample_predictions(process, signals, visible, max_paths=8)
    off = [np.sqrt(np.square(other - exact)[~visible].mean()) for other in (quarter, few)]
    assert 0 < off[0] < 0.02 < off[1]


def test_the_longest_exact_stretch():
    assert longest_exact_stretch(4) == 4
    assert longest_exact_stretch(4, max_paths=256) == 3
    assert longest_exact_stretch(2, max_paths=1023) == 8


def test_one_state_needs_no_enumeration():
    process = random_process(1, 3, seed=7)
    signals, states = sample(process, 3, 30)
    visible = np.random.default_rng(0).random((3, 30)) > 0.6
    means = hidden_sample_predictions(process, signals, visible)
    smoothed = masked_means_given_states(process, signals, visible[..., None], states)
    np.testing.assert_allclose(means, smoothed, atol=1e-9)
