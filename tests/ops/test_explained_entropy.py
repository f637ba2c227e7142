"""Mutual information against scikit-learn's; what chance makes of it against simulated chains."""

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from dynml.ops.explained_entropy import by_group, explained_share, share_by_chance, shares_of_shuffled


def test_agrees_with_scikit_learn():
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 40, (5, 4))
    units, states = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    entropy = -sum(p * np.log(p) for p in counts.sum(0) / counts.sum())
    assert explained_share(counts) == pytest.approx(mutual_info_score(units, states) / entropy)


def test_ends_of_the_scale():
    assert explained_share(np.eye(6) * 100) == pytest.approx(1)
    assert explained_share(np.outer([1, 5, 2], [0.2, 0.5, 0.3])) == pytest.approx(0, abs=1e-12)
    assert explained_share(np.ones((4, 1))) is None
    assert explained_share(np.zeros((4, 3))) is None


@pytest.mark.parametrize(("n_units", "n_samples", "lifetime"), [(30, 200, 10), (12, 2000, 20)])
def test_chance_is_what_units_that_use_the_states_alike_come_to(n_units, n_samples, lifetime):
    generator, shares, chances = np.random.default_rng(0), [], []
    for _ in range(20):
        occupancies, visits = np.zeros((n_units, 5)), np.ones(n_units)
        for unit in range(n_units):
            stays = generator.random(n_samples) > 1 / lifetime
            states = generator.integers(0, 5, n_samples)
            for t in range(1, n_samples):
                states[t] = states[t - 1] if stays[t] else states[t]
            occupancies[unit] = np.bincount(states, minlength=5)
            visits[unit] += np.count_nonzero(np.diff(states))
        shares.append(explained_share(occupancies))
        chances.append(share_by_chance(occupancies, visits))
    assert np.mean(chances) == pytest.approx(np.mean(shares), rel=0.4)


def test_shuffled_groups_know_nothing_and_true_ones_do():
    generator = np.random.default_rng(0)
    groups = np.repeat([0, 1], 6)
    occupancies = generator.dirichlet(20 * np.array([[0.6, 0.2, 0.2], [0.2, 0.2, 0.6]])[groups][0], 12)
    occupancies[6:] = occupancies[6:, ::-1]
    true = explained_share(by_group(occupancies, groups))
    shuffled = shares_of_shuffled(occupancies, groups, np.random.default_rng(1), n_shuffles=300)
    assert true > np.quantile(shuffled, 0.98)
    assert shuffled.shape == (300,)
