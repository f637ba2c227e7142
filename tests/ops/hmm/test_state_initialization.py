from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from dynml.ops.hmm import state_initialization
from dynml.ops.hmm.gaussian_hmm import CovariancePrior, e_step, m_step
from dynml.ops.hmm.state_initialization import (
    STRETCH_LENGTH,
    parameters_from_labels,
    random_state_time_course,
    random_stretches,
    stay_or_jump,
    window_clustering,
)

METHODS = [random_state_time_course, window_clustering]


def simulation(n_states, n_channels, lengths, *, stay=0.95, spread=0.6, mean_size=0.0, seed=0, diagonal=False):
    """Signals, row borders, states, means and covariances of an HMM whose states follow one another in a circle."""
    generator = np.random.default_rng(seed)
    borders = np.concatenate([[0], np.cumsum(lengths)])
    leaves = generator.random(borders[-1]) > stay
    leaves[borders[:-1][np.diff(borders) > 0]] = True
    states = np.cumsum(leaves) % n_states
    covariances = []
    for _ in range(n_states):
        symmetric = generator.standard_normal((n_channels, n_channels)) * spread
        symmetric = np.diag(np.diag(symmetric)) * 2 if diagonal else (symmetric + symmetric.T) / 2
        values, vectors = np.linalg.eigh(symmetric)
        covariances.append(vectors * np.exp(values) @ vectors.T)
    means = mean_size * generator.standard_normal((n_states, n_channels))
    factors = np.linalg.cholesky(np.stack(covariances))
    noise = generator.standard_normal((borders[-1], n_channels))
    signals = means[states] + np.einsum("tij,tj->ti", factors[states], noise)
    return torch.from_numpy(signals.astype(np.float32)), borders, states, means, np.stack(covariances)


def free_energy_after_em(signals, borders, parameters, n_iterations, learn_means=False):
    for _ in range(n_iterations):
        statistics, _, _ = e_step(signals, borders, parameters)
        parameters, _ = m_step(statistics, parameters, learn_means=learn_means)
    statistics, _, posteriors = e_step(signals, borders, parameters, posteriors=True)
    return -statistics.log_likelihood / len(signals), posteriors.argmax(1).numpy(), parameters


def accuracy(found, states, n_states):
    orders = itertools.permutations(range(n_states))
    return max(float(np.mean(np.array(order)[found] == states)) for order in orders)


def from_the_truth(signals, states, n_states, **settings):
    labels = torch.from_numpy(states)
    chain = stay_or_jump(n_states, 0.95)
    return parameters_from_labels(signals, labels, chain, generator=np.random.default_rng(0), **settings)


@pytest.mark.parametrize("stay", [0.9, 0.95, 0.99])
def test_window_clustering_leads_em_to_the_optimum_that_the_truth_leads_to(stay):
    signals, borders, states, _, _ = simulation(6, 12, [3000, 5000, 1000, 3000], stay=stay, seed=1)
    reference, path, _ = free_energy_after_em(signals, borders, from_the_truth(signals, states, 6), 12)
    assert accuracy(path, states, 6) > 0.9
    for seed in range(3):
        start = window_clustering(signals, borders, 6, generator=np.random.default_rng(seed))
        found, path, _ = free_energy_after_em(signals, borders, start, 12)
        assert found < reference + 1e-3


def test_window_clustering_alone_is_near_the_true_states():
    signals, borders, states, _, covariances = simulation(4, 10, [4000, 4000], stay=0.97, seed=2)
    start = window_clustering(
        signals, borders, 4, generator=np.random.default_rng(0), window_lengths=(24,), n_trial_iterations=0
    )
    _, _, posteriors = e_step(signals, borders, start, posteriors=True)
    found = posteriors.argmax(1).numpy()
    assert accuracy(found, states, 4) > 0.9
    for state, covariance in enumerate(start.covariances_KCC.numpy()):
        true = covariances[np.bincount(states[found == state]).argmax()]
        assert np.linalg.norm(covariance - true) < 0.35 * np.linalg.norm(true)


def test_window_clustering_finds_states_that_differ_in_their_means_alone():
    signals, borders, states, _, _ = simulation(3, 6, [3000, 2000], spread=0.0, mean_size=0.7, seed=3)
    reference, _, _ = free_energy_after_em(
        signals, borders, from_the_truth(signals, states, 3, learn_means=True), 15, learn_means=True
    )
    start = window_clustering(signals, borders, 3, generator=np.random.default_rng(0), learn_means=True)
    found, path, _ = free_energy_after_em(signals, borders, start, 15, learn_means=True)
    assert found < reference + 2e-3
    assert accuracy(path, states, 3) > 0.85


def test_window_clustering_finds_states_with_diagonal_covariances():
    signals, borders, states, _, _ = simulation(4, 8, [3000, 3000], seed=4, diagonal=True)
    settings = {"covariance_type": "diagonal"}
    reference, _, _ = free_energy_after_em(signals, borders, from_the_truth(signals, states, 4, **settings), 12)
    start = window_clustering(signals, borders, 4, generator=np.random.default_rng(0), **settings)
    assert start.covariances_KCC.shape == (4, 8)
    found, path, _ = free_energy_after_em(signals, borders, start, 12)
    assert found < reference + 1e-3
    assert accuracy(path, states, 4) > 0.9


def test_a_few_huge_samples_do_not_take_the_states_from_the_rest():
    signals, borders, states, _, _ = simulation(3, 6, [6000], stay=0.97, seed=5)
    spoilt = signals.clone()
    spoilt[::500] *= 30
    settings = {"window_lengths": (24,), "n_trial_iterations": 0}
    start = window_clustering(spoilt, borders, 3, generator=np.random.default_rng(0), **settings)
    _, _, posteriors = e_step(signals, borders, start, posteriors=True)
    assert accuracy(posteriors.argmax(1).numpy(), states, 3) > 0.8


@pytest.mark.parametrize("learn_means", [False, True])
@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_parameters_are_the_moments_of_each_label_with_the_pseudo_samples_of_the_prior(learn_means, covariance_type):
    signals, _, _, _, _ = simulation(2, 3, [500], seed=6, mean_size=1.0)
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 3, 500))
    prior = CovariancePrior(pseudo_samples=40.0, pooled_covariance=torch.diag(torch.tensor([1.0, 2.0, 3.0])))
    found = parameters_from_labels(
        signals,
        labels,
        stay_or_jump(3, 0.9),
        generator=np.random.default_rng(0),
        learn_means=learn_means,
        covariance_type=covariance_type,
        prior=prior,
    )
    for state in range(3):
        rows = signals[labels == state].double().numpy()
        mean = rows.mean(0) if learn_means else np.zeros(3)
        expected = ((rows - mean).T @ (rows - mean) + 40 * np.diag([1.0, 2.0, 3.0])) / (len(rows) + 40)
        expected = expected if covariance_type == "full" else np.diag(expected)
        np.testing.assert_allclose(found.means_KC[state].numpy(), mean, atol=1e-5)
        np.testing.assert_allclose(found.covariances_KCC[state].numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_state_with_few_samples_borrows_from_the_pooled_covariance():
    signals, _, _, _, _ = simulation(2, 10, [400], seed=7)
    labels = torch.zeros(400, dtype=torch.int64)
    labels[:5] = 1
    found = parameters_from_labels(signals, labels, stay_or_jump(2, 0.9), generator=np.random.default_rng(0))
    few, pooled = signals[:5].double(), signals.double().T @ signals.double() / 400
    np.testing.assert_allclose(found.covariances_KCC[1], (few.T @ few + 15 * pooled) / 20, rtol=1e-4, atol=1e-5)
    assert torch.linalg.eigvalsh(found.covariances_KCC)[:, 0].min() > 1e-3


def test_random_walks_follow_the_transition_probabilities_and_forget_at_borders():
    chain = np.array([[0.5, 0.5, 0.0], [0.0, 0.8, 0.2], [1.0, 0.0, 0.0]])
    borders = np.concatenate([np.arange(0, 40000, 10), [90000]])
    walk = state_initialization._random_walk(chain, borders, np.random.default_rng(0))
    is_start = np.isin(np.arange(len(walk)), borders)
    inside = ~is_start[1:]
    counts = np.zeros((3, 3))
    np.add.at(counts, (walk[:-1][inside], walk[1:][inside]), 1)
    np.testing.assert_allclose(counts / counts.sum(1, keepdims=True), chain, atol=0.012)
    np.testing.assert_allclose(np.bincount(walk[is_start]) / is_start.sum(), [1 / 3] * 3, atol=0.03)


def test_random_stretches_are_whole_disjoint_parts_of_segments():
    lengths = [5 * STRETCH_LENGTH, 300, 2 * STRETCH_LENGTH + 7, 40]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    signals = torch.arange(sum(lengths), dtype=torch.float32)[:, None]
    part, borders = random_stretches(signals, starts, 4000, np.random.default_rng(3))
    assert 4000 <= len(part) < 4000 + STRETCH_LENGTH
    assert len(part) == borders[-1] < len(signals)
    rows = part[:, 0].numpy().astype(int)
    assert len(np.unique(rows)) == len(rows)
    for first, last in itertools.pairwise(borders):
        assert (np.diff(rows[first:last]) == 1).all()
        assert not np.isin(rows[first + 1 : last], starts).any()
    whole, borders = random_stretches(signals, starts, len(signals), np.random.default_rng(3))
    assert whole is signals
    np.testing.assert_array_equal(borders, starts)


@pytest.mark.parametrize("method", METHODS)
def test_the_generator_decides(method):
    signals, borders, _, _, _ = simulation(3, 5, [1500, 500], spread=0.2, seed=8)
    first, again, other = (method(signals, borders, 3, generator=np.random.default_rng(seed)) for seed in (1, 1, 2))
    for name, tensor in first.to_dictionary().items():
        assert torch.equal(tensor, again.to_dictionary()[name])
    assert not torch.equal(first.covariances_KCC, other.covariances_KCC)


@pytest.mark.parametrize("method", METHODS)
def test_threads_change_nothing(method):
    signals, borders, _, _, _ = simulation(3, 40, [3000, 2500], spread=0.2, seed=8)
    before, found = torch.get_num_threads(), []
    for n_threads in (1, 3):
        torch.set_num_threads(n_threads)
        found.append(method(signals, borders, 3, generator=np.random.default_rng(1)).to_dictionary())
    torch.set_num_threads(before)
    for name, tensor in found[0].items():
        assert torch.equal(tensor, found[1][name])


@pytest.mark.parametrize(("max_samples", "n_tried"), [(3000, 2), (6000, 4)])
def test_no_further_window_length_is_tried_once_two_agree_unless_the_data_are_few(monkeypatch, max_samples, n_tried):
    tried = []
    of = state_initialization.Neighbourhood.of
    monkeypatch.setattr(
        state_initialization.Neighbourhood,
        "of",
        lambda borders, window_length, *given: tried.append(window_length) or of(borders, window_length, *given),
    )
    signals, borders, states, _, _ = simulation(3, 8, [6000], seed=12)
    start = window_clustering(signals, borders, 3, generator=np.random.default_rng(0), max_samples=max_samples)
    assert tried == [5, 10, 24, 72][:n_tried]
    _, _, posteriors = e_step(signals, borders, start, posteriors=True)
    assert accuracy(posteriors.argmax(1).numpy(), states, 3) > 0.95


def test_the_first_samples_of_stretches_do_not_hold_a_start_at_a_worse_optimum():
    signals, borders, states, _, _ = simulation(4, 30, [25_000], stay=0.95, seed=13)
    reference, _, _ = free_energy_after_em(signals, borders, from_the_truth(signals, states, 4), 6)
    for seed in range(3):
        start = window_clustering(signals, borders, 4, generator=np.random.default_rng(seed))
        assert torch.equal(start.initial_probabilities_K, torch.full((4,), 0.25, dtype=torch.float64))
        assert free_energy_after_em(signals, borders, start, 6)[0] < reference + 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_given_transitions_are_kept(method):
    signals, borders, _, _, _ = simulation(3, 4, [2000], seed=9)
    chain = torch.tensor([[0.8, 0.1, 0.1], [0.0, 0.9, 0.1], [0.3, 0.0, 0.7]], dtype=torch.float64)
    start = method(signals, borders, 3, generator=np.random.default_rng(0), transitions=chain)
    assert torch.equal(start.transition_probabilities_KK, chain)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
@pytest.mark.parametrize("learn_means", [False, True])
@pytest.mark.parametrize(
    ("n_states", "n_channels", "lengths"),
    [
        (1, 4, [300]),  # one state
        (5, 1, [2000, 100]),  # one channel
        (4, 3, [5] * 60),  # segments shorter than every window
        (4, 3, [1] * 200),  # segments of one sample
        (30, 3, [120]),  # more states than windows
        (8, 12, [40]),  # fewer samples than a covariance has numbers
        (6, 3, [5, 4]),  # hardly more samples than states
        (3, 3, [0, 100, 0]),  # empty segments
    ],
)
def test_a_start_can_always_be_improved_by_em(method, covariance_type, learn_means, n_states, n_channels, lengths):
    signals, borders, _, _, _ = simulation(2, n_channels, lengths, seed=10)
    generator = np.random.default_rng(0)
    settings = {"learn_means": learn_means, "covariance_type": covariance_type}
    pooled = signals.double().T @ signals.double() / len(signals)
    prior = CovariancePrior(pseudo_samples=1.0, pooled_covariance=pooled)
    start = method(signals, borders, n_states, generator=generator, prior=prior, **settings)
    assert all(torch.isfinite(tensor).all() for tensor in start.to_dictionary().values())
    torch.testing.assert_close(start.transition_probabilities_KK.sum(1), torch.ones(n_states, dtype=torch.float64))
    statistics, _, _ = e_step(signals, borders, start)
    assert np.isfinite(statistics.log_likelihood)


@pytest.mark.parametrize("method", METHODS)
def test_repeated_samples_give_states_that_differ(method):
    signals = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)).repeat(100, 1)
    prior = CovariancePrior(pseudo_samples=1.0, pooled_covariance=torch.eye(3))
    start = method(signals, np.array([0, 200]), 4, generator=np.random.default_rng(0), prior=prior)
    statistics, _, _ = e_step(signals, np.array([0, 200]), start)
    assert np.isfinite(statistics.log_likelihood)
    distances = torch.cdist(start.covariances_KCC.flatten(1), start.covariances_KCC.flatten(1))
    assert (distances + torch.eye(4)).min() > 1e-6


def test_a_direction_without_variance_is_left_out_of_the_features():
    signals, borders, states, _, _ = simulation(3, 5, [4000], stay=0.97, seed=11)
    doubled = torch.cat([signals, signals[:, :1]], 1)
    pooled = doubled.double().T @ doubled.double() / len(doubled)
    prior = CovariancePrior(pseudo_samples=10.0, pooled_covariance=pooled + 1e-3 * torch.eye(6))
    start = window_clustering(doubled, borders, 3, generator=np.random.default_rng(0), prior=prior)
    _, _, posteriors = e_step(doubled, borders, start, posteriors=True)
    assert accuracy(posteriors.argmax(1).numpy(), states, 3) > 0.8


def with_masked(signals, seed, *, share=0.1, n_gaps=20, longest=40):
    """Rows masked one by one and in gaps; and which are left."""
    generator = np.random.default_rng(seed)
    observed = generator.random(len(signals)) >= share
    for first in generator.integers(0, len(signals), n_gaps):
        observed[first : first + generator.integers(1, longest + 1)] = False
    signals = signals.clone()
    signals[torch.from_numpy(~observed)] = torch.nan
    return signals, observed


@pytest.mark.parametrize("max_samples", [None, 4000])
@pytest.mark.parametrize("learn_means", [True, False])
def test_window_clustering_of_what_was_observed_leads_em_to_the_optimum(max_samples, learn_means):
    complete, borders, states, _, _ = simulation(4, 10, [3000, 5000, 1000], seed=1, mean_size=0.5 * learn_means)
    signals, observed = with_masked(complete, 2, n_gaps=60)
    kind = {"learn_means": learn_means}
    reference, _, _ = free_energy_after_em(signals, borders, from_the_truth(signals, states, 4, **kind), 12, **kind)
    start = window_clustering(signals, borders, 4, generator=np.random.default_rng(0), max_samples=max_samples, **kind)
    found, path, _ = free_energy_after_em(signals, borders, start, 12, **kind)
    assert accuracy(path[observed], states[observed], 4) > 0.9
    assert found < reference + 1e-3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_what_stands_in_masked_rows_does_not_matter_and_starts_are_finite(method, covariance_type):
    signals, borders, _, _, _ = simulation(3, 6, [1500, 500], seed=3)
    signals, _ = with_masked(signals, 4)
    start = method(signals, borders, 3, generator=np.random.default_rng(0), covariance_type=covariance_type)
    for tensor in start.to_dictionary().values():
        assert torch.isfinite(tensor).all()


@pytest.mark.parametrize("n_left", [None, 3, 0])
def test_gaussians_of_labels_are_those_of_the_observed_rows(n_left):
    signals, _, states, _, _ = simulation(3, 5, [2000], seed=5, mean_size=1.0)
    signals, observed = with_masked(signals, 6)
    if n_left is not None:  # hardly a row of state 2, or none
        observed[np.flatnonzero(observed & (states == 2))[n_left:]] = False
        signals[torch.from_numpy(~observed)] = torch.nan
    kept = torch.from_numpy(observed)
    for learn_means in (True, False):
        found = from_the_truth(signals, states, 3, learn_means=learn_means)
        expected = from_the_truth(signals[kept], states[observed], 3, learn_means=learn_means)
        for name, tensor in found.to_dictionary().items():
            assert torch.equal(tensor, expected.to_dictionary()[name])


def test_windows_are_counted_in_time_and_not_in_observed_rows(monkeypatch):
    of, given = state_initialization.Neighbourhood.of, []
    monkeypatch.setattr(
        state_initialization.Neighbourhood, "of", lambda *arguments: given.append(arguments) or of(*arguments)
    )
    signals, borders, _, _, _ = simulation(2, 3, [300, 200], seed=8)
    signals, observed = with_masked(signals, 9)
    window_clustering(signals, borders, 2, generator=np.random.default_rng(0), window_lengths=(5,))
    ((given_borders, window_length, given_observed),) = given
    assert (given_borders.tolist(), window_length) == ([0, 300, 500], 5)
    assert given_observed.tolist() == observed.tolist()


def test_stretches_hold_as_many_observed_samples_as_asked_for():
    signals, starts, _, _, _ = simulation(2, 3, [9000, 5000], seed=7)
    signals[:6000] = torch.nan
    signals[7000:8000:2] = torch.nan
    n_observed = int(torch.isfinite(signals[:, 0]).sum())
    for seed in range(5):
        part, borders = random_stretches(signals, starts, 4000, np.random.default_rng(seed))
        assert 4000 <= torch.isfinite(part[:, 0]).sum() <= 4000 + STRETCH_LENGTH
        assert borders[-1] == len(part)
    whole, _ = random_stretches(signals, starts, n_observed, np.random.default_rng(3))
    assert whole is signals
