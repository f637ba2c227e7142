"""How far the shapes of subjects' covariances lie from their robust centre. Shapes: N subjects, C channels."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

SHRINKAGE = 0.01
"""Share of the mean variance that is added to each covariance: directions without variance do not decide."""
BYTES_IN_MEMORY = 2**28


def shape_of_covariance(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale a covariance to determinant 1, with `SHRINKAGE` of its mean variance added: its shape, (C, C)."""
    n_channels = len(covariance)
    level = float(np.trace(covariance)) / n_channels or 1.0
    regular = covariance / level + SHRINKAGE * np.eye(n_channels)
    return regular * math.exp(-float(np.linalg.slogdet(regular)[1]) / n_channels)


class CovarianceShelf:
    """Covariances of any number of subjects, in memory while they are few and in a temporary file beyond.

    Parameters
    ----------
    n_channels : int
    """

    def __init__(self, n_channels: int) -> None:
        self._n_channels = n_channels
        self._n_bytes = 8 * n_channels**2
        self._file = tempfile.SpooledTemporaryFile(max_size=BYTES_IN_MEMORY)  # noqa: SIM115
        self._n_stored = 0

    def __len__(self) -> int:
        return self._n_stored

    def __getitem__(self, index: int) -> NDArray[np.float64]:
        if not 0 <= index < self._n_stored:
            raise IndexError(index)
        self._file.seek(index * self._n_bytes)
        return np.frombuffer(self._file.read(self._n_bytes)).reshape(self._n_channels, self._n_channels)

    def append(self, matrix: NDArray[np.float64]) -> None:
        """Put one more behind the others."""
        assert matrix.shape == (self._n_channels, self._n_channels), matrix.shape
        self._file.seek(self._n_stored * self._n_bytes)
        self._file.write(np.ascontiguousarray(matrix, dtype=np.float64).tobytes())
        self._n_stored += 1

    def close(self) -> None:
        """Forget them all."""
        self._file.close()


def robust_centre(
    matrices: Sequence[NDArray[np.float64]] | CovarianceShelf, n_iterations: int = 20
) -> NDArray[np.float64]:
    """Geometric median of positive definite matrices in their logarithms: fewer than half of them cannot move it far.

    Log-Euclidean metric: Arsigny et al. 2006 (Magn. Reson. Med. 56:411); iteration: Weiszfeld 1937.

    Parameters
    ----------
    matrices : sequence of array (C, C)
        At least one.
    n_iterations : int

    Returns
    -------
    array, (C, C), positive definite
    """
    logarithms = CovarianceShelf(len(matrices[0]))
    for index in range(len(matrices)):
        logarithms.append(_by_eigenvalues(matrices[index], np.log))
    centre = np.zeros_like(logarithms[0])
    for index in range(len(logarithms)):
        centre += logarithms[index] / len(logarithms)
    size = float(np.linalg.norm(centre)) + 1.0
    for _ in range(n_iterations):
        total, weights = np.zeros_like(centre), 0.0
        for index in range(len(logarithms)):
            one = logarithms[index]
            weight = 1.0 / max(float(np.linalg.norm(one - centre)), 1e-9 * size)
            total += weight * one
            weights += weight
        moved = float(np.linalg.norm(total / weights - centre))
        centre = total / weights
        if moved < 1e-6 * size:
            break
    logarithms.close()
    return _by_eigenvalues(centre, np.exp)


def distances_from_centre(matrices: Sequence[NDArray[np.float64]] | CovarianceShelf) -> NDArray[np.float64]:
    """Riemannian distance of each matrix from the robust centre of all, (N,)."""
    from dynml.ops.metrics import riemannian_distance

    centre = robust_centre(matrices)
    return np.array([riemannian_distance(matrices[index], centre) for index in range(len(matrices))])


def _by_eigenvalues(
    matrix: NDArray[np.float64], function: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * function(values)) @ vectors.T
