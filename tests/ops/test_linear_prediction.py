"""Second moments of windows, and ridge regression from them, against explicit sums and scikit-learn."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from dynml.ops.linear_prediction import (
    PENALTIES,
    Halves,
    SecondMoments,
    WindowMoments,
    numbers_of_rows,
    ridge_coefficients,
)

CPU = torch.device("cpu")


def series(lengths, n_channels, seed=0):
    generator = np.random.default_rng(seed)
    noise = [generator.normal(size=(n + 20, n_channels)) for n in lengths]
    return [sum(0.7**k * one[20 - k : 20 - k + n] for k in range(20)) for one, n in zip(noise, lengths)]


def all_windows(segments, window_length):
    """One row per window, explicitly."""
    return np.array(
        [one[t : t + window_length].ravel() for one in segments for t in range(len(one) - window_length + 1)]
    )


def moments_of(segments, window_length, n_at_a_time=3):
    moments = WindowMoments(window_length, segments[0].shape[1], CPU)
    for first in range(0, len(segments), n_at_a_time):
        some = segments[first : first + n_at_a_time]
        moments.add(torch.from_numpy(np.concatenate(some)), [0, *itertools.accumulate(map(len, some))])
    return moments


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(1, 3), st.integers(1, 5))
def test_moments_are_those_of_all_windows_laid_under_one_another(window_length, more, n_channels, n_at_a_time):
    segments = series([window_length + n for n in more], n_channels, seed=sum(more))
    windows = all_windows(segments, window_length)
    found = moments_of(segments, window_length, n_at_a_time).second_moments()
    assert found.n_windows == len(windows)
    np.testing.assert_allclose(found.values_PP.numpy(), windows.T @ windows / len(windows), atol=1e-12)


def test_a_segment_may_come_in_overlapping_pieces_and_sums_add_up():
    (segment,) = series([50], 3)
    whole = moments_of([segment], 4).second_moments()
    pieces = moments_of([segment[:20], segment[17:33]], 4)
    for sums, others in zip(pieces.sums, moments_of([segment[30:]], 4).sums):
        sums += others
    torch.testing.assert_close(pieces.second_moments().values_PP, whole.values_PP)
    assert pieces.second_moments().n_windows == whole.n_windows == 47


def test_a_segment_shorter_than_a_window_is_a_fault_of_the_caller():
    with pytest.raises(AssertionError):
        moments_of(series([5, 3], 2), 4)


def test_numbers_of_rows():
    assert numbers_of_rows([2, 0], 3, CPU).tolist() == [6, 7, 8, 0, 1, 2]


def halves_of(first, second):
    return Halves(
        *(SecondMoments(torch.from_numpy(rows.T @ rows / len(rows)), float(len(rows))) for rows in (first, second))
    )


@pytest.mark.parametrize("penalty", [1e-6, 0.01, 3.0])
def test_coefficients_are_those_of_scikit_learn(penalty):
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(200, 6)) @ generator.normal(size=(6, 6))
    halves = halves_of(rows[:70], rows[70:])
    inputs, outputs = torch.tensor([0, 1, 3, 5]), torch.tensor([2, 4])
    found, used = ridge_coefficients(halves, inputs, outputs, penalty)
    ridge = Ridge(alpha=penalty * 200, fit_intercept=False).fit(rows[:, [0, 1, 3, 5]], rows[:, [2, 4]])
    assert used == penalty
    np.testing.assert_allclose(found.numpy(), ridge.coef_.T, atol=1e-9)


@pytest.mark.parametrize("noise", [0.01, 1.0, 5.0, 50.0])
def test_the_penalty_is_the_one_with_which_the_halves_predict_each_other_best(noise):
    generator = np.random.default_rng(2)
    inputs = generator.normal(size=(90, 12))
    outputs = inputs @ generator.normal(size=(12, 2)) / 4 + noise * generator.normal(size=(90, 2))
    rows = np.concatenate([inputs, outputs], axis=1)

    def held_out_error(share):
        total = 0.0
        for fitted, judge in ((rows[:50], rows[50:]), (rows[50:], rows[:50])):
            ridge = Ridge(alpha=share * len(rows), fit_intercept=False).fit(fitted[:, :12], fitted[:, 12:])
            total += np.square(judge[:, 12:] - ridge.predict(judge[:, :12])).sum()
        return total

    _, found = ridge_coefficients(halves_of(rows[:50], rows[50:]), torch.arange(12), torch.arange(12, 14))
    assert found == min(PENALTIES, key=held_out_error)


def test_more_noise_asks_for_a_higher_penalty():
    generator = np.random.default_rng(3)
    inputs, chosen = generator.normal(size=(300, 20)), []
    for noise in (0.0, 1.0, 100.0):
        outputs = inputs[:, :1] + noise * generator.normal(size=(300, 1))
        rows = np.concatenate([inputs, outputs], axis=1)
        halves = halves_of(rows[:150], rows[150:])
        chosen.append(ridge_coefficients(halves, torch.arange(20), torch.tensor([20]))[1])
    assert chosen[0] == PENALTIES[0]
    assert chosen[0] < chosen[1] < chosen[2]


def test_channels_that_depend_on_each_other_or_never_move_are_no_obstacle():
    generator = np.random.default_rng(4)
    rows = generator.normal(size=(100, 3))
    rows = np.concatenate([rows, rows[:, :1] + rows[:, 1:2], np.zeros((100, 1))], axis=1)
    halves = halves_of(rows[:50], rows[50:])
    found, _ = ridge_coefficients(halves, torch.tensor([0, 1, 2, 4]), torch.tensor([3]))
    np.testing.assert_allclose(found.numpy()[:, 0], [1, 1, 0, 0], atol=1e-4)
