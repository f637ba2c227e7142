"""Priors and constraints that are settings of the HMM: sticky and allowed transitions, a tied covariance."""

import itertools

import numpy as np
import pytest
import torch

from dynml import BatchLoader, BatchSampler, GaussianHMM, HMMConfig, HMMTrainer, MultiSubjectDataset
from dynml.errors import ConfigurationError
from dynml.models.hmm.config import HMMTrainerConfig
from dynml.models.hmm.inference import n_free_parameters_of
from dynml.models.hmm.priors import allowed_transitions_of, transition_prior_of
from dynml.ops.hmm.gaussian_hmm import m_step, statistics_of_posteriors

CYCLE = [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]]


def cyclic_series(n_samples, seed, stay=0.95):
    """Four states one after another, each with a mean of its own, and noise of unit variance."""
    generator = np.random.default_rng(seed)
    states = np.cumsum(generator.random(n_samples) > stay) % 4
    return (2.5 * np.eye(4)[states] + generator.normal(size=(n_samples, 4))).astype(np.float32)


@pytest.fixture(scope="module")
def dataset():
    arrays = [cyclic_series(1000, seed) for seed in range(2)]
    return MultiSubjectDataset.from_arrays(arrays, sampling_frequency=100.0, standardization="none")


def trained(dataset, folder, **settings):
    model = GaussianHMM(HMMConfig(n_states=4, **settings), 4)
    loader = BatchLoader(dataset, model, collate="packed")
    config = HMMTrainerConfig(max_epochs=15, tolerance=0.0)
    trainer = HMMTrainer(model, folder, "run", BatchSampler(dataset), loader, config=config, progress=False)
    trainer.train_and_validate()
    return model, np.array([row["training_objective"] for row in trainer.history.rows])


def test_only_allowed_transitions_are_learnt_and_the_cycle_is_found(dataset, tmp_path):
    model, objective = trained(dataset, tmp_path, allowed_transitions=CYCLE)
    learnt = model.transition_probabilities.numpy()
    assert (learnt[np.array(CYCLE) == 0] == 0).all()
    np.testing.assert_allclose(learnt.diagonal(), 0.95, atol=0.03)
    # Numbered along the cycle: where the next state's mean lies is where the chain goes.
    largest = model.means.numpy().argmax(axis=1)
    assert sorted(largest.tolist()) == [0, 1, 2, 3]
    assert all((largest[(state + 1) % 4] - largest[state]) % 4 == 1 for state in range(4))
    assert (np.diff(objective) < 1e-6).all()
    path = model.most_likely_path(torch.from_numpy(cyclic_series(500, 9)), torch.tensor([0, 500])).numpy()
    assert all(CYCLE[before][after] for before, after in itertools.pairwise(path))


def test_a_sticky_prior_lengthens_visits_as_the_formula_says(dataset, tmp_path):
    without, _ = trained(dataset, tmp_path / "without")
    sticky, objective = trained(dataset, tmp_path / "sticky", sticky_prior=500.0)
    lifetimes = [1 / (1 - model.transition_probabilities.numpy().diagonal()) for model in (without, sticky)]
    # 500 samples a state on average: 500 further ones of staying double a visit.
    np.testing.assert_allclose((lifetimes[1] / lifetimes[0]).mean(), 2.0, atol=0.3)
    assert (np.diff(objective) < 1e-6).all()


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_a_tied_covariance_is_that_within_all_states(dataset, tmp_path, covariance_type):
    model, objective = trained(dataset, tmp_path, tied_covariance=True, covariance_type=covariance_type)
    covariances = model.full_covariances().numpy()
    assert np.ptp(covariances, axis=0).max() == 0
    np.testing.assert_allclose(covariances[0], np.eye(4), atol=0.12)
    assert (np.diff(objective) < 1e-6).all()


def test_tied_m_step_by_hand():
    generator = np.random.default_rng(0)
    signals, labels = generator.normal(size=(60, 3)), generator.integers(0, 2, 60)
    posteriors = torch.from_numpy(np.eye(2)[labels])
    statistics = statistics_of_posteriors(torch.from_numpy(signals), np.array([0, 60]), posteriors)
    previous = GaussianHMM(HMMConfig(n_states=2), 3).get_parameters()
    fitted, _ = m_step(statistics, previous, tied_covariance=True)
    centred = signals - np.stack([signals[labels == state].mean(axis=0) for state in (0, 1)])[labels]
    expected = centred.T @ centred / 60
    np.testing.assert_allclose(fitted.covariances_KCC.numpy(), [expected, expected], atol=1e-12)


def test_pseudo_counts_add_up():
    config = HMMConfig(
        n_states=2,
        transition_prior=1.0,
        sticky_prior=10.0,
        transition_prior_matrix=[[0, 2], [3, 0]],
        allowed_transitions=[[1, 1], [0, 1]],
    )
    assert transition_prior_of(config).tolist() == [[11, 3], [0, 11]]
    assert allowed_transitions_of(config).tolist() == [[True, True], [False, True]]
    assert transition_prior_of(HMMConfig(n_states=2, transition_prior=1.5)) == 1.5


def test_constrained_parameters_are_fewer():
    def count(**settings):
        return n_free_parameters_of(GaussianHMM(HMMConfig(n_states=4, **settings), 4))

    assert count() - count(tied_covariance=True) == 3 * 10
    assert count() - count(allowed_transitions=CYCLE) == 8


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sticky_prior": -1.0}, "sticky_prior"),
        ({"transition_prior_matrix": [[1, 2]]}, "2 rows of 2 numbers"),
        ({"transition_prior_matrix": [[1, float("nan")], [1, 1]]}, "2 rows of 2 numbers"),
        ({"allowed_transitions": [[1, 2], [1, 1]]}, "each 0 or 1"),
        ({"allowed_transitions": [[1, 1], [0, 0]]}, "state 2 leads nowhere"),
        ({"tied_covariance": True, "learn_means": False}, "tied_covariance"),
        ({"sticky_prior": 5.0, "learn_transitions": False}, "learn_transitions"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(ConfigurationError, match=said):
        HMMConfig(n_states=2, **settings)
