"""The step `symmetric_orthogonalisation`, against the leakage of source reconstruction.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.preparation.standardization import moments_of_segments
from dynml.preparation.step import PreparationStep, blocks
from dynml.recording import Recording

SMALLEST_SHARE = 1e-10
TOLERANCE = 1e-12
MOST_ITERATIONS = 10_000


@dataclass(frozen=True, kw_only=True)
class SymmetricOrthogonalisation(PreparationStep):
    """Leakage correction: the closest orthogonal channels of each run (Colclough et al. 2015).

    Notes
    -----
    The least-squares problem and its solution by turns are those of Colclough et al. 2015 (NeuroImage 117,
    "A symmetric multivariate leakage correction for MEG connectomes", section 2.3): with magnitudes D, the closest
    orthonormal set to X D is its polar factor; with that set O, the best magnitudes are the diagonal of X^T O. The
    product is orthogonal at lag zero over the run's good samples, so that correlations without delay are gone, real
    ones as well.
    """

    name: ClassVar[str] = "symmetric_orthogonalisation"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def __call__(self, recording: Recording) -> Recording:
        """Orthogonalise each run; signals become float64."""
        signals = recording.signals.astype(np.float64)
        conditions, iterations = [], []
        for run, start, stop in recording.runs():
            segments = recording.segments_of_run(run)
            mean, _ = moments_of_segments(recording.signals, segments)
            signals[start:stop] -= mean
            gram = np.zeros((recording.n_channels, recording.n_channels))
            for first, last in blocks(segments):
                gram += signals[first:last].T @ signals[first:last]
            condition = _checked_condition(gram, recording.run_names[run])
            mixing, n_iterations = orthogonalising(gram)
            good = np.zeros(stop - start, dtype=bool)
            for first, last in segments.tolist():
                signals[first:last] = signals[first:last] @ mixing
                good[first - start : last - start] = True
            signals[start:stop][~good] = np.nan
            conditions.append(condition)
            iterations.append(n_iterations)
        found = {"rank": recording.n_channels, "rank_loss": 0, "condition": conditions, "iterations": iterations}
        return self.noted(dataclasses.replace(recording, signals=signals), **found)


def orthogonalising(gram_CC: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Matrix W, (C, C), such that the columns of X W are orthogonal and closest to those of X.

    Parameters
    ----------
    gram_CC : array, (C, C)
        X^T X, of full rank.

    Returns
    -------
    mixing : array, (C, C)
    n_iterations : int

    Raises
    ------
    DataError
        When the turns do not converge.
    """
    magnitudes = np.sqrt(np.diagonal(gram_CC))
    for iteration in range(1, MOST_ITERATIONS + 1):
        eigenvalues, vectors = np.linalg.eigh(magnitudes[:, None] * gram_CC * magnitudes)
        root = (vectors / np.sqrt(eigenvalues)) @ vectors.T
        to_orthonormal = magnitudes[:, None] * root
        updated = np.einsum("pq,qp->p", gram_CC, to_orthonormal)
        converged = np.abs(updated - magnitudes).max() <= TOLERANCE * np.abs(updated).max()
        magnitudes = updated
        if converged:
            return to_orthonormal * magnitudes, iteration
    raise DataError(f"orthogonalisation did not converge within {MOST_ITERATIONS} turns.")


def _checked_condition(gram: NDArray[np.float64], run: str) -> float:
    """Refuse channels that are not linearly independent, and give largest over smallest eigenvalue of correlations."""
    deviations = np.sqrt(np.diagonal(gram))
    if not (deviations > 0).all():
        raise DataError(f"run {run} has a constant channel, which cannot be orthogonalised.")
    eigenvalues = np.linalg.eigvalsh(gram / np.outer(deviations, deviations))
    rank = int((eigenvalues > SMALLEST_SHARE * eigenvalues[-1]).sum())
    if rank < len(gram):
        raise DataError(
            f"run {run} has rank {rank} of {len(gram)} channels, and the step 'symmetric_orthogonalisation' needs full "
            "rank: leave channels out, or use fewer parcels than the rank that the preprocessing left."
        )
    return float(eigenvalues[-1] / eigenvalues[0])
