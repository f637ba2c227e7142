from __future__ import annotations

import dataclasses

import pytest
import torch
from hmm_oracles import random_parameters
from torch.distributions import MultivariateNormal, kl_divergence

from dynml.ops.hmm.state_agreement import divergence_of_states


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_the_divergence_is_that_of_torch_for_the_best_pairs_whatever_the_order(covariance_type):
    first = random_parameters(3, 4, 0, covariance_type=covariance_type)
    second = dataclasses.replace(
        first, means_KC=first.means_KC + 0.1, covariances_KCC=first.covariances_KCC * torch.tensor(1.2)
    )
    expected = 0.0
    for state in range(3):
        one, other = (
            MultivariateNormal(model.means_KC[state], model.full_covariances()[state]) for model in (first, second)
        )
        expected += 0.5 * float(kl_divergence(one, other) + kl_divergence(other, one)) / 3
    for order in ([0, 1, 2], [2, 0, 1]):
        assert divergence_of_states(first, second.permuted(order)) == pytest.approx(expected, rel=1e-9)
        assert divergence_of_states(second.permuted(order), first) == pytest.approx(expected, rel=1e-9)
    assert divergence_of_states(first, first.permuted([1, 2, 0])) == pytest.approx(0, abs=1e-12)
