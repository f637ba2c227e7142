"""What is looked for in signals before they are stored, beside numpy's and a whole pass over them."""

import dataclasses

import numpy as np
import pytest

from dynml.preparation import checks
from dynml.preparation.standardization import means_of_runs, moments, robust_moments, standardized
from dynml.recording import recording_of_runs
from dynml.stretches import ROWS_PER_BLOCK, finite_rows, rows_are_finite


def noise(n_samples, n_channels, seed=0):
    return np.random.default_rng(seed).standard_normal((n_samples, n_channels)).astype(np.float32)


def signals_of(case):
    signals = noise(3 * ROWS_PER_BLOCK, 5)
    if case == "average reference":
        signals = signals.astype(np.float64)
        signals -= signals.mean(axis=1, keepdims=True)
    if case == "duplicated":
        signals[:, 3] = -2 * signals[:, 1] + 7
    if case == "duplicated at first":
        signals[: 2 * ROWS_PER_BLOCK, 3] = signals[: 2 * ROWS_PER_BLOCK, 1]
    if case == "duplicated later":
        signals[ROWS_PER_BLOCK:, 3] = signals[ROWS_PER_BLOCK:, 1]
    if case == "of unlike sizes":
        signals *= np.array([1e-12, 1e-6, 1.0, 1e3, 1e6], dtype=np.float32)
    return signals


@pytest.mark.parametrize("method", ["per_run", "none"])
@pytest.mark.parametrize(
    "case",
    ["full", "average reference", "duplicated", "duplicated at first", "duplicated later", "of unlike sizes"],
)
def test_the_rank_is_that_of_the_correlations_of_all_samples(case, method):
    recording = standardized(recording_of_runs([signals_of(case)], sampling_frequency=1.0), method)
    correlations = np.corrcoef(recording.signals.astype(np.float64).T)
    eigenvalues = np.linalg.eigvalsh(correlations)
    rank, duplicates = checks.rank_and_duplicates(recording)
    assert rank == (eigenvalues > 1e-10 * eigenvalues[-1]).sum()
    assert rank == (4 if case in {"average reference", "duplicated"} else 5)
    assert duplicates == ([(1, 3)] if case == "duplicated" else [])


def test_moments_are_those_of_the_recording_at_hand():
    recording = recording_of_runs([noise(50, 2), 3 * noise(70, 2, seed=1)], sampling_frequency=1.0)
    together = recording.signals.astype(np.float64)
    for _ in range(2):
        mean, deviations = moments(recording, "per_run")
        np.testing.assert_allclose(mean[1], together[50:].mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(deviations[1], together[50:].std(axis=0), rtol=1e-12)
        np.testing.assert_allclose(moments(recording, "per_subject")[1][0], together.std(axis=0), rtol=1e-12)
    changed = dataclasses.replace(recording, signals=10 * recording.signals)
    np.testing.assert_allclose(means_of_runs(changed), 10 * mean, rtol=1e-6)
    np.testing.assert_allclose(moments(changed, "per_run")[1], 10 * deviations, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_values", [1, 2, 3, 10, 5000, 5001])
def test_robust_moments_are_numpys(n_values, dtype):
    values = noise(3, n_values).astype(dtype)
    median, spread = robust_moments(values)
    np.testing.assert_array_equal(median, np.median(values, axis=1))
    expected = 1.4826 * np.median(np.abs(values - median[:, None]), axis=1)
    np.testing.assert_array_equal(spread, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_rows_that_are_not_finite_are_found_in_whatever_block(value):
    signals = noise(2 * ROWS_PER_BLOCK + 10, 3).astype(np.float64)
    for row in (5, ROWS_PER_BLOCK, len(signals) - 1):
        signals[row, row % 3] = value
    np.testing.assert_array_equal(finite_rows(signals), rows_are_finite(signals))
    assert np.flatnonzero(~finite_rows(signals)).tolist() == [5, ROWS_PER_BLOCK, len(signals) - 1]


def test_an_outlier_is_found_however_few_samples_are_looked_at_for_medians():
    signals = noise(20_000, 4)
    signals[12_345, 2] = 1e8
    found = dict(checks.outlying_channels(recording_of_runs([signals], sampling_frequency=1.0)))
    assert list(found) == ["channel_2"]
    assert found["channel_2"] == pytest.approx(1e8, rel=0.1)
