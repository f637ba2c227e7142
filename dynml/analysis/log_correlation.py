"""How two logs go together: Pearson's correlation for each experiment and pooled, and fits.

Epochs of one run follow on one another, so n epochs are fewer than n independent observations and p is too small. Two
logs that both fall during training correlate whatever their nature. The correlation of their steps from epoch to epoch
(first differences) stands beside it: straight trends leave it, and other slow ones weigh less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

FEWEST_POINTS = 3
ROUNDING = 1e-12
Values = NDArray[np.float64]
Level = Literal["experiment", "pooled", "within"]


@dataclass(frozen=True, kw_only=True)
class PairedLogs:
    """Two logs at the epochs where both are finite, n points; and their steps between neighbouring epochs, m steps."""

    epochs: NDArray[np.int64]
    """(n,), from 1."""
    x: Values
    y: Values
    x_steps: Values
    """(m,): differences between epochs that follow one another."""
    y_steps: Values
    x_scale: float
    """Largest magnitude in the log: what its rounding errors are relative to."""
    y_scale: float


@dataclass(frozen=True, kw_only=True)
class LogCorrelation:
    """Correlation of two logs over epochs; NaN where it cannot be computed, and `sentence` says why."""

    name: str
    level: Level
    """One experiment; all points as they are; or all points after each experiment's means were subtracted."""
    pairs: PairedLogs
    n: int
    r: float
    p: float
    """Two-sided, as if epochs were independent."""
    fit: Fit | None
    """The straight line of least squares."""
    n_differences: int
    r_of_differences: float
    p_of_differences: float
    sentence: str = ""


@dataclass(frozen=True)
class Fit:
    """A polynomial of least squares, y over x, and its mean squared error."""

    polynomial: Polynomial
    mean_squared_error: float


def pair_logs(x: Values, y: Values, ignore_first_epochs: int = 0) -> PairedLogs:
    """Bring two logs of one experiment together, (n_epochs,) each; the longer one is cut, gaps are left out."""
    n_epochs = min(len(x), len(y))
    epochs = np.arange(1, n_epochs + 1)[ignore_first_epochs:]
    x, y = x[ignore_first_epochs:n_epochs], y[ignore_first_epochs:n_epochs]
    finite = np.isfinite(x) & np.isfinite(y)
    neighbours = finite[1:] & finite[:-1]
    return PairedLogs(
        epochs=epochs[finite],
        x=x[finite],
        y=y[finite],
        x_steps=x[1:][neighbours] - x[:-1][neighbours],
        y_steps=y[1:][neighbours] - y[:-1][neighbours],
        x_scale=_largest(x[finite]),
        y_scale=_largest(y[finite]),
    )


def correlate(
    pairs: PairedLogs, name: str, *, level: Level = "experiment", n_means: int = 1, logs: tuple[str, str] = ("x", "y")
) -> LogCorrelation:
    """Correlate two logs.

    Parameters
    ----------
    pairs : PairedLogs
    name : str
        Of the experiment, or of the pool.
    level : {"experiment", "pooled", "within"}
    n_means : int
        Means that were subtracted from the points: one, or one for each experiment.
    logs : (str, str)
        What x and y are called, for the sentence.

    Notes
    -----
    With v = n - 1 - n_means degrees of freedom, p = I(1 - r^2; v / 2, 1 / 2), I the regularized incomplete beta
    function: the test of r = 0 for independent pairs of which one is normal (Student 1908; Kendall and Stuart, The
    Advanced Theory of Statistics, vol. 2, sec. 26.22).
    """
    sentence = _why_not(pairs.x, pairs.y, (pairs.x_scale, pairs.y_scale), logs)
    r, p = _pearson(pairs.x, pairs.y, n_means) if not sentence else (np.nan, np.nan)
    steps_usable = not _why_not(pairs.x_steps, pairs.y_steps, (pairs.x_scale, pairs.y_scale), logs)
    r_steps, p_steps = _pearson(pairs.x_steps, pairs.y_steps) if steps_usable else (np.nan, np.nan)
    return LogCorrelation(
        name=name,
        level=level,
        pairs=pairs,
        n=len(pairs.x),
        r=r,
        p=p,
        fit=None if sentence else polynomial_fit(pairs.x, pairs.y, 1),
        n_differences=len(pairs.x_steps),
        r_of_differences=r_steps,
        p_of_differences=p_steps,
        sentence=sentence,
    )


def pool(correlations: Sequence[LogCorrelation], logs: tuple[str, str] = ("x", "y")) -> list[LogCorrelation]:
    """Correlate over several experiments: all points as they are, and within experiments.

    Experiments that differ in level can make the first one strong, or turn its sign, without any relation inside any
    of them; the second one subtracts each experiment's own means first.
    """
    pairs = [correlation.pairs for correlation in correlations if correlation.n]
    if len(pairs) < 2:
        return []
    return [
        correlate(_joined(pairs), "all experiments", level="pooled", logs=logs),
        correlate(_joined(pairs, centred=True), "within experiments", level="within", n_means=len(pairs), logs=logs),
    ]


def polynomial_fit(x: Values, y: Values, degree: int) -> Fit | None:
    """Fit y over x by least squares; None when there are fewer different x than coefficients."""
    if len(np.unique(x)) < degree + 1:
        return None
    polynomial = Polynomial.fit(x, y, degree)
    return Fit(polynomial, float(np.mean((polynomial(x) - y) ** 2)))


def _joined(pairs: Sequence[PairedLogs], *, centred: bool = False) -> PairedLogs:
    def all_of(name: str) -> Values:
        values = [getattr(pair, name) for pair in pairs]
        return np.concatenate([part - part.mean() for part in values] if centred and name in "xy" else values)

    return PairedLogs(
        epochs=np.concatenate([pair.epochs for pair in pairs]),
        x=all_of("x"),
        y=all_of("y"),
        x_steps=all_of("x_steps"),
        y_steps=all_of("y_steps"),
        x_scale=max(pair.x_scale for pair in pairs),
        y_scale=max(pair.y_scale for pair in pairs),
    )


def _pearson(x: Values, y: Values, n_means: int = 1) -> tuple[float, float]:
    from scipy.special import betainc

    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    r = float(np.clip(x @ y, -1.0, 1.0))
    freedom = len(x) - 1 - n_means
    return r, float(betainc(freedom / 2, 0.5, (1 - r) * (1 + r))) if freedom > 0 else np.nan


def _why_not(x: Values, y: Values, scales: tuple[float, float], logs: tuple[str, str]) -> str:
    if len(x) < FEWEST_POINTS:
        return f"{len(x)} point{'' if len(x) == 1 else 's'}, but at least {FEWEST_POINTS} are needed"
    for values, scale, log in zip((x, y), scales, logs):
        if np.ptp(values) <= ROUNDING * scale:
            return f"{log} is constant"
    return ""


def _largest(values: Values) -> float:
    return float(np.max(np.abs(values), initial=0.0))
