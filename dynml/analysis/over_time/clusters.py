"""Whether scores over time are above chance: clusters of samples under sign flips, or permuted labels of one person.

Shapes: N participants, n trials, T samples, R permutations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.over_time.classifiers import balanced_accuracies

Doubles = NDArray[np.float64]
N_FLIPS = 1000
FORMING_P = 0.05
"""One-sided p of a sample by itself, from which on it belongs to a cluster."""


@dataclass(frozen=True)
class Clusters:
    """Neighbouring samples that are above chance, in one or two dimensions of time."""

    number: NDArray[np.int64]
    """Cluster of each sample, from 1; 0 for none."""

    p: Doubles
    """Of each cluster."""

    n_flips: int

    @property
    def p_of_samples(self) -> Doubles:
        """P of each sample's cluster; 1 without."""
        return np.concatenate([[1.0], self.p])[self.number]


def clusters_above(effects: Doubles, *, n_flips: int = N_FLIPS, seed: int = 0) -> Clusters | None:
    """Clusters of "above 0", with p by the largest sum of t of a cluster under sign flips of participants.

    Parameters
    ----------
    effects : array, (N, T) or (N, T, T)
        Scores less chance.
    n_flips : int
        Flips that are drawn where all 2^N are more than that.
    seed : int

    Returns
    -------
    Clusters or None
        None with one participant. p = share of flips, the data as they are among them, whose largest cluster is no
        smaller: with N participants it is never below 2^-N.

    Notes
    -----
    After Maris and Oostenveld 2007, *J Neurosci Methods* 164. That a cluster is there is what is tested, not where it
    begins or ends.
    """
    from scipy.stats import t as students_t

    n_people = len(effects)
    if n_people < 2:
        return None
    threshold = float(students_t.isf(FORMING_P, n_people - 1))
    number, sums = _clusters(_t(effects), threshold)
    flips = _flips(n_people, n_flips, seed)
    shape = (n_people, *([1] * (effects.ndim - 1)))
    largest = np.array([_clusters(_t(effects * flip.reshape(shape)), threshold)[1].max(initial=0.0) for flip in flips])
    # Equal up to rounding counts as reached.
    p = np.array([(largest >= own * (1 - 1e-9)).mean() for own in sums])
    return Clusters(number, p, len(flips))


def p_of_one_person(predicted: NDArray[np.int16], classes: NDArray[np.int64], *, seed: int = 0) -> Doubles:
    """P of each sample for one person, corrected over samples by the largest score with permuted labels.

    Parameters
    ----------
    predicted : array, (n, T)
        By the classifier of the same sample.
    classes : (n,)
    seed : int

    Returns
    -------
    array, (T,)
        (1 + b) / (1 + R).
    """
    generator = np.random.default_rng(seed)
    own = balanced_accuracies(predicted, classes)
    largest = np.array([balanced_accuracies(predicted, generator.permutation(classes)).max() for _ in range(N_FLIPS)])
    reached = (largest[:, None] >= own - 1e-12).sum(axis=0)
    return np.asarray((1 + reached) / (1 + N_FLIPS), dtype=np.float64)


def _clusters(t: Doubles, threshold: float) -> tuple[NDArray[np.int64], Doubles]:
    from scipy import ndimage

    number, n_found = ndimage.label(t > threshold)
    sums = ndimage.sum_labels(t, number, np.arange(1, n_found + 1))
    return np.asarray(number, dtype=np.int64), np.asarray(sums, dtype=np.float64).reshape(n_found)


def _t(effects: Doubles) -> Doubles:
    error = effects.std(axis=0, ddof=1) / np.sqrt(len(effects))
    floor = 1e-9 * np.abs(effects).max(initial=1e-12)  # where all are alike that is a spread of rounding
    return np.asarray(effects.mean(axis=0) / np.maximum(error, floor), dtype=np.float64)


def _flips(n_people: int, n_flips: int, seed: int) -> Doubles:
    """Signs (R, N), the first one all 1."""
    if 2**n_people <= n_flips:
        bits = (np.arange(2**n_people)[:, None] >> np.arange(n_people)) & 1
        return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)
    drawn = np.random.default_rng(seed).choice([-1.0, 1.0], size=(n_flips - 1, n_people))
    return np.concatenate([np.ones((1, n_people)), drawn])
