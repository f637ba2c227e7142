"""The steps `filter` and `notch`: zero-phase filters, forward and backward over each segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least, check_positive
from dynml.errors import ConfigurationError, DataError
from dynml.fits import Layout
from dynml.preparation.step import PreparationStep, check_below_nyquist, per_segment
from dynml.recording import Recording


@dataclass(frozen=True, kw_only=True)
class Filter(PreparationStep):
    """Butterworth filter, forward and backward; amplitudes at the stated frequencies are halved.

    Notes
    -----
    Band-pass with both frequencies, high-pass with the lower only, low-pass with the upper only. Going over the data
    twice squares the gain (-6 dB).
    """

    name: ClassVar[str] = "filter"

    low_frequency: float | None = None
    """Lower cut-off, Hz."""
    high_frequency: float | None = None
    """Upper cut-off, Hz."""
    order: int = 5
    """Order of the Butterworth filter; a band-pass has twice as many poles."""

    def __post_init__(self) -> None:
        check_positive("low_frequency", self.low_frequency, optional=True)
        check_positive("high_frequency", self.high_frequency, optional=True)
        check_at_least("order", self.order, 1)
        if self.low_frequency is None and self.high_frequency is None:
            raise ConfigurationError("low_frequency", None, "given, or high_frequency, or both")
        if self.low_frequency is not None and self.high_frequency is not None:  # noqa: SIM102
            if not self.low_frequency < self.high_frequency:
                accepted = f"below high_frequency ({self.high_frequency:g})"
                raise ConfigurationError("low_frequency", self.low_frequency, accepted)

    @property
    def kind(self) -> str:
        """In scipy's words: bandpass, highpass or lowpass."""
        if self.low_frequency is not None and self.high_frequency is not None:
            return "bandpass"
        return "highpass" if self.high_frequency is None else "lowpass"

    def layout_after(self, layout: Layout) -> Layout:
        """Refuse frequencies above Nyquist."""
        for key in ("low_frequency", "high_frequency"):
            if getattr(self, key) is not None:
                check_below_nyquist(self.name, key, getattr(self, key), layout.sampling_frequency)
        return layout

    def sections(self, sampling_frequency: float) -> NDArray[np.float64]:
        """Second-order sections, (n, 6)."""
        from scipy.signal import butter

        frequencies = [value for value in (self.low_frequency, self.high_frequency) if value is not None]
        edges = frequencies if len(frequencies) > 1 else frequencies[0]
        sections: NDArray[np.float64] = butter(self.order, edges, btype=self.kind, fs=sampling_frequency, output="sos")
        return sections

    def shortest_segment(self, sampling_frequency: float) -> int:
        """One sample more than the filter's padding."""
        return padding(self.sections(sampling_frequency)) + 1

    def __call__(self, recording: Recording) -> Recording:
        """Filter each segment by itself."""
        sections = self.sections(recording.sampling_frequency)
        return self.noted(filtered(recording, sections), kind=self.kind, padding=padding(sections))


@dataclass(frozen=True, kw_only=True)
class Notch(PreparationStep):
    """Remove one frequency, such as the mains; give a step for each harmonic."""

    name: ClassVar[str] = "notch"

    frequency: float
    """Hz."""
    quality: float = 30.0
    """Quality factor: frequency divided by the 3 dB bandwidth of one pass."""

    def __post_init__(self) -> None:
        check_positive("frequency", self.frequency)
        check_positive("quality", self.quality)

    def layout_after(self, layout: Layout) -> Layout:
        """Refuse a frequency above Nyquist."""
        check_below_nyquist(self.name, "frequency", self.frequency, layout.sampling_frequency)
        return layout

    def sections(self, sampling_frequency: float) -> NDArray[np.float64]:
        """Second-order section, (1, 6)."""
        from scipy.signal import iirnotch, tf2sos

        sections: NDArray[np.float64] = tf2sos(*iirnotch(self.frequency, self.quality, fs=sampling_frequency))
        return sections

    def shortest_segment(self, sampling_frequency: float) -> int:
        """One sample more than the filter's padding."""
        return padding(self.sections(sampling_frequency)) + 1

    def __call__(self, recording: Recording) -> Recording:
        """Filter each segment by itself."""
        sections = self.sections(recording.sampling_frequency)
        return self.noted(filtered(recording, sections), padding=padding(sections))


def filtered(recording: Recording, sections: NDArray[np.float64]) -> Recording:
    """Filter each segment forward and backward, padded at both ends by its odd extension.

    Raises
    ------
    DataError
        When the filter is so narrow that it never forgets where it began.
    """
    from scipy.signal import sosfiltfilt

    n_rows = padding(sections)
    try:
        return per_segment(recording, lambda signals: sosfiltfilt(sections, signals, axis=0, padlen=n_rows))
    except np.linalg.LinAlgError as error:
        raise DataError(
            f"a filter of 'preparation' is too narrow, or its frequency too low, to be computed at "
            f"{recording.sampling_frequency:g} Hz; give it a wider band or leave it out."
        ) from error


def padding(sections: NDArray[np.float64]) -> int:
    """Samples by which each end is extended: three times the filter's number of coefficients, as scipy has it."""
    n_delays_unused = min(int((sections[:, 2] == 0).sum()), int((sections[:, 5] == 0).sum()))
    return 3 * (2 * len(sections) + 1 - n_delays_unused)
