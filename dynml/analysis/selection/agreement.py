"""Which runs found the same states: similarity of matched time courses, the run in the middle, the average of runs.

Shapes: T samples, K states, R runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.ops.matching import match_by_similarity

Array = NDArray[Any]
Series = Sequence[Array]
"""Probabilities of states (T, K), one array per subject; every sample is observed."""
N_SHIFTS = 20
MOST_PAIRS_SHIFTED, MOST_SAMPLES_SHIFTED = 20, 20_000
"""Pairs, and samples of a subject, that shifts are made of; more would hardly change what they give."""
LOW, HIGH = 2.5, 97.5


@dataclass(frozen=True)
class Agreement:
    """How similar the states of runs are, beside what runs give that have nothing to do with each other."""

    similarity: float
    """Mean over pairs of runs of S = sum over states of mean over time of min(gamma, matched gamma'): 0 to 1."""

    shifted: float
    """The same after the time courses of one of the two were shifted circularly by random lags."""

    shifted_interval: tuple[float, float]
    """95 % of the shifts lie within."""

    n_pairs: int

    @property
    def is_above_chance(self) -> bool:
        """Whether runs agree more than nearly all shifts do."""
        return self.similarity > self.shifted_interval[1]


@dataclass(frozen=True)
class RunAgreement:
    """Runs of the same model on the same data, side by side."""

    similarity_RR: Array
    """S of every pair of runs."""

    orders: list[Array]
    """For each run: state i of the central run is state `order[i]` of the run."""

    central: int
    """The run that is most like all others."""

    best: int
    """The run with the lowest objective; the central one where no objectives are given."""


def similarity(first: Series, second: Series) -> tuple[float, Array]:
    """S of two runs, and the order in which the second's states match the first's.

    Parameters
    ----------
    first, second : sequence of arrays, (T, K) each
        The same subjects in the same order.

    Returns
    -------
    float
        Sum over states of the mean over all samples of min(gamma_k, gamma'_order(k)): 1 where the runs are the same.
    array, (K,)
        The order; by the Hungarian algorithm it makes S largest.

    Raises
    ------
    DataError
        When numbers of subjects, samples or states differ.
    """
    shapes = [[np.shape(one) for one in series] for series in (first, second)]
    if shapes[0] != shapes[1] or not shapes[0]:
        raise DataError(f"The runs to compare have time courses of different shapes: {shapes[0]} and {shapes[1]}.")
    shared_KK = sum(_shared(np.asarray(one), np.asarray(other)) for one, other in zip(first, second))
    assert not isinstance(shared_KK, int)
    order = match_by_similarity(shared_KK)
    n_samples = sum(shape[0] for shape in shapes[0])
    shared = float(shared_KK[np.arange(len(order)), order].sum() / n_samples)
    # Probabilities in float32 add up to a little more than 1.
    return min(shared, 1.0), order


def _shared(first_TK: Array, second_TK: Array) -> Array:
    """Sums over time of the smaller of two probabilities, (K, K), in float64."""
    first, second = first_TK.astype(np.float32), second_TK.astype(np.float32)
    return np.stack([np.minimum(column[:, None], second).sum(axis=0, dtype=np.float64) for column in first.T])


def agreement_of_runs(pairs: Sequence[tuple[Series, Series]], *, seed: int = 0, n_shifts: int = N_SHIFTS) -> Agreement:
    """Agreement of pairs of runs, beside that of the same pairs after circular shifts.

    Parameters
    ----------
    pairs : sequence
        At least one; each as `similarity` takes them.
    seed : int
        Draws the lags, one for each subject, pair and shift.
    n_shifts : int
        Shifts of all pairs.

    Notes
    -----
    Matching alone makes unrelated runs alike, the more so the fewer states there are, and lasting states too: a shift
    keeps all that and takes away only that the two are of the same moment.
    """
    assert pairs
    generator = np.random.default_rng(np.random.SeedSequence((seed, 15)))
    found = [similarity(first, second)[0] for first, second in pairs]
    some = [(_beginnings(first), _beginnings(second)) for first, second in pairs[:MOST_PAIRS_SHIFTED]]
    shifted = [
        np.mean([similarity(first, shifted_in_time(second, generator))[0] for first, second in some])
        for _ in range(n_shifts)
    ]
    low, high = np.percentile(shifted, [LOW, HIGH])
    return Agreement(float(np.mean(found)), float(np.mean(shifted)), (float(low), float(high)), len(pairs))


def _beginnings(series: Series) -> list[Array]:
    return [one[:MOST_SAMPLES_SHIFTED] for one in series]


def shifted_in_time(series: Series, generator: np.random.Generator) -> list[Array]:
    """Shift each subject's time courses circularly by a random lag of a quarter to three quarters of their length."""
    return [np.roll(one, int(generator.integers(len(one) // 4, max(len(one) - len(one) // 4, 1))), 0) for one in series]


def match_runs(runs: Sequence[Series], objectives: Sequence[float] | None = None) -> RunAgreement:
    """Compare runs of the same model on the same data: which agree, which is in the middle, which is best.

    Parameters
    ----------
    runs : sequence of sequences of arrays, (T, K) each
        For each run the probabilities of its states, one array per subject, without samples that are NaN.
    objectives : sequence of float, optional
        What each run minimised: free energy with the priors' part.

    Raises
    ------
    DataError
        When there are fewer than two runs, they differ in shape, or no objective is finite.
    """
    if len(runs) < 2:
        raise DataError(f"There are {len(runs)} runs to match, but at least two are needed.")
    similarity_RR = np.eye(len(runs))
    for first in range(len(runs)):
        for second in range(first):
            similarity_RR[first, second] = similarity_RR[second, first] = similarity(runs[first], runs[second])[0]
    central = int(np.argmax(similarity_RR.sum(axis=1)))
    orders = [similarity(runs[central], run)[1] for run in runs]
    best = central
    if objectives is not None:
        values = np.asarray(objectives, dtype=np.float64)
        if len(values) != len(runs) or not np.isfinite(values).any():
            raise DataError(f"There are {len(runs)} runs, but their objectives are {list(objectives)}.")
        best = int(np.nanargmin(np.where(np.isfinite(values), values, np.nan)))
    return RunAgreement(similarity_RR, orders, central, best)


def average_runs(runs: Sequence[Series], n_states: int | None = None) -> list[Array]:
    """Average the time courses of runs after all their states were clustered (Ward, on rows of 1 - correlation).

    Parameters
    ----------
    runs : sequence of sequences of arrays, (T, K) each
    n_states : int, optional
        Clusters; default: as many as the first run has states.

    Returns
    -------
    list of arrays, (T, n_states)
        One per subject; each row sums to 1.

    Notes
    -----
    The mean of a cluster is a mean over the states in it, so that rows sum to 1 only once they are divided by their
    sum; where runs agree, hardly anything is divided. States that are never visited have no correlation and are left
    out. Best-ranked runs serve where runs agree, averages where they do not (Alonso and Vidaurre 2023).
    """
    from scipy.cluster.hierarchy import ClusterWarning, fcluster, linkage

    n_rows = [len(one) for one in runs[0]]
    if any([len(one) for one in run] != n_rows for run in runs):
        raise DataError("The runs to average have different numbers of samples.")
    columns = np.concatenate([np.concatenate([np.asarray(one, np.float64) for one in run]) for run in runs], axis=1)
    columns = columns[:, columns.std(axis=0) > 0]
    wanted = np.asarray(runs[0][0]).shape[1] if n_states is None else n_states
    if columns.shape[1] < wanted or wanted < 1:
        raise DataError(f"The runs have {columns.shape[1]} states that vary, which make no {wanted} clusters.")
    cluster = np.ones(columns.shape[1], dtype=int)
    if wanted > 1:
        distances = 1 - np.corrcoef(columns, rowvar=False)
        with warnings.catch_warnings():
            # Rows of distances are what is clustered here, on purpose.
            warnings.simplefilter("ignore", ClusterWarning)
            cluster = fcluster(linkage(distances, "ward"), wanted, "maxclust")
    means = np.stack([columns[:, cluster == number].mean(axis=1) for number in np.unique(cluster)], axis=1)
    totals = means.sum(axis=1, keepdims=True)
    averaged = np.where(totals > 0, means / np.where(totals > 0, totals, 1.0), 1.0 / means.shape[1])
    return np.split(averaged, np.cumsum(n_rows)[:-1])
