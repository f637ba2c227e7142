"""Matching of states recovers a permutation that is known."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch

from dynml.errors import DataError
from dynml.ops.matching import (
    match_by_similarity,
    match_covariances,
    match_modes,
    match_paths,
    match_posteriors,
    orders_of_covariances,
    orders_of_modes,
)
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


def best_by_brute_force(similarities):
    """Order with the largest sum over all permutations of all choices of columns."""
    n_rows, n_columns = similarities.shape
    orders = [np.array(order) for order in itertools.permutations(range(n_columns), n_rows)]
    return max(orders, key=lambda order: similarities[np.arange(n_rows), order].sum())


@pytest.mark.parametrize("n_columns", [4, 6])
def test_hungarian_is_the_best_of_all_permutations(n_columns):
    generator = np.random.default_rng(3)
    for _ in range(20):
        similarities = generator.normal(size=(4, n_columns))
        assert match_by_similarity(similarities).tolist() == best_by_brute_force(similarities).tolist()


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 5), (3, 3), (5, 5), (4, 6), (7, 7)])
def test_few_states_and_many_are_matched_as_by_scipy(shape):
    generator = np.random.default_rng(sum(shape))
    for _ in range(20):
        similarities = generator.normal(size=shape)
        _, expected = scipy.optimize.linear_sum_assignment(similarities, maximize=True)
        assert match_by_similarity(similarities).tolist() == expected.tolist()


def test_fewer_states_in_the_second_are_refused():
    with pytest.raises(DataError, match=r"has 3 .* only 2"):
        match_by_similarity(np.ones((3, 2)))


def test_several_sets_of_modes_are_matched_with_the_first():
    generator = np.random.default_rng(4)
    alpha = generator.dirichlet(np.ones(4), size=400)
    noisy = alpha + generator.normal(scale=0.1, size=alpha.shape)
    extra = np.column_stack([generator.normal(size=400), noisy[:, ORDER]])
    others = [noisy[:, ORDER], noisy[:, ORDER[::-1]], extra]
    correlations = [np.corrcoef(alpha.T, other.T)[:4, 4:] for other in others]
    orders = orders_of_modes(alpha, *others)
    assert [order.tolist() for order in orders] == [best_by_brute_force(own).tolist() for own in correlations]
    first, *matched = match_modes(alpha, *others)
    np.testing.assert_array_equal(first, alpha)
    for own in matched:
        np.testing.assert_array_equal(own, noisy)


def test_modes_of_several_subjects_get_one_order():
    generator = np.random.default_rng(5)
    alphas = [generator.dirichlet(np.ones(4), size=n_samples) for n_samples in (60, 90)]
    shuffled = [alpha[:, ORDER] for alpha in alphas]
    shuffled[1][10:20] = np.nan
    first, matched = match_modes(alphas, shuffled)
    assert isinstance(matched, list)
    np.testing.assert_array_equal(first[1], alphas[1])
    np.testing.assert_array_equal(matched[0], alphas[0])
    np.testing.assert_array_equal(matched[1][20:], alphas[1][20:])
    with pytest.raises(DataError, match="60 samples.*59"):
        match_modes(alphas[0], alphas[0][1:])


@pytest.mark.parametrize(
    ("measure", "similarity"),
    [
        ("rv", lambda a, b: np.trace(a @ b) / np.sqrt(np.trace(a @ a) * np.trace(b @ b))),
        ("correlation", lambda a, b: np.corrcoef(a.ravel(), b.ravel())[0, 1]),
        ("frobenius", lambda a, b: -np.sqrt(((a - b) ** 2).sum())),
        ("riemannian", lambda a, b: -np.sqrt((np.log(scipy.linalg.eigh(a, b, eigvals_only=True)) ** 2).sum())),
    ],
)
def test_covariances_are_matched_as_the_best_of_all_permutations(measure, similarity):
    generator = np.random.default_rng(6)
    sets = [factors @ factors.transpose(0, 2, 1) for factors in generator.normal(size=(3, 4, 5, 5))]
    expected = [
        best_by_brute_force(np.array([[similarity(one, two) for two in other] for one in sets[0]]))
        for other in sets[1:]
    ]
    orders = orders_of_covariances(*sets, measure=measure)
    assert [order.tolist() for order in orders] == [order.tolist() for order in expected]


def test_samples_without_a_state_do_not_count():
    first, second = np.array([0, 0, 1, 1, -1, -1, -1]), np.array([1, 1, 0, 0, 0, 0, 0])
    assert match_paths(first, second).tolist() == [1, 0]
    probabilities = np.full((7, 2), np.nan)
    probabilities[:4] = [[0.1, 0.9], [0.2, 0.8], [0.9, 0.1], [0.6, 0.4]]
    assert match_paths(np.array([0, 0, 1, 1, 1, 1, 1]), probabilities).tolist() == [1, 0]
