"""Mixing coefficients and divergences: torch's own numbers and gradients, and torch.distributions."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from dynml.ops.mixture.mixture_gaussian import gaussian_divergence, mixing_coefficients


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("shape", [(7,), (4, 6), (3, 50, 1), (2, 30, 12)])
def test_coefficients_and_their_gradients_are_those_of_a_softmax(shape):
    theta, temperature = (5 * drawn(*shape)).requires_grad_(), torch.tensor(0.7, requires_grad=True)
    found, expected = mixing_coefficients(theta, temperature), torch.softmax(theta / temperature, dim=-1)
    torch.testing.assert_close(found, expected)
    upstream = drawn(*shape, seed=1)
    slopes, wanted = (torch.autograd.grad(of, (theta, temperature), upstream) for of in (found, expected))
    torch.testing.assert_close(slopes, wanted, rtol=1e-6, atol=1e-6)


def test_coefficients_of_large_logits_stay_finite_and_those_of_nan_do_not():
    theta = torch.tensor([[1e4, 0.0, -1e4], [float("nan"), 0.0, 1.0]])
    alpha = mixing_coefficients(theta, torch.tensor(1.0))
    assert alpha[0].tolist() == [1.0, 0.0, 0.0]
    assert alpha[1].isnan().all()


def test_a_temperature_that_is_not_learnt_has_no_gradient():
    theta, temperature = drawn(4, 3).requires_grad_(), torch.tensor(2.0)
    mixing_coefficients(theta, temperature)[:, 0].sum().backward()
    assert theta.grad is not None
    assert temperature.grad is None


@pytest.mark.parametrize("shape", [(5,), (4, 40, 6)])
def test_divergences_and_their_gradients_are_those_of_torch_distributions(shape):
    given = [
        drawn(*shape, seed=0),
        0.1 + drawn(*shape, seed=1).abs(),
        drawn(*shape, seed=2),
        drawn(*shape, seed=3).exp(),
    ]
    given = [tensor.requires_grad_() for tensor in given]
    mean, scale, prior_mean, prior_scale = given
    found = gaussian_divergence(*given)
    expected = kl_divergence(Normal(mean, scale), Normal(prior_mean, prior_scale)).sum(dim=-1)
    torch.testing.assert_close(found, expected)
    upstream = drawn(*shape[:-1], seed=4)
    slopes, wanted = (torch.autograd.grad(of, given, upstream) for of in (found, expected))
    torch.testing.assert_close(slopes, wanted)


def test_equal_gaussians_do_not_diverge():
    mean, scale = drawn(3, 4, dtype=torch.float32), drawn(3, 4, seed=1, dtype=torch.float32).exp()
    assert gaussian_divergence(mean, scale, mean, scale).tolist() == [0.0, 0.0, 0.0]
