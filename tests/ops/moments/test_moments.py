"""Weighted moments: what is left out is as small as the docs promise."""

import itertools

import numpy as np
import pytest
import torch

from dynml.ops.moments import weighted
from dynml.ops.moments.weighted import _dense_moments, chunk_moments, moments_of_pieces, rounded_centres

pytestmark = pytest.mark.processor


@pytest.fixture(autouse=True, params=["one loop", "a product a state"])
def way(request, monkeypatch):
    """Chunks of this size go by the loop; larger ones by products."""
    if request.param == "a product a state":
        monkeypatch.setattr(weighted, "_FEW_PRODUCTS", 0)


def weights_and_signals(dtype=torch.float32, n_rows=5000):
    generator = torch.Generator().manual_seed(0)
    weights = (torch.randn(n_rows, 4, generator=generator, dtype=torch.float64) * 15).softmax(1)
    signals = torch.randn(n_rows, 6, generator=generator, dtype=torch.float64)
    return weights, signals.to(dtype)


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_left_out_cost_less_than_the_rounding_of_the_type(covariance_type, dtype):
    weights, signals = weights_and_signals(dtype)
    centres = torch.randn(4, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    moments = chunk_moments(signals, weights, centres, covariance_type).about_zero(centres)
    exact = torch.einsum("tk,tc,td->kcd", weights, signals.double(), signals.double())
    if covariance_type == "diagonal":
        exact = exact.diagonal(dim1=1, dim2=2)
    scale = 20 * torch.finfo(dtype).eps
    torch.testing.assert_close(moments.occupancies_K, weights.sum(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(moments.first_KC, weights.T @ signals.double(), rtol=0, atol=scale * len(signals))
    torch.testing.assert_close(moments.second_KCC, exact, rtol=0, atol=scale * len(signals))


@pytest.mark.parametrize("n_channels", [1, 7, 40, 70, 130])
def test_products_are_symmetric_to_the_last_digit_whatever_the_channels(n_channels):
    rows = torch.randn(700, n_channels, generator=torch.Generator().manual_seed(1))
    products = weighted._products(rows, 3)
    assert torch.equal(products, products.T)
    torch.testing.assert_close(products.double(), rows.double().T @ rows.double(), rtol=0, atol=1e-3)


def test_a_hardly_occupied_state_keeps_its_rows():
    weights, signals = weights_and_signals(torch.float64)
    weights[:, 0] = 1e-9  # below the share that would matter beside 1, but all that this state has
    moments = chunk_moments(signals.float(), weights, torch.zeros(4, 6), "full")
    torch.testing.assert_close(moments.second_KCC[0], 1e-9 * signals.T @ signals, rtol=1e-4, atol=1e-9)


def test_weights_of_zero_leave_no_trace():
    weights, signals = weights_and_signals()
    signals[:2500] = torch.nan
    weights[:2500] = 0.0
    moments = chunk_moments(signals, weights, torch.zeros(4, 6), "full")
    assert torch.isfinite(moments.second_KCC).all()


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_the_way_of_the_gpu_agrees_with_that_of_the_cpu(covariance_type):
    weights, signals = weights_and_signals(torch.float64)
    centres = torch.full((4, 6), 0.3).double()
    sparse = chunk_moments(signals, weights, centres, covariance_type)
    dense = _dense_moments(signals, weights, centres, covariance_type)
    torch.testing.assert_close(dense.first_KC, sparse.first_KC, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(dense.second_KCC, sparse.second_KCC, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
@pytest.mark.parametrize("centre", [1e4 + 1 / 3, 0.0], ids=["the last mean", "zero"])
def test_covariances_of_signals_far_from_zero_keep_their_digits(covariance_type, centre):
    weights, signals = weights_and_signals(torch.float64)
    signals = (signals + 1e4).float()
    centres = torch.full((4, 6), centre).double()
    found = chunk_moments(signals, weights, centres, covariance_type).about_zero(
        rounded_centres(centres, torch.float32)
    )
    means = found.first_KC / found.occupancies_K[:, None]
    outer = means[:, :, None] * means[:, None, :] if covariance_type == "full" else means.square()
    covariances = found.second_KCC / found.occupancies_K.view(-1, *[1] * (outer.ndim - 1)) - outer
    shares = weights / weights.sum(0)
    exact_means = shares.T @ signals.double()
    deviations = signals.double() - exact_means[:, None]
    exact = torch.einsum("tk,ktc,ktd->kcd", shares, deviations, deviations)
    if covariance_type == "diagonal":
        exact = exact.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(means, exact_means, rtol=0, atol=1e-6)
    torch.testing.assert_close(covariances, exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
@pytest.mark.parametrize("offset", [0.0, 1e4], ids=["near the centres", "far from them"])
def test_pieces_together_have_the_moments_of_each_by_itself(covariance_type, offset):
    weights, signals = weights_and_signals()
    signals[1000:1500] += offset
    borders = np.array([0, 1000, 1500, 1500, 1501, 5000])
    centres = torch.full((4, 6), 0.3).double()
    together = moments_of_pieces(signals, weights.float(), borders, centres, covariance_type)
    for found, (first, last) in zip(together, itertools.pairwise(borders), strict=True):
        alone = chunk_moments(signals[first:last], weights[first:last].float(), centres, covariance_type)
        torch.testing.assert_close(vars(found), vars(alone), rtol=1e-5, atol=2e-3)
