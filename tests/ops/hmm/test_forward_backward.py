"""Forward-backward, Viterbi and sampling against enumeration, a float64 log-domain loop and hmmlearn."""

import numpy as np
import pytest
import torch
from hmm_oracles import enumerate_paths, logarithmic_posteriors, random_chain

from dynml.ops.hmm.forward_backward import forward_backward, forward_only, most_likely_path, sample_states
from dynml.ops.hmm.forward_backward_scan import scan_forward_backward

pytestmark = pytest.mark.processor

STARTS = [0, 1, 5, 11, 13]


def likelihoods(n_rows, n_states, scale, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(n_rows, n_states, generator=generator, dtype=torch.float64) * scale).to(dtype)


@pytest.mark.parametrize("method", ["sequential", "scan"])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3, 1e5])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_enumeration_of_all_paths(method, zeros, scale, seed):
    initial, transitions = random_chain(3, seed, zeros=zeros)
    logs = likelihoods(13, 3, scale, seed)
    expected = enumerate_paths(logs, STARTS, initial, transitions)
    result = forward_backward(logs, STARTS, initial, transitions, method=method)
    torch.testing.assert_close(result.posteriors_TK, expected.posteriors, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(result.transitions_KK, expected.pairs, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(result.log_likelihoods, expected.log_likelihoods, atol=1e-10, rtol=1e-13)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_viterbi_agrees_with_enumeration_of_all_paths(zeros, seed):
    initial, transitions = random_chain(3, seed, zeros=zeros)
    logs = likelihoods(13, 3, 2.0, seed)
    expected = enumerate_paths(logs, STARTS, initial, transitions)
    path, scores = most_likely_path(logs, torch.tensor(STARTS), initial, transitions)
    assert torch.equal(path, expected.best_paths)
    torch.testing.assert_close(scores, expected.best_scores, atol=1e-12, rtol=1e-12)


def test_viterbi_takes_the_lower_of_two_equal_states():
    uniform = torch.full((3,), 1 / 3).double()
    path, _ = most_likely_path(torch.zeros(6, 3), np.array([0, 4, 6]), uniform, uniform.expand(3, 3))
    assert path.tolist() == [0] * 6


@pytest.mark.parametrize("method", ["sequential", "scan"])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("cut", [3, 6, 8, 12])
def test_blocks_of_a_segment_with_messages_agree_with_the_whole(method, zeros, cut):
    initial, transitions = random_chain(3, 7, zeros=zeros)
    logs = likelihoods(13, 3, 50.0, 1)
    whole = forward_backward(logs, STARTS, initial, transitions, method=method)
    before = [start for start in STARTS if start < cut]
    after = [start for start in STARTS if start > cut]
    first, second = [*before, cut], [0, *(start - cut for start in after)]
    head_logs, message = forward_only(logs[:cut], first, initial, transitions, method=method)
    tail = forward_backward(logs[cut:], second, initial, transitions, method=method, message_K=message)
    head = forward_backward(logs[:cut], first, initial, transitions, method=method, following_K=tail.posteriors_TK[0])
    torch.testing.assert_close(
        torch.cat([head.posteriors_TK, tail.posteriors_TK]), whole.posteriors_TK, atol=1e-10, rtol=0
    )
    torch.testing.assert_close(head.transitions_KK + tail.transitions_KK, whole.transitions_KK, atol=1e-10, rtol=0)
    torch.testing.assert_close(head_logs, head.log_likelihoods, atol=1e-9, rtol=1e-12)
    total = head.log_likelihoods.sum() + tail.log_likelihoods.sum()
    torch.testing.assert_close(total, whole.log_likelihoods.sum(), atol=1e-9, rtol=1e-12)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("rows_per_chunk", [1, 2, 7, 64, 5000])
def test_scan_agrees_with_the_sequential_loop_for_any_chunk_length(zeros, rows_per_chunk):
    n_rows, n_states = 3001, 4
    initial, transitions = random_chain(n_states, 5, zeros=zeros)
    logs = likelihoods(n_rows, n_states, 10.0, 3)
    starts = np.array([0, 1, 2, 900, 900, 2500, 3001])
    sequential = forward_backward(logs, starts, initial, transitions, method="sequential")
    posteriors, pairs, log_p = scan_forward_backward(
        logs, torch.from_numpy(starts), initial, transitions, in_logarithms=zeros, rows_per_chunk=rows_per_chunk
    )
    torch.testing.assert_close(posteriors, sequential.posteriors_TK, atol=1e-10, rtol=0)
    torch.testing.assert_close(pairs, sequential.transitions_KK, atol=1e-8, rtol=1e-10)
    torch.testing.assert_close(log_p, sequential.log_likelihoods, atol=1e-10, rtol=1e-10)


def test_long_float32_chain_agrees_with_a_sequential_log_domain_reference():
    initial, transitions = torch.full((5,), 0.2).double(), torch.full((5, 5), 0.025).double()
    transitions.fill_diagonal_(0.9)
    logs = likelihoods(20_000, 5, 5.0, 11, dtype=torch.float32) - 500.0
    expected, log_p = logarithmic_posteriors(logs, initial, transitions)
    for method in ("sequential", "scan"):
        result = forward_backward(logs, [0, len(logs)], initial, transitions, method=method)
        assert (result.posteriors_TK - expected).abs().max() < 1e-9
        assert abs(result.log_likelihoods[0] - log_p) < 1e-6


def test_agrees_with_hmmlearn_on_a_longer_chain():
    from hmmlearn import _hmmc

    initial, transitions = random_chain(6, 2)
    logs = likelihoods(4000, 6, 4.0, 4)
    result = forward_backward(logs, [0, 4000], initial, transitions)
    log_p, forward = _hmmc.forward_log(initial.numpy(), transitions.numpy(), logs.numpy())
    joint = forward + _hmmc.backward_log(initial.numpy(), transitions.numpy(), logs.numpy())
    expected = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    np.testing.assert_allclose(result.posteriors_TK.numpy(), expected, atol=1e-9)
    assert result.log_likelihoods[0].item() == pytest.approx(log_p, rel=1e-12)


@pytest.mark.parametrize("method", ["sequential", "scan"])
@pytest.mark.parametrize("kind", ["huge", "cyclic", "excluded", "absorbing"])
def test_extreme_likelihoods_give_finite_posteriors_whose_rows_sum_to_one(method, kind):
    n_rows, n_states = 3000, 4
    logs = likelihoods(n_rows, n_states, 1e5 if kind == "huge" else 400.0, 9, dtype=torch.float32) - 1e5
    initial, transitions = random_chain(n_states, 1)
    if kind == "cyclic":
        transitions = 0.5 * (torch.eye(n_states) + torch.eye(n_states).roll(1, 1)).double()
    if kind == "excluded":
        initial = torch.tensor([0.0, 0.0, 1.0, 0.0]).double()
        logs[0] = torch.tensor([0.0, 0.0, -1e5, 0.0])
    if kind == "absorbing":
        transitions = torch.eye(n_states).double()
    result = forward_backward(logs, [0, 1000, 1001, n_rows], initial, transitions, method=method)
    assert torch.isfinite(result.posteriors_TK).all()
    assert torch.isfinite(result.log_likelihoods).all()
    torch.testing.assert_close(result.posteriors_TK.sum(1), torch.ones(n_rows).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(result.transitions_KK.sum(), torch.tensor(n_rows - 3.0).double(), atol=1e-6, rtol=0)
    if kind == "absorbing":
        # Without any change of state the posterior is that of the summed likelihoods.
        for first, last in ((0, 1000), (1000, 1001), (1001, n_rows)):
            expected = (logs[first:last].double().sum(0) + initial.log()).softmax(0)
            torch.testing.assert_close(result.posteriors_TK[first], expected, atol=1e-6, rtol=0)


def test_many_segments_over_threads_are_bit_for_bit_the_single_thread_posteriors():
    initial, transitions = random_chain(3, 4)
    starts = np.append(np.arange(0, 30_000, 111), 30_000)
    logs = likelihoods(30_000, 3, 3.0, 8)
    one = forward_backward(logs, starts, initial, transitions, n_threads=1)
    four = forward_backward(logs, starts, initial, transitions, n_threads=4)
    assert torch.equal(one.posteriors_TK, four.posteriors_TK)
    assert torch.equal(one.log_likelihoods, four.log_likelihoods)
    torch.testing.assert_close(one.transitions_KK, four.transitions_KK, rtol=1e-13, atol=0)


def test_permuted_states_give_permuted_posteriors():
    initial, transitions = random_chain(4, 3)
    logs = likelihoods(500, 4, 3.0, 2)
    order = torch.tensor([2, 0, 3, 1])
    plain = forward_backward(logs, [0, 200, 500], initial, transitions)
    other = forward_backward(logs[:, order], [0, 200, 500], initial[order], transitions[order][:, order])
    torch.testing.assert_close(plain.posteriors_TK[:, order], other.posteriors_TK, atol=1e-12, rtol=0)


def test_no_rows_and_one_state():
    initial, transitions = random_chain(3, 1)
    for method in ("sequential", "scan"):
        nothing = forward_backward(torch.zeros(0, 3), [0, 0], initial, transitions, method=method)
        assert nothing.posteriors_TK.shape == (0, 3)
        assert nothing.log_likelihoods.tolist() == [0.0]
        logs = likelihoods(10, 1, 3.0, 0)
        single = forward_backward(logs, [0, 10], torch.ones(1).double(), torch.ones(1, 1).double(), method=method)
        assert torch.equal(single.posteriors_TK, torch.ones(10, 1).double())
        assert single.log_likelihoods[0].item() == pytest.approx(logs.sum().item())


def test_sampled_paths_have_the_chain_s_frequencies_and_follow_the_generator():
    initial = torch.tensor([0.0, 1.0, 0.0]).double()
    transitions = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.8, 0.2], [1.0, 0.0, 0.0]]).double()
    path = sample_states(200_000, initial, transitions, torch.Generator().manual_seed(1))
    assert path[0] == 1
    counts = torch.zeros(3, 3).double()
    counts.index_put_((path[:-1], path[1:]), torch.ones(len(path) - 1).double(), accumulate=True)
    assert counts[transitions == 0].sum() == 0
    torch.testing.assert_close(counts / counts.sum(1, keepdim=True), transitions, atol=0.01, rtol=0)
    assert torch.equal(path, sample_states(200_000, initial, transitions, torch.Generator().manual_seed(1)))
    assert not torch.equal(path, sample_states(200_000, initial, transitions, torch.Generator().manual_seed(2)))
