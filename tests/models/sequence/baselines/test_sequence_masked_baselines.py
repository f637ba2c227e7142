"""Baselines fitted to recordings with masked samples: what is missing is as if it were cut out, but nothing is."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch
from baseline_oracles import (
    CODE,
    N_CHANNELS,
    N_LAGS,
    SIZES,
    WINDOW,
    autoregression,
    explicit_ridge,
    mean_and_scale,
    windows_at,
)
from masked_data import with_gaps
from segments_making import recording_of

from dynml import MultiSubjectDataset
from dynml.models.sequence.baselines import passes as baseline_passes
from dynml.models.sequence.baselines.fitted import fit_baselines
from dynml.models.sequence.baselines.named import BASELINE_NAMES
from dynml.models.sequence.baselines.passes import TrainingPasses, drawn_windows
from dynml.training.processes import Processes

CUTS = ([[0, 40], [45, 150]], [[3, 64], [70, 120]], [[0, 80]], [[10, 12], [20, 130]])
RIDGES = ("ar1", "ridge_var", "ridge_both_sides", "ridge_from_other_networks")


def arrays_with_masked():
    """Recordings with NaN between good stretches."""
    arrays = autoregression((150, 120, 80, 130))
    for array, cuts in zip(arrays, CUTS):
        bad = np.ones(len(array), bool)
        for start, stop in cuts:
            bad[start:stop] = False
        array[bad] = np.nan
    return arrays


def segments():
    return [[array[a:b].astype(np.float64) for a, b in cuts] for array, cuts in zip(arrays_with_masked(), CUTS)]


def masked_dataset(**settings):
    return MultiSubjectDataset.from_arrays(arrays_with_masked(), missing="mask", **settings)


@pytest.fixture(scope="module")
def fitted():
    dataset = masked_dataset()
    assert len(dataset.training_set.segments) == 4
    assert dataset.n_masked == 5 + 6 + 8
    return fit_baselines(BASELINE_NAMES, dataset, Processes(), **SIZES, seed=1)


def assert_same(first, second, names, atol=1e-6):
    for name in names:
        for key, value in first[name].state_dict().items():
            torch.testing.assert_close(value, second[name].state_dict()[key], rtol=1e-5, atol=atol, msg=f"{name} {key}")


def test_coefficients_are_those_of_least_squares_over_observed_rows(fitted):
    ridge, networks, of = fitted["ridge_var"], fitted["ridge_from_other_networks"], segments()
    for n in range(1, N_LAGS + 1):
        rows = [N_LAGS - lag for lag in range(1, n + 1)]
        expected = explicit_ridge(of, N_LAGS + 1, rows, N_LAGS, float(ridge.penalties[n - 1]))
        found = ridge.coefficients_NCC[n * (n - 1) // 2 :][:n].numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    mean, scale = mean_and_scale(of)
    rows = np.concatenate([one for each in of for one in each])
    for baseline in (fitted["ar1"], ridge, networks):
        np.testing.assert_allclose(baseline.mean_C.numpy(), mean, rtol=1e-5)
    pairs = windows_at([[one - mean for one in each] for each in of], 2).reshape(-1, 2, N_CHANNELS)
    expected = (pairs[:, 0] * pairs[:, 1]).sum(0) / np.square(pairs[:, 0]).sum(0)
    np.testing.assert_allclose(fitted["ar1"].coefficients_C, expected, atol=1e-6)
    correlation = (rows - mean).T @ (rows - mean) / len(rows) / np.outer(scale, scale)
    precision = np.linalg.inv(correlation + float(networks.penalty) * np.eye(N_CHANNELS)) / np.outer(scale, scale)
    np.testing.assert_allclose(networks.precision_CC.numpy(), precision, rtol=1e-5)


def test_masked_samples_divide_the_data_as_borders_of_segments_do(fitted):
    recordings = [recording_of(np.nan_to_num(array, nan=1e4), cuts) for array, cuts in zip(arrays_with_masked(), CUTS)]
    cut = fit_baselines(RIDGES, MultiSubjectDataset.from_arrays(recordings), Processes(), **SIZES, seed=1)
    assert_same(fitted, cut, RIDGES)


@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_chunks_and_residency_make_no_difference(fitted, monkeypatch, chunk):
    monkeypatch.setattr(baseline_passes, "CHUNK_ROWS", chunk)
    monkeypatch.setattr("dynml.batches.whole_segments.SAMPLES_PER_BATCH", 30)
    monkeypatch.setattr("dynml.batches.batch._ROWS_PER_READING", 11)
    dataset = masked_dataset(residency="lazy" if chunk == 7 else "memory")
    assert_same(fitted, fit_baselines(BASELINE_NAMES, dataset, Processes(), **SIZES, seed=1), BASELINE_NAMES)


class Threads(Processes):
    """Sums and largest values over threads that wait for each other."""

    def __init__(self, rank, world_size, board, barrier):
        super().__init__(rank, world_size)
        self.board, self.barrier = board, barrier

    def _all(self, values):
        self.board[self.rank] = values
        self.barrier.wait(timeout=600)
        # Copies: who goes on may write to its own.
        found = [copy.deepcopy(self.board[rank]) for rank in range(self.world_size)]
        self.barrier.wait(timeout=600)
        return found

    def sum(self, values):
        return sum(self._all(values))

    def largest(self, values):
        return [max(column) for column in zip(*self._all(values))]


def test_several_processes_hold_what_one_does(fitted):
    found, board, barrier = {}, {}, threading.Barrier(2)

    def fit(rank):
        dataset = masked_dataset(rank=rank, world_size=2)
        found[rank] = fit_baselines(BASELINE_NAMES, dataset, Threads(rank, 2, board, barrier), **SIZES, seed=1)

    threads = [threading.Thread(target=fit, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for rank in range(2):
        assert_same(found[rank], fitted, BASELINE_NAMES)


def test_principal_directions_are_those_of_windows_with_the_mean_in_masked_samples(fitted):
    arrays = arrays_with_masked()
    # Rows that the subject begins with are outside its segment.
    subset = masked_dataset().training_set
    drawn = drawn_windows(subset, WINDOW, 2000, 1)
    windows = np.stack([arrays[subject][start:stop] for subject, start, stop in drawn]).astype(np.float64)
    known = np.isfinite(windows)
    assert not known.all()
    mean = np.where(known, windows, 0).sum(axis=0) / known.sum(axis=0)
    deviations = np.where(known, windows - mean, 0).reshape(len(windows), -1)
    expected = np.linalg.svd(deviations, full_matrices=False)[2][:CODE]
    pca = fitted["pca"]
    np.testing.assert_allclose(pca.mean_TC, mean, rtol=1e-5)
    found = pca.directions_DTC.flatten(1).numpy()
    np.testing.assert_allclose(np.abs(np.sum(found * expected, axis=1)), 1.0, atol=1e-4)


def test_one_recording_is_divided_in_time_where_it_would_be_without_masked_samples():
    (array,) = autoregression((400,))
    array[190:230] = np.nan
    dataset = MultiSubjectDataset.from_arrays([array], missing="mask")
    pieces = [half for half, _, _ in TrainingPasses(dataset, Processes())._chunks(4)]
    rows = [len(rows) for _, rows, _ in TrainingPasses(dataset, Processes())._chunks(4)]
    assert (pieces, rows) == ([0, 1], [190, 170])


def test_many_masked_samples_shorten_the_windows_that_regressions_look_at():
    arrays = with_gaps(autoregression((600, 500, 400, 300)), rate=0.3, length=1)
    stretches = []
    for array in arrays:
        known = np.isfinite(array[:, 0]).astype(int)
        borders = np.flatnonzero(np.diff(known, prepend=0, append=0)).reshape(-1, 2)
        stretches.append(borders[:, 1] - borders[:, 0])
    dataset = MultiSubjectDataset.from_arrays(arrays, missing="mask")
    passes = TrainingPasses(dataset, Processes())

    def least(length):
        return min(sum(np.maximum(stretches[i] - length + 1, 0).sum() for i in half) for half in ((0, 2), (1, 3)))

    assert max(map(max, stretches)) >= 12
    expected = max(length for length in range(2, 11) if least(length) >= 0.25 * least(2))
    assert passes.longest_window(10) == expected < 10
    assert passes.longest_window(2) == 2
    baselines = fit_baselines(["ridge_both_sides"], dataset, Processes(), **SIZES, seed=0)
    assert int(baselines["ridge_both_sides"].longest_gap) == expected - 2
