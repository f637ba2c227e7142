"""Standardization of one subject's signals, which follows the steps of `preparation_steps`, and moments.

Shapes: T samples, C channels, R runs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_choice
from dynml.preparation.step import ROWS_PER_BLOCK, blocks
from dynml.recording import Recording
from dynml.stretches import blocks_in_cache

VALUES_AT_ONCE = 1024
"""Of rows that are put together before NumPy goes through them."""


def standardized(recording: Recording, method: str = "per_run") -> Recording:
    """Subtract each channel's mean and divide by its standard deviation; signals become float32.

    Parameters
    ----------
    recording : Recording
        Without constant channels.
    method : {"per_run", "per_subject", "none"}
        Over which samples the moments are taken; only good samples count, but all are transformed.

    Returns
    -------
    Recording
        With `mean` and `std` (R or 1, C) in float64, the standard deviation with divisor n; zeros and ones for "none".
    """
    check_choice("standardization", method, ["per_run", "per_subject", "none"])
    mean, std = moments(recording, method)
    signals = scaled(recording, mean, std, np.dtype(np.float32))
    for _, block in blocks_in_cache(signals):
        finite = np.isfinite(block)
        if not finite.all():
            # An infinite sample is as missing as a NaN one, and says so in one way only.
            block[~finite] = np.nan
    return _noted(
        dataclasses.replace(recording, signals=signals, mean=mean, std=std), {"step": "standardize", "method": method}
    )


def scaled(
    recording: Recording, mean: NDArray[np.float64], std: NDArray[np.float64], dtype: np.dtype[Any]
) -> NDArray[np.floating[Any]]:
    """Subtract and divide all rows by moments (R or 1, C) in float64, (T, C) of `dtype`."""
    signals = np.empty(recording.signals.shape, dtype=dtype)
    buffer = np.empty((ROWS_PER_BLOCK, recording.n_channels))
    for run, start, stop in recording.runs():
        row = run if len(mean) > 1 else 0
        for first in range(start, stop, ROWS_PER_BLOCK):
            last = min(first + ROWS_PER_BLOCK, stop)
            part = _as_float64(recording.signals[first:last], buffer)
            _to_each_row(np.subtract, part, mean[row])
            _to_each_row(np.divide, part, std[row])
            signals[first:last] = part
    return signals


def moments(recording: Recording, method: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (divisor n) of good samples, each (R or 1, C), in float64 by two passes.

    Checks, steps and standardization ask for them one after the other: the recording keeps them.
    """
    if method == "none":
        return np.zeros((1, recording.n_channels)), np.ones((1, recording.n_channels))
    if len(recording.run_names) == 1:
        method = "per_run"
    if method not in recording.known_moments:
        if method == "per_subject":
            parts = [recording.segments]
        else:
            parts = [recording.segments_of_run(run) for run in range(len(recording.run_names))]
        pairs = [moments_of_segments(recording.signals, segments) for segments in parts]
        recording.known_moments[method] = np.stack([mean for mean, _ in pairs]), np.stack([std for _, std in pairs])
    mean, std = recording.known_moments[method]
    return mean, std


def means_of_runs(recording: Recording) -> NDArray[np.float64]:
    """Mean of good samples of each run, (R, C), in float64; without the second pass, where it was not made yet."""
    if "per_run" in recording.known_moments:
        return moments(recording, "per_run")[0]
    runs = range(len(recording.run_names))
    return np.stack([mean_of_segments(recording.signals, recording.segments_of_run(run)) for run in runs])


def mean_of_segments(signals: NDArray[np.floating[Any]], segments: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over the rows of some segments, (C,), in float64."""
    total, ones = np.zeros(signals.shape[1]), np.ones(ROWS_PER_BLOCK)
    buffer = np.empty((ROWS_PER_BLOCK, signals.shape[1]))
    for first, last in blocks(segments):
        total += ones[: last - first] @ _as_float64(signals[first:last], buffer)
    return total / int((segments[:, 1] - segments[:, 0]).sum())


def moments_of_segments(
    signals: NDArray[np.floating[Any]], segments: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation over the rows of some segments, each (C,), in float64 by two passes."""
    count = int((segments[:, 1] - segments[:, 0]).sum())
    mean = mean_of_segments(signals, segments)
    squares, buffer = np.zeros(signals.shape[1]), np.empty((ROWS_PER_BLOCK, signals.shape[1]))
    for first, last in blocks(segments):
        part = _as_float64(signals[first:last], buffer)
        _to_each_row(np.subtract, part, mean)
        squares += np.einsum("tc,tc->c", part, part)
    return mean, np.sqrt(squares / count)


def robust_moments(values: NDArray[np.floating[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Median over the last axis, and 1.4826 times the median absolute deviation from it; nothing may be missing."""
    median = median_of(values)
    return median, 1.4826 * median_of(np.abs(values - median[..., None]))


def median_of(values: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Median over the last axis; `np.median` also looks for NaN, and takes three times as long."""
    middle = values.shape[-1] // 2
    parted = np.partition(values, middle, axis=-1)
    if values.shape[-1] % 2:
        return np.asarray(parted[..., middle])
    return np.asarray((parted[..., :middle].max(axis=-1) + parted[..., middle]) / 2)


def _as_float64(rows: NDArray[np.floating[Any]], buffer: NDArray[np.float64]) -> NDArray[np.float64]:
    """Copy rows into a buffer: twice as quick as arithmetic on two types at once."""
    part = buffer[: len(rows)]
    part[...] = rows
    return part


def _to_each_row(operation: np.ufunc, part: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    """Apply an operation with one value a channel to rows, in place; NumPy is slow with short ones, one by one."""
    n_channels = part.shape[1]
    n_together = max(1, VALUES_AT_ONCE // max(1, n_channels))
    n_whole = len(part) // n_together * n_together
    together, rest = part[:n_whole].reshape(-1, n_together * n_channels), part[n_whole:]
    operation(together, np.tile(values, n_together), out=together)
    operation(rest, values, out=rest)


def _noted(recording: Recording, step: dict[str, Any]) -> Recording:
    return dataclasses.replace(recording, preparation=(*recording.preparation, step))
