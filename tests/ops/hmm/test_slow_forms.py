"""Quadratic forms and the subspace of the slowest, against dense algebra."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from dynml.ops.hmm.slow_forms import ChannelForms, Neighbourhood, ProductForms, forms_of, slowest
from dynml.ops.workers import Workers


def noise(n_samples, n_channels, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n_samples, n_channels)).astype(np.float32))


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("learn_means", [False, True])
def test_values_and_transpose_of_product_forms_are_those_of_dense_algebra(learn_means, n_threads):
    rows = noise(2500, 7)
    dense = torch.cat([rows, torch.ones(2500, 1)], 1).double() if learn_means else rows.double()
    size = dense.shape[1]
    weights = noise(2500, 3, seed=1)
    with Workers(n_threads) as workers:
        forms = ProductForms(rows, learn_means, workers)
        coefficients = forms.random(4, np.random.default_rng(1))
        values, sums = forms.values(coefficients), forms.transposed(weights)
    assert forms.n_independent == size * (size + 1) // 2
    matrices = coefficients.view(4, size, size)
    assert torch.equal(matrices, matrices.transpose(1, 2))
    expected = torch.einsum("ti,dij,tj->td", dense, matrices, dense)
    torch.testing.assert_close(values.double(), expected - expected.mean(0), atol=1e-4, rtol=1e-4)
    expected = torch.einsum("td,ti,tj->dij", weights.double(), dense, dense).flatten(1)
    torch.testing.assert_close(sums, expected, atol=2e-3, rtol=1e-4)


def test_values_and_transpose_of_channel_forms_are_each_others_adjoint():
    forms = ChannelForms(noise(500, 4), learn_means=True)
    coefficients, weights = forms.random(3, np.random.default_rng(0)), noise(500, 3, seed=1)
    assert forms.n_independent == 8
    one_way = (forms.values(coefficients) * weights).sum()
    other_way = (coefficients * forms.transposed(weights)).sum()
    assert float(one_way) == pytest.approx(float(other_way), rel=1e-4)


def test_forms_see_all_channels_on_the_same_scale_and_leave_out_a_direction_without_variance():
    signals = noise(3000, 3) * torch.tensor([0.01, 1.0, 10.0])
    with Workers(1) as workers:
        settings = {"learn_means": False, "limit": 1e9, "workers": workers}
        products = forms_of(torch.cat([signals, signals[:, 1:2]], 1), covariance_type="full", **settings)
        squares = forms_of(signals, covariance_type="diagonal", **settings)
        diagonals = torch.stack([torch.diag(row).flatten() for row in torch.eye(3).double()])
        spreads = products.values(diagonals).std(0), squares.values(torch.eye(3).double()).std(0)
    assert products.n_independent == 3 * 4 // 2
    torch.testing.assert_close(spreads[0], torch.full((3,), 2.0).sqrt(), atol=0.1, rtol=0)
    torch.testing.assert_close(spreads[1], torch.ones(3), atol=1e-2, rtol=0)


def test_an_outlying_sample_is_softened_to_the_limit():
    signals = noise(3000, 3)
    signals[5] *= 5
    values = []
    with Workers(1) as workers:
        for limit in (1.0, 1e9):
            forms = forms_of(signals, learn_means=False, covariance_type="full", limit=limit, workers=workers)
            values.append(float(forms.values(torch.eye(3).flatten()[None].double())[5]))
    assert values[0] < 3 < values[1]  # the squared norm is at most `limit` times the number of channels


def test_the_slowest_form_is_the_one_that_tells_two_states_apart():
    generator = np.random.default_rng(0)
    states = np.repeat(generator.integers(0, 2, 400), 25)
    rows = generator.standard_normal((len(states), 6))
    rows[:, 2] *= np.where(states == 1, 1.5, 1 / 1.5)
    signals = torch.from_numpy(rows.astype(np.float32))
    neighbourhood = Neighbourhood.of(np.array([0, len(rows)]), 10)
    with Workers(2) as workers:
        forms = forms_of(signals, learn_means=False, covariance_type="full", limit=1e9, workers=workers)
        _, values = slowest(forms, forms.random(3, generator), neighbourhood, 1)
    assert values.shape == (len(rows), 1)
    averages = neighbourhood.average(values)[:, 0].numpy()
    squares = neighbourhood.average(signals[:, 2:3].square())[:, 0].numpy()
    assert abs(np.corrcoef(averages, squares)[0, 1]) > 0.97
    assert abs(np.corrcoef(averages, states)[0, 1]) > 0.6


def test_averages_stay_inside_segments():
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((60, 2)))
    borders = np.array([0, 1, 3, 40, 60])
    neighbourhood = Neighbourhood.of(borders, 7)
    for without_itself in (False, True):
        found = neighbourhood.average(values, without_itself=without_itself)
        for first, last in itertools.pairwise(borders):
            for t in range(first, last):
                rows = [s for s in range(max(first, t - 3), min(last, t + 4)) if s != t or not without_itself]
                expected = values[rows].mean(0) if rows else torch.zeros(2, dtype=torch.float64)
                torch.testing.assert_close(found[t], expected)


def test_averages_over_windows_with_masked_rows_are_those_of_the_observed_rows_in_them():
    generator = np.random.default_rng(0)
    observed = generator.random(60) > 0.5
    observed[20:32] = False  # longer than a window
    values = torch.from_numpy(generator.standard_normal((60, 2)))
    borders = np.array([0, 1, 3, 40, 60])
    neighbourhood = Neighbourhood.of(borders, 7, torch.from_numpy(observed))
    for without_itself in (False, True):
        found = neighbourhood.average(values[torch.from_numpy(observed)], without_itself=without_itself)
        assert len(found) == observed.sum()
        for row, t in enumerate(np.flatnonzero(observed)):
            first, last = next((a, b) for a, b in itertools.pairwise(borders) if a <= t < b)
            rows = [s for s in range(max(first, t - 3), min(last, t + 4)) if observed[s]]
            rows = [s for s in rows if s != t or not without_itself]
            expected = values[rows].mean(0) if rows else torch.zeros(2, dtype=torch.float64)
            torch.testing.assert_close(found[row], expected)
