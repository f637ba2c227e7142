"""The steps `amplitude_envelope` and `moving_average`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dynml.errors import ConfigurationError
from dynml.preparation.step import PreparationStep, Signals, per_segment, per_segment_trimmed
from dynml.recording import Recording


@dataclass(frozen=True, kw_only=True)
class AmplitudeEnvelope(PreparationStep):
    """Replace signals by the modulus of their analytic signal; band-pass filter before."""

    name: ClassVar[str] = "amplitude_envelope"

    def __call__(self, recording: Recording) -> Recording:
        """Take the envelope of each segment by itself."""
        from scipy.signal import hilbert

        return self.noted(per_segment(recording, lambda signals: np.abs(hilbert(signals, axis=0))))


@dataclass(frozen=True, kw_only=True)
class MovingAverage(PreparationStep):
    """Replace each sample by the mean of the window around it; only whole windows count."""

    name: ClassVar[str] = "moving_average"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    window_length: int
    """Samples, odd; half a window is lost at each end of each segment."""

    def __post_init__(self) -> None:
        check_odd("window_length", self.window_length)

    def shortest_segment(self, sampling_frequency: float) -> int:
        """A window and one sample more, so that two are left."""
        return self.window_length + 1

    def __call__(self, recording: Recording) -> Recording:
        """Average within each segment."""
        return self.noted(per_segment_trimmed(recording, self._averaged, self.window_length // 2))

    def _averaged(self, signals: Signals) -> Signals:
        # Around the mean, running sums stay small, so that an offset costs no digits.
        mean = signals.mean(axis=0)
        sums = np.concatenate([np.zeros((1, signals.shape[1])), np.cumsum(signals - mean, axis=0)])
        averaged: Signals = (sums[self.window_length :] - sums[: -self.window_length]) / self.window_length + mean
        return averaged


def check_odd(key: str, value: object) -> None:
    """Refuse what is not an odd whole number of at least 3."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 3 or value % 2 == 0:
        raise ConfigurationError(key, value, "an odd whole number of at least 3")
