"""The step `remove_bad_samples`: windows whose size stands out become gaps between segments.

Shapes: T samples, C channels, W windows.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_at_least, check_choice, check_fraction, check_positive
from dynml.errors import ConfigurationError, DataError
from dynml.fits import Layout
from dynml.preparation.step import PreparationStep
from dynml.preparation.steps.outliers import generalized_esd, robust_scores
from dynml.recording import Recording
from dynml.stretches import source_samples_of_stretches, stretches_of

DEFAULT_LEVEL = 0.05
DEFAULT_THRESHOLD = 5.0
NEAR = 3.0
"""Robust standard deviations from the median up to which no window is bad, whatever the test says."""
FEWEST_WINDOWS = 10
LARGE_SHARE = 0.2
FLAT = 1e-6
"""Windows of less than this share of the typical size count as equally flat."""


@dataclass(frozen=True, kw_only=True)
class RemoveBadSamples(PreparationStep):
    """Cut windows out of the segments that are much larger or much flatter than the others of their run.

    Notes
    -----
    Each segment is divided into windows of `window_length`, or a little longer, so that no sample is left out. A
    window's size in a channel, over the median of that channel's windows, is free of units. Outliers are looked for
    among the logarithms of sizes, which are closer to a Gaussian than sizes themselves. The generalized ESD test looks
    for as many as half of the windows, since many bad ones hide one another where fewer are looked for. With few
    windows it then sometimes takes the outer half of quite ordinary ones, so windows near the median stay.
    """

    name: ClassVar[str] = "remove_bad_samples"
    # Without its artefacts a channel may deviate so much less that it would seem to be constant.
    keeps_units: ClassVar[bool] = False

    window_length: float = 2.0
    """Window length in seconds."""
    metric: Literal["std", "maximum_absolute"] = "std"
    """Amplitude of a window: its standard deviation, or its largest distance from the channel's typical level."""
    method: Literal["gesd", "robust_z"] = "gesd"
    """Outlier test: generalized ESD, or a threshold of robust z-scores."""
    significance_level: float | None = None
    """gesd: significance level of the test in each run; 0.05 by default."""
    threshold: float | None = None
    """robust_z: robust standard deviations from the median; 5 by default."""
    channels: Literal["mean", "any"] = "mean"
    """Test the mean amplitude over channels, or each channel: a window is then bad if any channel is an outlier."""
    margin: float = 0.0
    """Seconds that are also removed before and after a bad stretch."""
    maximum_share: float = 0.5
    """Runs that would lose more than this fraction are an error."""

    def __post_init__(self) -> None:
        check_positive("window_length", self.window_length)
        check_choice("metric", self.metric, ["std", "maximum_absolute"])
        check_choice("method", self.method, ["gesd", "robust_z"])
        check_choice("channels", self.channels, ["mean", "any"])
        check_at_least("margin", self.margin, 0.0)
        check_fraction("maximum_share", self.maximum_share)
        check_positive("threshold", self.threshold, optional=True)
        check_fraction("significance_level", self.significance_level, optional=True)
        for key, method in (("significance_level", "gesd"), ("threshold", "robust_z")):
            if getattr(self, key) is not None and self.method != method:
                raise ConfigurationError(key, getattr(self, key), f"left out where method is {self.method!r}")

    def parameters(self) -> dict[str, Any]:
        """What a config says of the step, with the limit that counts."""
        values = super().parameters()
        unused = "threshold" if self.method == "gesd" else "significance_level"
        limits = {"significance_level": self._level, "threshold": self._threshold}
        return {key: limits.get(key, value) for key, value in values.items() if key != unused}

    def layout_after(self, layout: Layout) -> Layout:
        """Refuse windows of less than two samples."""
        if self._n_samples(layout.sampling_frequency) < 2:
            raise DataError(
                f"the step {self.name!r} has window_length {self.window_length:g} s, but needs at least two samples, "
                f"{2 / layout.sampling_frequency:g} s at the rate of {layout.sampling_frequency:g} Hz that it meets."
            )
        return layout

    def __call__(self, recording: Recording) -> Recording:
        """Shorten and divide segments; the rows themselves stay as they are.

        Raises
        ------
        DataError
            When a run has too few windows, or would lose more than `maximum_share` of its good samples.
        """
        grid = _rows_of_whole_samples(recording)
        if grid > self._n_samples(recording.sampling_frequency):
            raise DataError(
                f"the step {self.name!r} meets rows that fall on an original sample only every {grid} rows; put it "
                "before 'downsample'."
            )
        bad = np.zeros(recording.n_samples, dtype=bool)
        for run, start, stop in recording.runs():
            bad[start:stop] = self._bad_rows(recording, run)[start:stop]
        kept = _without(recording, bad, grid)
        found = [_found(recording, kept, run) for run in range(len(recording.run_names))]
        for name, one in zip(recording.run_names, found):
            self._check_share(name, one["samples_removed"] / one["samples"])
        whole = {key: sum(one[key] for one in found) for key in ("samples_removed", "stretches_removed")}
        share = whole["samples_removed"] / sum(one["samples"] for one in found)
        return self.noted(
            dataclasses.replace(recording, **kept),
            **whole,
            share_removed=share,
            runs=dict(zip(recording.run_names, found)),
        )

    def warning(self, recording: Recording) -> tuple[str, str] | None:
        """Tell of a recording that lost much."""
        share = recording.preparation[-1]["share_removed"]
        if share <= LARGE_SHARE:
            return None
        topic = f"The step {self.name!r} removed more than {LARGE_SHARE:.0%} of the good samples"
        return topic, f"{share:.0%}"

    @property
    def _level(self) -> float:
        return DEFAULT_LEVEL if self.significance_level is None else self.significance_level

    @property
    def _threshold(self) -> float:
        return DEFAULT_THRESHOLD if self.threshold is None else self.threshold

    def _n_samples(self, sampling_frequency: float) -> int:
        return round(self.window_length * sampling_frequency)

    def _bad_rows(self, recording: Recording, run: int) -> NDArray[np.bool_]:
        """Rows of bad windows and their margins, (T,)."""
        segments = recording.segments_of_run(run)
        borders_W2 = windows(segments, self._n_samples(recording.sampling_frequency))
        if len(borders_W2) < FEWEST_WINDOWS:
            raise DataError(
                f"run {recording.run_names[run]} has {len(borders_W2)} windows of {self.window_length:g} s, but the "
                f"step {self.name!r} compares at least {FEWEST_WINDOWS}; choose a shorter window_length."
            )
        outlying = self._outlying(sizes(recording.signals, borders_W2, self.metric))
        margin = round(self.margin * recording.sampling_frequency)
        bad = np.zeros(recording.n_samples, dtype=bool)
        for first, last in borders_W2[outlying].tolist():
            bad[max(first - margin, 0) : last + margin] = True
        return bad

    def _outlying(self, sizes_WC: NDArray[np.float64]) -> NDArray[np.bool_]:
        typical = np.median(sizes_WC, axis=0)
        # A channel that is flat most of the time has no size to compare with.
        relative = sizes_WC[:, typical > 0] / typical[typical > 0]
        if not relative.shape[1]:
            return np.zeros(len(sizes_WC), dtype=bool)
        if self.channels == "mean":
            relative = relative.mean(axis=1, keepdims=True)
        logarithms = np.log(np.maximum(relative, FLAT))
        n_tests = logarithms.shape[1]
        outlying = np.zeros(len(sizes_WC), dtype=bool)
        for column in logarithms.T:
            if self.method == "robust_z":
                outlying |= robust_scores(column) > self._threshold
            else:
                # Many outliers hide one another where fewer are looked for: then none would be found, and none refused.
                n_most = min(int(max(self.maximum_share, 0.5) * len(column)) + 1, len(column) - 2)
                found = generalized_esd(column, self._level / n_tests, n_most)
                # With few windows the test's last turns may call the whole outer half outlying, near as it may be.
                outlying |= found & (robust_scores(column) > NEAR)
        return outlying

    def _check_share(self, run: str, share: float) -> None:
        if share > self.maximum_share or share == 1.0:
            raise DataError(
                f"the step {self.name!r} would remove {share:.0%} of the good samples of run {run}, more than "
                f"maximum_share allows ({self.maximum_share:.0%}); leave the run out, or look at it and choose other "
                "limits."
            )


def windows(segments: NDArray[np.int64], n_samples: int) -> NDArray[np.int64]:
    """Divide segments into as many windows of at least `n_samples` as they hold, at least one each, (W, 2)."""
    pieces = []
    for start, stop in segments.tolist():
        n_windows = max(1, (stop - start) // n_samples)
        borders = start + np.arange(n_windows + 1) * (stop - start) // n_windows
        pieces.append(np.stack([borders[:-1], borders[1:]], axis=1))
    return np.concatenate(pieces).astype(np.int64)


def sizes(signals: NDArray[np.floating[Any]], borders_W2: NDArray[np.int64], metric: str) -> NDArray[np.float64]:
    """Size of each window in each channel, (W, C): standard deviation, or distance from the channel's typical level."""
    if metric == "std":
        return np.stack([signals[first:last].std(axis=0, dtype=np.float64) for first, last in borders_W2.tolist()])
    levels = np.stack([signals[first:last].mean(axis=0, dtype=np.float64) for first, last in borders_W2.tolist()])
    level = np.median(levels, axis=0)
    return np.stack([np.abs(signals[first:last] - level).max(axis=0) for first, last in borders_W2.tolist()])


def _rows_of_whole_samples(recording: Recording) -> int:
    """Rows from one that stands at the same fraction of an original sample as its segment's first to the next."""
    return Fraction(recording.source_step).limit_denominator(100_000).denominator


def _without(recording: Recording, bad: NDArray[np.bool_], grid: int) -> dict[str, Any]:
    """Segments and what belongs to them, without bad rows and stretches of a single sample."""
    pieces, parents = [], []
    for number, (start, stop) in enumerate(recording.segments.tolist()):
        stretches = stretches_of(~bad[start:stop])
        stretches[:, 0] += -stretches[:, 0] % grid
        stretches = stretches[stretches[:, 1] - stretches[:, 0] > 1]
        pieces.append(stretches)
        parents.append(np.full(len(stretches), number))
    within, parent = np.concatenate(pieces), np.concatenate(parents)
    segments = within + recording.segments[parent, :1]
    source_samples = source_samples_of_stretches(
        recording.source_samples, recording.segments, segments, parent, recording.source_step
    )
    return {
        "segments": segments,
        "segment_runs": recording.segment_runs[parent],
        "source_samples": source_samples,
        "segment_parts": None if recording.segment_parts is None else recording.segment_parts[parent],
    }


def _found(recording: Recording, kept: dict[str, Any], run: int) -> dict[str, int]:
    """How much of a run went."""
    before, after = recording.segments_of_run(run), kept["segments"][kept["segment_runs"] == run]
    n_before, n_after = (int((one[:, 1] - one[:, 0]).sum()) for one in (before, after))
    removed = 0
    for start, stop in before.tolist():
        own = after[(after[:, 0] >= start) & (after[:, 1] <= stop)].ravel()
        edges = np.array([start, *own, stop]).reshape(-1, 2)
        removed += int((edges[:, 1] > edges[:, 0]).sum())
    return {"samples": n_before, "samples_removed": n_before - n_after, "stretches_removed": removed}
