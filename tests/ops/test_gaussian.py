"""Log-likelihoods of Gaussian states against torch.distributions in float64."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
from hmm_oracles import log_densities, random_parameters, sample_signals
from torch.distributions import MultivariateNormal

from dynml.errors import NotPositiveDefiniteError
from dynml.ops.gaussian import Gaussians, full_float32_precision, inverse_cholesky, state_log_likelihoods

pytestmark = pytest.mark.processor


def gaussian_problem(n_states, n_channels, condition_number, n_samples=500, seed=0):
    generator = torch.Generator().manual_seed(seed)
    bases, _ = torch.linalg.qr(torch.randn(n_states, n_channels, n_channels, generator=generator, dtype=torch.float64))
    eigenvalues = torch.logspace(0, -math.log10(condition_number), n_channels, dtype=torch.float64)
    covariances = (bases * eigenvalues) @ bases.mT
    means = torch.randn(n_states, n_channels, generator=generator, dtype=torch.float64)
    noise = torch.randn(n_samples, n_channels, generator=generator, dtype=torch.float64)
    owner = torch.randint(n_states, (n_samples,), generator=generator)
    signals = means[owner] + torch.einsum("tcd,td->tc", torch.linalg.cholesky(covariances)[owner], noise)
    return signals.float(), means, covariances, owner


@pytest.mark.parametrize("n_channels", [1, 7, 43, 90])
@pytest.mark.parametrize("condition_number", [1e0, 1e3, 1e6])
def test_own_state_agrees_with_torch_distributions_in_float64(condition_number, n_channels):
    signals, means, covariances, owner = gaussian_problem(3, n_channels, condition_number)
    reference = torch.stack(
        [MultivariateNormal(m, s).log_prob(signals.double()) for m, s in zip(means, covariances, strict=True)], dim=1
    )
    computed = state_log_likelihoods(signals, means, covariances).double()
    own = torch.arange(len(owner)), owner
    torch.testing.assert_close(computed[own], reference[own], atol=5e-3, rtol=0)
    # Under the other states distances grow with the condition number, to 1e6 and more; their digits are what counts.
    torch.testing.assert_close(computed, reference, atol=5e-3, rtol=3e-4)


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_float64_signals_agree_to_float64_rounding(covariance_type):
    parameters = random_parameters(4, 45, seed=3, covariance_type=covariance_type)
    signals = sample_signals(parameters, 5000, seed=1)
    computed = state_log_likelihoods(signals, parameters.means_KC, parameters.covariances_KCC)
    torch.testing.assert_close(computed, log_densities(signals, parameters), atol=1e-9, rtol=1e-12)


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_a_large_common_offset_costs_no_digits(covariance_type):
    parameters = random_parameters(3, 20, seed=5, covariance_type=covariance_type)
    signals = sample_signals(parameters, 400, seed=2)
    offset = 4096.0  # exact in float32, with 2^-11 left for the rest of a sample
    signals = (signals * 256).round() / 256
    near = state_log_likelihoods(signals.float(), parameters.means_KC, parameters.covariances_KCC)
    far = state_log_likelihoods((signals + offset).float(), parameters.means_KC + offset, parameters.covariances_KCC)
    torch.testing.assert_close(near, far, atol=2e-2, rtol=1e-4)


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
@pytest.mark.parametrize("spread", [0.0, 5000.0], ids=["near each other", "far from each other"])
def test_means_of_ten_thousand_deviations_cost_no_digits(covariance_type, spread):
    """Against the densities of the very float32 numbers in float64: what is rounded must be rounded once."""
    parameters = random_parameters(3, 20, seed=5, covariance_type=covariance_type)
    offsets = 1e4 + 1 / 3 + spread * torch.arange(3).double()[:, None]
    parameters = dataclasses.replace(parameters, means_KC=parameters.means_KC + offsets)
    signals = sample_signals(parameters, 400, seed=2).float()
    exact = log_densities(signals.double(), parameters)
    found = state_log_likelihoods(signals, parameters.means_KC, parameters.covariances_KCC).double()
    best = exact.argmax(1, keepdim=True)
    torch.testing.assert_close(found.gather(1, best), exact.gather(1, best), atol=1e-3, rtol=0)
    torch.testing.assert_close(found, exact, atol=2e-2, rtol=1e-4)


def test_whiteners_are_triangular_and_give_unit_covariance():
    _, _, covariances, _ = gaussian_problem(3, 12, 1e6)
    whiteners = inverse_cholesky(covariances.float().double())
    assert whiteners.dtype == torch.float64
    assert torch.equal(whiteners, whiteners.tril())
    identity = whiteners @ covariances.float().double() @ whiteners.mT
    torch.testing.assert_close(identity, torch.eye(12).double().expand(3, -1, -1), atol=1e-8, rtol=0)


def test_rows_do_not_depend_on_their_company():
    parameters = random_parameters(2, 50, seed=1)
    signals = sample_signals(parameters, 4500, seed=1, dtype=torch.float32)
    whole = state_log_likelihoods(signals, parameters.means_KC, parameters.covariances_KCC)
    part = state_log_likelihoods(signals[1000:1100], parameters.means_KC, parameters.covariances_KCC)
    torch.testing.assert_close(whole[1000:1100], part, atol=1e-4, rtol=1e-6)


def test_the_first_state_that_is_not_positive_definite_is_named():
    covariances = torch.eye(4).repeat(5, 1, 1)
    covariances[2, 0, 0] = -1.0
    covariances[4] = 0.0
    with pytest.raises(NotPositiveDefiniteError, match=r"State 3 of 5.*covariance_prior_samples.*PCA"):
        inverse_cholesky(covariances)


def test_a_linearly_dependent_channel_is_refused_even_if_rounding_lets_it_pass():
    signals = torch.randn(500, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    signals[:, 4] = signals[:, :4].sum(1) + 1e-8 * signals[:, 4]
    covariance = signals.T @ signals / 500
    with pytest.raises(NotPositiveDefiniteError, match="State 2 of"):
        inverse_cholesky(torch.stack([torch.eye(5).double(), covariance]))


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan, math.inf])
def test_unusable_variances_are_refused(variance):
    variances = torch.ones(3, 4)
    variances[1, 2] = variance
    with pytest.raises(NotPositiveDefiniteError, match="State 2 of"):
        state_log_likelihoods(torch.zeros(2, 4), torch.zeros(3, 4), variances)


def test_nan_covariances_are_refused():
    covariances = torch.eye(3).repeat(2, 1, 1)
    covariances[1] = math.nan
    with pytest.raises(NotPositiveDefiniteError, match="State 2 of"):
        inverse_cholesky(covariances)


def precision_settings():
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    return [backend.fp32_precision for backend in backends]


@pytest.mark.parametrize("by", ["nothing", "medium", "backend"])
def test_reduced_precision_is_off_inside_and_restored_after(by):
    try:
        if by == "medium":
            torch.set_float32_matmul_precision("medium")
        if by == "backend":
            torch.backends.cuda.matmul.fp32_precision = "tf32"
        before = precision_settings()
        with full_float32_precision("cpu"), torch.autocast("cpu", enabled=False):
            assert not {"tf32", "bf16"} & set(precision_settings())
        assert precision_settings() == before
    finally:
        torch.set_float32_matmul_precision("highest")


def test_older_torch_without_settings_of_backends_works(monkeypatch):
    monkeypatch.setattr(torch.backends, "mkldnn", SimpleNamespace())
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(allow_tf32=False))
    try:
        torch.set_float32_matmul_precision("medium")
        with full_float32_precision("cpu"):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_autocast_does_not_reach_inside():
    parameters = random_parameters(2, 30, seed=1)
    signals = sample_signals(parameters, 100, seed=1, dtype=torch.float32)
    outside = state_log_likelihoods(signals, parameters.means_KC, parameters.covariances_KCC)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = state_log_likelihoods(signals, parameters.means_KC, parameters.covariances_KCC)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


def test_no_rows_give_no_rows():
    gaussians = Gaussians.prepare(torch.zeros(2, 3), torch.eye(3).repeat(2, 1, 1), dtype=torch.float32)
    assert gaussians.log_likelihoods(torch.zeros(0, 3)).shape == (0, 2)


@pytest.mark.parametrize("n_channels", [1, 5, 64])
def test_rows_alone_have_the_numbers_that_they_have_among_others(n_channels):
    """To the last digit, wherever a row stands, whatever stands beside it, and however the signals lie in memory."""
    parameters = random_parameters(3, n_channels, seed=4)
    gaussians = Gaussians.prepare(parameters.means_KC, parameters.covariances_KCC, dtype=torch.float32)
    signals = sample_signals(parameters, 2500, seed=4, dtype=torch.float32)
    signals[[3, 2047, 2499]] = torch.tensor([[math.nan], [math.inf], [1e30]])
    whole = gaussians.log_likelihoods(signals)
    for first, last in [(0, 3), (4, 5), (2040, 2047), (2048, 2101), (2490, 2499)]:
        assert torch.equal(gaussians.log_likelihoods(signals[first:last]), whole[first:last])
    assert whole[3].isnan().all()
    assert not whole[4:2047].isnan().any()
    across = torch.empty(n_channels, len(signals)).T
    across.copy_(signals)
    assert torch.equal(gaussians.log_likelihoods(across).nan_to_num(), whole.nan_to_num())
