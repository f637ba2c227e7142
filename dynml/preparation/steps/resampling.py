"""The step `downsample`: fewer samples per second, with segments, events and source samples brought along."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_positive
from dynml.errors import DataError
from dynml.fits import Layout
from dynml.preparation.step import PreparationStep
from dynml.recording import Events, Recording

LARGEST_FACTOR = 100_000
SAME_RATIO = 1e-9


@dataclass(frozen=True, kw_only=True)
class Downsample(PreparationStep):
    """Resample to a lower rate with a filter against aliasing (`scipy.signal.resample_poly`).

    Notes
    -----
    Sample k of a segment stands k x (old rate / new rate) old samples after its first one. Each segment is resampled by
    itself, continued at both ends along the line through its first and last sample.

    A polyphase filter weights the samples before each new one by another of its phases. As scipy designs it, their sums
    differ by 1.5e-4, so that a level of 3000 standard deviations, as of DC-coupled EEG, comes back as an oscillation
    at half the new rate. So the line is taken off first, and each phase is scaled to sum to one, which keeps any level
    that lasts as long as the filter.
    """

    name: ClassVar[str] = "downsample"

    sampling_frequency: float
    """New rate, Hz."""

    def __post_init__(self) -> None:
        check_positive("sampling_frequency", self.sampling_frequency)

    def ratio(self, sampling_frequency: float) -> Fraction:
        """New rate over old rate, as whole numbers.

        Raises
        ------
        DataError
            When the new rate is the higher one, or the ratio is no fraction of numbers up to 100,000.
        """
        found = self.sampling_frequency / sampling_frequency
        if found > 1.0 + SAME_RATIO:
            raise DataError(
                f"the step {self.name!r} asks for {self.sampling_frequency:g} Hz, more than the rate of "
                f"{sampling_frequency:g} Hz that it meets."
            )
        ratio = Fraction(found).limit_denominator(LARGEST_FACTOR)
        if ratio == 0 or abs(float(ratio) - found) > SAME_RATIO * found:
            raise DataError(
                f"the step {self.name!r} cannot bring {sampling_frequency!r} Hz to {self.sampling_frequency!r} Hz: "
                f"their ratio is not a fraction of whole numbers up to {LARGEST_FACTOR}; use rounder rates."
            )
        return ratio

    def layout_after(self, layout: Layout) -> Layout:
        """Refuse a rate that cannot be reached."""
        self.ratio(layout.sampling_frequency)
        return dataclasses.replace(layout, sampling_frequency=float(self.sampling_frequency))

    def shortest_segment(self, sampling_frequency: float) -> int:
        """As many samples as give two."""
        ratio = self.ratio(sampling_frequency)
        return max(2, ratio.denominator // ratio.numerator + 1)

    def __call__(self, recording: Recording) -> Recording:
        """Resample each segment by itself."""
        from scipy.signal import resample_poly

        ratio = self.ratio(recording.sampling_frequency)
        found = {"up": ratio.numerator, "down": ratio.denominator, "from": float(recording.sampling_frequency)}
        if ratio == 1:
            return self.noted(
                dataclasses.replace(recording, sampling_frequency=float(self.sampling_frequency)), **found
            )
        rows = ResampledRows(recording, ratio)
        signals = np.full((rows.n_rows, recording.n_channels), np.nan)
        weights = _filter_of_equal_phases(ratio)
        for (start, stop), (first, last) in zip(recording.segments.tolist(), rows.segments.tolist()):
            old = recording.signals[start:stop].astype(np.float64)
            begin, slope = old[0].copy(), (old[-1] - old[0]) / max(len(old) - 1, 1)
            old -= begin + slope * np.arange(len(old))[:, None]
            new = resample_poly(old, ratio.numerator, ratio.denominator, axis=0, window=weights)
            signals[first:last] = new + begin + slope * (np.arange(len(new)) / float(ratio))[:, None]
        resampled = dataclasses.replace(
            recording,
            signals=signals,
            sampling_frequency=float(self.sampling_frequency),
            segments=rows.segments,
            source_step=recording.source_step * float(1 / ratio),
            events=None if recording.events is None else rows.moved(recording.events),
        )
        return self.noted(resampled, **found)


def _filter_of_equal_phases(ratio: Fraction) -> NDArray[np.float64]:
    """The filter that `resample_poly` designs by default, each of its phases scaled to the same sum."""
    from scipy.signal import firwin

    larger = max(ratio.numerator, ratio.denominator)
    weights: NDArray[np.float64] = firwin(20 * larger + 1, 1.0 / larger, window=("kaiser", 5.0))
    for phase in range(ratio.numerator):
        weights[phase :: ratio.numerator] /= weights[phase :: ratio.numerator].sum() * ratio.numerator
    return weights


class ResampledRows:
    """Where the rows of a recording stand after resampling.

    A gap between segments keeps its length as far as whole rows can. Where segments lie closer than a row, the later
    one starts right after the earlier one.

    Parameters
    ----------
    recording : Recording
    ratio : Fraction
        New rate over old rate.
    """

    def __init__(self, recording: Recording, ratio: Fraction) -> None:
        self._segments: list[tuple[int, int]] = []
        old: list[int] = []
        new: list[float] = []
        self._old_starts: list[int] = []
        self._new_starts = [0]
        for run, start, stop in recording.runs():
            first_row = end = self._new_starts[-1]
            anchors: list[tuple[int, float]] = []
            for first, last in recording.segments_of_run(run).tolist():
                new_first = max(end, first_row + _ceiling((first - start) * ratio))
                end = new_first + _ceiling((last - first) * ratio)
                self._segments.append((new_first, end))
                anchors += [(first, new_first), (last - 1, new_first + float((last - 1 - first) * ratio))]
            end = max(end, first_row + _ceiling((stop - start) * ratio))
            for row, new_row in _with_run_start(anchors, start, first_row):
                old.append(row)
                new.append(new_row)
            self._old_starts.append(start)
            self._new_starts.append(end)
        self._old = np.array([*old, recording.n_samples], dtype=np.float64)
        self._new = np.array([*new, self._new_starts[-1]], dtype=np.float64)

    @property
    def segments(self) -> NDArray[np.int64]:
        """New [start, stop) of each segment, (n_segments, 2)."""
        return np.array(self._segments, dtype=np.int64)

    @property
    def n_rows(self) -> int:
        """Number of new rows."""
        return self._new_starts[-1]

    def moved(self, events: Events) -> Events:
        """Bring events to the nearest new rows; one that lasted keeps at least one row."""
        onset, duration = events.onset.copy(), events.duration.copy()
        runs = np.searchsorted(self._old_starts, events.onset, side="right") - 1
        first, end = (np.array(starts, dtype=np.int64)[runs] for starts in _borders(self._new_starts))
        exact = self._new_rows(events.onset if events.exact_onset is None else events.exact_onset)
        onset = np.clip(_nearest(exact), first, end - 1)
        exact = np.clip(exact, onset - 0.5, onset + 0.5)
        stop = np.clip(_nearest(self._new_rows(events.onset + events.duration)), onset, end)
        duration = np.where(events.duration > 0, np.maximum(stop - onset, 1), 0)
        return dataclasses.replace(events, onset=onset, duration=duration, exact_onset=exact)

    def _new_rows(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        return np.interp(rows, self._old, self._new)


def _nearest(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.floor(rows + 0.5).astype(np.int64)


def _with_run_start(anchors: Sequence[tuple[int, float]], start: int, row: int) -> list[tuple[int, float]]:
    return [*anchors] if anchors[0][0] == start else [(start, float(row)), *anchors]


def _borders(starts: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    pairs = list(pairwise(starts))
    return [first for first, _ in pairs], [last for _, last in pairs]


def _ceiling(value: Any) -> int:
    return int(-(-value // 1))
