"""K-means: labels of points by the nearest of a few centres.

Shapes: n points, F features, K clusters, R restarts. Loops over points are compiled: there are few points, and tensor
operations would cost several times their arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]

_LARGEST_SAMPLE, _N_RESTARTS = 4000, 6

_N_CANDIDATES = 4
"""Points that are tried for each of the first centres."""

_ITERATIONS = (8, 8, 14)
"""At most; after each of these numbers the better half of the restarts goes on: by then they seldom change places."""

_ENOUGH = 1e-5
"""A restart is over when an iteration lowers its sum of squared distances by less than this share."""

_BLOCK = 256
"""Points whose distances are computed together: they stay in the first cache."""

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": {"contract", "nsz", "arcp", "reassoc"}}


def k_means_labels(points: Tensor, n_clusters: int, generator: np.random.Generator) -> Tensor:
    """Label of the nearest centre for every point; the centres are fitted to some of the points.

    Parameters
    ----------
    points : Tensor, (n, F), float32 or float64
    n_clusters : int
    generator : numpy Generator

    Returns
    -------
    Tensor, (n,), int64. A label may be nobody's, say when points repeat.
    """
    rows = np.sort(generator.permutation(len(points))[:_LARGEST_SAMPLE])
    some = points[torch.from_numpy(rows).to(points.device)].double().cpu()
    points, some = _near_zero(points, some)
    columns = some.T.contiguous().numpy()
    first = _spread_centres(columns, n_clusters, _N_RESTARTS if n_clusters > 1 else 1, generator)
    centres = torch.from_numpy(_best_centres(columns, first)).to(points)
    return (centres.square().sum(1) - 2 * points @ centres.T).argmin(1)


def _near_zero(points: Tensor, some: Tensor) -> tuple[Tensor, Tensor]:
    """Both without the mean of some, where it is large: distances by expanded squares would lose their digits to it."""
    mean = some.mean(0).to(points.dtype)
    deviations = some - mean.double()
    if not bool((mean.double().square() > deviations.square().mean(0)).any()):
        return points, some
    return points - mean.to(points.device), deviations


def _spread_centres(columns_Fn: Array, n_clusters: int, n_restarts: int, generator: np.random.Generator) -> Array:
    """k-means++ with the best of a few candidates for each centre (Arthur & Vassilvitskii 2007): (R, K, F)."""
    first = generator.integers(columns_Fn.shape[1], size=n_restarts)
    uniforms = generator.random((n_clusters - 1, n_restarts, _N_CANDIDATES))
    rows = [_spread_rows(columns_Fn, first[restart], uniforms[:, restart]) for restart in range(n_restarts)]
    return np.ascontiguousarray(columns_Fn.T[np.stack(rows)])


def _best_centres(columns_Fn: Array, first_RKF: Array) -> Array:
    """Lloyd's iterations of all restarts; the centres (K, F) of the best. One without points stays in place."""
    squares, results = float(np.square(columns_Fn).sum()), []
    going = [centres.copy() for centres in first_RKF]
    for n_iterations in _ITERATIONS:
        stage = [(*_lloyd(columns_Fn, squares, centres, n_iterations, _ENOUGH), centres) for centres in going]
        stage.sort(key=lambda run: run[0])
        results += stage
        unfinished = [centres.copy() for _, is_over, centres in stage if not is_over]
        going = unfinished[: (len(unfinished) + 1) // 2]
    return min(results, key=lambda run: run[0])[2]


# Loops rather than functions of NumPy, which take numba seconds to compile.


@njit(**_OPTIONS)
def _spread_rows(columns, first, uniforms):  # type: ignore  # noqa
    """Points (K,) that are the first centres: of some drawn by squared distance, the one that lowers its sum most."""
    n_points = columns.shape[1]
    chosen = np.empty(len(uniforms) + 1, dtype=np.int64)
    chosen[0] = first
    nearest, trial, best = np.empty(n_points), np.empty(n_points), np.empty(n_points)
    for t in range(n_points):
        trial[t] = np.inf
    total = _with_another_centre(columns, first, trial, nearest)
    for step in range(len(uniforms)):
        lowest = np.inf
        for candidate in range(uniforms.shape[1]):
            row = _drawn(nearest, total, uniforms[step, candidate])
            found = _with_another_centre(columns, row, nearest, trial)
            if found < lowest:
                lowest, chosen[step + 1] = found, row
                best, trial = trial, best
        total = lowest
        nearest, best = best, nearest
    return chosen


@njit(**_OPTIONS)
def _drawn(weights, total, uniform):  # type: ignore  # noqa
    """Row by its weight. Where all weights are 0, any will do."""
    if total <= 0:
        return min(int(uniform * len(weights)), len(weights) - 1)
    cumulative = 0.0
    for t in range(len(weights)):
        cumulative += weights[t]
        if cumulative > uniform * total:
            return t
    return len(weights) - 1


@njit(**_OPTIONS)
def _with_another_centre(columns, row, nearest, output):  # type: ignore  # noqa
    """Squared distances (n,) from the nearest centre, if the point of this row is one, too; their sum."""
    for t in range(len(output)):
        output[t] = 0.0
    for feature in range(len(columns)):
        column, place = columns[feature], columns[feature, row]
        for t in range(len(output)):
            output[t] += (column[t] - place) * (column[t] - place)
    total = 0.0
    for t in range(len(output)):
        output[t] = min(output[t], nearest[t])
        total += output[t]
    return total


@njit(**_OPTIONS)
def _lloyd(columns, squares, centres, n_iterations, enough):  # type: ignore  # noqa
    """Iterations of one restart, which move its centres (K, F).

    Gives the sum of squared distances before the last move, and whether they move no more. `squares` is the sum of
    squares of all points.
    """
    total = np.inf
    labels, nearest = np.empty(columns.shape[1], dtype=np.int64), np.empty(columns.shape[1])
    sums, counts = np.empty((len(centres), len(columns))), np.empty(len(centres))
    for _ in range(n_iterations):
        _assign(columns, centres, labels, nearest)
        before, total = total, squares
        for t in range(len(nearest)):
            total += nearest[t]
        if total >= (1 - enough) * before:
            return total, True
        _move(columns, labels, sums, counts, centres)
    return total, False


@njit(**_OPTIONS)
def _assign(columns, centres, labels, nearest):  # type: ignore  # noqa
    """Nearest centre of each point, and its squared distance less the point's own square."""
    distances = np.empty(_BLOCK)
    for begin in range(0, len(labels), _BLOCK):
        end = min(begin + _BLOCK, len(labels))
        label, lowest = labels[begin:end], nearest[begin:end]
        for centre in range(len(centres)):
            square = 0.0
            for feature in range(len(columns)):
                square += centres[centre, feature] * centres[centre, feature]
            for t in range(len(label)):
                distances[t] = square
            for feature in range(len(columns)):
                column, factor = columns[feature, begin:end], 2 * centres[centre, feature]
                for t in range(len(column)):
                    distances[t] -= factor * column[t]
            for t in range(len(label)):
                is_nearer = centre == 0 or distances[t] < lowest[t]
                label[t] = centre if is_nearer else label[t]
                lowest[t] = distances[t] if is_nearer else lowest[t]


@njit(**_OPTIONS)
def _move(columns, labels, sums, counts, centres):  # type: ignore  # noqa
    """Centres to the means of their points."""
    for centre in range(len(centres)):
        counts[centre] = 0.0
        for feature in range(len(columns)):
            sums[centre, feature] = 0.0
    for t in range(len(labels)):
        counts[labels[t]] += 1
    for feature in range(len(columns)):
        column = columns[feature]
        for t in range(len(labels)):
            sums[labels[t], feature] += column[t]
    for centre in range(len(centres)):
        if counts[centre] > 0:
            for feature in range(len(columns)):
                centres[centre, feature] = sums[centre, feature] / counts[centre]
