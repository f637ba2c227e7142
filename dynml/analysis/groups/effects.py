"""Sizes of effects that do not depend on units, with intervals.

d: difference of two groups, or mean of one, in standard deviations of the residuals, with the interval of the
noncentral t distribution. r: partial correlation, with Fisher's interval. eta2: partial share of variance of several
columns, with the interval of the noncentral F distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95


@dataclass(frozen=True)
class Effect:
    """A size with its interval of 95 %."""

    kind: str
    """d, r or eta2."""
    size: float
    low: float
    high: float


def effect_of(statistic: float, tested: NDArray[np.float64], degrees_of_freedom: int, *, is_mean: bool) -> Effect:
    """Size of an effect from its t or F.

    Parameters
    ----------
    statistic : float
        t of one column, F of several.
    tested : array, (R, r)
        Columns that were tested, as they stand in the design.
    degrees_of_freedom : int
    is_mean : bool
        The column is the intercept.
    """
    n_rows, n_tested = tested.shape
    if not math.isfinite(statistic):
        return Effect("eta2" if n_tested > 1 else "r", math.nan, math.nan, math.nan)
    if n_tested > 1:
        return _partial_eta(statistic, n_tested, degrees_of_freedom)
    if is_mean:
        return _d(statistic, 1 / math.sqrt(n_rows), degrees_of_freedom)
    values, counts = np.unique(tested[:, 0], return_counts=True)
    if len(values) == 2 and not np.isclose(values[0], values[1]):
        return _d(statistic, math.sqrt(1 / counts[0] + 1 / counts[1]), degrees_of_freedom)
    return _partial_r(statistic, degrees_of_freedom)


def _d(t: float, factor: float, degrees_of_freedom: int) -> Effect:
    from scipy.stats import nct

    if t < 0:  # the distribution is computed better on its right side
        mirrored = _d(-t, factor, degrees_of_freedom)
        return Effect("d", -mirrored.size, -mirrored.high, -mirrored.low)
    tail = (1 - LEVEL) / 2
    low, high = (
        _noncentrality(lambda c: float(nct.cdf(t, degrees_of_freedom, c)), share, t) for share in (1 - tail, tail)
    )
    return Effect("d", t * factor, low * factor, high * factor)


def _noncentrality(share_below: Callable[[float], float], wanted: float, t: float) -> float:
    from scipy.optimize import brentq

    def difference(c: float) -> float:
        share = share_below(c)
        # Far from t, where the share is 1 or 0, it comes out as NaN here and there.
        return (float(c < t) if math.isnan(share) else share) - wanted

    reach = 10 + 2 * abs(t)
    try:
        return float(brentq(difference, t - reach, t + reach))
    except ValueError:
        return math.nan


def _partial_r(t: float, degrees_of_freedom: int) -> Effect:
    from scipy.stats import norm

    r = t / math.sqrt(t**2 + degrees_of_freedom)
    if degrees_of_freedom < 3 or abs(r) >= 1:
        return Effect("r", r, math.nan, math.nan)
    # n - 3 - (covariates held fixed) = degrees of freedom of the whole model - 1
    margin = float(norm.ppf((1 + LEVEL) / 2)) / math.sqrt(degrees_of_freedom - 1)
    return Effect("r", r, math.tanh(math.atanh(r) - margin), math.tanh(math.atanh(r) + margin))


def _partial_eta(f: float, n_tested: int, degrees_of_freedom: int) -> Effect:
    from scipy.optimize import brentq
    from scipy.stats import f as central
    from scipy.stats import ncf

    n_rows = n_tested + degrees_of_freedom + 1
    ends = []
    for wanted in ((1 + LEVEL) / 2, (1 - LEVEL) / 2):
        if float(central.cdf(f, n_tested, degrees_of_freedom)) <= wanted:
            ends.append(0.0)
            continue
        top = 10.0 + 4 * f * n_tested
        try:
            found = brentq(lambda c: float(ncf.cdf(f, n_tested, degrees_of_freedom, c)) - wanted, 1e-9, top)  # noqa: B023
        except ValueError:
            found = math.nan
        ends.append(found / (found + n_rows))
    return Effect("eta2", f * n_tested / (f * n_tested + degrees_of_freedom), *ends)
