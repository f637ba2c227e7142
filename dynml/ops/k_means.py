"""K-means: labels of points by the nearest of a few centres.

Shapes: n points, F features.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LARGEST_SAMPLE, _N_RESTARTS = 4000, 6

_N_CANDIDATES = 4
"""Points that are tried for each of the first centres."""


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
    best: tuple[float, Tensor] | None = None
    for _ in range(_N_RESTARTS if n_clusters > 1 else 1):
        candidate = _iterate(some, _spread_centres(some, n_clusters, generator))
        if best is None or candidate[0] < best[0]:
            best = candidate
    assert best is not None
    return _nearest(points, best[1].to(points))[1]


def _near_zero(points: Tensor, some: Tensor) -> tuple[Tensor, Tensor]:
    """Both without the mean of some, where it is large: distances by expanded squares would lose their digits to it."""
    mean = some.mean(0).to(points.dtype)
    deviations = some - mean.double()
    if not bool((mean.double().square() > deviations.square().mean(0)).any()):
        return points, some
    return points - mean.to(points.device), deviations


def _spread_centres(points: Tensor, n_clusters: int, generator: np.random.Generator) -> Tensor:
    """k-means++ with the best of a few candidates for each centre (Arthur & Vassilvitskii 2007)."""
    centres = points[[int(generator.integers(len(points)))]]
    distances = (points - centres).square().sum(1)
    for _ in range(1, n_clusters):
        total = float(distances.sum())
        shares = (distances / total).numpy() if total > 0 else np.full(len(points), 1 / len(points))
        candidates = points[generator.choice(len(points), size=_N_CANDIDATES, p=shares / shares.sum())]
        with_each = torch.minimum(distances.unsqueeze(1), torch.cdist(points, candidates).square())
        chosen = int(with_each.sum(0).argmin())
        centres, distances = torch.cat([centres, candidates[[chosen]]]), with_each[:, chosen]
    return centres


def _iterate(points: Tensor, centres: Tensor, n_iterations: int = 30) -> tuple[float, Tensor]:
    """Lloyd's iterations: sum of squared distances, and the centres. A centre without points stays where it is."""
    inertia = float("inf")
    for _ in range(n_iterations):
        distances, labels = _nearest(points, centres)
        if not float(distances.sum()) < inertia:
            break
        inertia = float(distances.sum())
        members = torch.nn.functional.one_hot(labels, len(centres)).to(points)
        counts = members.sum(0).unsqueeze(1)
        centres = torch.where(counts > 0, members.T @ points / counts.clamp(min=1), centres)
    return inertia, centres


def _nearest(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    nearest = (centres.square().sum(1) - 2 * points @ centres.T).min(1)
    return nearest.values + points.square().sum(1), nearest.indices
