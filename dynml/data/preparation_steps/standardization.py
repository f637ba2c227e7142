"""The step `standardize`, for what follows it in the chain; the store's own standardization comes after all steps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from dynml.configuration import check_choice
from dynml.data.preparation import moments
from dynml.data.preparation_steps.step import ROWS_PER_BLOCK, PreparationStep
from dynml.data.recording import Recording


@dataclass(frozen=True, kw_only=True)
class Standardize(PreparationStep):
    """Subtract each channel's mean and divide by its standard deviation, over good samples."""

    name: ClassVar[str] = "standardize"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    keeps_units: ClassVar[bool] = False

    method: Literal["per_run", "per_subject"] = "per_run"
    """Over which samples the moments are taken."""

    def __post_init__(self) -> None:
        check_choice("method", self.method, ["per_run", "per_subject"])

    def __call__(self, recording: Recording) -> Recording:
        """Standardize all rows; what was recorded in float32 stays so, all else becomes float64."""
        mean, std = moments(recording, self.method)
        dtype = np.float32 if recording.signals.dtype == np.float32 else np.float64
        signals = np.empty(recording.signals.shape, dtype=dtype)
        for run, start, stop in recording.runs():
            row = run if len(mean) > 1 else 0
            for first in range(start, stop, ROWS_PER_BLOCK):
                last = min(first + ROWS_PER_BLOCK, stop)
                signals[first:last] = (recording.signals[first:last] - mean[row]) / std[row]
        return self.noted(dataclasses.replace(recording, signals=signals))
