"""Errors of predictions at the positions that count.

Shapes: B windows, T samples, C channels. NumPy arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mean_absolute_error_at(predicted: NDArray[Any], target: NDArray[Any], scored: NDArray[np.bool_]) -> float:
    """Mean of the absolute difference between predicted and target over all scored entries.

    Parameters
    ----------
    predicted, target : array, (B, T, C)
        May hold anything, NaN too, where it is not scored.
    scored : array of bool, broadcastable to (B, T, C)

    Returns
    -------
    float
        NaN where nothing is scored.
    """
    errors = _errors_at(predicted, target, scored)
    return float(np.abs(errors).mean()) if errors.size else float("nan")


def mean_squared_error_at(predicted: NDArray[Any], target: NDArray[Any], scored: NDArray[np.bool_]) -> float:
    """Mean of (predicted - target)^2 over all scored entries; arguments as of `mean_absolute_error_at`."""
    errors = _errors_at(predicted, target, scored)
    return float(np.square(errors).mean()) if errors.size else float("nan")


def _errors_at(predicted: NDArray[Any], target: NDArray[Any], scored: NDArray[np.bool_]) -> NDArray[np.float64]:
    assert predicted.shape == target.shape, (predicted.shape, target.shape)
    chosen = np.broadcast_to(scored, target.shape)
    return predicted[chosen].astype(np.float64) - target[chosen].astype(np.float64)
