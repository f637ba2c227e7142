"""M-step: closed form, priors, empty states, and an objective that never falls."""

import dataclasses

import pytest
import torch
from hmm_oracles import random_parameters, sample_signals
from hypothesis import given, settings
from hypothesis import strategies as st

from dynml.ops.hmm.gaussian_hmm import (
    CovariancePrior,
    GaussianHMMParameters,
    e_step,
    log_likelihood,
    log_prior,
    m_step,
    revive_state,
)


def problem(covariance_type="full", seed=0, n_samples=400):
    truth = random_parameters(3, 4, seed + 100, covariance_type=covariance_type)
    signals = sample_signals(truth, n_samples, seed)
    start = random_parameters(3, 4, seed, covariance_type=covariance_type)
    return signals, [0, 150, 151, n_samples], start


def with_fields(parameters, **fields):
    return dataclasses.replace(parameters, **fields)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    covariance_type=st.sampled_from(["full", "diagonal"]),
    learn_means=st.booleans(),
    pseudo_samples=st.sampled_from([None, 0.5, 20.0]),
    pseudo_counts=st.sampled_from([None, 0.3, 5.0]),
    learn_transitions=st.booleans(),
)
def test_the_penalised_objective_never_falls(
    seed, covariance_type, learn_means, pseudo_samples, pseudo_counts, learn_transitions
):
    signals, starts, parameters = problem(covariance_type, seed)
    if not learn_means:
        parameters = with_fields(parameters, means_KC=torch.zeros(3, 4))
    pooled = signals.T @ signals / len(signals)
    priors = {
        "covariance_prior": None if pseudo_samples is None else CovariancePrior(pseudo_samples, pooled),
        "transition_prior": pseudo_counts,
    }
    last = -torch.inf
    for _ in range(8):
        statistics, _, _ = e_step(signals, starts, parameters)
        objective = statistics.log_likelihood + log_prior(parameters, **priors)
        assert objective >= last - 1e-8 * abs(objective)
        last = objective
        parameters, _ = m_step(
            statistics, parameters, learn_means=learn_means, learn_transitions=learn_transitions, **priors
        )


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_the_m_step_is_a_stationary_point_of_the_penalised_expected_log_likelihood(covariance_type):
    signals, starts, parameters = problem(covariance_type)
    prior = CovariancePrior(7.0, torch.eye(4) * 2)
    statistics, _, posteriors = e_step(signals, starts, parameters, posteriors=True)
    updated, _ = m_step(statistics, parameters, covariance_prior=prior)

    def objective(means, covariances):
        total = log_prior(with_fields(updated, covariances_KCC=covariances), covariance_prior=prior)
        for state in range(3):
            matrix = covariances[state] if covariances.ndim == 3 else torch.diag(covariances[state])
            density = torch.distributions.MultivariateNormal(means[state], matrix)
            total += float((posteriors[:, state] * density.log_prob(signals)).sum())
        return total

    best = objective(updated.means_KC, updated.covariances_KCC)
    generator = torch.Generator().manual_seed(0)
    for size in (1e-2, 1e-3):
        for _ in range(5):
            step = torch.randn(updated.covariances_KCC.shape, generator=generator, dtype=torch.float64) * size
            step = step + step.mT if step.ndim == 3 else step
            assert objective(updated.means_KC, updated.covariances_KCC + step) < best
            step = torch.randn(updated.means_KC.shape, generator=generator, dtype=torch.float64) * size
            assert objective(updated.means_KC + step, updated.covariances_KCC) < best


def test_closed_forms_by_hand():
    signals, starts, parameters = problem()
    statistics, _, posteriors = e_step(signals, starts, parameters, posteriors=True)
    pooled = torch.eye(4).double() * 3
    updated, _ = m_step(
        statistics,
        parameters,
        covariance_prior=CovariancePrior(10, pooled),
        transition_prior=2.0,
        covariances_epsilon=0.25,
    )
    weight = posteriors[:, 1]
    mean = (weight[:, None] * signals).sum(0) / weight.sum()
    centred = signals - mean
    scatter = (weight[:, None] * centred).T @ centred
    torch.testing.assert_close(updated.means_KC[1], mean)
    expected = (scatter + 10 * pooled) / (weight.sum() + 10) + 0.25 * torch.eye(4)
    torch.testing.assert_close(updated.covariances_KCC[1], expected)
    counts = statistics.transitions_KK + 2
    torch.testing.assert_close(updated.transition_probabilities_KK, counts / counts.sum(1, keepdim=True))
    torch.testing.assert_close(updated.initial_probabilities_K, posteriors[[0, 150, 151]].mean(0))


def test_fixed_means_make_covariances_second_moments_about_them():
    signals, starts, parameters = problem()
    statistics, _, posteriors = e_step(signals, starts, parameters, posteriors=True)
    updated, _ = m_step(statistics, parameters, learn_means=False)
    assert torch.equal(updated.means_KC, parameters.means_KC)
    centred = signals - parameters.means_KC[2]
    expected = (posteriors[:, 2, None] * centred).T @ centred / posteriors[:, 2].sum()
    torch.testing.assert_close(updated.covariances_KCC[2], expected)


def test_what_is_not_learnt_stays():
    signals, starts, parameters = problem()
    statistics, _, _ = e_step(signals, starts, parameters)
    updated, _ = m_step(
        statistics,
        parameters,
        learn_means=False,
        learn_covariances=False,
        learn_transitions=False,
        learn_initial_probabilities=False,
    )
    for field in dataclasses.fields(parameters):
        assert torch.equal(getattr(updated, field.name), getattr(parameters, field.name))


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
@pytest.mark.parametrize("prior", [None, CovariancePrior(5, torch.eye(4))])
def test_an_empty_state_keeps_its_parameters_and_is_reported(covariance_type, prior):
    signals, starts, parameters = problem(covariance_type)
    far = parameters.means_KC.clone()
    far[1] = 1e4
    parameters = with_fields(parameters, means_KC=far)
    for _ in range(3):
        statistics, _, _ = e_step(signals, starts, parameters)
        updated, empty = m_step(statistics, parameters, covariance_prior=prior)
        assert empty.states == (1,)
        assert empty.occupancies[0] < 1e-6
        for field in dataclasses.fields(updated):
            assert torch.isfinite(getattr(updated, field.name)).all()
        assert torch.equal(updated.means_KC[1], parameters.means_KC[1])
        assert torch.equal(updated.covariances_KCC[1], parameters.covariances_KCC[1])
        assert torch.equal(updated.transition_probabilities_KK[1], parameters.transition_probabilities_KK[1])
        rows = updated.transition_probabilities_KK.sum(1)
        torch.testing.assert_close(rows, torch.ones(3).double())
        parameters = updated


def test_a_row_without_transitions_is_kept():
    parameters = random_parameters(3, 4, seed=1)
    signals = sample_signals(parameters, 40, seed=1)
    statistics, _, _ = e_step(signals, list(range(41)), parameters)  # one-sample segments: no transition at all
    assert statistics.transitions_KK.sum() == 0
    updated, _ = m_step(statistics, parameters)
    assert torch.equal(updated.transition_probabilities_KK, parameters.transition_probabilities_KK)


def with_empty_state(parameters):
    """The same model with an additional state that nothing ever reaches."""
    transitions = torch.zeros(4, 4).double()
    transitions[:3, :3] = parameters.transition_probabilities_KK
    transitions[3] = 0.25
    return GaussianHMMParameters(
        torch.cat([parameters.means_KC, torch.zeros(1, 4)]),
        torch.cat([parameters.covariances_KCC, parameters.covariances_KCC[:1]]),
        torch.cat([parameters.initial_probabilities_K, torch.zeros(1)]),
        transitions,
    )


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
@pytest.mark.parametrize("learn_means", [True, False])
def test_reviving_splits_the_most_occupied_state_and_keeps_its_moments(covariance_type, learn_means):
    _, _, parameters = problem(covariance_type)
    revived = revive_state(
        with_empty_state(parameters), 3, torch.tensor([10.0, 50.0, 20.0, 0.0]), learn_means=learn_means
    )
    covariances, means = revived.full_covariances(), revived.means_KC
    assert (torch.linalg.eigvalsh(covariances) > 0).all()
    between = 0.25 * torch.outer(means[3] - means[1], means[3] - means[1])
    torch.testing.assert_close(0.5 * (means[1] + means[3]), parameters.means_KC[1])
    within = 0.5 * (covariances[1] + covariances[3])
    torch.testing.assert_close(within + between, parameters.full_covariances()[1])
    assert not torch.allclose(covariances[1] + torch.diag(means[1]), covariances[3] + torch.diag(means[3]))
    torch.testing.assert_close(revived.transition_probabilities_KK.sum(1), torch.ones(4).double())
    assert torch.equal(revived.transition_probabilities_KK[:, 1], revived.transition_probabilities_KK[:, 3])


def test_reviving_without_the_split_leaves_the_likelihood_and_em_then_improves_it():
    signals, starts, parameters = problem()
    before = log_likelihood(signals, starts, parameters).sum().item()
    extended = with_empty_state(parameters)
    assert log_likelihood(signals, starts, extended).sum().item() == pytest.approx(before, rel=1e-12)
    statistics, _, _ = e_step(signals, starts, extended)
    revived = revive_state(extended, 3, statistics.occupancies_K)
    donor = int(statistics.occupancies_K.argmax())
    twins_means, twins_covariances = revived.means_KC.clone(), revived.covariances_KCC.clone()
    twins_means[[3, donor]], twins_covariances[[3, donor]] = (
        extended.means_KC[donor],
        extended.covariances_KCC[donor],
    )
    unsplit = with_fields(revived, means_KC=twins_means, covariances_KCC=twins_covariances)
    assert log_likelihood(signals, starts, unsplit).sum().item() == pytest.approx(before, rel=1e-12)
    plain, split = parameters, revived
    for _ in range(20):
        plain, _ = m_step(e_step(signals, starts, plain)[0], plain)
        split, empty = m_step(e_step(signals, starts, split)[0], split)
    assert not empty
    assert log_likelihood(signals, starts, split).sum() > log_likelihood(signals, starts, plain).sum()


def test_reviving_leaves_transitions_that_are_not_learnt():
    _, _, parameters = problem()
    extended = with_empty_state(parameters)
    revived = revive_state(extended, 3, torch.tensor([10.0, 50.0, 20.0, 0.0]), learn_transitions=False)
    assert torch.equal(revived.transition_probabilities_KK, extended.transition_probabilities_KK)
    assert revived.initial_probabilities_K[3] == revived.initial_probabilities_K[1] > 0
