"""Revival by the data: the state that hides two is found and split, and EM then reaches the optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynml.ops.hmm.gaussian_hmm import CovariancePrior, GaussianHMMParameters, e_step, m_step
from dynml.ops.hmm.state_initialization import parameters_from_labels, stay_or_jump
from dynml.ops.hmm.state_revival import revive_from_data

EMPTY = 2


def simulated(n_samples=8000, seed=0):
    """Four hidden states in six channels: 0 takes more than half, 1 is one Gaussian, 2 and 3 differ a little."""
    generator = np.random.default_rng(seed)
    chain = np.array([[0.97, 0.01, 0.01, 0.01], [0.06, 0.94, 0, 0], [0.06, 0, 0.9, 0.04], [0.06, 0, 0.04, 0.9]])
    states = np.zeros(n_samples, dtype=np.int64)
    for t in range(1, n_samples):
        states[t] = generator.choice(4, p=chain[states[t - 1]])
    scales = np.array([[1.0] * 6, [5, 5, 5, 1, 1, 1], [0.2, 0.2, 0.2, 2, 0.5, 1], [0.2, 0.2, 0.2, 0.5, 2, 1]])
    signals = generator.standard_normal((n_samples, 6)) * scales[states]
    return torch.from_numpy(signals.astype(np.float32)), np.array([0, 3000, n_samples]), states


def with_an_empty_state(signals, states, **settings):
    """States 2 and 3 are one, and a fourth one, in the place of state 2, is where no sample is."""
    labels = torch.from_numpy(np.where(states == 3, 2, states))
    three = parameters_from_labels(
        signals, labels, stay_or_jump(3, 0.95), generator=np.random.default_rng(0), **settings
    )
    transitions = torch.zeros(4, 4, dtype=torch.float64)
    kept = torch.tensor([0, 1, 3])
    transitions[kept[:, None], kept] = three.transition_probabilities_KK
    transitions[EMPTY] = 0.25
    order = torch.tensor([0, 1, 0, 2])
    means, covariances = three.means_KC[order], three.covariances_KCC[order].clone()
    covariances[EMPTY] *= 1e8
    initial = torch.tensor([1, 1, 0, 1]) / 3
    return GaussianHMMParameters(means, covariances, initial, transitions)


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
@pytest.mark.parametrize(("learn_means", "masked_share"), [(True, 0.0), (False, 0.0), (True, 0.15)])
def test_the_state_that_hides_two_is_split_although_another_is_the_most_occupied(
    covariance_type, learn_means, masked_share
):
    signals, starts, states = simulated()
    observed = np.random.default_rng(1).random(len(signals)) >= masked_share
    signals[torch.from_numpy(~observed)] = torch.nan
    settings = {"learn_means": learn_means, "covariance_type": covariance_type}
    parameters = with_an_empty_state(signals, states, **settings)
    occupancies = e_step(signals, starts, parameters)[0].occupancies_K
    assert occupancies[EMPTY] < 1
    assert occupancies[0] > 2 * occupancies[3]
    revived = revive_from_data(
        signals, starts, parameters, EMPTY, generator=np.random.default_rng(0), learn_means=learn_means
    )
    for state in (0, 1):
        assert torch.equal(revived.covariances_KCC[state], parameters.covariances_KCC[state])
        assert torch.equal(revived.means_KC[state], parameters.means_KC[state])
    torch.testing.assert_close(revived.transition_probabilities_KK.sum(1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(float(revived.initial_probabilities_K.sum()), 1.0)
    _, _, posteriors = e_step(signals, starts, revived, posteriors=True)
    found = posteriors.argmax(1).numpy()
    agreement = max(np.mean((order[found] == states)[observed]) for order in (np.arange(4), np.array([0, 1, 3, 2])))
    assert agreement > 0.93
    truth = parameters_from_labels(
        signals, torch.from_numpy(states), stay_or_jump(4, 0.95), generator=np.random.default_rng(0), **settings
    )
    energies = []
    for model in (revived, truth):
        for _ in range(12):
            model, _ = m_step(e_step(signals, starts, model)[0], model, learn_means=learn_means)
        energies.append(e_step(signals, starts, model)[0].free_energy)
    assert energies[0] == pytest.approx(energies[1], abs=1e-4)


def test_what_is_fixed_stays():
    signals, starts, states = simulated()
    parameters = with_an_empty_state(signals, states)
    means = torch.tensor([[0.5] * 6, [0.0] * 6, [9.0] * 6, [-0.1] * 6])
    parameters = GaussianHMMParameters(
        means, parameters.covariances_KCC, parameters.initial_probabilities_K, stay_or_jump(4, 0.9)
    )
    settings = {"generator": np.random.default_rng(0), "learn_means": False, "learn_transitions": False}
    revived = revive_from_data(signals, starts, parameters, EMPTY, **settings)
    assert torch.equal(revived.transition_probabilities_KK, parameters.transition_probabilities_KK)
    donor = [state for state in (0, 1, 3) if torch.equal(revived.means_KC[state], revived.means_KC[EMPTY])]
    assert donor == [3]
    assert torch.equal(revived.means_KC[[0, 1, 3]], parameters.means_KC[[0, 1, 3]])


def test_the_halves_follow_each_other_as_in_the_data():
    signals, starts, states = simulated(20_000)
    parameters = with_an_empty_state(signals, states)
    revived = revive_from_data(signals, starts, parameters, EMPTY, generator=np.random.default_rng(0))
    pair = torch.tensor([EMPTY, 3])
    within = revived.transition_probabilities_KK[pair[:, None], pair]
    torch.testing.assert_close(within / within.sum(1, keepdim=True), stay_or_jump(2, 0.9 / 0.94), atol=0.02, rtol=0)


def test_with_too_few_samples_to_cluster_the_most_occupied_state_is_split_along_its_axis():
    signals, _, states = simulated()
    parameters = with_an_empty_state(signals, states)
    revived = revive_from_data(signals[:15], [0, 15], parameters, EMPTY, generator=np.random.default_rng(0))
    halves = 0.5 * (revived.means_KC[0] + revived.means_KC[EMPTY])
    torch.testing.assert_close(halves, parameters.means_KC[0])
    assert torch.equal(revived.means_KC[[1, 3]], parameters.means_KC[[1, 3]])


def test_masked_samples_do_not_make_a_state_large_enough_to_be_split():
    signals, _, states = simulated()
    parameters = with_an_empty_state(signals, states)
    few = torch.full((300, 6), torch.nan)
    few[::20] = signals[:15]
    revived = revive_from_data(few, [0, 300], parameters, EMPTY, generator=np.random.default_rng(0))
    halves = 0.5 * (revived.means_KC[0] + revived.means_KC[EMPTY])
    torch.testing.assert_close(halves, parameters.means_KC[0])


def test_a_state_that_is_constant_in_a_direction_is_split_under_a_prior():
    signals, starts, states = simulated()
    signals[:, 5] = signals[:, 4]
    prior = CovariancePrior(5.0, torch.eye(6))
    parameters = with_an_empty_state(signals, states, prior=prior)
    revived = revive_from_data(signals, starts, parameters, EMPTY, generator=np.random.default_rng(0), prior=prior)
    assert np.isfinite(e_step(signals, starts, revived)[0].log_likelihood)
    assert (torch.linalg.eigvalsh(revived.covariances_KCC) > 0).all()
