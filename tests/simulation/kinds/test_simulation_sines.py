from __future__ import annotations

import numpy as np
import pytest

from dynml.errors import ConfigurationError
from dynml.simulation import simulate_sines


@pytest.fixture(scope="module")
def simulation():
    return simulate_sines(
        n_subjects=4, n_channels=6, n_samples=[600, 600, 650, 400], sampling_frequencies=[0.5, 1.0], noise=0.3, seed=1
    )


def test_trials_are_sines_of_the_periods_of_their_class(simulation):
    """By least squares on a sine and a cosine of the true period: amplitude 1, and the lag from their ratio."""
    for subject, signals in enumerate(simulation.time_series):
        rate = simulation.sampling_frequencies[subject]
        for (onset, duration, label), lags in zip(simulation.trials[subject], simulation.lags[subject]):
            assert duration == 40 * rate
            for channel in range(6):
                period = simulation.periods[label, channel]
                assert period in ([8, 12, 16], [24, 32, 40])[label]
                angles = 2 * np.pi * np.arange(duration) / rate / period
                design = np.column_stack([np.sin(angles), np.cos(angles)])
                target = signals[onset : onset + duration, channel]
                sine, cosine = np.linalg.lstsq(design, target, rcond=None)[0]
                assert np.hypot(sine, cosine) == pytest.approx(1, abs=0.5)
                assert 0 <= lags[channel] < 4
                error = np.angle(np.exp(1j * (np.arctan2(-cosine, sine) - 2 * np.pi * lags[channel] / period)))
                assert abs(error) < 0.5


@pytest.mark.parametrize("standardize", [False, True])
def test_what_is_left_without_the_clean_signals_is_white_noise_of_the_truth(simulation, standardize):
    made = simulation.standardize() if standardize else simulation
    noise = np.concatenate([signals - made.clean_signals(number) for number, signals in enumerate(made.time_series)])
    n_samples = len(noise)
    np.testing.assert_allclose(noise.std(axis=0) / made.noise_deviations, 1, atol=5 / np.sqrt(2 * n_samples))
    white = noise / made.noise_deviations
    assert np.abs(white.mean(axis=0)).max() < 5 / np.sqrt(n_samples)
    assert np.abs((white[1:] * white[:-1]).mean(axis=0)).max() < 5 / np.sqrt(n_samples)


def test_classes_are_balanced_and_trials_are_events(simulation):
    for trials, events in zip(simulation.trials, simulation.events):
        counts = np.bincount(trials[:, 2], minlength=2)
        assert abs(counts[0] - counts[1]) <= 1
        np.testing.assert_array_equal(events.onset, trials[:, 0])
        np.testing.assert_array_equal(events.duration, trials[:, 1])
        names = np.array(events.names["trial_type"])[events.labels["trial_type"]]
        assert names.tolist() == [f"class-{label}" for label in trials[:, 2]]
    # 600 samples at 0.5 Hz hold 20 trials and rests of 60 s, the first one after half a rest.
    np.testing.assert_array_equal(simulation.trials[0][:, 0], 5 + 30 * np.arange(20))
    assert [len(trials) for trials in simulation.trials] == [20, 10, 21, 6]
    assert len({tuple(trials[:, 2]) for trials in simulation.trials}) == 4


def test_more_subjects_leave_the_first_as_they_were():
    few, many = simulate_sines(n_subjects=2, seed=3), simulate_sines(n_subjects=3, seed=3)
    np.testing.assert_array_equal(few.time_series[1], many.time_series[1])
    np.testing.assert_array_equal(few.periods, many.periods)
    assert not np.array_equal(many.lags[1], many.lags[2])


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ({"periods": [[8.0]]}, "periods", "at least two lists"),
        ({"periods": [[8.0], [4.0]]}, "periods", "above 4"),
        ({"periods": [[8.0], [-1.0]]}, "periods", "above 4"),
        ({"trial_duration": 0}, "trial_duration", "above 0"),
        ({"noise": -1.0}, "noise", "at least 0"),
        ({"n_samples": 29}, "n_samples", "enough for one trial"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, key, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        simulate_sines(**settings)
    assert caught.value.key == key
