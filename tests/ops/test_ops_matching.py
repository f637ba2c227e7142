"""Matching of states recovers a permutation that is known."""

import numpy as np
import pytest
import torch

from dynml.ops.matching import match_by_similarity, match_covariances, match_paths, match_posteriors
from dynml.ops.metrics import dice_coefficient

ORDER = np.array([2, 0, 3, 1])


def test_hungarian_by_hand():
    # Greedy would take 0.9 first and end at 0.9 + 0.1; the best sum is 0.8 + 0.7.
    assert match_by_similarity([[0.9, 0.8], [0.7, 0.1]]).tolist() == [1, 0]
    assert match_by_similarity([[np.nan, 0.8], [0.7, 0.3]]).tolist() == [1, 0]


@pytest.mark.parametrize("as_probabilities", [False, True])
def test_paths(as_probabilities):
    generator = np.random.default_rng(0)
    first = generator.integers(4, size=1000)
    second = np.argsort(ORDER)[first]  # state i of first is state j of second with ORDER[j] == i
    noisy = np.where(generator.random(1000) < 0.3, generator.integers(4, size=1000), second)
    given = torch.nn.functional.one_hot(torch.from_numpy(noisy), 4).float() if as_probabilities else noisy
    order = match_paths(first, given)
    assert order.tolist() == np.argsort(ORDER).tolist()
    relabelled = np.argsort(order)[noisy]
    assert dice_coefficient(first, relabelled) == pytest.approx((noisy == second).mean())


def test_a_state_that_never_shows_is_matched_all_the_same():
    assert sorted(match_paths([0, 0, 1], [1, 1, 0], n_states=4).tolist()) == [0, 1, 2, 3]


def test_posteriors():
    alpha = np.random.default_rng(1).dirichlet(np.ones(4), size=500)
    shuffled = alpha[:, ORDER]
    order = match_posteriors(alpha, shuffled)
    np.testing.assert_array_equal(shuffled[:, order], alpha)


@pytest.mark.parametrize("measure", ["riemannian", "frobenius", "rv"])
def test_covariances(measure):
    factors = np.random.default_rng(2).normal(size=(4, 5, 5))
    covariances = factors @ factors.transpose(0, 2, 1)
    shuffled = torch.from_numpy(covariances[ORDER]) * 1.01
    order = match_covariances(covariances, shuffled, measure)
    np.testing.assert_allclose(shuffled.numpy()[order], covariances * 1.01)
