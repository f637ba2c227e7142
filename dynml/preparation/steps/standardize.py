"""The step `standardize`, for what follows it in the chain; the store's own standardization comes after all steps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from dynml.configuration import check_choice
from dynml.preparation.standardization import moments, scaled
from dynml.preparation.step import PreparationStep
from dynml.recording import Recording


@dataclass(frozen=True, kw_only=True)
class Standardize(PreparationStep):
    """Standardize each channel over good samples; unlike the key `standardization` before later steps."""

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
        signals = scaled(recording, mean, std, np.dtype(dtype))
        return self.noted(dataclasses.replace(recording, signals=signals))
