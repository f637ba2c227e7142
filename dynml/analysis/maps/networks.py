"""Networks: what a state has more or less of than the average over states, and which edges are kept.

Shapes: K states, C channels, E = C (C - 1) / 2 edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.errors import ConfigurationError

MIXTURE = "mixture"
N_STARTS = 5
FEWEST_EDGES = 4
ROUNDING = 1e-12


def average_over_states(values: ArrayLike, occupancies: ArrayLike) -> NDArray[np.float64]:
    """Average over states weighted by how often each is active, (K, ..) to (..).

    A value counts in no state where it is NaN, as of states that were never visited; NaN where no state has one.
    """
    own, weights = np.asarray(values, dtype=np.float64), np.asarray(occupancies, dtype=np.float64)
    known = np.isfinite(own)
    shares = np.where(known, weights.reshape(-1, *(1,) * (own.ndim - 1)), 0.0)
    total, found = (np.where(known, own, 0.0) * shares).sum(axis=0), shares.sum(axis=0)
    return np.asarray(np.divide(total, found, out=np.full(found.shape, np.nan), where=found > 0))


def relative_to_average(values: ArrayLike, occupancies: ArrayLike) -> NDArray[np.float64]:
    """Subtract from each state the average over states weighted by occupancy, (K, ..)."""
    return np.asarray(values, dtype=np.float64) - average_over_states(values, occupancies)


@dataclass(frozen=True)
class KeptEdges:
    """The edges of one network that are kept."""

    matrix: NDArray[np.bool_]
    """(C, C), symmetric, the diagonal False."""
    n_kept: int
    in_words: str
    """How they were chosen, for a table's sidecar."""


def kept_by_percentile(network: ArrayLike, percentile: float) -> KeptEdges:
    """Keep edges whose size is above a percentile of the sizes of all edges.

    Parameters
    ----------
    network : array, (C, C)
        Symmetric; edges may have both signs. Those that are NaN are not kept.
    percentile : float
        From 0 to 100.

    Raises
    ------
    ConfigurationError
        For another percentile.
    """
    if not 0 <= percentile <= 100:
        raise ConfigurationError("--edges", percentile, f'"{MIXTURE}" or a percentile from 0 to 100')
    edges, known = _edges(network)
    sizes = np.abs(edges)
    chosen = known.copy()
    chosen[known] = sizes > np.percentile(sizes, percentile) if len(sizes) else False
    return _kept(network, chosen, f"edges whose size is above percentile {percentile:g} of all")


def kept_by_mixture(network: ArrayLike, seed: int = 0) -> KeptEdges:
    """Keep edges that belong to the outer one of two Gaussians, if two describe all edges better than one.

    Parameters
    ----------
    network : array, (C, C)
        Symmetric. Edges around 0 (differences from an average) may stand out on both sides; those that are NaN are not
        kept.
    seed : int
        Of the starts of the fit.

    Returns
    -------
    KeptEdges
        None is kept where one Gaussian has the lower BIC.

    Notes
    -----
    The outer Gaussian is that with the larger mean square. It keeps the edges that are more likely its own, and further
    from 0 than the other's mean square root is.
    """
    from sklearn.mixture import GaussianMixture

    edges, known = _edges(network)
    chosen = np.zeros(len(known), dtype=bool)
    scale = float(edges.std()) if len(edges) else 0.0
    if len(edges) < FEWEST_EDGES or scale <= ROUNDING * np.abs(edges).max():
        return _kept(network, chosen, "none: too few edges, or all alike")
    column = (edges / scale)[:, None]
    one = GaussianMixture(1, random_state=seed).fit(column)
    two = max(_mixtures_of_two(column, seed), key=lambda mixture: float(mixture.score(column)))
    bic = one.bic(column), two.bic(column)
    criteria = f"BIC of one Gaussian {bic[0]:.1f}, of two {bic[1]:.1f}"
    if bic[0] <= bic[1]:
        return _kept(network, chosen, f"none: {criteria}")
    sizes = np.sqrt(two.means_[:, 0] ** 2 + two.covariances_[:, 0, 0])
    outer = int(np.argmax(sizes))
    chosen[known] = (two.predict(column) == outer) & (np.abs(column[:, 0]) > sizes[1 - outer])
    return _kept(network, chosen, f"edges of the outer of two Gaussians: {criteria}")


def _mixtures_of_two(column: NDArray[np.float64], seed: int) -> list[Any]:
    """Two Gaussians beside each other, and one around the other, which starts beside each other do not find."""
    from sklearn.mixture import GaussianMixture

    inner, outer = np.quantile(np.abs(column - np.median(column)), (0.5, 0.98))
    around = {
        "means_init": np.full((2, 1), np.median(column)),
        "precisions_init": np.array([inner, max(outer, 2 * inner)]).reshape(2, 1, 1) ** -2.0,
        "weights_init": [0.9, 0.1],
    }
    starts: list[dict[str, Any]] = [{"n_init": N_STARTS}, around if inner > 0 else {}]
    return [GaussianMixture(2, max_iter=1000, random_state=seed, **start).fit(column) for start in starts]


def kept_edges(network: ArrayLike, edges: str, seed: int = 0) -> KeptEdges:
    """Choose edges as a user says it: "mixture", or a percentile.

    Raises
    ------
    ConfigurationError
        For anything else.
    """
    if edges == MIXTURE:
        return kept_by_mixture(network, seed)
    try:
        percentile = float(edges)
    except ValueError:
        raise ConfigurationError("--edges", edges, f'"{MIXTURE}" or a percentile from 0 to 100') from None
    return kept_by_percentile(network, percentile)


def correlations_of(covariances: ArrayLike) -> NDArray[np.float64]:
    """Divide covariances, (.., C, C), by the standard deviations."""
    own = np.asarray(covariances, dtype=np.float64)
    deviations = np.sqrt(np.diagonal(own, axis1=-2, axis2=-1))
    return own / (deviations[..., :, None] * deviations[..., None, :])


def _edges(network: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values of the edges that have one, and which of all E edges those are: a channel without power has none."""
    own = np.asarray(network, dtype=np.float64)
    edges = own[np.triu_indices(len(own), 1)]
    known = np.isfinite(edges)
    return edges[known], known


def _kept(network: ArrayLike, chosen: NDArray[np.bool_], in_words: str) -> KeptEdges:
    n_channels = len(np.asarray(network))
    matrix = np.zeros((n_channels, n_channels), dtype=bool)
    matrix[np.triu_indices(n_channels, 1)] = chosen
    return KeptEdges(matrix | matrix.T, int(chosen.sum()), in_words)
