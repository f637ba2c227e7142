from __future__ import annotations

import numpy as np
import pytest

from dynml.errors import ConfigurationError
from dynml.simulation import simulate_switching_var
from dynml.simulation.filters.switching_var import filtered_states, one_step_predictions, smoothed_states

TRANSITIONS = np.array([[0.9, 0.1, 0.0], [0.05, 0.8, 0.15], [0.3, 0.0, 0.7]])


@pytest.fixture(scope="module", params=[False, True], ids=["raw", "standardized"])
def simulation(request):
    made = simulate_switching_var(
        n_states=3,
        n_channels=3,
        n_samples=[60_000, 300],
        n_subjects=2,
        transition_probabilities=TRANSITIONS,
        mean_deviation=0.5,
        seed=2,
    )
    return made.standardize() if request.param else made


def test_regression_within_states_finds_the_truth(simulation):
    signals, states = simulation.time_series[0].astype(np.float64), simulation.states[0]
    for state in range(3):
        own = np.flatnonzero(states[1:] == state)
        design = np.column_stack([signals[own], np.ones(len(own))])
        solution = np.linalg.lstsq(design, signals[own + 1], rcond=None)[0]
        residuals = signals[own + 1] - design @ solution
        np.testing.assert_allclose(solution[:-1].T, simulation.coefficients[state], atol=0.05)
        np.testing.assert_allclose(solution[-1], simulation.intercepts[state], atol=0.05)
        np.testing.assert_allclose(np.cov(residuals.T), simulation.noise_covariances[state], atol=0.05)


def test_the_states_are_a_markov_chain_with_the_given_transitions(simulation):
    counts = np.zeros((3, 3))
    np.add.at(counts, (simulation.states[0][:-1], simulation.states[0][1:]), 1)
    np.testing.assert_array_equal(counts[TRANSITIONS == 0], 0)
    np.testing.assert_allclose(counts / counts.sum(axis=1, keepdims=True), TRANSITIONS, atol=0.02)
    initial = simulation.initial_probabilities
    np.testing.assert_allclose(initial @ TRANSITIONS, initial, atol=1e-12)


def test_every_visit_is_an_event(simulation):
    for states, events in zip(simulation.states, simulation.events):
        labels = events.labels_of_samples("state", len(states))
        names = np.array(events.names["state"])[labels]
        assert names.tolist() == [f"state-{state}" for state in states]
        assert events.duration.sum() == len(states)
        assert (np.diff(events.labels["state"]) != 0).all()


def test_labels_are_sorted_with_many_states_and_are_those_that_occur():
    simulation = simulate_switching_var(n_states=11, n_channels=2, n_samples=40, n_subjects=3, seed=1)
    for states, events in zip(simulation.states, simulation.events):
        assert list(events.names["state"]) == sorted(f"state-{state:02d}" for state in set(states.tolist()))
        names = np.array(events.names["state"])[events.labels_of_samples("state", 40)]
        assert names.tolist() == [f"state-{state:02d}" for state in states]


def test_the_truth_predicts_and_decodes_better_than_least_squares(simulation):
    """So do the parameters fit the signals, standardized or not; and the likelihood is higher than with others."""
    signals, process = simulation.time_series[0][None, :20_000].astype(np.float64), simulation.process
    error = np.square(one_step_predictions(process, signals) - signals)[0, 1:].mean()
    past = np.column_stack([signals[0, :-1], np.ones(signals.shape[1] - 1)])
    fitted = past @ np.linalg.lstsq(past, signals[0, 1:], rcond=None)[0]
    assert error < 0.9 * np.square(fitted - signals[0, 1:]).mean()
    decoded = smoothed_states(process, signals)[0].argmax(axis=1)
    assert (decoded == simulation.states[0][:20_000]).mean() > 0.9
    other = simulate_switching_var(n_states=3, n_channels=3, n_samples=10, seed=3).process
    assert filtered_states(process, signals)[2] > filtered_states(other, signals)[2]


def test_given_numbers_are_used_as_they_are():
    coefficients = np.array([[[0.5, 0.0], [0.2, 0.3]], [[-0.5, 0.1], [0.0, 0.9]]])
    noise = np.array([np.eye(2), [[2.0, 0.5], [0.5, 1.0]]])
    simulation = simulate_switching_var(
        n_states=2, n_channels=2, n_samples=10, coefficients=coefficients, noise_covariances=noise
    )
    np.testing.assert_array_equal(simulation.coefficients, coefficients)
    np.testing.assert_array_equal(simulation.noise_covariances, noise)
    np.testing.assert_array_equal(simulation.intercepts, 0)


def test_more_subjects_leave_the_first_as_they_were():
    settings = {"n_channels": 3, "n_samples_range": [20, 60], "seed": 5}
    few, many = simulate_switching_var(n_subjects=2, **settings), simulate_switching_var(n_subjects=4, **settings)
    for subject in range(2):
        np.testing.assert_array_equal(few.time_series[subject], many.time_series[subject])
        np.testing.assert_array_equal(few.states[subject], many.states[subject])


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ({"n_states": 0}, "n_states", "at least 1"),
        ({"stay_probability": 1.2}, "stay_probability", "at most 1"),
        ({"transition_probabilities": "sequense"}, "transition_probabilities", "did you mean 'sequence'"),
        ({"initial_probabilities": [1.0]}, "initial_probabilities", "4 finite"),
        ({"mean_deviation": -1.0}, "mean_deviation", "at least 0"),
        ({"noise_covariances": np.eye(8)}, "noise_covariances", "4 x 8 x 8"),
        (
            {"n_states": 2, "n_channels": 1, "coefficients": [[[0.5]], [[-1.5]]]},
            "coefficients[1]",
            "below 1: stable",
        ),
        (
            {
                "n_states": 2,
                "n_channels": 2,
                "coefficients": [[[0, 3], [0, 0]], [[0, 0], [3, 0]]],
                "stay_probability": 0.1,
            },
            "spectral_radius",
            "grow without end",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, key, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        simulate_switching_var(**settings)
    assert caught.value.key == key
