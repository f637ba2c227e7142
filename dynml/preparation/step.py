"""What all preparation steps share: the protocol, the walk over segments, and the note of what was done.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.fits import Layout
from dynml.recording import Recording

ROWS_PER_BLOCK = 4096
"""Blocks of so many rows stay in a processor's cache, so that what is made of them costs no memory."""
Signals = NDArray[np.float64]


class PreparationStep:
    """One step of a chain: a frozen dataclass whose fields are the parameters that a config may give."""

    name: ClassVar[str]
    """As a config names it."""
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy")
    """Packages whose versions are noted."""
    keeps_units: ClassVar[bool] = True
    """Whether deviations afterwards compare with those before: a channel without variance is found by that."""

    def layout_after(self, layout: Layout) -> Layout:
        """Refuse signals that the step cannot be applied to, and describe those that it gives.

        Raises
        ------
        DataError
            Without the subject, which the caller adds.
        """
        return layout

    def origins(self, layout: Layout) -> list[int]:
        """Index of the channel that each channel afterwards is made from."""
        return list(range(len(layout.channel_names)))

    def shortest_segment(self, sampling_frequency: float) -> int:
        """Samples that a segment needs; shorter ones are dropped before the step."""
        return 2

    def warning(self, recording: Recording) -> tuple[str, str] | None:
        """Topic and detail of what the user should know of a recording that the step gave; None where all is well."""
        return None

    def __call__(self, recording: Recording) -> Recording:
        """Apply the step to segments that are long enough, and note it."""
        raise NotImplementedError

    def parameters(self) -> dict[str, Any]:
        """What a config says of the step."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    def noted(self, recording: Recording, **found: Any) -> Recording:
        """Append the step, its parameters, what was `found`, and the libraries' versions to the provenance."""
        versions = {library: _version(library) for library in self.libraries}
        note = {"step": self.name, **self.parameters(), **found, "versions": versions}
        return dataclasses.replace(recording, preparation=(*recording.preparation, note))


@functools.cache
def _version(library: str) -> str:
    return importlib.metadata.version(library)


def per_segment(recording: Recording, function: Callable[[Signals], Signals]) -> Recording:
    """Map each segment, (n, C) float64, to one of the same shape; rows outside segments become NaN."""
    signals = np.full(recording.signals.shape, np.nan)
    for start, stop in recording.segments.tolist():
        signals[start:stop] = function(recording.signals[start:stop].astype(np.float64))
    return dataclasses.replace(recording, signals=signals)


def per_segment_trimmed(
    recording: Recording,
    function: Callable[[Signals], Signals],
    margin: int,
    channel_names: tuple[str, ...] | None = None,
) -> Recording:
    """Map each segment, (n, C), to its inner rows, (n - 2 margin, C'); the rows of the margins stay, as NaN.

    Keeping the rows keeps events and the borders of runs where they are.
    """
    names = recording.channel_names if channel_names is None else channel_names
    signals = np.full((recording.n_samples, len(names)), np.nan)
    for start, stop in recording.segments.tolist():
        signals[start + margin : stop - margin] = function(recording.signals[start:stop].astype(np.float64))
    return trimmed(recording, signals, margin, names)


def trimmed(recording: Recording, signals: Signals, margin: int, channel_names: tuple[str, ...]) -> Recording:
    """Give a recording signals that are good only `margin` rows within its segments."""
    # Segments of a resampled recording all start at the same fraction of an original sample.
    moved = recording.source_offset + margin * recording.source_step
    n_samples = int(np.floor(moved + 0.5))
    source_samples = recording.source_samples.copy()
    source_samples[:, 0] += n_samples
    return dataclasses.replace(
        recording,
        signals=signals,
        channel_names=channel_names,
        segments=recording.segments + np.array([margin, -margin]),
        source_samples=source_samples,
        source_offset=moved - n_samples,
    )


def blocks(segments: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Rows of segments in pieces that stay small when they become float64."""
    for start, stop in segments.tolist():
        for first in range(start, stop, ROWS_PER_BLOCK):
            yield first, min(first + ROWS_PER_BLOCK, stop)


def check_below_nyquist(step: str, key: str, frequency: float, sampling_frequency: float) -> None:
    """Refuse a frequency that signals of this rate cannot hold.

    Raises
    ------
    DataError
        Names the step, the key, both frequencies.
    """
    if not frequency < sampling_frequency / 2:
        raise DataError(
            f"the step {step!r} has {key} {frequency:g} Hz, but must stay below the Nyquist frequency of "
            f"{sampling_frequency / 2:g} Hz, half of the rate of {sampling_frequency:g} Hz that it meets."
        )
