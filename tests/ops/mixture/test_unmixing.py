"""Modes of known mixtures, and objectives against torch.distributions."""

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from dynml.errors import NotPositiveDefiniteError
from dynml.ops.matching import match_covariances
from dynml.ops.metrics import riemannian_distance
from dynml.ops.mixture.unmixing import unmix_covariances


def known_mixture(n_states, n_modes, n_channels, seed, *, pure, estimated=False):
    """State covariances, occupancies, modes and weights; with `pure`, the first states are the modes."""
    generator = np.random.default_rng(seed)
    bases, _ = np.linalg.qr(generator.normal(size=(n_modes, n_channels, n_channels)))
    modes = (bases * np.exp(generator.normal(size=(n_modes, 1, n_channels)))) @ bases.transpose(0, 2, 1)
    weights = generator.dirichlet(np.full(n_modes, 0.7), n_states)
    if pure:
        weights[:n_modes] = np.eye(n_modes)
    occupancies = generator.integers(500, 2000, n_states)
    states = np.einsum("sj,jab->sab", weights, modes)
    if estimated:
        for state, n_samples in enumerate(occupancies):
            samples = generator.multivariate_normal(np.zeros(n_channels), states[state], size=int(n_samples))
            states[state] = samples.T @ samples / n_samples
    return (torch.from_numpy(array) for array in (states, occupancies, modes, weights))


def unmixing_objective(covariances, occupancies, modes, weights, *, means_SC=None, mode_means_JC=None):
    """Negative log-likelihood per sample of given modes and weights, without C / 2 log 2 pi."""
    mixed = torch.einsum("sj,jab->sab", weights.double(), modes.double())
    targets = covariances.double()
    if means_SC is not None:
        deviations = means_SC.double() - weights.double() @ mode_means_JC.double()
        targets = targets + deviations.unsqueeze(2) * deviations.unsqueeze(1)
    shares = occupancies.double() / occupancies.double().sum()
    divergences = torch.logdet(mixed) + torch.linalg.solve(mixed, targets).diagonal(dim1=1, dim2=2).sum(1)
    return float((0.5 * shares * divergences).sum())


def distances(found, true):
    order = match_covariances(true, found)
    return np.array([riemannian_distance(one, other) for one, other in zip(found[order], true, strict=True)])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("n_states", "n_modes", "n_channels"), [(9, 3, 5), (18, 6, 12)])
def test_modes_are_found_where_some_states_are_pure(n_states, n_modes, n_channels, seed):
    states, occupancies, modes, weights = known_mixture(n_states, n_modes, n_channels, seed, pure=True)
    found = unmix_covariances(states, occupancies, n_modes, generator=np.random.default_rng(0))
    assert distances(found.covariances_JCC, modes).max() < 0.75  # the modes are some 5 apart
    mixed = torch.einsum("sj,jab->sab", found.weights_SJ, found.covariances_JCC)
    assert max(riemannian_distance(one, other) for one, other in zip(mixed, states, strict=True)) < 0.2
    assert found.objective < unmixing_objective(states, occupancies, modes, weights) + 2e-3


@pytest.mark.parametrize("pure", [True, False])
def test_estimated_states_are_explained_no_worse_than_by_the_truth(pure):
    states, occupancies, modes, weights = known_mixture(15, 5, 10, 3, pure=pure, estimated=True)
    found = unmix_covariances(states, occupancies, 5, generator=np.random.default_rng(1))
    assert found.objective < unmixing_objective(states, occupancies, modes, weights)
    nearest = [min(riemannian_distance(mode, state) for state in states) for mode in modes]
    assert np.median(distances(found.covariances_JCC, modes)) < (1.5 if pure else 0.9) * np.median(nearest)


def test_the_prior_keeps_modes_from_being_extreme():
    states, occupancies, modes, _ = known_mixture(18, 6, 12, 0, pure=True)
    options = {"generator": np.random.default_rng(0), "n_starts": 1}
    with_prior = unmix_covariances(states, occupancies, 6, prior=1e-4, **options)
    without = unmix_covariances(states, occupancies, 6, prior=0.0, **options)
    assert distances(without.covariances_JCC, modes).max() > 2 * distances(with_prior.covariances_JCC, modes).max()


def test_the_objective_is_the_negative_log_likelihood_of_the_samples():
    generator = torch.Generator().manual_seed(0)
    weights = torch.tensor([[0.3, 0.7], [0.9, 0.1]], dtype=torch.float64)
    factors = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    modes, mode_means = factors @ factors.mT, torch.randn(2, 3, generator=generator, dtype=torch.float64)
    samples = [torch.randn(n, 3, generator=generator, dtype=torch.float64) + 1 for n in (40, 160)]
    means = torch.stack([each.mean(0) for each in samples])
    covariances = torch.stack([torch.cov(each.T, correction=0) for each in samples])
    mixed, mixed_means = torch.einsum("sj,jab->sab", weights, modes), weights @ mode_means
    total = sum(MultivariateNormal(m, c).log_prob(x).sum() for m, c, x in zip(mixed_means, mixed, samples, strict=True))
    expected = -float(total) / 200 - 1.5 * np.log(2 * np.pi)
    found = unmixing_objective(
        covariances, torch.tensor([40, 160]), modes, weights, means_SC=means, mode_means_JC=mode_means
    )
    assert found == pytest.approx(expected, abs=1e-12)


def test_result_and_objective_belong_together():
    states, occupancies, *_ = known_mixture(10, 3, 6, 4, pure=False)
    found = unmix_covariances(states, occupancies, 3, generator=np.random.default_rng(0), n_steps=40)
    stated = unmixing_objective(states, occupancies, found.covariances_JCC, found.weights_SJ)
    assert found.objective == pytest.approx(stated, abs=1e-10)
    torch.testing.assert_close(found.weights_SJ.sum(1), torch.ones(10, dtype=torch.float64))
    assert found.means_JC is None


def test_means_are_unmixed_too():
    states, occupancies, modes, weights = known_mixture(12, 3, 5, 5, pure=True)
    mode_means = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 10
    means = weights @ mode_means
    found = unmix_covariances(states, occupancies, 3, generator=np.random.default_rng(0), means_SC=means)
    assert found.means_JC is not None
    torch.testing.assert_close(found.weights_SJ @ found.means_JC, means, atol=0.05, rtol=0)
    order = match_covariances(modes, found.covariances_JCC)
    torch.testing.assert_close(found.means_JC[order], mode_means, atol=0.2, rtol=0)
    stated = unmixing_objective(
        states,
        occupancies,
        found.covariances_JCC,
        found.weights_SJ,
        means_SC=means,
        mode_means_JC=found.means_JC,
    )
    assert found.objective == pytest.approx(stated, abs=1e-10)


def test_units_of_the_channels_do_not_matter():
    states, occupancies, *_ = known_mixture(9, 3, 5, 6, pure=True)
    scales = torch.tensor([1e-6, 1.0, 1e3, 2.0, 0.1], dtype=torch.float64)
    outer = scales[:, None] * scales[None, :]
    plain, scaled = (
        unmix_covariances(given, occupancies, 3, generator=np.random.default_rng(0), n_steps=50)
        for given in (states, states * outer)
    )
    torch.testing.assert_close(scaled.covariances_JCC / outer, plain.covariances_JCC, atol=1e-5, rtol=1e-5)
    assert scaled.objective == pytest.approx(plain.objective + float(scales.log().sum()), abs=1e-6)


def test_seeded_and_blind_to_states_without_samples():
    states, occupancies, *_ = known_mixture(8, 3, 4, 7, pure=False)
    first, again = (
        unmix_covariances(states, occupancies, 3, generator=np.random.default_rng(3), n_steps=30) for _ in range(2)
    )
    assert torch.equal(first.covariances_JCC, again.covariances_JCC)
    more = torch.cat([states, torch.full((1, 4, 4), torch.nan, dtype=torch.float64)])
    with_empty = unmix_covariances(
        more, torch.cat([occupancies, torch.zeros(1)]), 3, generator=np.random.default_rng(3), n_steps=30
    )
    assert torch.equal(first.covariances_JCC, with_empty.covariances_JCC)
    assert with_empty.weights_SJ[8].tolist() == pytest.approx([1 / 3] * 3)


def test_as_many_modes_as_states_and_one_mode():
    states, occupancies, *_ = known_mixture(4, 3, 5, 8, pure=False)
    all_of_them = unmix_covariances(states, occupancies, 4, generator=np.random.default_rng(0))
    assert distances(all_of_them.covariances_JCC, states).max() < 1.5
    pooled = (occupancies[:, None, None] * states).sum(0) / occupancies.sum()
    one = unmix_covariances(states, occupancies, 1, generator=np.random.default_rng(0))
    assert riemannian_distance(one.covariances_JCC[0], pooled) < 0.05


def test_a_singular_state_is_named():
    states, occupancies, *_ = known_mixture(4, 2, 3, 9, pure=False)
    states[2] = torch.ones(3, 3, dtype=torch.float64)
    with pytest.raises(NotPositiveDefiniteError, match="State 3 of 4"):
        unmix_covariances(states, occupancies, 2, generator=np.random.default_rng(0))
