"""Preparation of one subject's signals: each step maps a Recording to another and notes itself in its `preparation`.

Shapes: T samples, C channels, R runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_choice, nearest_name
from dynml.data.recording import Recording
from dynml.errors import DataError

Step = Callable[[Recording], Recording]
ROWS_PER_BLOCK = 65536


def detrended(recording: Recording) -> Recording:
    """Remove each run's linear trend, least squares over its good samples, and keep each channel's mean.

    Returns
    -------
    Recording
        With `{"step": "detrend", "order": 1}` noted.
    """
    signals = np.empty_like(recording.signals)
    for run, start, stop in recording.runs():
        segments = recording.segments_of_run(run)
        time = np.concatenate([np.arange(first, last) for first, last in segments]).astype(np.float64)
        middle = time.mean()
        spread = float(np.square(time - middle).sum())
        slope = np.zeros(recording.n_channels)
        for first, last in _blocks(segments):
            slope += (np.arange(first, last) - middle) @ recording.signals[first:last].astype(np.float64)
        slope /= max(spread, 1.0)
        for first in range(start, stop, ROWS_PER_BLOCK):
            last = min(first + ROWS_PER_BLOCK, stop)
            signals[first:last] = recording.signals[first:last] - np.outer(np.arange(first, last) - middle, slope)
    return _noted(dataclasses.replace(recording, signals=signals), {"step": "detrend", "order": 1})


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
    signals = np.empty(recording.signals.shape, dtype=np.float32)
    for run, start, stop in recording.runs():
        row = run if len(mean) > 1 else 0
        for first in range(start, stop, ROWS_PER_BLOCK):
            last = min(first + ROWS_PER_BLOCK, stop)
            signals[first:last] = (recording.signals[first:last] - mean[row]) / std[row]
    # An infinite sample is as missing as a NaN one, and says so in one way only.
    signals[~np.isfinite(signals)] = np.nan
    return _noted(
        dataclasses.replace(recording, signals=signals, mean=mean, std=std), {"step": "standardize", "method": method}
    )


def moments(recording: Recording, method: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (divisor n) of good samples, each (R or 1, C), in float64 by two passes."""
    if method == "none":
        return np.zeros((1, recording.n_channels)), np.ones((1, recording.n_channels))
    if method == "per_subject":
        parts = [recording.segments]
    else:
        parts = [recording.segments_of_run(run) for run in range(len(recording.run_names))]
    pairs = [moments_of_segments(recording.signals, segments) for segments in parts]
    return np.stack([mean for mean, _ in pairs]), np.stack([std for _, std in pairs])


def moments_of_segments(
    signals: NDArray[np.floating[Any]], segments: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation over the rows of some segments, each (C,), in float64 by two passes."""
    count = int((segments[:, 1] - segments[:, 0]).sum())
    mean = np.zeros(signals.shape[1])
    for first, last in _blocks(segments):
        mean += signals[first:last].sum(axis=0, dtype=np.float64)
    mean /= count
    squares = np.zeros(signals.shape[1])
    for first, last in _blocks(segments):
        squares += np.square(signals[first:last] - mean).sum(axis=0)
    return mean, np.sqrt(squares / count)


STEPS: dict[str, Step] = {"detrend": detrended}
"""Steps that the config's `preparation` can name."""


def chosen_steps(names: list[str], detrend: bool) -> list[Step]:
    """Look up the steps of a config, in order; `detrend` stands for a first step of that name.

    Raises
    ------
    DataError
        For an unknown step, with the nearest name, or one that stands twice.
    """
    for name in names:
        if name not in STEPS:
            raise DataError(f"{name!r} is no preparation step{nearest_name(name, STEPS)}.")
    if detrend and "detrend" in names:
        raise DataError("The step 'detrend' stands twice: as 'detrend': true and in 'preparation'.")
    return [STEPS[name] for name in (["detrend", *names] if detrend else names)]


def _blocks(segments: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Rows of segments in pieces that stay small when they become float64."""
    return [
        (first, min(first + ROWS_PER_BLOCK, stop))
        for start, stop in segments.tolist()
        for first in range(start, stop, ROWS_PER_BLOCK)
    ]


def _noted(recording: Recording, step: dict[str, Any]) -> Recording:
    return dataclasses.replace(recording, preparation=(*recording.preparation, step))
