"""How much windows are augmented. No torch here: settings are read from it before torch is needed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How much of what; everything is off by default."""

    noise: float = 0.0
    """Standard deviation of Gaussian noise, in units of the signals."""

    sign_flip: float = 0.0
    """Probability that a window is multiplied by -1, all channels together: covariances stay."""

    channel_dropout: float = 0.0
    """Probability, for each channel of a window, that it is 0 throughout."""

    amplitude_jitter: float = 0.0
    """A window is multiplied by a number drawn evenly from 1 - amplitude_jitter to 1 + amplitude_jitter."""

    time_jitter: int = 0
    """A window is moved by up to so many samples within its segment. Windows may then share samples."""

    time_masking: int = 0
    """In each window one stretch of 0 to so many samples is 0."""

    channel_masking: int = 0
    """In each window 0 to so many channels are 0 throughout."""

    @property
    def changes_values(self) -> bool:
        """Whether any value changes; windows that only move keep theirs."""
        amounts = (self.noise, self.sign_flip, self.channel_dropout, self.amplitude_jitter)
        return any(amounts) or self.time_masking > 0 or self.channel_masking > 0
