"""General linear models tested by permutation (Freedman and Lane 1983) or sign flips.

With X the columns that are tested and Z the others, residuals of Z are permuted, the fit of Z is added back, and the
whole model is fitted again. The fit of Z then drops out: the statistic depends on the permuted residuals alone, through
orthonormal bases of Z and of what X adds to it.

Shapes: R rows, M measures, A arrangements.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
NUMBERS_AT_ONCE = 2**22
ROUNDING = 1e-9
"""Statistics that differ by less, relatively, are the same."""


@dataclass(frozen=True)
class Fit:
    """One set of columns of a model, tested against the others."""

    statistic: Doubles
    """(M,) t of a single column, F of several."""
    coefficient: Doubles
    """(M,) of a single column; NaN for several."""
    standard_error: Doubles
    """(M,)"""
    degrees_of_freedom: int
    """Rows less columns of the whole model."""
    n_tested: int
    """Columns that are tested."""

    def times(self, scales: Doubles) -> Fit:
        """Give the fit of measures that are (M,) times as large."""
        return dataclasses.replace(
            self, coefficient=self.coefficient * scales, standard_error=self.standard_error * scales
        )


class LinearModel:
    """Columns X tested beside Z.

    Parameters
    ----------
    tested : array, (R, r)
    others : array, (R, z)
        z may be 0.
    """

    def __init__(self, tested: Doubles, others: Doubles) -> None:
        n_rows, self.n_tested = tested.shape
        self.basis_of_others = np.linalg.qr(others)[0] if others.shape[1] else np.zeros((n_rows, 0))
        remaining = tested - self.basis_of_others @ (self.basis_of_others.T @ tested)
        self.basis, triangle = np.linalg.qr(remaining)
        self._scale = float(triangle[0, 0]) if self.n_tested == 1 else float("nan")
        self.degrees_of_freedom = n_rows - others.shape[1] - self.n_tested

    def residuals(self, values: Doubles) -> Doubles:
        """(R, M) less the fit of Z."""
        found: Doubles = values - self.basis_of_others @ (self.basis_of_others.T @ values)
        return found

    def fit(self, values: Doubles) -> Fit:
        """Fit the data as they are, (R, M)."""
        residuals = self.residuals(values)
        along = self.basis.T @ residuals
        total = (residuals**2).sum(axis=0)
        statistic = self._statistic(along[None], total)[0]
        if self.n_tested > 1:
            nothing = np.full(len(total), np.nan)
            return Fit(statistic, nothing, nothing.copy(), self.degrees_of_freedom, self.n_tested)
        coefficient = along[0] / self._scale
        error = np.sqrt(np.maximum(total - along[0] ** 2, 0) / self.degrees_of_freedom) / abs(self._scale)
        sign = np.sign(self._scale)
        return Fit(statistic * sign, coefficient, error, self.degrees_of_freedom, self.n_tested)

    def sizes(self, residuals: Doubles, arrangements: NDArray[np.int64] | None, signs: Doubles | None) -> Doubles:
        """|t| or F of each arrangement, (A, M).

        Parameters
        ----------
        residuals : array, (R, M)
            Of `residuals`.
        arrangements : array, (A, R), optional
            Row that is put into each position.
        signs : array, (A, R), optional
            Of rows, instead.
        """
        bases = np.concatenate([self.basis, self.basis_of_others], axis=1).T
        squares = (residuals**2).sum(axis=0)
        n = len(arrangements) if arrangements is not None else len(signs) if signs is not None else 0
        at_once = max(1, NUMBERS_AT_ONCE // (bases.size + len(bases) * residuals.shape[1]))
        found = np.empty((n, residuals.shape[1]))
        for first in range(0, n, at_once):
            part = slice(first, first + at_once)
            moved = _signed(bases, signs[part]) if signs is not None else _moved(bases, arrangements, part)
            products = moved @ residuals
            along, across = products[:, : self.n_tested], products[:, self.n_tested :]
            found[part] = np.abs(self._statistic(along, squares - (across**2).sum(axis=1)))
        return found

    def _statistic(self, along: Doubles, total: Doubles) -> Doubles:
        """T (r = 1) or F of projections (A, r, M) and sums of squares beside Z, (M,) or (A, M)."""
        explained = (along**2).sum(axis=1)
        # Rounding leaves about 1e-16 of the total where the fit is perfect.
        left = np.maximum(total - explained, 1e-14 * np.maximum(total, 1e-300))
        if self.n_tested == 1:
            t: Doubles = along[:, 0] / np.sqrt(left / self.degrees_of_freedom)
            return t
        f: Doubles = (explained / self.n_tested) / (left / self.degrees_of_freedom)
        return f


def scaled(values: Doubles) -> tuple[Doubles, Doubles]:
    """Bring columns near 1, so that squares neither overflow nor vanish, by powers of two, which round nothing.

    Parameters
    ----------
    values : array, (R, M)

    Returns
    -------
    array, (R, M)
    array, (M,)
        What they were divided by.
    """
    largest = np.abs(np.where(np.isfinite(values), values, 0.0)).max(axis=0, initial=0.0)
    exponents = np.where(largest > 0, np.frexp(largest)[1], 0)
    return np.ldexp(values, -exponents), np.ldexp(1.0, exponents - 1) * 2


def _signed(bases: Doubles, signs: Doubles) -> Doubles:
    moved: Doubles = bases[None] * signs[:, None, :]
    return moved


def _moved(bases: Doubles, arrangements: NDArray[np.int64] | None, part: slice) -> Doubles:
    """Instead of permuting residuals (position p gets row a[p]), give the bases' position p to row a[p]."""
    assert arrangements is not None
    inverse = np.argsort(arrangements[part], axis=1)
    moved: Doubles = np.moveaxis(bases[:, inverse], 0, 1)
    return moved


def p_value(observed: Doubles, arranged: Doubles) -> Doubles:
    """(1 + b) / (1 + n), where b of n arrangements are no smaller than the data; never 0.

    Parameters
    ----------
    observed : array, (M,)
        |t| or F.
    arranged : array, (A, M) or (A, 1)
        Of the same measure; for p-values that are corrected, the maximum over all measures.
    """
    p: Doubles = (1 + (arranged >= observed * (1 - ROUNDING)).sum(axis=0)) / (1 + len(arranged))
    return np.where(np.isnan(observed), np.nan, p)
