"""Metrics against values worked out by hand."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from dynml.errors import DataError, NotPositiveDefiniteError
from dynml.ops.metrics import (
    alpha_correlation,
    dice_coefficient,
    frobenius_distance,
    matrix_correlation,
    pairwise_correlation,
    pairwise_covariances,
    riemannian_distance,
    riemannian_distances,
    rv_coefficient,
)


def test_dice_counts_agreeing_samples():
    assert dice_coefficient([0, 1, 1, 2], [0, 1, 2, 2]) == 0.75
    probabilities = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.0, 0.6, 0.4], [0.0, 0.0, 1.0]])
    assert dice_coefficient(probabilities, [0, 1, 2, 2]) == 0.75
    assert dice_coefficient(probabilities, probabilities) == 1.0


def test_riemannian_distance_of_scaled_identities_is_a_logarithm():
    assert riemannian_distance(np.eye(3), np.eye(3)) == 0
    assert riemannian_distance(np.eye(3) * math.e**2, np.eye(3)) == pytest.approx(2 * math.sqrt(3))
    assert riemannian_distance(np.diag([1.0, 4.0]), np.diag([2.0, 1.0])) == pytest.approx(
        math.hypot(math.log(0.5), math.log(4.0))
    )


def test_riemannian_distance_does_not_depend_on_the_basis():
    generator = np.random.default_rng(0)
    first, second, basis = (generator.normal(size=(4, 4)) for _ in range(3))
    first, second = first @ first.T, second @ second.T
    plain = riemannian_distance(first, second)
    assert riemannian_distance(second, first) == pytest.approx(plain)
    assert riemannian_distance(basis @ first @ basis.T, basis @ second @ basis.T) == pytest.approx(plain)


@pytest.mark.parametrize("position", [0, 1])
def test_riemannian_distance_refuses_a_singular_covariance(position):
    pair = [np.eye(2), np.eye(2)]
    pair[position] = np.diag([1.0, 0.0])
    with pytest.raises(NotPositiveDefiniteError):
        riemannian_distance(*pair)


def test_frobenius_and_rv_by_hand():
    first, second = np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    assert frobenius_distance(first, second) == pytest.approx(math.sqrt(8))
    assert rv_coefficient(first, second) == pytest.approx(2 / math.sqrt(10 * 2))
    assert rv_coefficient(first, 5 * first) == pytest.approx(1.0)


def test_alpha_correlation_is_pearson_s_per_column():
    generator = np.random.default_rng(1)
    first = generator.normal(size=(100, 3))
    second = np.stack([first[:, 0] * 2 + 1, -first[:, 1], generator.normal(size=100)], axis=1)
    expected = [np.corrcoef(first[:, k], second[:, k])[0, 1] for k in range(3)]
    np.testing.assert_allclose(alpha_correlation(first, second), expected)
    np.testing.assert_allclose(alpha_correlation(first, second)[:2], [1, -1])
    np.testing.assert_allclose(pairwise_correlation(first, second)[0, 2], np.corrcoef(first[:, 0], second[:, 2])[0, 1])


def test_a_constant_time_course_has_no_correlation():
    constant = np.ones((10, 1))
    assert np.isnan(alpha_correlation(constant, np.arange(10.0)[:, None]))


def test_pairwise_covariances_hold_every_pair():
    covariances = np.stack([np.eye(2), 2 * np.eye(2)])
    expected = math.log(2) * math.sqrt(2) * np.array([[0, 1], [1, 0]])
    np.testing.assert_allclose(pairwise_covariances("riemannian", covariances, covariances), expected, atol=1e-12)
    np.testing.assert_allclose(pairwise_covariances("rv", covariances, covariances), np.ones((2, 2)))


def test_riemannian_distances_agree_with_generalized_eigenvalues():
    factors = np.random.default_rng(3).normal(size=(2, 6, 5, 5))
    first, second = factors @ factors.transpose(0, 1, 3, 2)
    expected = [
        np.sqrt((np.log(scipy.linalg.eigh(one, two, eigvals_only=True)) ** 2).sum()) for one, two in zip(first, second)
    ]
    np.testing.assert_allclose(riemannian_distances(first, torch.from_numpy(second)), expected, rtol=1e-9)
    pairs = pairwise_covariances("riemannian", first, second)
    np.testing.assert_allclose(np.diagonal(pairs), expected, rtol=1e-9)
    own = pairwise_covariances("riemannian", first)
    np.testing.assert_allclose(own, own.T)
    assert own[1, 4] == pytest.approx(riemannian_distance(first[1], first[4]))


@pytest.mark.parametrize("position", [0, 1])
def test_riemannian_distances_refuse_a_singular_covariance(position):
    pair = [np.tile(np.eye(2), (3, 1, 1)), np.tile(np.eye(2), (3, 1, 1))]
    pair[position][1] = np.diag([1.0, -1.0])
    with pytest.raises(NotPositiveDefiniteError):
        riemannian_distances(*pair)


def test_matrix_correlation_is_pearson_s_over_all_entries():
    first, second = np.random.default_rng(4).normal(size=(2, 3, 3))
    assert matrix_correlation(first, second) == pytest.approx(np.corrcoef(first.ravel(), second.ravel())[0, 1])
    assert matrix_correlation(first, 2 - 3 * first) == pytest.approx(-1)


def test_samples_with_nan_or_without_a_state_do_not_count():
    generator = np.random.default_rng(5)
    first, second = generator.normal(size=(2, 60, 3))
    with_gaps, other_gaps = first.copy(), second.copy()
    with_gaps[10:20, 0], other_gaps[40:] = np.nan, np.nan
    kept = np.r_[0:10, 20:40]
    expected = [np.corrcoef(first[kept, mode], second[kept, mode])[0, 1] for mode in range(3)]
    np.testing.assert_allclose(alpha_correlation(with_gaps, other_gaps), expected)
    expected = (first[kept].argmax(axis=1) == second[kept].argmax(axis=1)).mean()
    assert dice_coefficient(with_gaps, other_gaps) == pytest.approx(expected)
    assert dice_coefficient([0, 1, -1, 1], [0, 0, 1, -1]) == 0.5
    assert dice_coefficient([0.0, 1.0, np.nan], [0, 0, 1]) == 0.5


def test_time_courses_that_cannot_be_compared_are_refused():
    alpha = np.ones((5, 2))
    with pytest.raises(DataError, match="5 samples, the second 4"):
        dice_coefficient(alpha, alpha[1:])
    with pytest.raises(DataError, match="5 samples, the second 4"):
        alpha_correlation(alpha, alpha[1:])
    with pytest.raises(DataError, match="2 modes, the second of 3"):
        alpha_correlation(alpha, np.ones((5, 3)))
    with pytest.raises(DataError, match="no sample"):
        dice_coefficient(alpha, np.full((5, 2), np.nan))
    with pytest.raises(DataError, match="no sample"):
        alpha_correlation(alpha, np.full((5, 2), np.nan))
