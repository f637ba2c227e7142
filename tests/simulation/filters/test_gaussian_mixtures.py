from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from dynml.simulation.filters.floor_scores import mean_absolute_error_at, mean_squared_error_at
from dynml.simulation.filters.gaussian_mixtures import log_densities, statistic_of_mixture


def test_log_densities_agree_with_scipy():
    generator = np.random.default_rng(0)
    factors = generator.normal(size=(3, 4, 6))
    covariances = factors @ np.swapaxes(factors, 1, 2)
    residuals = generator.normal(size=(5, 3, 4))
    expected = [[multivariate_normal(cov=c).logpdf(r) for r, c in zip(row, covariances)] for row in residuals]
    np.testing.assert_allclose(log_densities(residuals, covariances), expected, atol=1e-10)


def test_the_median_halves_the_mixture_and_the_mean_is_weighted():
    generator = np.random.default_rng(1)
    weights = generator.dirichlet(np.ones(4), size=6)
    means, deviations = generator.normal(size=(6, 4, 3)), generator.uniform(0.1, 2, size=(4, 3))
    medians = statistic_of_mixture(weights, means, deviations, "median")
    below = np.einsum("bn,bnc->bc", weights, norm.cdf(medians[:, None], means, deviations))
    np.testing.assert_allclose(below, 0.5, atol=1e-9)
    expected = (weights[:, :, None] * means).sum(axis=1)
    np.testing.assert_allclose(statistic_of_mixture(weights, means, deviations, "mean"), expected, atol=1e-12)


def test_the_median_of_certain_values_is_the_one_in_the_middle():
    medians = statistic_of_mixture(np.full(3, 1 / 3), np.array([[5.0], [1.0], [2.0]]), np.zeros((3, 1)), "median")
    assert medians == pytest.approx(2.0)


def test_errors_count_scored_positions_alone():
    target = np.arange(12.0).reshape(2, 3, 2)
    predicted = target + np.array([[[1.0], [np.nan], [-3.0]], [[np.nan], [2.0], [np.nan]]])
    scored = np.array([[[True], [False], [True]], [[False], [True], [False]]])
    assert mean_absolute_error_at(predicted, target, scored) == pytest.approx(2.0)
    assert mean_squared_error_at(predicted, target, scored) == pytest.approx(14 / 3)
    per_entry = np.zeros(target.shape, dtype=bool)
    per_entry[0, 2, 1] = True
    assert mean_absolute_error_at(predicted, target, per_entry) == 3
    assert np.isnan(mean_squared_error_at(predicted, target, np.zeros((1, 1, 1), dtype=bool)))
