"""Which subjects of a store are far from the others, and in what: robust comparisons across subjects, in words.

A subject is flagged where a number is more than `N_DEVIATIONS` robust standard deviations (median absolute deviation)
from the median of all subjects, and also so far that it matters in practice. Shapes: N subjects, C channels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.data_measures import MAD_TO_DEVIATION, Spectrum, SubjectMeasures
from dynml.errors import shortened

MAINS = (50.0, 60.0)
N_DEVIATIONS = 5.0
FEWEST_SUBJECTS = 5
"""Of fewer subjects, nobody is called far from the others."""
CHANNEL_FACTOR = 3.0
N_NAMED = 3
FILTERED = 1e-6
VISIBLE_LINE = 3.0
"""A mains line so many times above its neighbourhood is called visible."""


@dataclass(frozen=True, kw_only=True)
class SubjectSummary:
    """The numbers of one subject that are kept, whatever the length of its recording."""

    subject: str
    participant: str
    subset: str
    channel_names: tuple[str, ...]
    sampling_frequency: float
    seconds: float
    """Within segments, without masked samples."""
    n_segments: int
    n_runs: int
    missing: float
    """Share of rows that lie outside segments or are masked."""
    segment_seconds: float
    """Mean length of a segment."""
    rank: int
    amplitudes: NDArray[np.float64]
    """(C,), before standardization."""
    slope: float
    """Of log power over log frequency; NaN where there are too few frequencies."""
    mains: float
    """Power at a mains frequency over that beside it, in the worst channel; NaN where the rate is too low."""
    mains_frequency: float
    """Hz, 50 or 60."""
    mains_channel: str
    kurtosis: float
    """Of the worst channel; 3 for a Gaussian."""
    kurtosis_channel: str
    frequencies: NDArray[np.float64]
    """Hz, (F,)."""
    power: NDArray[np.float64]
    """Mean over channels, (F,)."""
    distance: float = math.nan
    """Of its covariance from the robust centre; set by `with_distances`."""

    @property
    def amplitude(self) -> float:
        """Median over channels."""
        return float(np.median(self.amplitudes))


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One reason why a subject is far from the others."""

    measure: str
    """Name of the number in `MEASURES`, or "channels" or "rank"."""
    words: str


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that subjects are compared by."""

    name: str
    """Attribute of `SubjectSummary`."""
    title: str
    words: str
    """A format of `value`, `median`, `factor`, and the fields of the summary."""
    on_logarithms: bool = False
    low: bool = False
    """Whether small values are far."""
    high: bool = True
    """Whether large values are far."""
    matters: Callable[[float], float]
    """The difference from the median that matters in practice, given the median; both on the scale of comparison."""


def _factor(factor: float) -> Callable[[float], float]:
    return lambda _: math.log(factor)


MEASURES = (
    Measure(
        name="amplitude",
        title="Amplitude (before standardization)",
        words="the amplitude is {factor} that of the median subject",
        on_logarithms=True,
        low=True,
        matters=_factor(2.0),
    ),
    Measure(
        name="distance",
        title="Distance of the covariance",
        words="the covariance is {value:.2f} from the centre of all (median subject: {median:.2f})",
        matters=lambda median: max(0.5, 0.5 * median),
    ),
    Measure(
        name="slope",
        title="Slope of the spectrum",
        words="the spectrum has the slope {value:.2f} (median subject: {median:.2f})",
        low=True,
        matters=lambda _: 0.5,
    ),
    Measure(
        name="mains",
        title="Mains line over its neighbourhood",
        words="the power at {own.mains_frequency:g} Hz is {value:.3g} times that beside it in "
        "{own.mains_channel} (median subject: {median:.3g})",
        on_logarithms=True,
        matters=_factor(VISIBLE_LINE),
    ),
    Measure(
        name="kurtosis",
        title="Kurtosis of the worst channel",
        words="the kurtosis of {own.kurtosis_channel} is {value:.3g} (worst channel of the median subject: "
        "{median:.3g}; a Gaussian has 3)",
        on_logarithms=True,
        matters=_factor(2.0),
    ),
    Measure(
        name="missing",
        title="Share of missing samples",
        words="{value:.0%} of its samples are missing (median subject: {median:.0%})",
        matters=lambda _: 0.1,
    ),
    Measure(
        name="seconds",
        title="Seconds of good samples",
        words="there are {value:.4g} s of good samples (median subject: {median:.4g} s)",
        on_logarithms=True,
        low=True,
        high=False,
        matters=_factor(2.0),
    ),
    Measure(
        name="segment_seconds",
        title="Mean seconds of a segment",
        words="its segments are short: {value:.3g} s (median subject: {median:.3g} s)",
        on_logarithms=True,
        low=True,
        high=False,
        matters=_factor(4.0),
    ),
)


def summarize(measures: SubjectMeasures, *, participant: str, subset: str) -> SubjectSummary:
    """Keep of one subject what the comparison needs."""
    description, spectrum = measures.description, measures.spectrum
    lines = {mains: mains_lines(spectrum, mains) for mains in MAINS}
    known = [(np.nanmax(line), mains, np.nanargmax(line)) for mains, line in lines.items() if np.isfinite(line).any()]
    ratio, frequency, channel = max(known, default=(math.nan, MAINS[0], 0))
    peaked = measures.kurtosis if np.isfinite(measures.kurtosis).any() else np.full(description.n_channels, 3.0)
    seconds = measures.n_good / description.sampling_frequency
    return SubjectSummary(
        subject=measures.subject,
        participant=participant,
        subset=subset,
        channel_names=description.channel_names,
        sampling_frequency=description.sampling_frequency,
        seconds=seconds,
        n_segments=measures.n_segments,
        n_runs=len(measures.run_names),
        missing=1.0 - measures.n_good / measures.n_rows,
        segment_seconds=seconds / measures.n_segments,
        rank=description.rank,
        amplitudes=measures.amplitudes,
        slope=spectral_slope(spectrum),
        mains=float(ratio),
        mains_frequency=frequency,
        mains_channel=description.channel_names[channel],
        kurtosis=float(np.nanmax(peaked)),
        kurtosis_channel=description.channel_names[int(np.nanargmax(peaked))],
        frequencies=spectrum.frequencies,
        power=spectrum.power.mean(axis=1),
    )


def mains_lines(spectrum: Spectrum, mains: float) -> NDArray[np.float64]:
    """Largest power within 1 Hz of a mains frequency over the median power 2 to 6 Hz away, by channel, (C,).

    NaN where the spectrum does not reach 3 Hz beyond the mains frequency, is too coarse, or has no power there.
    """
    away = np.abs(spectrum.frequencies - mains)
    near, beside = away <= 1.0, (away >= 2.0) & (away <= 6.0)
    unknown = np.full(spectrum.power.shape[1], np.nan)
    if not near.any() or beside.sum() < 4 or spectrum.frequencies[-1] < mains + 3.0:
        return unknown
    level = np.median(spectrum.power[beside], axis=0)
    return np.divide(spectrum.power[near].max(axis=0), level, out=unknown, where=level > 0)


def spectral_slope(spectrum: Spectrum) -> float:
    """Slope of log power (mean over channels) over log frequency, by least squares.

    From the second frequency above 0 to 80 % of the largest, without 2 Hz around 50 and 60 Hz, and without what filters
    took down to a share of `FILTERED` of the largest power.
    """
    used = (spectrum.frequencies > 0) & (spectrum.frequencies <= 0.8 * spectrum.frequencies[-1])
    used[:2] = False
    for mains in MAINS:
        used &= np.abs(spectrum.frequencies - mains) > 2.0
    power = spectrum.power.mean(axis=1)
    used &= power > FILTERED * power.max()
    alive = (spectrum.power[used] > 0).all(axis=0)
    if used.sum() < 3 or not alive.any():
        return math.nan
    levels = np.log10(spectrum.power[used][:, alive]).mean(axis=1)
    return float(np.polyfit(np.log10(spectrum.frequencies[used]), levels, 1)[0])


def find_flags(summaries: Sequence[SubjectSummary]) -> list[list[Flag]]:
    """Say of each subject in what it is far from the others; an empty list where in nothing.

    Parameters
    ----------
    summaries : sequence of SubjectSummary
        Of fewer than `FEWEST_SUBJECTS`, none is flagged.

    Returns
    -------
    list of N lists of Flag
    """
    flags: list[list[Flag]] = [[] for _ in summaries]
    if len(summaries) < FEWEST_SUBJECTS:
        return flags
    for measure in MEASURES:
        values = np.array([getattr(own, measure.name) for own in summaries])
        far, median = far_from_others(values, measure)
        for index in np.flatnonzero(far).tolist():
            factor = f"{values[index] / median:.2g} times" if measure.on_logarithms and median > 0 else ""
            words = measure.words.format(value=values[index], median=median, factor=factor, own=summaries[index])
            flags[index].append(Flag(measure=measure.name, words=words))
    _flag_channels(summaries, flags)
    _flag_ranks(summaries, flags)
    return flags


def far_from_others(values: NDArray[np.float64], measure: Measure) -> tuple[NDArray[np.bool_], float]:
    """Which values are far from the others (N,), and the median; NaN is never far."""
    finite = np.isfinite(values)
    if finite.sum() < FEWEST_SUBJECTS:
        return np.zeros(len(values), dtype=bool), math.nan
    compared = np.log(np.maximum(values, np.finfo(float).tiny)) if measure.on_logarithms else values
    differences = compared - np.median(compared[finite])
    spread = MAD_TO_DEVIATION * float(np.median(np.abs(differences[finite])))
    limit = max(N_DEVIATIONS * spread, measure.matters(float(np.median(compared[finite]))))
    far = np.zeros(len(values), dtype=bool)
    far[finite] = (measure.high & (differences[finite] > limit)) | (measure.low & (differences[finite] < -limit))
    return far, float(np.median(values[finite]))


def usual_channels(summaries: Sequence[SubjectSummary]) -> tuple[str, ...]:
    """Channels that most subjects have; the others cannot be compared channel by channel."""
    return Counter(own.channel_names for own in summaries).most_common(1)[0][0]


def _flag_channels(summaries: Sequence[SubjectSummary], flags: list[list[Flag]]) -> None:
    usual = usual_channels(summaries)
    compared = [index for index, own in enumerate(summaries) if own.channel_names == usual]
    for index, own in enumerate(summaries):
        if own.channel_names != usual:
            flags[index].append(Flag(measure="channels", words="its channels are not those of most subjects"))
    if len(compared) < FEWEST_SUBJECTS:
        return
    levels = np.log(np.maximum([summaries[index].amplitudes for index in compared], np.finfo(float).tiny))
    levels -= np.median(levels, axis=1, keepdims=True)
    levels -= np.median(levels, axis=0)
    spread = MAD_TO_DEVIATION * np.median(np.abs(levels), axis=0)
    limits = np.maximum(N_DEVIATIONS * spread, math.log(CHANNEL_FACTOR))
    for index, own_levels in zip(compared, levels):
        far = np.flatnonzero(np.abs(own_levels) > limits)
        if len(far):
            worst = sorted(far, key=lambda channel: -abs(own_levels[channel]))
            named = [f"{usual[channel]} ({math.exp(own_levels[channel]):.2g} times)" for channel in worst]
            words = "against its other channels, the amplitude is unlike that of other subjects in "
            flags[index].append(Flag(measure="channels", words=words + shortened(named, N_NAMED)))


def _flag_ranks(summaries: Sequence[SubjectSummary], flags: list[list[Flag]]) -> None:
    rank, count = Counter(own.rank for own in summaries).most_common(1)[0]
    if count <= len(summaries) / 2:
        return
    for own, found in zip(summaries, flags):
        if own.rank != rank:
            found.append(Flag(measure="rank", words=f"its signals have rank {own.rank}, those of most subjects {rank}"))
