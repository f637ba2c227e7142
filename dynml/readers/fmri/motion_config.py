"""How the motion of the head is taken out of raw images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from dynml.configuration import check_choice
from dynml.errors import ConfigurationError

MOST_LEVELS = 3


@dataclass(frozen=True, kw_only=True)
class MotionCorrectionConfig:
    """The key `motion_correction` of a group of NIfTI images."""

    reference: Literal["middle", "mean"] = "middle"
    """What each volume is brought onto: the middle volume of its run, or the mean of all."""

    level_iterations: list[int] = dataclasses.field(default_factory=lambda: [100, 50, 20])
    """Most iterations at a quarter, a half and all of the resolution; fewer numbers leave the coarse levels out."""

    def __post_init__(self) -> None:
        check_choice("motion_correction.reference", self.reference, ["middle", "mean"])
        numbers = self.level_iterations
        if not isinstance(numbers, list) or not 1 <= len(numbers) <= MOST_LEVELS or not all(map(_is_count, numbers)):
            accepted = f"a list of 1 to {MOST_LEVELS} whole numbers above 0, such as [100, 50, 20]"
            raise ConfigurationError("motion_correction.level_iterations", numbers, accepted)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
