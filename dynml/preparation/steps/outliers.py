"""Values that stand out of others: the generalized test for extreme studentized deviates, and robust scores.

Shapes: W windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROBUST_DEVIATION = 1.4826
"""Standard deviation of a Gaussian over its median absolute deviation."""


def generalized_esd(values_W: NDArray[np.float64], significance_level: float, n_most: int) -> NDArray[np.bool_]:
    """Say which of several values are outliers, on either side, when others are Gaussian.

    Parameters
    ----------
    values_W : array, (W,)
    significance_level : float
        Chance to find any outlier where there is none.
    n_most : int
        How many outliers are looked for; at most W - 2.

    Returns
    -------
    array, (W,)

    Notes
    -----
    Rosner 1983 (Technometrics 25, "Percentage points for a generalized ESD many-outlier procedure"). The value farthest
    from the mean is taken away `n_most` times; with R_i its distance in standard deviations at turn i, and n = W,

    lambda_i = (n - i) t / sqrt((n - i - 1 + t^2) (n - i + 1)), t = quantile 1 - level / (2 (n - i + 1)) of Student's
    distribution of n - i - 1 degrees of freedom,

    the values of turns 1 .. i are outliers for the largest i with R_i > lambda_i. Outliers do so not hide one another.
    """
    from scipy.special import stdtrit

    order = np.argsort(values_W, kind="stable")
    ascending = values_W[order]
    first, last = 0, len(ascending)
    taken, distances = [], []
    for _ in range(n_most):
        rest = ascending[first:last]
        mean, deviation = rest.mean(), rest.std(ddof=1)
        from_above = rest[-1] - mean >= mean - rest[0]
        farthest = max(rest[-1] - mean, mean - rest[0])
        distances.append(farthest / deviation if deviation > 0 else 0.0)
        taken.append(order[last - 1] if from_above else order[first])
        first, last = (first, last - 1) if from_above else (first + 1, last)
    turns = np.arange(1, n_most + 1)
    n_rest = len(values_W) - turns
    quantiles = stdtrit(n_rest - 1, 1.0 - significance_level / (2.0 * (n_rest + 1)))
    critical = n_rest * quantiles / np.sqrt((n_rest - 1 + quantiles**2) * (n_rest + 1))
    beyond = np.flatnonzero(np.array(distances) > critical)
    outlying = np.zeros(len(values_W), dtype=bool)
    outlying[taken[: beyond[-1] + 1] if len(beyond) else []] = True
    return outlying


def robust_scores(values_W: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each value from the median in robust standard deviations, (W,), at least 0.

    Where more than half of the values are the same, any other one is infinitely far.
    """
    distances = np.abs(values_W - np.median(values_W))
    spread = ROBUST_DEVIATION * np.median(distances)
    if spread == 0:
        return np.where(distances > 0, np.inf, 0.0)
    return np.asarray(distances / spread)
