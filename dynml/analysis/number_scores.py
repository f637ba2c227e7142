"""How well numbers are predicted: R^2 and correlation, together and by participant.

Shapes: n trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dynml.analysis.classification import bootstrap_interval
from dynml.ops.metrics import r_squared


def correlation(truth: ArrayLike, predicted: ArrayLike) -> float | None:
    """Pearson's correlation; None with fewer than three trials, or where one of both is constant."""
    one, other = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) <= 1e-12 * float(np.abs(other).max()):
        return None
    return float(np.corrcoef(one, other)[0, 1])


def number_scores(truth: ArrayLike, predicted: ArrayLike, participants: Sequence[str]) -> dict[str, Any]:
    """Everything that is said of predicted numbers, as plain values.

    Parameters
    ----------
    truth, predicted : array, (n,)
        At least one trial.
    participants : sequence of n str

    Returns
    -------
    dict
        n_trials, n_participants, r_squared (1 - squared error / squared deviation from the mean of these trials),
        correlation, root_mean_squared_error, mean_absolute_error, per_participant {n_trials, r_squared, correlation:
        about the participant's own mean}, and mean_correlation of participants with mean_correlation_interval
        (bootstrap over them). None where a score has no meaning.
    """
    truth, predicted = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    people = np.asarray(participants)
    each: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(participants):
        own = people == name
        each[name] = {
            "n_trials": int(own.sum()),
            "r_squared": r_squared(truth[own], predicted[own]),
            "correlation": correlation(truth[own], predicted[own]),
        }
    known = {name: one["correlation"] for name, one in each.items() if one["correlation"] is not None}
    interval = bootstrap_interval(list(known.values()), list(known)) if known else None
    errors = truth - predicted
    return {
        "n_trials": len(truth),
        "n_participants": len(each),
        "r_squared": r_squared(truth, predicted),
        "correlation": correlation(truth, predicted),
        "root_mean_squared_error": float(np.sqrt(np.square(errors).mean())),
        "mean_absolute_error": float(np.abs(errors).mean()),
        "mean_correlation": float(np.mean(list(known.values()))) if known else None,
        "mean_correlation_interval": None if interval is None else list(interval),
        "per_participant": each,
    }
