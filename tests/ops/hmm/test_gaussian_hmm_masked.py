"""Masked samples in the Gaussian HMM: marginalised exactly, by enumeration, by hand, and by powers of the chain."""

import functools
import itertools

import numpy as np
import pytest
import torch
from hmm_oracles import enumerate_paths, log_densities, random_parameters, sample_signals

from dynml.ops.hmm import passes as hmm_pass
from dynml.ops.hmm.gaussian_hmm import (
    GaussianHMMParameters,
    e_step,
    log_likelihood,
    m_step,
    statistics_of_posteriors,
    viterbi,
)
from dynml.ops.masked_samples import observed_if_masked
from dynml.ops.metrics import riemannian_distance
from dynml.ops.moments.weighted import Moments, _dense_moments, chunk_moments

FIELDS = ("occupancies_K", "first_moments_KC", "second_moments_KCC", "initial_K", "transitions_KK")
STARTS = [0, 1, 7, 9, 14]
MASKED = [0, 3, 4, 8, 9, 13]  # a segment of nothing else, a gap, ends and a beginning


class Reader:
    """Rows that come in slices alone."""

    def __init__(self, signals):
        self._signals, self.shape = signals, tuple(signals.shape)

    def __getitem__(self, rows):
        return self._signals[rows].clone()


def masked_problem(covariance_type="full", seed=0):
    """Fourteen rows of which six are masked; their densities, and what the sum over all paths says."""
    parameters = random_parameters(3, 4, seed, covariance_type=covariance_type)
    signals = sample_signals(parameters, 14, seed)
    densities = log_densities(signals, parameters)
    signals[MASKED], densities[MASKED] = torch.nan, 0.0
    chain = parameters.initial_probabilities_K, parameters.transition_probabilities_KK
    return parameters, signals, enumerate_paths(densities, STARTS, *chain)


@pytest.mark.parametrize("given", [lambda signals: signals, Reader])
@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
@pytest.mark.parametrize("seed", range(2))
def test_likelihoods_probabilities_and_paths_are_those_of_all_paths(covariance_type, seed, given):
    parameters, signals, expected = masked_problem(covariance_type, seed)
    statistics, logs, posteriors = e_step(given(signals), STARTS, parameters, posteriors=True)
    torch.testing.assert_close(posteriors, expected.posteriors, atol=1e-10, rtol=0)
    torch.testing.assert_close(logs, expected.log_likelihoods, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(statistics.transitions_KK, expected.pairs, atol=1e-10, rtol=0)
    firsts = expected.posteriors[STARTS[:-1]].sum(0)
    torch.testing.assert_close(statistics.initial_K, firsts, atol=1e-10, rtol=0)
    forward = log_likelihood(given(signals), STARTS, parameters)
    torch.testing.assert_close(forward, expected.log_likelihoods, atol=1e-10, rtol=1e-10)
    assert (statistics.n_samples, statistics.n_segments) == (8, 4)
    assert statistics.free_energy == pytest.approx(-float(expected.log_likelihoods.sum()) / 8, rel=1e-10)
    _, scores = viterbi(given(signals), STARTS, parameters)
    torch.testing.assert_close(scores, expected.best_scores, atol=1e-10, rtol=1e-10)
    path, _ = viterbi(given(signals[1:]), [0, 6, 8, 13], parameters)
    assert torch.equal(path, expected.best_paths[1:])


@pytest.mark.parametrize("learn_means", [True, False])
def test_one_em_step_is_the_m_step_by_hand_from_the_observed_rows(learn_means):
    parameters, signals, expected = masked_problem(seed=4)
    updated, empty = m_step(
        e_step(signals, STARTS, parameters)[0], parameters, learn_means=learn_means, smallest_occupancy=1e-3
    )
    assert not empty
    kept = np.setdiff1d(np.arange(14), MASKED)
    gamma, rows = expected.posteriors[kept].numpy(), signals[kept].numpy()
    for state in range(3):
        weight = gamma[:, state]
        mean = weight @ rows / weight.sum() if learn_means else parameters.means_KC[state].numpy()
        deviations = rows - mean
        covariance = (weight[:, None] * deviations).T @ deviations / weight.sum()
        np.testing.assert_allclose(updated.means_KC[state], mean, atol=1e-9)
        np.testing.assert_allclose(updated.covariances_KCC[state], covariance, atol=1e-9)
    initial, pairs = expected.posteriors[STARTS[:-1]].sum(0), expected.pairs
    torch.testing.assert_close(updated.initial_probabilities_K, initial / 4)
    torch.testing.assert_close(updated.transition_probabilities_KK, pairs / pairs.sum(1, keepdim=True))


def with_gaps(parameters, n_samples, seed, *, longest=200):
    """Signals with single masked rows, many of them, and gaps of up to `longest` rows; the ends are observed."""
    signals = sample_signals(parameters, n_samples, seed)
    generator = np.random.default_rng(seed)
    masked = generator.random(n_samples) < 0.1
    for first in generator.integers(0, n_samples, n_samples // 400):
        masked[first : first + generator.integers(1, longest + 1)] = True
    masked[[0, -1]] = False
    signals[torch.from_numpy(masked)] = torch.nan
    return signals, ~masked


def log_p_over_gaps(signals, observed, parameters):
    """Forward algorithm over the observed rows alone, by the chain's power from each to the next."""
    rows = np.flatnonzero(observed)
    densities = log_densities(signals[rows], parameters).numpy()
    transitions = parameters.transition_probabilities_KK.numpy()
    powers = {step: np.linalg.matrix_power(transitions, step) for step in set(np.diff(rows).tolist())}
    expected, total = parameters.initial_probabilities_K.numpy(), 0.0
    for number, density in enumerate(densities):
        weights = expected * np.exp(density - density.max())
        total += density.max() + np.log(weights.sum())
        if number + 1 < len(rows):
            expected = weights / weights.sum() @ powers[rows[number + 1] - rows[number]]
    return total


@pytest.mark.parametrize("memory", [None, 1])
def test_a_gap_is_a_power_of_the_transition_matrix(small_chunks, memory):
    parameters = random_parameters(4, 5, seed=1)
    signals, observed = with_gaps(parameters, 3000, seed=2)
    assert np.diff(np.flatnonzero(observed)).max() > 130  # longer than two chunks
    statistics, logs, _ = e_step(signals, [0, 3000], parameters, memory=memory)
    assert logs[0].item() == pytest.approx(log_p_over_gaps(signals, observed, parameters), rel=1e-11)
    assert statistics.n_samples == observed.sum() == pytest.approx(float(statistics.occupancies_K.sum()), abs=1e-6)


@pytest.mark.parametrize("memory", [1, 40_000, None])
def test_cuts_blocks_readers_and_threads_change_nothing(monkeypatch, memory):
    parameters = random_parameters(3, 5, seed=1)
    signals, _ = with_gaps(parameters, 3000, seed=4)
    signals = signals.float()
    starts = np.array([0, 3, 4, 500, 1900, 1950, 1951, 2100, 3000])
    expected, expected_logs, expected_posteriors = e_step(signals, starts, parameters, posteriors=True, n_threads=1)
    assert torch.isfinite(expected_logs).all()
    monkeypatch.setitem(hmm_pass.CHUNK_ROWS, "cpu", 64)
    for given, n_threads in ((signals, 2), (Reader(signals), 3)):
        statistics, logs, posteriors = e_step(
            given, starts, parameters, posteriors=True, memory=memory, n_threads=n_threads
        )
        for field in FIELDS:
            torch.testing.assert_close(getattr(statistics, field), getattr(expected, field), atol=2e-4, rtol=1e-5)
        assert statistics.n_samples == expected.n_samples
        torch.testing.assert_close(logs, expected_logs, atol=0, rtol=1e-12)
        torch.testing.assert_close(posteriors, expected_posteriors, atol=1e-7, rtol=0)
        forward = log_likelihood(given, starts, parameters, memory=memory, n_threads=n_threads)
        torch.testing.assert_close(forward, expected_logs, atol=0, rtol=1e-12)


@pytest.mark.parametrize("memory", [1, None])
def test_the_way_of_the_gpu_agrees_with_that_of_the_cpu(small_chunks, monkeypatch, memory):
    parameters = random_parameters(3, 5, seed=1)
    signals, _ = with_gaps(parameters, 1500, seed=4)
    starts = [0, 3, 4, 500, 900, 950, 1500]
    expected, expected_logs, expected_posteriors = e_step(signals, starts, parameters, posteriors=True)
    monkeypatch.setattr(hmm_pass, "forward_backward", functools.partial(hmm_pass.forward_backward, method="scan"))
    monkeypatch.setattr(hmm_pass, "forward_only", functools.partial(hmm_pass.forward_only, method="scan"))
    monkeypatch.setattr("dynml.ops.moments.weighted._sparse_moments", _dense_moments)
    statistics, logs, posteriors = e_step(signals, starts, parameters, posteriors=True, memory=memory)
    for field in FIELDS:
        torch.testing.assert_close(getattr(statistics, field), getattr(expected, field), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(logs, expected_logs, atol=0, rtol=1e-11)
    torch.testing.assert_close(posteriors, expected_posteriors, atol=1e-10, rtol=0)


@pytest.mark.parametrize("fault", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("with_masked_rows", [False, True])
def test_a_row_that_is_faulty_in_some_channels_is_not_masked(fault, with_masked_rows):
    parameters = random_parameters(2, 3, seed=0)
    signals = sample_signals(parameters, 90, seed=0, dtype=torch.float32)
    if with_masked_rows:
        signals[[5, 40, 41, 50]] = torch.nan
    for channels in ([0], [2], [0, 1]):
        faulty = signals.clone()
        faulty[42, channels] = fault
        statistics, logs, _ = e_step(faulty, [0, 30, 60, 90], parameters)
        assert torch.isfinite(logs[[0, 2]]).all()
        assert not torch.isfinite(logs[1])
        assert statistics.n_samples == (86 if with_masked_rows else 90)
    infinite = signals.clone()
    infinite[42] = torch.inf
    assert not torch.isfinite(e_step(infinite, [0, 30, 60, 90], parameters)[1][1])


def test_rows_are_told_apart_by_all_their_channels():
    nan = torch.nan
    signals = torch.tensor([[1, 2], [nan, nan], [nan, 2], [1, nan], [nan, nan]])
    assert observed_if_masked(signals).tolist() == [True, False, True, True, False]
    assert observed_if_masked(signals[2:4]) is None
    assert observed_if_masked(signals[:1]) is None
    assert observed_if_masked(torch.tensor([[nan], [1.0]])).tolist() == [False, True]


@pytest.mark.parametrize("way", ["cpu", "gpu"])
@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_masked_rows_have_no_part_in_moments(monkeypatch, covariance_type, way):
    if way == "gpu":
        monkeypatch.setattr("dynml.ops.moments.weighted._sparse_moments", _dense_moments)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(500, 3, generator=generator, dtype=torch.float64).softmax(1)
    signals = torch.randn(500, 4, generator=generator, dtype=torch.float64)
    observed = torch.rand(500, generator=generator) > 0.3
    centres = torch.full((3, 4), 0.2, dtype=torch.float64)
    expected = chunk_moments(signals[observed], weights[observed], centres, covariance_type)
    signals[~observed] = torch.nan
    before = weights.clone()
    found = chunk_moments(signals, weights, centres, covariance_type, observed)
    assert torch.equal(weights, before)
    for field in Moments.__dataclass_fields__:
        torch.testing.assert_close(getattr(found, field), getattr(expected, field), rtol=1e-12, atol=1e-12)


def test_statistics_of_given_probabilities_leave_masked_rows_out_of_moments(small_chunks):
    parameters = random_parameters(3, 5, seed=1)
    signals, observed = with_gaps(parameters, 900, seed=3, longest=100)
    _, _, gamma = e_step(signals, [0, 400, 900], parameters, posteriors=True)
    found = statistics_of_posteriors(signals, [0, 400, 900], gamma)
    rows, weights = signals[torch.from_numpy(observed)], gamma[torch.from_numpy(observed)]
    torch.testing.assert_close(found.occupancies_K, weights.sum(0))
    torch.testing.assert_close(found.first_moments_KC, weights.T @ rows, rtol=1e-12, atol=1e-9)
    second = torch.einsum("tk,tc,td->kcd", weights, rows, rows)
    torch.testing.assert_close(found.second_moments_KCC, second, rtol=1e-11, atol=1e-9)
    pairs = sum(gamma[a : b - 1].T @ gamma[a + 1 : b] for a, b in itertools.pairwise([0, 400, 900]))
    torch.testing.assert_close(found.transitions_KK, pairs)
    torch.testing.assert_close(found.initial_K, gamma[0] + gamma[400])
    assert found.n_samples == observed.sum()


def test_a_large_offset_costs_no_digits_where_first_rows_are_masked(small_chunks):
    parameters = random_parameters(1, 3, seed=1)
    signals = sample_signals(parameters, 600, seed=2)
    signals[1:60:3] = torch.nan
    found = statistics_of_posteriors((signals + 3000).float(), [0, 600], torch.ones(600, 1))
    mean = found.first_moments_KC[0] / found.occupancies_K[0]
    covariance = found.second_moments_KCC[0] / found.occupancies_K[0] - torch.outer(mean, mean)
    expected = torch.cov(signals[torch.isfinite(signals[:, 0])].T, correction=0)
    torch.testing.assert_close(covariance, expected, atol=2e-3, rtol=0)


def simulated(n_samples, n_states, n_channels, seed):
    """States that last 20 samples on average, their covariances, and signals."""
    generator = np.random.default_rng(seed)
    factors = generator.standard_normal((n_states, n_channels, n_channels)) / np.sqrt(n_channels)
    factors += 0.7 * np.eye(n_channels)
    states = np.cumsum(generator.random(n_samples) < 0.05) % n_states
    signals = np.einsum("tij,tj->ti", factors[states], generator.standard_normal((n_samples, n_channels)))
    return torch.from_numpy(signals.astype(np.float32)), states, factors @ factors.transpose(0, 2, 1)


def em_from_truth(signals, starts, covariances, n_iterations):
    n_states, n_channels = covariances.shape[:2]
    parameters = GaussianHMMParameters(
        torch.zeros(n_states, n_channels),
        covariances,
        torch.full((n_states,), 1 / n_states),
        torch.full((n_states, n_states), 0.1 / (n_states - 1)).fill_diagonal_(0.9),
    )
    curve = []
    for _ in range(n_iterations):
        statistics, _, _ = e_step(signals, starts, parameters)
        curve.append(statistics.free_energy)
        parameters, _ = m_step(statistics, parameters, learn_means=False)
    return parameters, curve


def test_em_on_what_is_left_finds_covariances_and_transitions_as_well_as_the_true_states_would():
    n_samples, n_states = 20_000, 4
    signals, states, covariances = simulated(n_samples, n_states, 6, seed=5)
    generator = np.random.default_rng(6)
    masked = generator.random(n_samples) < 0.11
    for first in generator.integers(0, n_samples, 90):
        masked[first : first + 25] = True
    masked[[0, -1]] = False
    assert 0.15 < masked.mean() < 0.25
    complete, _ = em_from_truth(signals, [0, n_samples], covariances, 15)
    signals[torch.from_numpy(masked)] = torch.nan
    found, curve = em_from_truth(signals, [0, n_samples], covariances, 15)
    assert (np.diff(curve) < 1e-7).all()
    assert curve[0] - curve[-1] > 1e-3
    for state in range(n_states):
        rows = signals[torch.from_numpy(~masked & (states == state))].double()
        truth = torch.from_numpy(covariances[state])
        by_labels = riemannian_distance(truth, rows.T @ rows / len(rows))
        assert riemannian_distance(truth, found.covariances_KCC[state]) < 1.5 * by_labels + 0.02
    # States follow in a circle and are left with probability 0.05: gaps must not shorten or lengthen lifetimes.
    leaving = [1 - float(one.transition_probabilities_KK.diagonal().mean()) for one in (found, complete)]
    assert leaving == pytest.approx([0.05, 0.05], abs=0.005)
