"""Covariances of unconstrained vectors: entry by entry, back and forth, and their gradients."""

import math

import pytest
import torch

from dynml.errors import NotPositiveDefiniteError
from dynml.ops.mixture.cholesky_parameters import (
    DIAGONAL_SHIFT,
    cholesky_factors,
    covariances_from_vectors,
    inverse_softplus,
    n_cholesky_parameters,
    variances_from_vectors,
    vectors_from_covariances,
    vectors_from_variances,
)


def random_covariances(n_modes, n_channels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    factors = torch.randn(n_modes, n_channels, 2 * n_channels, generator=generator, dtype=torch.float64)
    return factors @ factors.mT / (2 * n_channels)


def test_entries_stand_row_by_row_with_softplus_on_the_diagonal():
    vector = torch.tensor([[0.3, -1.0, 2.0, 4.0, -5.0, -0.7]], dtype=torch.float64)

    def softplus(v):
        return math.log(1 + math.exp(v)) + 1e-5

    expected = [[softplus(0.3), 0, 0], [-1.0, softplus(2.0), 0], [4.0, -5.0, softplus(-0.7)]]
    factor = torch.tensor([expected], dtype=torch.float64)
    torch.testing.assert_close(cholesky_factors(vector), factor, atol=1e-14, rtol=0)
    covariance = factor @ factor.mT + 0.25 * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(covariances_from_vectors(vector, 0.25), covariance, atol=1e-13, rtol=0)


@pytest.mark.parametrize("epsilon", [0.0, 1e-6, 1e-2])
@pytest.mark.parametrize("n_channels", [1, 2, 3, 20, 37])
def test_there_and_back(n_channels, epsilon):
    covariances = random_covariances(3, n_channels, seed=n_channels)
    vectors = vectors_from_covariances(covariances, epsilon)
    assert vectors.shape == (3, n_cholesky_parameters(n_channels))
    torch.testing.assert_close(covariances_from_vectors(vectors, epsilon), covariances, atol=1e-12, rtol=1e-10)
    variances = covariances.diagonal(dim1=1, dim2=2)
    recovered = variances_from_vectors(vectors_from_variances(variances, epsilon), epsilon)
    torch.testing.assert_close(recovered, variances, atol=1e-13, rtol=1e-12)


def test_float32_stays_float32():
    vectors = vectors_from_covariances(random_covariances(2, 5).float(), 1e-6)
    assert vectors.dtype == torch.float32
    assert covariances_from_vectors(vectors, 1e-6).dtype == torch.float32
    assert variances_from_vectors(vectors_from_variances(torch.ones(2, 5))).dtype == torch.float32


def test_gradients():
    vectors = torch.randn(2, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: covariances_from_vectors(v, 1e-3), vectors)
    assert torch.autograd.gradcheck(lambda v: variances_from_vectors(v, 1e-3), vectors)


def test_any_vector_gives_a_positive_definite_covariance():
    vectors = 30 * torch.randn(50, 15, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    factors = cholesky_factors(vectors)
    assert float(factors.diagonal(dim1=1, dim2=2).min()) >= DIAGONAL_SHIFT
    assert torch.equal(factors, factors.tril())


@pytest.mark.parametrize("value", [1e-12, 1e-3, 1.0, 30.0, 1e4])
def test_inverse_softplus(value):
    given = torch.tensor(value, dtype=torch.float64)
    recovered = torch.nn.functional.softplus(inverse_softplus(given))
    torch.testing.assert_close(recovered, given, rtol=1e-10, atol=0)


@pytest.mark.parametrize("fault", ["indefinite", "below epsilon", "nan"])
def test_the_first_mode_that_cannot_be_factored_is_named(fault):
    covariances = random_covariances(4, 3) + torch.eye(3).double()
    covariances[2] = {"indefinite": -1.0, "below epsilon": 0.05, "nan": math.nan}[fault] * torch.eye(3).double()
    with pytest.raises(NotPositiveDefiniteError, match="Mode 3 of 4"):
        vectors_from_covariances(covariances, 0.1)
    with pytest.raises(NotPositiveDefiniteError, match="Mode 3 of 4"):
        vectors_from_variances(covariances.diagonal(dim1=1, dim2=2), 0.1)
