"""How much of the entropy of states (or modes) it explains whose samples they are, and how much chance would.

Shapes: U units (subjects, say), K states, G groups of units. NumPy arrays, float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST_VISITS = 10.0
"""Visits that a unit is credited with at least: where states never change, their number would make all to chance."""


def explained_share(occupancies_UK: ArrayLike) -> float | None:
    """Mutual information of unit and state as a share of the entropy of the states.

    Parameters
    ----------
    occupancies_UK : array, (U, K), not negative
        Samples of each unit in each state: counts, or sums of probabilities.

    Returns
    -------
    float or None
        0: all units use the states alike; 1: the unit says which state it is. None where there is one state only.
    """
    joint = np.asarray(occupancies_UK, dtype=np.float64)
    total = joint.sum()
    if not total > 0:
        return None
    joint = joint / total
    entropy = _entropy(joint.sum(0))
    if entropy <= 1e-12:
        return None
    return float(max(entropy + _entropy(joint.sum(1)) - _entropy(joint), 0.0) / entropy)


def share_by_chance(occupancies_UK: ArrayLike, visits_U: ArrayLike) -> float:
    """What `explained_share` comes to on average where all units use the states alike, but for finite samples.

    Parameters
    ----------
    occupancies_UK : array, (U, K)
    visits_U : array, (U,)
        How often a state was entered in each unit: samples of one visit are no independent draws.

    Notes
    -----
    The plug-in estimate of mutual information from n independent draws is too large by (U - 1) (K - 1) / 2n nats
    (Miller 1955). A visit counts as half a draw: lifetimes vary as much as they last.
    """
    occupancies = np.asarray(occupancies_UK, dtype=np.float64)
    shares = occupancies.sum(0) / max(occupancies.sum(), 1e-300)
    entropy, n_states = _entropy(shares), int((shares > 0).sum())
    if entropy <= 1e-12:
        return 0.0
    n_units = int((occupancies.sum(1) > 0).sum())
    draws = 0.5 * float(np.maximum(np.asarray(visits_U, dtype=np.float64), FEWEST_VISITS).sum())
    return min((n_units - 1) * (n_states - 1) / (2 * max(draws, 1.0) * entropy), 1.0)


def shares_of_shuffled(
    occupancies_UK: ArrayLike, groups_U: ArrayLike, generator: np.random.Generator, n_shuffles: int = 999
) -> NDArray[np.float64]:
    """`explained_share` of groups to which units are dealt at random, as many to each as it has, (n_shuffles,)."""
    occupancies = np.asarray(occupancies_UK, dtype=np.float64)
    groups = np.asarray(groups_U, dtype=np.int64)
    shares = [explained_share(by_group(occupancies, generator.permutation(groups))) for _ in range(n_shuffles)]
    return np.array([0.0 if share is None else share for share in shares])


def by_group(occupancies_UK: ArrayLike, groups_U: ArrayLike) -> NDArray[np.float64]:
    """Sum the rows of units of one group, numbered from 0: (G, K)."""
    groups = np.asarray(groups_U, dtype=np.int64)
    occupancies = np.asarray(occupancies_UK, dtype=np.float64)
    sums = np.zeros((int(groups.max(initial=-1)) + 1, occupancies.shape[1]))
    np.add.at(sums, groups, occupancies)
    return sums


def _entropy(probabilities: NDArray[np.float64]) -> float:
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum())
