"""Visits, transitions, windows and soft alphas against numbers by hand, chains of known parameters, and SciPy."""

import itertools
import json

import numpy as np
import pandas
import pytest
import torch
from scipy import stats

from dynml.analysis.state_statistics import state_statistics, write_state_statistics
from dynml.analysis.state_statistics.soft import (
    above_percentile,
    largest_is_on,
    on_off_levels,
    reweighted,
    soft_statistics,
)
from dynml.analysis.state_statistics.summaries import in_windows, occupancy_entropy, soft_visits
from dynml.analysis.state_statistics.transitions import transition_counts, transition_probabilities
from dynml.analysis.state_statistics.visits import all_visits

NAN = np.nan
PATH = np.array([0, 1, 1, 0, 0, -1, -1, 1, 1, 2, 1])
SEGMENTS = [[0, 5], [7, 11]]


def test_every_visit_is_listed_and_those_at_borders_are_flagged():
    visits = all_visits(PATH, SEGMENTS, n_states=4)
    assert visits.state.tolist() == [0, 1, 0, 1, 2, 1]
    assert visits.segment.tolist() == [0, 0, 0, 1, 1, 1]
    assert visits.start.tolist() == [0, 1, 3, 7, 9, 10]
    assert visits.length.tolist() == [1, 2, 2, 2, 1, 1]
    assert visits.is_cut.tolist() == [True, False, True, True, False, True]
    np.testing.assert_array_equal(visits.interval, [NAN, NAN, 2, NAN, NAN, 1])


def test_transitions_never_reach_over_a_gap_and_unvisited_states_say_nothing():
    counts = transition_counts(PATH, SEGMENTS, n_states=4)
    np.testing.assert_array_equal(counts[:3, :3], [[1, 1, 0], [1, 2, 1], [0, 1, 0]])
    probabilities = transition_probabilities(counts)
    np.testing.assert_allclose(probabilities[1], [0.25, 0.5, 0.25, 0.0])
    assert np.isnan(probabilities[3]).all()


def chain(n_rows, stays, seed):
    generator = np.random.default_rng(seed)
    states, draws = np.zeros(n_rows, dtype=int), generator.random(n_rows)
    for row in range(1, n_rows):
        states[row] = states[row - 1] if draws[row] < stays[states[row - 1]] else 1 - states[row - 1]
    return states


def test_a_chain_has_the_lifetimes_intervals_and_transitions_that_it_was_made_with():
    states = chain(100_000, (0.9, 0.8), 0)
    statistics = state_statistics(states, None, 1.0)
    np.testing.assert_allclose(statistics.mean_lifetime, [10, 5], rtol=0.03)
    np.testing.assert_allclose(statistics.fractional_occupancy, [2 / 3, 1 / 3], rtol=0.03)
    np.testing.assert_allclose(statistics.mean_interval, [5, 10], rtol=0.03)
    probabilities = transition_probabilities(transition_counts(states, None))
    np.testing.assert_allclose(probabilities, [[0.9, 0.1], [0.2, 0.8]], atol=0.005)


def test_soft_numbers_of_a_hard_posterior_are_those_of_the_path():
    states = chain(500, (0.9, 0.8), 1)
    segments = np.array([[0, 200], [210, 500]])
    hard, alpha = state_statistics(states, segments, 10.0), np.eye(2)[states]
    soft = soft_visits(alpha, segments, transition_counts(states, segments), 10.0)
    np.testing.assert_allclose(soft.lifetime, hard.mean_lifetime)
    np.testing.assert_allclose(soft.n_visits, hard.switching_rate * 49.0)
    nobody = soft_visits(np.eye(3)[states], segments, np.pad(transition_counts(states, segments), (0, 1)), 10.0)
    assert np.isnan(nobody.lifetime[2])


def test_expected_transitions_of_an_hmm_are_its_pairwise_posteriors():
    from dynml.ops.hmm.gaussian_hmm import GaussianHMMParameters, e_step

    generator = torch.Generator().manual_seed(0)
    signals = torch.randn(6, 1, generator=generator)
    parameters = GaussianHMMParameters(
        means_KC=torch.tensor([[-0.5], [0.7]], dtype=torch.float64),
        covariances_KCC=torch.ones(2, 1, 1, dtype=torch.float64),
        initial_probabilities_K=torch.tensor([0.3, 0.7], dtype=torch.float64),
        transition_probabilities_KK=torch.tensor([[0.8, 0.2], [0.3, 0.7]], dtype=torch.float64),
    )
    statistics, _, _ = e_step(signals, torch.tensor([0, 6]), parameters, posteriors=True)
    expected, total = np.zeros((2, 2)), 0.0
    for path in np.ndindex(*[2] * 6):
        weight = parameters.initial_probabilities_K[path[0]].item()
        for before, after in itertools.pairwise(path):
            weight *= parameters.transition_probabilities_KK[before, after].item()
        weight *= np.prod(stats.norm.pdf(signals[:, 0].numpy(), parameters.means_KC[list(path), 0].numpy()))
        total += weight
        for pair in itertools.pairwise(path):
            expected[pair] += weight
    np.testing.assert_allclose(statistics.transitions_KK.numpy(), expected / total, rtol=1e-5)


def test_entropy_is_between_one_state_and_all_alike():
    assert occupancy_entropy([1.0, 0.0, 0.0]) == 0
    assert occupancy_entropy([0.25] * 4) == pytest.approx(1)
    assert occupancy_entropy([0.5, 0.5, 0.0]) == pytest.approx(stats.entropy([0.5, 0.5]) / np.log(3))
    assert np.isnan(occupancy_entropy([1.0]))


def test_windows_stay_within_segments_and_count_onsets_at_their_edges():
    path = np.array([0, 0, 1, 1, 0, 0, 1, 1, 1, -1, 1, 0, 1, 0, 0])
    windows = in_windows(path, [[0, 9], [10, 15]], 4)
    assert windows.start.tolist() == [0, 4, 10]
    np.testing.assert_allclose(windows.occupancy, [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_array_equal(windows.n_onsets, [[0, 1], [1, 1], [2, 1]])
    np.testing.assert_allclose(windows.fano_factor, [1.0 / 1.0, 0.0])


def test_visits_at_random_have_a_fano_factor_near_one():
    generator = np.random.default_rng(0)
    path = (generator.random(200_000) < 0.01).astype(int)
    fano = in_windows(path, None, 500).fano_factor
    assert fano[1] == pytest.approx(1.0, abs=0.2)
    assert np.isnan(in_windows(path[:600], None, 500).fano_factor).all()


def test_soft_statistics_are_those_of_scipy_within_segments():
    generator = np.random.default_rng(0)
    logits = np.zeros((4000, 2))
    for row in range(1, 4000):
        logits[row] = 0.95 * logits[row - 1] + generator.normal(size=2) * 0.3
    alpha = np.exp(np.column_stack([logits, np.zeros(4000)]))
    alpha /= alpha.sum(axis=1, keepdims=True)
    alpha[1500:1510] = NAN
    found = soft_statistics(alpha, [[0, 1500], [1510, 4000]], 10.0)
    rows = alpha[np.isfinite(alpha[:, 0])]
    np.testing.assert_allclose(found.mean, rows.mean(axis=0))
    np.testing.assert_allclose(found.kurtosis, stats.kurtosis(rows))
    np.testing.assert_allclose(found.correlation, np.corrcoef(rows.T), atol=1e-10)
    assert found.autocorrelation_time[0] == pytest.approx(-1 / np.log(0.95) / 10, rel=0.35)
    still = soft_statistics(np.tile([0.5, 0.5], (50, 1)), [[0, 50]], 1.0)
    assert np.isnan(still.kurtosis).all()
    assert np.isnan(still.autocorrelation_time).all()


def test_reweighting_by_equal_traces_changes_nothing():
    alpha = np.random.default_rng(0).dirichlet([1, 2, 3], size=20)
    equal = np.stack([np.diag([1.0, 3.0]), np.diag([2.0, 2.0]), np.diag([4.0, 0.0])])
    np.testing.assert_allclose(reweighted(alpha, equal), alpha, atol=1e-12)
    twice = reweighted(alpha, equal * np.array([2.0, 1.0, 1.0])[:, None, None])
    np.testing.assert_allclose(twice[:, 0], 2 * alpha[:, 0] / (1 + alpha[:, 0]))


def test_alphas_are_made_binary_in_three_ways():
    generator = np.random.default_rng(0)
    on = generator.random(3000) < 0.3
    first = np.where(on, generator.normal(0.8, 0.04, 3000), generator.normal(0.2, 0.04, 3000))
    flat = generator.normal(0.1, 0.01, 3000)  # one Gaussian of small values stays one on the logit's scale
    alpha = np.column_stack([first, 1 / (1 + np.exp(-generator.normal(-2, 0.3, 3000)))])
    alpha[5] = NAN
    levels = on_off_levels([alpha[:1500], alpha[1500:]])
    assert levels.bic_gain[0] > 100
    assert levels.bic_gain[1] < 0
    found = levels.is_on(alpha)
    keep = np.arange(3000) != 5
    np.testing.assert_array_equal(found[keep, 0], on[keep])
    assert not found[:, 1].any()
    assert above_percentile(np.column_stack([flat, flat]), 90).mean() == pytest.approx(0.1, abs=0.002)
    np.testing.assert_array_equal(largest_is_on([[0.2, 0.8], [NAN, NAN], [0.5, 0.5]]), [[0, 1], [0, 0], [1, 0]])


def test_the_table_of_statistics_reads_back_and_says_its_units(tmp_path):
    write_state_statistics(tmp_path / "state_statistics.tsv", {"a": state_statistics(PATH, SEGMENTS, 2.0, n_states=4)})
    table = pandas.read_csv(tmp_path / "state_statistics.tsv", sep="\t", na_values="n/a")
    assert table.mean_lifetime.isna().tolist() == [False, False, False, True]
    sidecar = json.loads((tmp_path / "state_statistics.json").read_text())
    assert sidecar["mean_lifetime"]["Units"] == "s"
    assert set(sidecar) == set(table)
