"""How much windows are augmented. No torch here: settings are read from it before torch is needed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How much of what; everything is off by default."""

    noise: float = 0.0
    """Standard deviation of Gaussian noise, in units of the signals."""

    sign_flip: float = 0.0
    """Probability that a window is multiplied by -1 (all channels together, so that covariances stay the same)."""

    channel_dropout: float = 0.0
    """Probability that a channel of a window is set to 0."""

    amplitude_jitter: float = 0.0
    """A window is multiplied by a number drawn uniformly from 1 - amplitude_jitter to 1 + amplitude_jitter."""

    time_jitter: int = 0
    """Maximum shift of a window within its segment, in samples. Windows may then share samples."""

    time_masking: int = 0
    """Maximum length, in samples, of one stretch of each window that is set to 0."""

    channel_masking: int = 0
    """Maximum number of channels of each window that are set to 0."""

    @property
    def changes_values(self) -> bool:
        """Whether any value changes; windows that only move keep theirs."""
        amounts = (self.noise, self.sign_flip, self.channel_dropout, self.amplitude_jitter)
        return any(amounts) or self.time_masking > 0 or self.channel_masking > 0
