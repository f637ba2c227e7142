"""Frequency bands that the data choose: non-negative factorization of coherence spectra.

Shapes: F frequencies, N components.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.errors import ConfigurationError

Real = NDArray[np.float64]
REPRODUCED = 0.8
"""Halves of the edges give the same components where each correlates at least so much with its partner."""
WORTH = 0.01
"""Share of the sum of squares that a further component must explain to be worth one."""


@dataclass(frozen=True, kw_only=True)
class SpectralComponents:
    """Non-negative spectra that those of all edges are sums of."""

    spectra: Real
    """(N, F), each with a maximum of 1, ordered by the frequency of it."""

    explained: float
    """Share of the sum of squares that they explain."""

    gain: float
    """What the last component adds to that."""

    agreement: float
    """Least correlation of a component of one half of the edges with its partner of the other half."""

    def findings(self) -> list[str]:
        """Sentences on a number of components that the data do not support."""
        count, found = len(self.spectra), []
        if self.agreement < REPRODUCED:
            found.append(
                f"The {count} spectral components are not those of half of the edges (least correlation "
                f"{self.agreement:.2f}); fewer may be."
            )
        if count > 1 and self.gain < WORTH:
            found.append(
                f"The last of the {count} spectral components explains {100 * self.gain:.1f} % more of the coherence; "
                f"{count - 1} do as well."
            )
        return found


def spectral_components(spectra: Real, n_components: int, *, floor: Real | float = 0.0) -> SpectralComponents:
    """Factorize coherence spectra.

    Parameters
    ----------
    spectra : array, (n, F)
        One row an edge of a state; rows with NaN are left out.
    n_components : int
    floor : float or array (n,)
        Coherence of independent channels, which would make a flat component: it is taken off.

    Raises
    ------
    ConfigurationError
        When there are fewer edges or frequencies than components.
    """
    values = np.maximum(np.asarray(spectra) - np.reshape(floor, (-1, 1)), 0.0)
    values = values[np.isfinite(values).all(axis=1)]
    most = min(len(values) // 2, values.shape[1]) if len(values) else 0
    if not 1 <= n_components <= most:
        accepted = f"from 1 to {most}, of which there are as many frequencies and edges"
        raise ConfigurationError("n_components", n_components, accepted)
    found, explained = _factorized(values, n_components)
    before = _factorized(values, n_components - 1)[1] if n_components > 1 else 0.0
    halves = [_factorized(values[half::2], n_components)[0] for half in (0, 1)]
    return SpectralComponents(
        spectra=found,
        explained=explained,
        gain=explained - before,
        agreement=_agreement(*halves),
    )


def _factorized(values: Real, n_components: int) -> tuple[Real, float]:
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    model = NMF(n_components, init="nndsvda", max_iter=1000, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        loadings = model.fit_transform(values)
    residual = np.square(values - loadings @ model.components_).sum()
    heights = model.components_.max(axis=1, keepdims=True)
    scaled = np.divide(model.components_, heights, out=np.zeros_like(model.components_), where=heights > 0)
    order = np.argsort(scaled.argmax(axis=1), kind="stable")
    return scaled[order], float(1 - residual / max(np.square(values).sum(), 1e-300))


def _agreement(first: Real, second: Real) -> float:
    """Least cosine of components with their partners, which are chosen to agree best."""
    from scipy.optimize import linear_sum_assignment

    norms = [np.linalg.norm(half, axis=1, keepdims=True) for half in (first, second)]
    cosines = (first / np.maximum(norms[0], 1e-300)) @ (second / np.maximum(norms[1], 1e-300)).T
    return float(cosines[linear_sum_assignment(-cosines)].min())
