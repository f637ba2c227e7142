"""What can be wrong with signals, found before a model sees them.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.data_warnings import DataWarnings
from dynml.errors import DataError, shortened
from dynml.preparation.standardization import moments, robust_moments
from dynml.recording import Recording
from dynml.stretches import ROWS_PER_BLOCK, blocks_of_rows, finite_rows, is_finite

ROWS_FOR_MEDIANS = 5_000
TRANSPOSED_RATIO = 20
"""So many times more channels than samples are taken for a transposed array."""
OUTLIER_SD = 1e6
N_NAMED = 10
SAME_UNITS = 1e5
"""Typical standard deviations that differ by so much are not in the same units: V and uV differ by 1e6."""
RELATIVE_EIGENVALUE = 1e-10
"""Directions with less than this share of the largest variance count as absent: float32 rounding leaves some 1e-14."""
PLAUSIBLE_SD = (1e-6, 1e6)
"""Typical standard deviations outside of this range, left as they are, strain float32 covariances."""
SMALLEST_SD, LARGEST_SD = 1e-19, 1e15
"""Float32 holds squares from 1e-38 on, and sums of 1e8 squares up to 1e38."""
FAR_FROM_ZERO = 1e4
"""Standard deviations from zero at which the rounding to float32 comes to 1e-3 of one."""
ROUNDING_OF_MOMENTS = 1e-12
"""Share of its value that the standard deviation of equal samples may come to, worked out in float64."""
LONGEST_REPETITION_TIME = 100.0
"""Seconds: no series of volumes is that slow, and one in milliseconds is above."""


def check_size(n_samples: int, n_channels: int, where: str) -> None:
    """Refuse a run without samples or channels, or with a single sample.

    Raises
    ------
    DataError
        Names `where`.
    """
    if n_channels == 0:
        raise DataError(f"{where} has no channel.")
    if n_samples < 2:
        found = "is empty" if n_samples == 0 else "has a single sample"
        raise DataError(f"{where} {found}; a run needs at least 2 samples. Remove the file or leave it out of 'files'.")


def looks_transposed(n_samples: int, n_channels: int) -> bool:
    """Whether an array has so many more columns than rows that it must be channels x time."""
    return n_samples * TRANSPOSED_RATIO < n_channels


def check_not_transposed(n_samples: int, n_channels: int, where: str) -> None:
    """Refuse an array with so many more columns than rows that it must be channels x time.

    Raises
    ------
    DataError
        Says how to transpose it.
    """
    if looks_transposed(n_samples, n_channels):
        raise DataError(
            f"{where} has {n_samples} samples of {n_channels} channels, which looks transposed: it must be time x "
            "channels; save array.T instead, or state 'channel_names' if it is right."
        )


def check_finite(
    signals: NDArray[np.floating[Any]],
    channel_names: tuple[str, ...],
    where: str,
    stretches: NDArray[np.int64] | None = None,
) -> None:
    """Refuse samples that are NaN, infinite, or too large for float32.

    Parameters
    ----------
    signals : array, (T, C)
    channel_names : tuple of str
    where : str
        For the message.
    stretches : array, (n, 2), optional
        Look only within these stretches [start, stop), ascending; everywhere by default.

    Raises
    ------
    DataError
        Names the first such sample, its channel, and how many there are.
    """
    bad_rows = np.flatnonzero(~finite_rows(signals))
    if stretches is not None:
        behind = np.searchsorted(stretches[:, 0], bad_rows, side="right") - 1
        bad_rows = bad_rows[(behind >= 0) & (bad_rows < stretches[behind, 1])]
    if not len(bad_rows):
        return
    bad = ~is_finite(signals[bad_rows])
    channel = int(np.flatnonzero(bad[0])[0])
    raise DataError(
        f"{where}: channel {channel_names[channel]} is {signals[bad_rows[0], channel]:g} at sample {bad_rows[0]}, the "
        f"first of {int(bad.sum())} values that are NaN or infinite (in {int(bad.any(axis=0).sum())} of "
        f'{signals.shape[1]} channels); mend them, or set "missing": "segment" to cut such samples out, or "mask" to '
        "keep them as masked samples."
    )


def check_no_empty_channel(signals: NDArray[np.floating[Any]], channel_names: tuple[str, ...], where: str) -> None:
    """Refuse channels without a single finite sample: a parcel that is missing in this subject.

    Raises
    ------
    DataError
        Names them.
    """
    empty = np.ones(signals.shape[1], dtype=bool)
    for block in blocks_of_rows(signals):
        empty &= ~np.isfinite(block).any(axis=0)
        if not empty.any():
            return
    if empty.any() and not empty.all():
        names = [name for name, lacking in zip(channel_names, empty) if lacking]
        raise DataError(
            f"{where}: no sample of {shortened(names, N_NAMED)} is a number; leave these channels out in all "
            "subjects (by 'exclude_channels'), or leave this subject out."
        )


def resolution_of(recording: Recording) -> float:
    """Share of its size below which a variation may be the rounding of numbers."""
    return 4.0 * float(np.finfo(recording.signals.dtype).eps)


def in_own_units(recording: Recording, where: str) -> Recording:
    """Give a recording that is not standardized as a store keeps it, in float32.

    Raises
    ------
    DataError
        Names a channel whose squares float32 cannot hold.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        means, deviations = moments(recording, "per_run")
        beyond = ((deviations > 0) & (deviations < SMALLEST_SD)) | (np.hypot(means, deviations) > LARGEST_SD)
    if beyond.any():
        run, channel = np.argwhere(beyond)[0]
        raise DataError(
            f"{where}, run {recording.run_names[run]}: channel {recording.channel_names[channel]} has mean "
            f"{means[run, channel]:.3g} and standard deviation {deviations[run, channel]:.3g}, whose squares float32 "
            "cannot hold; give it in other units, or let it be standardized."
        )
    return dataclasses.replace(recording, signals=recording.signals.astype(np.float32, copy=False))


def check_not_constant(
    recording: Recording,
    where: str,
    original_sd: NDArray[np.float64] | None = None,
    *,
    resolution: float | None = None,
    cause: str = "detrending",
) -> None:
    """Refuse a channel that does not vary within a run, or varies by less than its numbers can hold so far from zero.

    Parameters
    ----------
    recording : Recording
        Before standardization.
    where : str
        Subject and group, for the message.
    original_sd : array, (R, C), optional
        Standard deviations before steps that may have taken all variance away.
    resolution : float, optional
        Of the numbers before these steps; of the recording's by default.
    cause : str
        What these steps are called.

    Raises
    ------
    DataError
        Names the run and the channel, and which of both it is.
    """
    resolution = resolution_of(recording) if resolution is None else resolution
    means, deviations = moments(recording, "per_run")
    for run, name in enumerate(recording.run_names):
        mean, std = means[run], deviations[run]
        scale = np.abs(mean) if original_sd is None else np.maximum(np.abs(mean), original_sd[run])
        constant = np.flatnonzero(std <= resolution * scale)
        if len(constant):
            more = f" (and {len(constant) - 1} more channels)" if len(constant) > 1 else ""
            step = "" if original_sd is None else f" after {cause}"
            channel = f"{where}, run {name}: channel {recording.channel_names[constant[0]]}{more}"
            value, sd = float(mean[constant[0]]), float(std[constant[0]])
            before = 0.0 if original_sd is None else float(original_sd[run, constant[0]])
            if sd > ROUNDING_OF_MOMENTS * abs(value) and abs(value) > FAR_FROM_ZERO * before:
                kind = "float32" if resolution > np.finfo(np.float32).eps else "float64"
                raise DataError(
                    f"{channel} varies{step}, but lies too far from zero: with mean {value:g} and standard deviation "
                    f"{sd:.3g} it is {abs(value) / sd:.2g} of them away, where rounding to {kind} hides what varies; "
                    "subtract the offset before the files are written as float32, or, where they are float64, by "
                    "'detrend' or a high-pass as the first step."
                )
            raise DataError(
                f"{channel} is constant{step}, with value {value:g}; remove it from the files of all subjects."
            )


def warn_of_lost_digits(recording: Recording, method: str, where: str, topic: str, warned: DataWarnings) -> None:
    """Tell of a channel that varies, after standardization by a method, by little more than float32 can hold there.

    So it is with offsets that nothing takes away, or which runs do not share and `per_subject` leaves between them.
    """
    means, deviations = moments(recording, "per_run")
    away = np.abs(means - moments(recording, method)[0])
    if not (away > FAR_FROM_ZERO * deviations).any():
        return
    run, channel = np.unravel_index(int(np.argmax(away / deviations)), away.shape)
    warned.add(
        f"{topic} so far from zero that float32 keeps few of their digits (standardization per_run keeps them)",
        f"{where}, run {recording.run_names[run]}: {recording.channel_names[channel]} lies "
        f"{away[run, channel] / deviations[run, channel]:.2g} of its standard deviations away",
    )


def correlations(recording: Recording) -> NDArray[np.float64]:
    """Correlations of the channels over all good samples, (C, C), in float64."""
    mean, std = (one[0] for one in moments(recording, "per_subject"))
    products = np.zeros((recording.n_channels, recording.n_channels))
    for start, stop in recording.segments.tolist():
        for first in range(start, stop, ROWS_PER_BLOCK):
            block = (recording.signals[first : min(first + ROWS_PER_BLOCK, stop)] - mean) / std
            products += block.T @ block
    return products / (recording.segments[:, 1] - recording.segments[:, 0]).sum()


def rank_and_duplicates(recording: Recording) -> tuple[int, list[tuple[int, int]]]:
    """Numerical rank of the good samples, and `duplicated_channels` where it is not full.

    Notes
    -----
    More samples never make the smallest variance of all directions smaller, if divisor and scales stay the same, and
    the largest is no more than the number of channels. As a rule a block of samples thus proves the full rank of all.
    """
    if _shows_full_rank(recording):
        return recording.n_channels, []
    correlations_CC = correlations(recording)
    rank = rank_of(correlations_CC)
    return rank, duplicated_channels(correlations_CC) if rank < recording.n_channels else []


def _shows_full_rank(recording: Recording) -> bool:
    """Say whether the first block of good samples has variance in all directions, if it were all that varies."""
    start, stop = recording.segments[0].tolist()
    block = recording.signals[start : min(start + ROWS_PER_BLOCK, stop)].astype(np.float64)
    is_standardized = recording.std is not None and (recording.std != 1.0).any()
    deviations = 1.0 if is_standardized else moments(recording, "per_subject")[1][0]
    block = (block - block.mean(axis=0)) / deviations
    n_samples = int((recording.segments[:, 1] - recording.segments[:, 0]).sum())
    smallest = np.linalg.eigvalsh(block.T @ block)[0] / n_samples
    # Twice the limit, for standardized signals are rounded to float32.
    return bool(smallest > 2 * RELATIVE_EIGENVALUE * recording.n_channels)


def rank_of(correlations_CC: NDArray[np.float64]) -> int:
    """Numerical rank: eigenvalues above `RELATIVE_EIGENVALUE` of the largest."""
    eigenvalues = np.linalg.eigvalsh(correlations_CC)
    return int((eigenvalues > RELATIVE_EIGENVALUE * eigenvalues[-1]).sum())


def duplicated_channels(correlations_CC: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of channels that are one another's copy, up to scale, offset and sign."""
    first, second = np.nonzero(np.triu(np.abs(correlations_CC) > 1.0 - 1e-9, k=1))
    return list(zip(first.tolist(), second.tolist()))


def outlying_channels(recording: Recording) -> list[tuple[str, float]]:
    """Channels with a sample farther than `OUTLIER_SD` robust standard deviations from the median, and how far.

    Notes
    -----
    The robust standard deviation is 1.4826 times the median absolute deviation. Medians are taken over at most 5,000
    evenly spaced rows of a run.
    """
    found: dict[str, float] = {}
    means, deviations = moments(recording, "per_run")
    for run in range(len(recording.run_names)):
        segments = recording.segments_of_run(run)
        n_samples = int((segments[:, 1] - segments[:, 0]).sum())
        step = max(1, n_samples // ROWS_FOR_MEDIANS)
        sampled = np.concatenate([recording.signals[start:stop:step] for start, stop in segments])
        median, spread = robust_moments(np.ascontiguousarray(sampled.T))
        # No sample is farther from the mean than the square root of their number times the standard deviation.
        bound = np.sqrt(n_samples) * deviations[run] + np.abs(means[run] - median)
        if (1.01 * bound <= OUTLIER_SD * spread).all():
            continue
        highest = np.max([recording.signals[start:stop].max(axis=0) for start, stop in segments], axis=0)
        lowest = np.min([recording.signals[start:stop].min(axis=0) for start, stop in segments], axis=0)
        farthest = np.maximum(highest - median, median - lowest)
        for channel in np.flatnonzero((spread > 0) & (farthest > OUTLIER_SD * spread)):
            name = recording.channel_names[channel]
            found[name] = max(found.get(name, 0.0), float(farthest[channel] / spread[channel]))
    return list(found.items())


def other_unit_of_time(repetition_time: float) -> str | None:
    """Say which unit a repetition time seems to be in, and what it is in seconds; None where seconds are plausible."""
    for unit, factor in (("milliseconds", 1e3), ("microseconds", 1e6)):
        seconds = repetition_time / factor
        if repetition_time > LONGEST_REPETITION_TIME and seconds <= LONGEST_REPETITION_TIME:
            return f"it looks like {unit}, that is {seconds:g} s"
    return "no series is that slow" if repetition_time > LONGEST_REPETITION_TIME else None
