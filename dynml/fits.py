"""What a preparation step must know of signals, and what a fitted one has learnt from many subjects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a step must know of signals before they are read."""

    sampling_frequency: float
    """Hz."""
    channel_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a step has learnt, and from whom."""

    layout: Layout
    """Rate and channels that the step met."""
    subjects: tuple[str, ...]
    """Those that it was fitted to."""
    arrays: dict[str, NDArray[Any]]
    values: dict[str, Any] = field(default_factory=dict)
    """Plain values that say how the fit went."""
