"""Starts of the HMM: when there are enough, and how an empty state restarts."""

from __future__ import annotations

import math

import pytest
import torch

from dynml import MultiSubjectDataset
from dynml.models.hmm.config import HMMConfig, HMMInitializationConfig
from dynml.models.hmm.model import GaussianHMM
from dynml.models.hmm.starts import PackedSegments, Start, enough_starts, make_start, revive, scores_of_starts
from dynml.ops.hmm.gaussian_hmm import GaussianHMMParameters
from dynml.training.data.em import MStepSettings, run_em


def parameters_of(*variances):
    """States with means of zero and diagonal covariances of a single variance."""
    covariances = torch.tensor(variances).view(-1, 1, 1) * torch.eye(2)
    n_states = len(variances)
    return GaussianHMMParameters(
        torch.zeros(n_states, 2),
        covariances,
        torch.ones(n_states) / n_states,
        torch.ones(n_states, n_states) / n_states,
    )


def starts_with(*objectives):
    return [Start(parameters_of(1.0, 4.0), 0.0, objective) for objective in objectives]


@pytest.mark.parametrize(
    ("objectives", "enough"),
    [
        ([], None),
        ([5.0], None),
        ([5.0, 5.00005], 2),
        ([5.0, 5.0002], None),
        ([5.0, 5.0002, 5.00025], 3),  # all that there may be, though the two worse ones alone agree
        ([5.00025, 5.0002, 5.0], 2),  # what comes after two that agree would not have been made
        ([7.0, 5.0, 5.00001], 3),
        ([7.0, 6.0, 5.0], 3),
        ([5.0, math.nan], None),
    ],
)
def test_starts_are_enough_when_the_two_best_agree_or_all_are_made(objectives, enough):
    assert enough_starts(starts_with(*objectives), HMMInitializationConfig(n_init=3, agreement=1e-4)) == enough


def test_scores_of_starts_say_how_far_their_states_are_from_the_best_ones():
    starts = [
        Start(parameters_of(*variances), 1.0, objective)
        for variances, objective in (((1.0, 4.0), 5.0), ((4.0, 2.0), 4.0))
    ]
    scores = scores_of_starts(starts)
    # Of two channels with variances 1 and 2: 2 * (1/2 + 2 - 2) / 4, and 0 for the other one of two states.
    assert [score["divergence_from_best"] for score in scores] == pytest.approx([2 * 0.5 / 4 / 2, 0.0], abs=1e-6)
    assert [score["objective"] for score in scores] == [5.0, 4.0]
    singular = Start(parameters_of(0.0, 4.0), 1.0, 6.0)
    assert math.isnan(scores_of_starts([*starts, singular])[2]["divergence_from_best"])


def test_starts_that_are_equally_good_by_chance_do_not_agree():
    config = HMMInitializationConfig(n_init=4)
    same = [Start(parameters_of(*variances), 0.0, 5.0) for variances in ((1.0, 4.0), (4.001, 1.0))]
    other = Start(parameters_of(1.0, 6.0), 0.0, 5.0)
    assert enough_starts(same, config) == 2
    assert enough_starts([same[0], other], config) is None
    assert enough_starts([same[0], other, Start(same[1].parameters, 0.0, 4.99999)], config) == 3


def test_with_zero_agreement_all_starts_are_made():
    config = HMMInitializationConfig(n_init=3, agreement=0.0)
    assert enough_starts(starts_with(5.0, 5.0), config) is None
    assert enough_starts(starts_with(5.0, 5.0, 5.0), config) == 3


def test_one_start_may_be_all():
    assert enough_starts(starts_with(5.0), HMMInitializationConfig(n_init=1)) == 1


@pytest.fixture
def subset(simulation):
    return MultiSubjectDataset.from_arrays(simulation.time_series).training_set


def test_a_start_depends_on_seed_and_number_alone(subset):
    model, config, settings = GaussianHMM(HMMConfig(n_states=3), 6), HMMInitializationConfig(), MStepSettings()
    first, again, other = (make_start(number, subset, model, config, settings, 7) for number in (1, 1, 2))
    for name, tensor in first.parameters.to_dictionary().items():
        assert torch.equal(tensor, again.parameters.to_dictionary()[name])
    assert not torch.equal(first.parameters.covariances_KCC, other.parameters.covariances_KCC)
    assert first.objective == pytest.approx(other.objective, abs=1e-4)


@pytest.mark.parametrize("jitter", [0.0, 1e-3])
def test_em_from_a_revived_state_reaches_the_optimum_of_a_good_start(subset, jitter):
    model, config, settings = GaussianHMM(HMMConfig(n_states=3), 6), HMMInitializationConfig(), MStepSettings()
    start = make_start(0, subset, model, config, settings, 7)
    means = start.parameters.means_KC.clone()
    means[2] = 1000.0
    broken = {**start.parameters.to_dictionary(), "means_KC": means}
    two_left = run_em(whole(subset), type(start.parameters)(**broken), settings, n_iterations=0).parameters
    arguments = (2, 0, two_left, subset, config, settings, 7)
    revived = revive(*arguments, jitter=jitter)
    assert torch.equal(revived.covariances_KCC, revive(*arguments, jitter=jitter).covariances_KCC)
    found = run_em(whole(subset), revived, settings, n_iterations=15)
    best = run_em(whole(subset), start.parameters, settings, n_iterations=15)
    assert found.free_energy == pytest.approx(best.free_energy, abs=1e-3)


def whole(subset):
    table = subset.segments
    rows = [subset.read(int(table.subject[i]), int(table.start[i]), int(table.stop[i])) for i in range(len(table))]
    starts = torch.tensor([0, *torch.tensor([len(row) for row in rows]).cumsum(0).tolist()])
    return [PackedSegments(torch.cat(rows), starts)]
