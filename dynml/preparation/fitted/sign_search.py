"""Finds the signs of channels that make one set of lagged correlations most like another.

Shapes: C channels, n lags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SMALLEST_GAIN = 1e-12
STARTS_STREAM = 3


@dataclass(frozen=True)
class SignAgreement:
    """Correlation of signed lagged correlations with a template's, as a function of the signs alone.

    Notes
    -----
    Signs f turn the correlation r_pq(d) of channels p and q into f_p f_q r_pq(d). The Pearson correlation over pairs
    p < q and lags d, weighted by w_d, depends on f by two quadratic forms only, f^T A f / 2 with
    A_pq = sum_d w_d r_pq(d) t_pq(d) and f^T B f / 2 with B_pq = sum_d w_d r_pq(d).
    """

    products_CC: Array
    """A, symmetric, zero on the diagonal."""
    sums_CC: Array
    """B, the same."""
    weight: float
    """Sum of all weights."""
    squares: float
    """Weighted sum of r squared."""
    template_mean: float
    template_deviation: float

    @classmethod
    def of(cls, correlations_nCC: Array, template_nCC: Array) -> SignAgreement:
        """Sum up two sets of lagged correlations, (n, C, C); see `lagged_correlations`."""
        rows, columns = np.triu_indices(correlations_nCC.shape[1], k=1)
        weights = pair_weights(len(correlations_nCC))
        found, wanted = pair_entries(correlations_nCC), pair_entries(template_nCC)
        weight = float(weights.sum() * len(rows))
        mean = float((weights[:, None] * wanted).sum() / weight)
        variance = float((weights[:, None] * (wanted - mean) ** 2).sum() / weight)
        size = correlations_nCC.shape[1]
        products, sums = np.zeros((size, size)), np.zeros((size, size))
        products[rows, columns] = weights @ (found * wanted)
        sums[rows, columns] = weights @ found
        squares = float((weights[:, None] * found**2).sum())
        return cls(products + products.T, sums + sums.T, weight, squares, mean, float(np.sqrt(variance)))

    def correlation(self, products: Array | float, sums: Array | float) -> Array:
        """Correlation where the two quadratic forms have these values; -1 where it is not defined."""
        mean = np.asarray(sums) / self.weight
        variance = self.squares / self.weight - mean**2
        covariance = np.asarray(products) / self.weight - mean * self.template_mean
        defined = variance > 1e-14 * self.squares / self.weight
        deviation = np.sqrt(np.where(defined, variance, 1.0)) * self.template_deviation
        return np.where(defined, covariance / deviation, -1.0)

    def of_signs(self, signs_C: Array) -> float:
        """Correlation for some signs."""
        products, sums = (0.5 * signs_C @ matrix @ signs_C for matrix in (self.products_CC, self.sums_CC))
        return float(self.correlation(products, sums))


def pair_weights(n_lags: int) -> Array:
    """How often each lag occurs in the covariance of an embedding of n samples, (2n - 1,): lags 0, 1, .., -1, .."""
    positive = n_lags - np.arange(n_lags, dtype=np.float64)
    return np.concatenate([positive, positive[1:]])


def pair_entries(correlations_nCC: Array) -> Array:
    """Correlations of all pairs p < q, (2n - 1, pairs), in the order of `pair_weights`."""
    rows, columns = np.triu_indices(correlations_nCC.shape[1], k=1)
    return np.concatenate([correlations_nCC[:, rows, columns], correlations_nCC[1:, columns, rows]])


def best_signs(agreement: SignAgreement, n_starts: int) -> tuple[Array, float]:
    """Search the signs that agree best.

    Parameters
    ----------
    agreement : SignAgreement
    n_starts : int
        Random starts, beside all-positive and the signs of the leading eigenvector of A - (mean of t) B.

    Returns
    -------
    signs : array, (C,)
        1 or -1. The same signs reversed agree as well; those with fewer -1 are given.
    correlation : float
        With the template.

    Notes
    -----
    From each start, the best flip of one or of two channels is made until none helps. Random starts come from a fixed
    stream, so that the same data give the same signs.
    """
    size = len(agreement.products_CC)
    _, vectors = np.linalg.eigh(agreement.products_CC - agreement.template_mean * agreement.sums_CC)
    leading = np.where(vectors[:, -1] < 0, -1.0, 1.0)
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([0, STARTS_STREAM])))
    drawn = generator.choice([-1.0, 1.0], size=(n_starts, size))
    best, highest = np.ones(size), -np.inf
    for start in [np.ones(size), leading, *drawn]:
        signs, correlation = _climbed(agreement, start)
        if correlation > highest + SMALLEST_GAIN:
            best, highest = signs, correlation
    n_negative = int((best < 0).sum())
    if 2 * n_negative > size or (2 * n_negative == size and best[0] < 0):
        best = -best
    return best, highest


def _climbed(agreement: SignAgreement, signs_C: Array) -> tuple[Array, float]:
    signs = signs_C.copy()
    current = agreement.of_signs(signs)
    while True:
        candidates = agreement.correlation(
            *(_forms_after_flips(matrix, signs) for matrix in (agreement.products_CC, agreement.sums_CC))
        )
        first, second = np.unravel_index(int(candidates.argmax()), candidates.shape)
        if candidates[first, second] <= current + SMALLEST_GAIN:
            return signs, current
        signs[list({int(first), int(second)})] *= -1.0
        current = float(candidates[first, second])


def _forms_after_flips(matrix: Array, signs: Array) -> Array:
    """f^T M f / 2 after the channels p and q are flipped, (C, C); on the diagonal, after p alone is."""
    signed = matrix * np.outer(signs, signs)
    sums = signed.sum(axis=1)
    after = 0.5 * sums.sum() - 2.0 * (sums[:, None] + sums[None, :]) + 4.0 * signed
    np.fill_diagonal(after, 0.5 * sums.sum() - 2.0 * sums)
    return after
