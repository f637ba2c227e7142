"""Log-likelihoods of mixed Gaussians and their gradients against torch.distributions in float64."""

import subprocess
import sys

import pytest
import torch
from torch.distributions import MultivariateNormal
from torch.utils._python_dispatch import TorchDispatchMode

from dynml.ops.mixture import mixture_gaussian_terms
from dynml.ops.mixture.mixture_gaussian import mixture_log_likelihood
from dynml.ops.mixture.mixture_gaussian_kernel import lanes_of, packed_positions
from dynml.ops.mixture.mixture_gaussian_terms import compiled_terms, groups_together, inverses_by_whitening, torch_terms

pytestmark = pytest.mark.processor

SIZES = [(1, 1), (2, 3), (3, 1), (4, 2), (5, 6), (20, 6), (37, 3), (80, 2)]
BACKENDS = [compiled_terms, torch_terms]


def mixture_problem(n_samples, n_channels, n_modes, seed=0, condition_number=10.0, dtype=torch.float64):
    """Signals, alpha, means, covariances; every one requires a gradient."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    bases, _ = torch.linalg.qr(normal(n_modes, n_channels, n_channels))
    eigenvalues = torch.logspace(0, -torch.tensor(condition_number).log10().item(), n_channels, dtype=torch.float64)
    covariances = (bases * eigenvalues) @ bases.mT
    alpha = (2 * normal(n_samples, n_modes)).softmax(1)
    mixed = torch.einsum("nj,jab->nab", alpha, covariances)
    means = 0.5 * normal(n_modes, n_channels)
    noise = (torch.linalg.cholesky(mixed) @ normal(n_samples, n_channels, 1)).squeeze(2)
    tensors = alpha @ means + noise, alpha, means, covariances
    return tuple(tensor.to(dtype).requires_grad_() for tensor in tensors)


def by_torch_distributions(signals, alpha, means, covariances):
    mixed = torch.einsum("nj,jab->nab", alpha, 0.5 * (covariances + covariances.mT))
    return MultivariateNormal(alpha @ means, mixed).log_prob(signals)


def weights_of(n_samples, seed=5):
    return torch.randn(n_samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("n_channels", "n_modes"), SIZES)
@pytest.mark.parametrize("n_samples", [1, 41])
def test_values_and_gradients_agree_with_torch_distributions(n_samples, n_channels, n_modes, backend):
    problem = mixture_problem(n_samples, n_channels, n_modes)
    reference = by_torch_distributions(*problem)
    computed = mixture_log_likelihood(*problem, backend=backend)
    torch.testing.assert_close(computed, reference, atol=1e-11, rtol=1e-12)
    weights = weights_of(n_samples)
    expected = torch.autograd.grad((weights * reference).sum(), problem)
    found = torch.autograd.grad((weights * computed).sum(), problem)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10 * float(other.abs().max()), rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n_channels", [1, 3, 6])
def test_gradients_agree_with_differences_of_values(n_channels, backend):
    problem = mixture_problem(5, n_channels, 2, seed=3)
    assert torch.autograd.gradcheck(lambda *inputs: mixture_log_likelihood(*inputs, backend=backend), problem)
    assert torch.autograd.gradcheck(lambda *inputs: mixture_log_likelihood(*inputs, backend=backend).mean(), problem)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("by", ["expected", "other", "mask", "nothing"])
def test_covariance_gradients_are_right_whatever_weights_were_expected(by, backend, monkeypatch):
    problem = mixture_problem(40, 5, 3)
    weights = weights_of(40)
    if by == "mask":
        weights = (weights > 0).double()
    given = {"expected": -0.3 * weights, "mask": weights, "other": weights.flip(0), "nothing": None}[by]
    expected = torch.autograd.grad((weights * by_torch_distributions(*problem)).sum(), problem[3])[0]
    passes = []

    def counting(*inputs, **options):
        passes.append(options)
        return backend(*inputs, **options)

    values = mixture_log_likelihood(*problem, weights=given, backend=counting)
    found = torch.autograd.grad((weights * values).sum(), problem[3])[0]
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
    assert len(passes) == (1 if by in ("expected", "mask") else 2)


def test_all_weights_zero_give_zero_gradients():
    problem = mixture_problem(20, 3, 2)
    values = mixture_log_likelihood(*problem, weights=torch.zeros(20))
    for gradient in torch.autograd.grad((0 * values).sum(), problem):
        assert not gradient.any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("condition_number", "tolerance"), [(1e1, 1e-5), (1e3, 1e-4), (1e5, 5e-3)])
@pytest.mark.parametrize("n_channels", [11, 38, 80])
def test_float32_agrees_with_float64(n_channels, condition_number, tolerance, backend):
    exact = mixture_problem(100, n_channels, 1, condition_number=condition_number)
    rounded = [tensor.detach().float().requires_grad_() for tensor in exact]
    exact = [tensor.detach().double().requires_grad_() for tensor in rounded]
    reference = by_torch_distributions(*exact)
    computed = mixture_log_likelihood(*rounded, backend=backend)
    assert computed.dtype == torch.float32
    torch.testing.assert_close(computed.double(), reference, atol=tolerance * n_channels, rtol=0)
    expected, found = torch.autograd.grad(reference.mean(), exact), torch.autograd.grad(computed.mean(), rounded)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, atol=10 * tolerance * float(other.abs().max()), rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_samples", [1, 7, 8, 16, 17, 700])
def test_compiled_loops_agree_with_torch_whatever_fills_the_lanes(n_samples, dtype):
    signals, alpha, _, covariances = (t.detach() for t in mixture_problem(n_samples, 9, 3, dtype=dtype))
    weights = weights_of(n_samples).to(dtype)
    inputs = signals, alpha, covariances, weights
    ours = compiled_terms(*inputs, covariance_gradient=True, memory=1)
    roomy = compiled_terms(*inputs, covariance_gradient=True)
    theirs = torch_terms(*inputs, covariance_gradient=True)
    tolerance = 2e-4 if dtype == torch.float32 else 1e-11
    for name in ("log_densities", "by_residual", "by_alpha", "by_covariances"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), atol=tolerance, rtol=tolerance)
        torch.testing.assert_close(getattr(ours, name), getattr(roomy, name), atol=tolerance, rtol=tolerance)


def test_numbers_do_not_depend_on_threads(monkeypatch):
    monkeypatch.setattr(mixture_gaussian_terms, "_FLOPS_PER_PIECE", 1e5)
    signals, alpha, _, covariances = (t.detach() for t in mixture_problem(3000, 6, 3, dtype=torch.float32))
    results, before = [], torch.get_num_threads()
    assert len(mixture_gaussian_terms._pieces(3000, 6, 3, 256)) > 3
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            results.append(compiled_terms(signals, alpha, covariances, torch.ones(3000), covariance_gradient=True))
    finally:
        torch.set_num_threads(before)
    for name in ("log_densities", "by_residual", "by_alpha", "by_covariances"):
        assert torch.equal(getattr(results[0], name), getattr(results[1], name))
    reference = torch_terms(signals, alpha, covariances, torch.ones(3000), covariance_gradient=True)
    torch.testing.assert_close(results[1].by_covariances, reference.by_covariances, atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("fault", ["indefinite", "singular", "nan signal", "infinite signal", "nan alpha"])
def test_a_sample_without_a_likelihood_is_nan_and_touches_no_gradient(fault, dtype, backend):
    signals, alpha, means, covariances = (t.detach().clone() for t in mixture_problem(40, 6, 3, dtype=dtype))
    covariances[2] = covariances[0]
    covariances[2, 5] = covariances[2, 4]  # channel 6 repeats channel 5 in mode 3
    covariances[2, :, 5] = covariances[2, :, 4]
    alpha[:, 2] = 0
    bad = 18
    if fault == "indefinite":
        alpha[bad] = torch.tensor([-1.0, 0.0, 0.0])
    elif fault == "singular":
        alpha[bad] = torch.tensor([0.0, 0.0, 1.0])
    elif fault == "nan alpha":
        alpha[bad, 1] = torch.nan
    else:
        signals[bad, 3] = torch.nan if fault == "nan signal" else torch.inf
    problem = [tensor.requires_grad_() for tensor in (signals, alpha, means, covariances)]
    values = mixture_log_likelihood(*problem, backend=backend)
    assert torch.isnan(values).nonzero().tolist() == [[bad]]
    others = torch.arange(40) != bad
    found = torch.autograd.grad(values.sum(), problem)
    alone = [tensor.detach()[others].requires_grad_() for tensor in (signals, alpha)]
    remaining = [tensor.detach().requires_grad_() for tensor in (means, covariances)]
    expected = torch.autograd.grad(mixture_log_likelihood(*alone, *remaining, backend=backend).sum(), alone + remaining)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    for one, other in zip(found[:2], expected[:2], strict=True):
        assert not one[bad].any()
        torch.testing.assert_close(one[others], other, atol=tolerance, rtol=tolerance)
    for one, other in zip(found[2:], expected[2:], strict=True):
        torch.testing.assert_close(one, other, atol=tolerance * float(other.abs().max()), rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_missing_likelihood_in_the_loss_or_kept_out_of_it_spoils_no_gradient(backend):
    signals, alpha, means, covariances = (t.detach().clone() for t in mixture_problem(30, 4, 2))
    alpha[11] = -alpha[11]
    problem = [tensor.requires_grad_() for tensor in (signals, alpha, means, covariances)]
    passes = []

    def counting(*inputs, **options):
        passes.append(options)
        return backend(*inputs, **options)

    values = mixture_log_likelihood(*problem, backend=counting)
    kept_out = torch.autograd.grad(torch.where(torch.isnan(values), 0.0, values).sum(), problem, retain_graph=True)
    assert len(passes) == 1
    in_it = torch.autograd.grad(values.square().sum(), problem)
    assert all(gradient.isfinite().all() and gradient.any() for gradient in [*kept_out, *in_it])


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_what_is_asked_for_is_computed(backend):
    wanted = []

    def recording(*inputs, **options):
        wanted.append((options.get("gradients", False), options.get("covariance_gradient", False)))
        return backend(*inputs, **options)

    signals, alpha, means, covariances = (t.detach() for t in mixture_problem(10, 3, 2))
    mixture_log_likelihood(signals, alpha, means, covariances, backend=recording)
    with torch.no_grad():
        mixture_log_likelihood(signals, alpha.clone().requires_grad_(), means, covariances, backend=recording)
    fixed = mixture_log_likelihood(signals, alpha.clone().requires_grad_(), None, covariances, backend=recording)
    mixture_log_likelihood(signals, alpha, None, covariances.clone().requires_grad_(), backend=recording)
    assert wanted == [(False, False), (False, False), (True, False), (True, True)]
    fixed.sum().backward()
    assert len(wanted) == 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_zero_means_leading_dimensions_and_other_types(backend):
    signals, alpha, means, covariances = (t.detach() for t in mixture_problem(24, 4, 2))
    flat = mixture_log_likelihood(signals, alpha, torch.zeros_like(means), covariances, backend=backend)
    without = mixture_log_likelihood(signals.view(4, 6, 4), alpha.view(4, 6, 2), None, covariances, backend=backend)
    torch.testing.assert_close(without.flatten(), flat, atol=1e-12, rtol=0)
    assert without.shape == (4, 6)
    mixed_types = mixture_log_likelihood(signals.float(), alpha, means, covariances.requires_grad_(), backend=backend)
    assert mixed_types.dtype == torch.float32
    assert torch.autograd.grad(mixed_types.sum(), covariances)[0].dtype == torch.float64


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_does_not_reach_inside(backend):
    problem = mixture_problem(30, 20, 3, dtype=torch.float32)
    outside = mixture_log_likelihood(*problem, backend=backend)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = mixture_log_likelihood(*problem, backend=backend)
        assert torch.equal(inside, outside)
        found = torch.autograd.grad(inside.sum(), problem)
    expected = torch.autograd.grad(outside.sum(), problem)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_samples_give_none(backend):
    signals, alpha, means, covariances = mixture_problem(8, 3, 2)
    values = mixture_log_likelihood(signals[:0], alpha[:0], means, covariances, backend=backend)
    assert values.shape == (0,)
    gradients = torch.autograd.grad(values.sum(), (means, covariances))
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_diagonal_covariances(dtype):
    signals, alpha, means, covariances = mixture_problem(50, 7, 3, dtype=dtype)
    variances = covariances.detach().diagonal(dim1=1, dim2=2).clone().requires_grad_()
    problem = signals, alpha, means, variances
    computed = mixture_log_likelihood(*problem)
    exact = [tensor.detach().double().requires_grad_() for tensor in problem]
    reference = by_torch_distributions(*exact[:3], torch.diag_embed(exact[3]))
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    torch.testing.assert_close(computed.double(), reference, atol=tolerance, rtol=tolerance)
    found, expected = torch.autograd.grad(computed.sum(), problem), torch.autograd.grad(reference.sum(), exact)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, atol=tolerance * float(other.abs().max()), rtol=0)


def test_diagonal_covariances_without_a_likelihood():
    signals, alpha, _, _ = (t.detach().clone() for t in mixture_problem(10, 3, 2))
    variances = torch.tensor([[1.0, 2.0, 0.5], [1.0, -1.0, 1.0]], dtype=torch.float64, requires_grad=True)
    alpha[:, 1], alpha[:, 0] = 0.0, 1.0
    alpha[4] = torch.tensor([0.0, 1.0])
    signals[7, 0] = torch.nan
    values = mixture_log_likelihood(signals, alpha.requires_grad_(), None, variances)
    assert torch.isnan(values).nonzero().flatten().tolist() == [4, 7]
    by_alpha, by_variances = torch.autograd.grad(values.sum(), (alpha, variances))
    assert not by_alpha[[4, 7]].any()
    assert by_alpha.isfinite().all()
    assert by_variances.isfinite().all()
    assert not by_variances[1].any()


def test_packing_covers_the_lower_triangle_once():
    for n_channels in (1, 2, 3, 4, 5, 11, 20):
        positions = packed_positions(n_channels)
        rows, columns = torch.tril_indices(n_channels, n_channels)
        assert sorted(positions[positions >= 0].tolist()) == sorted((rows * n_channels + columns).tolist())
        assert len(positions) % 16 == 0


def test_inverses_by_whitening():
    _, _, _, covariances = mixture_problem(1, 9, 4)
    inverses = inverses_by_whitening(torch.linalg.cholesky(covariances))
    torch.testing.assert_close(inverses, torch.linalg.inv(covariances), atol=1e-10, rtol=0)


class LargestTensor(TorchDispatchMode):
    """Bytes of the largest tensor that any operation makes."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel() * tensor.element_size())
        return result


def test_torch_makes_no_matrices_beyond_its_chunk():
    signals, alpha, _, covariances = mixture_problem(2000, 16, 2)
    with LargestTensor() as tensors:
        mixture_log_likelihood(signals, alpha, None, covariances, backend=torch_terms, memory=2**17).sum().backward()
    assert tensors.largest <= max(2**17, 8 * 2000 * 16)
    assert 2000 * 16**2 * 8 > 10 * 2**17


def test_groups_share_the_memory_that_is_given():
    bytes_of_group = len(packed_positions(20)) * lanes_of(torch.zeros(0).numpy().dtype) * 4
    assert groups_together(20, torch.float32, 3 * bytes_of_group) == 3
    assert groups_together(20, torch.float32, 1) == 1


MEMORY_PROGRAM = """
import resource, torch
from dynml.ops.mixture.mixture_gaussian import mixture_log_likelihood
torch.set_num_threads(1)
covariances = torch.eye(60).repeat(3, 1, 1).requires_grad_()
def step(n):
    signals, alpha = torch.randn(n, 60), torch.full((n, 3), 1 / 3, requires_grad=True)
    mixture_log_likelihood(signals, alpha, None, covariances).mean().backward()
step(500)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
step(12_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_compiled_loops_keep_no_matrix_of_a_sample():
    finished = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM], capture_output=True, text=True, check=True, timeout=1800
    )
    kibibytes = int(finished.stdout) if sys.platform != "darwin" else int(finished.stdout) // 1024
    assert kibibytes < 24 * 1024  # the signals are 3 MiB; a (C, C) matrix of every sample would be 165 MiB
