"""K-means: labels of points by the nearest of a few centres.

Shapes: n points, F features, K clusters, R restarts. All restarts go on together, as one product an iteration: for the
few points that there are, a small operation a restart would cost more than its arithmetic.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LARGEST_SAMPLE, _N_RESTARTS = 4000, 6

_N_CANDIDATES = 4
"""Points that are tried for each of the first centres."""

_MOST_ITERATIONS = 30

_HALVED_AFTER = (8, 16)
"""Iterations after which the better half of the restarts goes on: by then they seldom change places."""

_ENOUGH = 1e-5
"""A restart is over when an iteration lowers its sum of squared distances by less than this share."""


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
    first = _spread_centres(some, n_clusters, _N_RESTARTS if n_clusters > 1 else 1, generator)
    centres = _best_centres(some, first).to(points)
    return (centres.square().sum(1) - 2 * points @ centres.T).argmin(1)


def _near_zero(points: Tensor, some: Tensor) -> tuple[Tensor, Tensor]:
    """Both without the mean of some, where it is large: distances by expanded squares would lose their digits to it."""
    mean = some.mean(0).to(points.dtype)
    deviations = some - mean.double()
    if not bool((mean.double().square() > deviations.square().mean(0)).any()):
        return points, some
    return points - mean.to(points.device), deviations


def _spread_centres(points: Tensor, n_clusters: int, n_restarts: int, generator: np.random.Generator) -> Tensor:
    """k-means++ with the best of a few candidates for each centre (Arthur & Vassilvitskii 2007): (R, K, F)."""
    squares, n_points = points.square().sum(1), len(points)

    def distances_to(rows: Tensor) -> Tensor:
        products = (points[rows.flatten()] @ points.T).view(*rows.shape, n_points)
        return (squares + squares[rows].unsqueeze(-1) - 2 * products).clamp(min=0)

    chosen = torch.from_numpy(generator.integers(n_points, size=(n_restarts, 1)))
    distances, each = distances_to(chosen)[:, 0], torch.arange(n_restarts)
    for _ in range(1, n_clusters):
        uniforms = torch.from_numpy(generator.random((n_restarts, _N_CANDIDATES)))
        cumulative = distances.cumsum(1)
        total = cumulative[:, -1:]
        drawn = torch.searchsorted(cumulative, uniforms * total, right=True)
        # Where all points are centres, any will do.
        candidates = torch.where(total > 0, drawn, (uniforms * n_points).long()).clamp(max=n_points - 1)
        with_each = torch.minimum(distances.unsqueeze(1), distances_to(candidates))
        best = with_each.sum(2).argmin(1)
        chosen = torch.cat([chosen, candidates[each, best].unsqueeze(1)], 1)
        distances = with_each[each, best]
    return points[chosen]


def _best_centres(points: Tensor, centres: Tensor) -> Tensor:
    """Lloyd's iterations of all restarts (R, K, F); the centres (K, F) of the best. One without points stays in place.

    Points that are equally near to several centres count for each of them.
    """
    transposed, with_ones = points.T.contiguous(), torch.nn.functional.pad(points, (0, 1), value=1.0)
    squares = float(points.square().sum())
    inertia, lowest, best = points.new_full((len(centres),), float("inf")), float("inf"), centres[0]
    for iteration in range(_MOST_ITERATIONS):
        shifted = _shifted_distances(centres, transposed)
        nearest = shifted.amin(1)
        before, inertia = inertia, nearest.sum(1) + squares
        leader = int(inertia.argmin())
        if float(inertia[leader]) < lowest:
            lowest, best = float(inertia[leader]), centres[leader]
        goes_on = inertia < (1 - _ENOUGH) * before
        if iteration in _HALVED_AFTER:
            goes_on &= inertia.argsort().argsort() < (len(inertia) + 1) // 2
        if not bool(goes_on.any()):
            break
        centres, shifted, nearest, inertia = (one[goes_on] for one in (centres, shifted, nearest, inertia))
        sums = (shifted <= nearest.unsqueeze(1)).to(points).flatten(0, 1) @ with_ones
        means = sums[:, :-1] / sums[:, -1:].clamp(min=1)
        centres = torch.where(sums[:, -1:] > 0, means, centres.flatten(0, 1)).view_as(centres)
    return best


def _shifted_distances(centres: Tensor, transposed: Tensor) -> Tensor:
    """Squared distances of points (F, n) from centres (R, K, F), less the points' own squares: (R, K, n)."""
    flat = centres.flatten(0, 1)
    squares = flat.square().sum(1, keepdim=True)
    return torch.addmm(squares, flat, transposed, alpha=-2).view(*centres.shape[:2], -1)
