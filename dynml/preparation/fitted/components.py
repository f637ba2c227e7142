"""Principal components of a second moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least
from dynml.errors import ConfigurationError, DataError

SMALLEST_SHARE = 1e-10
"""Components with less than this share of the first one's variance are rounding: `checks.rank_of` has the same."""


def check_number(n_components: int | None, explained_variance: float | None) -> None:
    """Refuse settings that do not say, in one way, how many components to keep."""
    if (n_components is None) == (explained_variance is None):
        if n_components is None:
            raise ConfigurationError("n_components", None, "given, or explained_variance")
        raise ConfigurationError("explained_variance", explained_variance, "left out where n_components is given")
    if n_components is not None:
        if not isinstance(n_components, int) or isinstance(n_components, bool):
            raise ConfigurationError("n_components", n_components, "a whole number of at least 1")
        check_at_least("n_components", n_components, 1)
        return
    is_number = isinstance(explained_variance, (int, float)) and not isinstance(explained_variance, bool)
    if not is_number or not 0.0 < float(explained_variance or 0.0) <= 1.0:
        raise ConfigurationError("explained_variance", explained_variance, "a share above 0 and at most 1")


def principal_components(
    covariance: NDArray[np.float64], n_components: int | None, explained_variance: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Eigenvectors with the largest eigenvalues.

    Parameters
    ----------
    covariance : array, (D, D)
    n_components : int, optional
    explained_variance : float, optional
        The fewest components that together have at least this share of the variance.

    Returns
    -------
    components : array, (D, P)
        The largest element of each is positive.
    variances : array, (P,)
        Descending.
    share : float
        Of the whole variance.

    Raises
    ------
    DataError
        When there are fewer components than are asked for.
    """
    eigenvalues, vectors = np.linalg.eigh(covariance)
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    total = float(np.trace(covariance))
    rank = int((eigenvalues > SMALLEST_SHARE * eigenvalues[0]).sum())
    if n_components is None:
        assert explained_variance is not None
        shares = np.cumsum(eigenvalues[:rank]) / total
        # All of the variance is 1 but for rounding.
        n_components = min(rank, int(np.searchsorted(shares, explained_variance - 1e-12)) + 1)
    elif n_components > rank:
        raise DataError(f"n_components is {n_components}, but the training subjects' signals have rank {rank} only.")
    components = vectors[:, :n_components]
    largest = np.abs(components).argmax(axis=0)
    signs = np.sign(components[largest, np.arange(n_components)])
    kept = eigenvalues[:n_components]
    return np.ascontiguousarray(components * signs), kept.copy(), float(kept.sum() / total)
