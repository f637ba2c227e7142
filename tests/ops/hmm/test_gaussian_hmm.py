"""The exact pass of the Gaussian HMM: against enumeration, hmmlearn, and itself cut in other ways."""

import itertools
import threading

import numpy as np
import pytest
import torch
from hmm_oracles import enumerate_paths, log_densities, logarithmic_posteriors, random_parameters, sample_signals

from dynml.errors import NotPositiveDefiniteError
from dynml.ops.hmm import passes
from dynml.ops.hmm.gaussian_hmm import (
    GaussianHMMParameters,
    Statistics,
    e_step,
    log_likelihood,
    m_step,
    n_parameters,
    statistics_of_posteriors,
    viterbi,
)

FIELDS = ("occupancies_K", "first_moments_KC", "second_moments_KCC", "initial_K", "transitions_KK")


class Reader:
    """Rows from elsewhere, counted; only slices, as the reader of a file gives them."""

    def __init__(self, signals):
        self._signals, self.shape = signals, tuple(signals.shape)
        self.largest, self._lock = 0, threading.Lock()

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        with self._lock:
            self.largest = max(self.largest, rows.stop - rows.start)
        return self._signals[rows].clone()


def statistics_from(posteriors, pairs, starts, signals, covariance_type):
    second = torch.einsum("tk,tc,td->kcd", posteriors, signals, signals)
    firsts = [first for first, last in itertools.pairwise(starts) if last > first]
    return {
        "occupancies_K": posteriors.sum(0),
        "first_moments_KC": posteriors.T @ signals,
        "second_moments_KCC": second if covariance_type == "full" else second.diagonal(dim1=1, dim2=2),
        "initial_K": posteriors[firsts].sum(0),
        "transitions_KK": pairs,
    }


def assert_statistics_close(statistics, expected, **tolerance):
    for field in FIELDS:
        value = expected[field] if isinstance(expected, dict) else getattr(expected, field)
        torch.testing.assert_close(getattr(statistics, field), value, **tolerance, msg=lambda text: text)


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
@pytest.mark.parametrize("seed", range(3))
def test_statistics_agree_with_enumeration_of_all_paths(covariance_type, seed):
    parameters = random_parameters(3, 4, seed, covariance_type=covariance_type)
    signals, starts = sample_signals(parameters, 14, seed), [0, 1, 7, 7, 9, 14]
    used = [0, 1, 7, 9, 14]
    expected = enumerate_paths(
        log_densities(signals, parameters),
        used,
        parameters.initial_probabilities_K,
        parameters.transition_probabilities_KK,
    )
    statistics, logs, posteriors = e_step(signals, torch.tensor(starts), parameters, posteriors=True)
    torch.testing.assert_close(posteriors, expected.posteriors, atol=1e-10, rtol=0)
    torch.testing.assert_close(logs[[0, 1, 3, 4]], expected.log_likelihoods, atol=1e-10, rtol=1e-10)
    assert logs[2] == 0
    sums = statistics_from(expected.posteriors, expected.pairs, used, signals, covariance_type)
    assert_statistics_close(statistics, sums, atol=1e-9, rtol=1e-9)
    assert statistics.log_likelihood == pytest.approx(expected.log_likelihoods.sum().item(), rel=1e-12)
    assert (statistics.n_samples, statistics.n_segments) == (14, 4)
    path, scores = viterbi(signals, torch.tensor(used), parameters)
    assert torch.equal(path, expected.best_paths)
    torch.testing.assert_close(scores, expected.best_scores, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(log_likelihood(signals, starts, parameters), logs, atol=1e-10, rtol=1e-10)


def test_float32_signals_agree_with_a_float64_log_domain_reference():
    parameters = random_parameters(4, 24, seed=2)
    signals = sample_signals(parameters, 20_000, seed=3, dtype=torch.float32)
    expected, log_p = logarithmic_posteriors(
        log_densities(signals, parameters), parameters.initial_probabilities_K, parameters.transition_probabilities_KK
    )
    statistics, logs, posteriors = e_step(signals, [0, len(signals)], parameters, posteriors=True)
    assert posteriors.dtype == torch.float32
    assert (posteriors - expected).abs().max() < 1e-5
    assert abs(logs[0].item() - log_p) / len(signals) < 1e-6
    second = torch.einsum("tk,tc,td->kcd", expected, signals.double(), signals.double())
    torch.testing.assert_close(statistics.second_moments_KCC, second, atol=2e-5 * len(signals) * 1e-2, rtol=1e-5)


@pytest.mark.parametrize("zero_transitions", [False, True])
@pytest.mark.parametrize("memory", [1, 40_000, None])
def test_cuts_blocks_readers_and_threads_change_nothing(small_chunks, memory, zero_transitions):
    parameters = random_parameters(3, 5, seed=1)
    if zero_transitions:
        transitions = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.1, 0.0, 0.9]])
        parameters = GaussianHMMParameters(
            parameters.means_KC, parameters.covariances_KCC, parameters.initial_probabilities_K, transitions
        )
    signals = sample_signals(parameters, 3000, seed=4, dtype=torch.float32)
    starts = np.array([0, 3, 4, 500, 1900, 1950, 1951, 2100, 3000])
    expected, expected_logs, expected_posteriors = e_step(signals, starts, parameters, posteriors=True, n_threads=1)
    for given, n_threads in ((signals, 2), (Reader(signals), 3)):
        statistics, logs, posteriors = e_step(
            given, starts, parameters, posteriors=True, memory=memory, n_threads=n_threads
        )
        assert_statistics_close(statistics, expected, atol=1e-9, rtol=1e-10)
        torch.testing.assert_close(logs, expected_logs, atol=0, rtol=1e-12)
        torch.testing.assert_close(posteriors, expected_posteriors, atol=1e-7, rtol=0)
        forward = log_likelihood(given, starts, parameters, memory=memory, n_threads=n_threads)
        torch.testing.assert_close(forward, expected_logs, atol=0, rtol=1e-12)


def test_a_reader_is_never_asked_for_more_than_a_chunk(small_chunks):
    parameters = random_parameters(2, 5, seed=1)
    reader = Reader(sample_signals(parameters, 5000, seed=4, dtype=torch.float32))
    e_step(reader, [0, 5000], parameters, memory=1)
    assert reader.largest <= 64


def test_the_number_of_threads_does_not_change_a_bit(small_chunks):
    parameters = random_parameters(3, 6, seed=8)
    signals = sample_signals(parameters, 2000, seed=9, dtype=torch.float32)
    starts = [0, 700, 710, 720, 2000]
    results = [e_step(signals, starts, parameters, posteriors=True, n_threads=n) for n in (1, 2, 5)]
    for statistics, logs, posteriors in results[1:]:
        for field in FIELDS:
            assert torch.equal(getattr(statistics, field), getattr(results[0][0], field)), field
        assert torch.equal(logs, results[0][1])
        assert torch.equal(posteriors, results[0][2])


def test_threads_of_torch_are_restored_also_after_an_error():
    before = torch.get_num_threads()
    parameters = random_parameters(2, 3, seed=1)
    broken = GaussianHMMParameters(
        parameters.means_KC,
        torch.zeros(2, 3, 3),
        parameters.initial_probabilities_K,
        parameters.transition_probabilities_KK,
    )
    with pytest.raises(NotPositiveDefiniteError, match="State 1 of"):
        e_step(torch.zeros(10, 3), [0, 10], broken, n_threads=3)
    e_step(torch.zeros(10, 3), [0, 10], parameters, n_threads=3)
    assert torch.get_num_threads() == before


def test_order_of_segments_does_not_matter():
    parameters = random_parameters(3, 4, seed=6)
    lengths = [40, 1, 300, 77]
    parts = [sample_signals(parameters, length, seed=i) for i, length in enumerate(lengths)]
    one, logs, _ = e_step(torch.cat(parts), np.cumsum([0, *lengths]), parameters)
    other, other_logs, _ = e_step(torch.cat(parts[::-1]), np.cumsum([0, *lengths[::-1]]), parameters)
    assert_statistics_close(one, other, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(logs.flip(0), other_logs, atol=0, rtol=1e-12)


def test_statistics_of_parts_add_up_to_those_of_the_whole_and_survive_a_dictionary():
    parameters = random_parameters(3, 4, seed=6)
    signals = sample_signals(parameters, 300, seed=1)
    whole, _, _ = e_step(signals, [0, 100, 300], parameters)
    total = Statistics.zeros(3, 4)
    total += e_step(signals[:100], [0, 100], parameters)[0]
    total = total + e_step(signals[100:], [0, 200], parameters)[0]
    assert_statistics_close(total, whole, atol=1e-10, rtol=1e-10)
    assert total.log_likelihood == pytest.approx(whole.log_likelihood)
    assert (total.n_samples, total.n_segments) == (300, 2)
    restored = Statistics.from_dictionary(total.to_dictionary())
    assert_statistics_close(restored, total, atol=0, rtol=0)
    assert restored.log_likelihood == total.log_likelihood
    half = total.scaled(0.5)
    assert_statistics_close(half + half, total, atol=0, rtol=0)
    assert half.n_samples == 150


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_permuted_states_give_permuted_statistics(covariance_type):
    parameters = random_parameters(4, 3, seed=2, covariance_type=covariance_type)
    signals = sample_signals(parameters, 200, seed=1)
    order = [3, 1, 0, 2]
    plain, logs, _ = e_step(signals, [0, 50, 200], parameters)
    other, other_logs, _ = e_step(signals, [0, 50, 200], parameters.permuted(order))
    expected = {field: getattr(plain, field)[order] for field in FIELDS}
    expected["transitions_KK"] = expected["transitions_KK"][:, order]
    assert_statistics_close(other, expected, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(logs, other_logs, atol=1e-9, rtol=1e-12)


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_one_em_iteration_agrees_with_hmmlearn(covariance_type):
    from hmmlearn.hmm import GaussianHMM

    parameters = random_parameters(3, 5, seed=4, covariance_type=covariance_type)
    lengths = [900, 600, 1]
    signals = sample_signals(parameters, sum(lengths), seed=2)
    peer = GaussianHMM(
        3,
        "full" if covariance_type == "full" else "diag",
        n_iter=1,
        init_params="",
        min_covar=0,
        covars_prior=0,
        covars_weight=1 if covariance_type == "diagonal" else -5 - 1 + 5 + 1,
        implementation="log",
    )
    peer.startprob_ = parameters.initial_probabilities_K.numpy()
    peer.transmat_ = parameters.transition_probabilities_KK.numpy()
    peer.means_, peer.covars_ = parameters.means_KC.numpy(), parameters.covariances_KCC.numpy()
    starts = np.cumsum([0, *lengths])
    statistics, logs, posteriors = e_step(signals, starts, parameters, posteriors=True)
    assert logs.sum().item() == pytest.approx(peer.score(signals.numpy(), lengths), rel=1e-10)
    np.testing.assert_allclose(posteriors.numpy(), peer.predict_proba(signals.numpy(), lengths), atol=1e-9)
    path, _ = viterbi(signals, starts, parameters)
    assert np.array_equal(path.numpy(), peer.predict(signals.numpy(), lengths))
    updated, empty = m_step(statistics, parameters)
    assert not empty
    peer.fit(signals.numpy(), lengths)
    np.testing.assert_allclose(updated.means_KC.numpy(), peer.means_, atol=1e-9)
    np.testing.assert_allclose(updated.transition_probabilities_KK.numpy(), peer.transmat_, atol=1e-9)
    np.testing.assert_allclose(updated.initial_probabilities_K.numpy(), peer.startprob_, atol=1e-9)
    np.testing.assert_allclose(updated.full_covariances().numpy(), peer.covars_, atol=1e-8)


def test_a_large_offset_of_the_signals_does_not_spoil_covariances():
    parameters = random_parameters(2, 6, seed=3)
    signals = (sample_signals(parameters, 4000, seed=5) * 256).round() / 256
    offset = 4096.0
    moved = GaussianHMMParameters(
        parameters.means_KC + offset,
        parameters.covariances_KCC,
        parameters.initial_probabilities_K,
        parameters.transition_probabilities_KK,
    )
    near, _ = m_step(e_step(signals, [0, 4000], parameters)[0], parameters)
    far, _ = m_step(e_step((signals + offset).float(), [0, 4000], moved)[0], moved)
    torch.testing.assert_close(far.covariances_KCC, near.covariances_KCC, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_statistics_of_a_known_path_are_counts_and_moments(covariance_type):
    generator = torch.Generator().manual_seed(0)
    signals = torch.randn(20_000, 3, generator=generator, dtype=torch.float64) + 100
    path = torch.randint(3, (20_000,), generator=generator)
    starts = [0, 1, 9000, 9000, 20_000]
    one_hot = torch.nn.functional.one_hot(path, 3)
    statistics = statistics_of_posteriors(signals, starts, one_hot, covariance_type=covariance_type)
    pairs = torch.zeros(3, 3).double()
    for first, last in itertools.pairwise(starts):
        for t in range(first + 1, last):
            pairs[path[t - 1], path[t]] += 1
    expected = statistics_from(one_hot.double(), pairs, starts, signals, covariance_type)
    assert_statistics_close(statistics, expected, atol=1e-6, rtol=1e-10)
    assert (statistics.n_samples, statistics.n_segments) == (20_000, 3)


def test_nan_signals_give_a_nan_likelihood_and_end():
    parameters = random_parameters(2, 3, seed=1)
    signals = torch.zeros(100, 3)
    signals[50, 1] = torch.nan
    _, logs, _ = e_step(signals, [0, 20, 100], parameters)
    assert torch.isfinite(logs[0])
    assert torch.isnan(logs[1])


def test_empty_data_and_single_state():
    parameters = random_parameters(1, 3, seed=1)
    statistics, logs, posteriors = e_step(torch.zeros(0, 3), [0], parameters, posteriors=True)
    assert statistics.n_samples == 0
    assert logs.shape == (0,)
    assert posteriors.shape == (0, 1)
    signals = sample_signals(parameters, 50, seed=1)
    _, logs, posteriors = e_step(signals, [0, 50], parameters, posteriors=True)
    assert torch.equal(posteriors, torch.ones(50, 1).double())
    assert logs[0].item() == pytest.approx(log_densities(signals, parameters).sum().item())


def test_parameter_counts_are_those_of_the_tutorial():
    full = n_parameters(6, 80)
    assert full == {"means": 480, "covariances": 19_440, "hidden_states": 42}
    assert sum(full.values()) == 19_962
    assert n_parameters(6, 80, "diagonal")["covariances"] == 480


def test_parameters_survive_a_dictionary():
    parameters = random_parameters(3, 4, seed=1)
    restored = GaussianHMMParameters.from_dictionary(parameters.to_dictionary())
    assert torch.equal(restored.covariances_KCC, parameters.covariances_KCC)
    assert restored.covariance_type == "full"
    assert torch.equal(restored.transition_probabilities_KK, parameters.transition_probabilities_KK)


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_short_groups_are_passed_together_and_add_what_they_add_alone(monkeypatch, covariance_type):
    parameters = random_parameters(3, 5, seed=4, covariance_type=covariance_type)
    starts, groups = np.array([0, 40, 100, 130, 250]), np.array([0, 1, 3, 4])
    signals, calls = sample_signals(parameters, 250, seed=4, dtype=torch.float32), []
    recursions = passes.forward_backward
    monkeypatch.setattr(passes, "forward_backward", lambda *one, **more: calls.append(1) or recursions(*one, **more))
    together, log_likelihoods, posteriors = e_step(signals, starts, parameters, groups=groups, posteriors=True)
    assert len(calls) == 1
    alone = Statistics.zeros(3, 5, covariance_type)
    for first, last in itertools.pairwise(groups):
        begin, end = starts[first], starts[last]
        own = e_step(signals[begin:end], starts[first : last + 1] - begin, parameters, posteriors=True)
        alone += own[0]
        assert torch.equal(own[1], log_likelihoods[first:last])
        assert torch.equal(own[2], posteriors[begin:end])
    assert_statistics_close(together, alone, rtol=1e-12, atol=1e-12)
