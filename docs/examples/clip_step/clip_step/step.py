"""The step `clip`."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dynml.configuration import check_positive
from dynml.preparation.step import PreparationStep, per_segment


@dataclass(frozen=True, kw_only=True)
class Clip(PreparationStep):
    """Limit each channel of each segment to some standard deviations about its mean."""

    name: ClassVar[str] = "clip"
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "clip-step")

    limit: float = 5.0
    """Standard deviations."""

    def __post_init__(self):
        check_positive("limit", self.limit)

    def __call__(self, recording):
        """Clip, and note it."""
        return self.noted(per_segment(recording, self.clipped))

    def clipped(self, segment):
        """Clip one segment, (n, C)."""
        mean, reach = segment.mean(axis=0), self.limit * segment.std(axis=0)
        return np.clip(segment, mean - reach, mean + reach)
