"""Metrics against values worked out by hand."""

import math

import numpy as np
import pytest
import torch

from dynml.errors import NotPositiveDefiniteError
from dynml.ops.metrics import (
    alpha_correlation,
    dice_coefficient,
    frobenius_distance,
    pairwise_correlation,
    pairwise_covariances,
    riemannian_distance,
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
