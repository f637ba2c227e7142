"""Which channels the subjects of a dataset have.

Shapes: M montages, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Montages:
    """Sets of channels that subjects have."""

    present_MC: NDArray[np.bool_]
    """Which channels each montage has."""

    number_of: Mapping[str, int]
    """Montage of each subject."""

    @property
    def columns(self) -> list[list[int]]:
        """Numbers of the channels of each montage."""
        return [np.flatnonzero(present_C).tolist() for present_C in self.present_MC]
