"""Folds by groups of people who belong together, and confounds that are removed within them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


def connected_groups(columns: Sequence[Sequence[str]], n: int) -> Integers:
    """Number of the group of each person: those who share a value of any column, in whatever number of steps."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, nodes, offset = [np.arange(n)], [np.arange(n)], n
    for column in columns:
        numbers = np.unique(np.asarray(column, dtype=str), return_inverse=True)[1]
        rows.append(np.arange(n))
        nodes.append(numbers + offset)
        offset += int(numbers.max()) + 1
    row, node = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(row)), (row, node)), shape=(offset, offset))
    return np.unique(connected_components(graph, directed=False)[1][:n], return_inverse=True)[1].astype(np.int64)


def folds_of(groups: Integers, n_folds: int, generator: np.random.Generator) -> Iterator[tuple[Integers, Integers]]:
    """Train and test of each fold; groups of equal size fall into folds at random.

    Raises
    ------
    DataError
        When there are fewer groups than folds.
    """
    from sklearn.model_selection import GroupKFold

    n_groups = len(np.unique(groups))
    if n_groups < n_folds:
        raise DataError(f"{n_folds} folds need {n_folds} groups of participants, but there are {n_groups}.")
    shuffled = generator.permutation(n_groups)[np.unique(groups, return_inverse=True)[1]]
    yield from GroupKFold(n_splits=n_folds).split(np.zeros((len(groups), 1)), groups=shuffled)


def without_confounds(
    train: Doubles, test: Doubles, confounds_train: Doubles, confounds_test: Doubles
) -> tuple[Doubles, Doubles]:
    """Subtract what a linear model of the confounds, fitted on train, says of both."""
    if not confounds_train.shape[1]:
        return train, test
    ones = np.ones((len(confounds_train), 1))
    design = np.concatenate([ones, confounds_train], axis=1)
    weights = np.linalg.lstsq(design, train, rcond=None)[0]
    of_test = np.concatenate([np.ones((len(confounds_test), 1)), confounds_test], axis=1)
    # The mean stays: it is no confound.
    weights[0] -= train.mean(axis=0)
    return train - design @ weights, test - of_test @ weights
