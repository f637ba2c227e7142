"""The step `detrend`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dynml.preparation.step import ROWS_PER_BLOCK, PreparationStep, blocks
from dynml.recording import Recording


@dataclass(frozen=True, kw_only=True)
class Detrend(PreparationStep):
    """Remove each run's linear trend, least squares over its good samples, and keep each channel's mean."""

    name: ClassVar[str] = "detrend"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    def __call__(self, recording: Recording) -> Recording:
        """Subtract slope x (time - mean time) from each run; signals become float64."""
        signals = np.empty(recording.signals.shape, dtype=np.float64)
        for run, start, stop in recording.runs():
            segments = recording.segments_of_run(run)
            time = np.concatenate([np.arange(first, last) for first, last in segments]).astype(np.float64)
            middle = time.mean()
            spread = float(np.square(time - middle).sum())
            slope = np.zeros(recording.n_channels)
            for first, last in blocks(segments):
                slope += (np.arange(first, last) - middle) @ recording.signals[first:last].astype(np.float64)
            slope /= max(spread, 1.0)
            for first in range(start, stop, ROWS_PER_BLOCK):
                last = min(first + ROWS_PER_BLOCK, stop)
                signals[first:last] = recording.signals[first:last] - np.outer(np.arange(first, last) - middle, slope)
        return self.noted(dataclasses.replace(recording, signals=signals), order=1)
