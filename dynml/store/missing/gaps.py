"""Masked samples: segments of one run that only missing samples divide become one, with rows of NaN between them.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from dynml.data_warnings import DataWarnings
from dynml.recording import Recording

LARGEST_DISAGREEMENT = 0.5
"""Original samples by which rows on both sides of a gap may differ from evenly spaced ones."""


def joined_over_gaps(
    recording: Recording, where: str = "The recording", warned: DataWarnings | None = None
) -> Recording:
    """Join the segments of one run that only missing samples divide, and mask the rows between them.

    Parameters
    ----------
    recording : Recording
        As it is to be stored: all statistics and steps have seen its segments, which hold no missing sample.
    where : str
        For warnings.
    warned : DataWarnings, optional
        Where warnings are gathered; by default they are given at once.

    Returns
    -------
    Recording
        Whose segments begin and end with observed rows, and hold rows that are NaN in all channels: masked samples.

    Warns
    -----
    DataWarning
        When a gap stays: one that is longer than all good samples of its run, or one of a downsampled recording whose
        sides are not a whole number of rows apart.

    Notes
    -----
    Rows at the edges of gaps that a step has trimmed away are masked as well. Segments of different parts
    (`Recording.segment_parts`) are never joined.
    """
    to_warn = DataWarnings() if warned is None else warned
    first_of_each = _firsts_of_joined(recording, where, to_warn)
    if warned is None:
        to_warn.tell()
    if len(first_of_each) == len(recording.segments):
        return recording
    last_of_each = np.append(first_of_each[1:], len(recording.segments)) - 1
    segments = np.stack([recording.segments[first_of_each, 0], recording.segments[last_of_each, 1]], axis=1)
    parts = recording.segment_parts
    return dataclasses.replace(
        recording,
        signals=_masked_between(recording.signals, recording.segments, segments),
        segments=segments,
        segment_runs=recording.segment_runs[first_of_each],
        source_samples=recording.source_samples[first_of_each],
        segment_parts=None if parts is None else parts[first_of_each],
    )


def _firsts_of_joined(recording: Recording, where: str, warned: DataWarnings) -> NDArray[np.int64]:
    """Index of the first segment of each that is left when segments are joined."""
    segments, sources = recording.segments, recording.source_samples
    parts = np.zeros(len(segments), np.int64) if recording.segment_parts is None else recording.segment_parts
    n_good = np.bincount(recording.segment_runs, weights=segments[:, 1] - segments[:, 0])
    firsts = [0]
    for number in range(1, len(segments)):
        first = firsts[-1]
        run = recording.segment_runs[number]
        if run != recording.segment_runs[number - 1] or parts[number] != parts[number - 1]:
            firsts.append(number)
            continue
        of_run = f"{where}, run {recording.run_names[run]}"
        expected = sources[first, 0] + (segments[number, 0] - segments[first, 0]) * recording.source_step
        if abs(sources[number, 0] - expected) > LARGEST_DISAGREEMENT:
            warned.add(
                "Gaps whose length is not a whole number of rows after downsampling are cut out, not masked", of_run
            )
            firsts.append(number)
        elif segments[number, 0] - segments[number - 1, 1] > n_good[run]:
            warned.add(
                "Gaps longer than all good samples of their run stay cuts, and are not masked",
                f"{of_run}: {segments[number, 0] - segments[number - 1, 1]} samples",
            )
            firsts.append(number)
    return np.array(firsts, dtype=np.int64)


def _masked_between(
    signals: NDArray[np.floating], before: NDArray[np.int64], joined: NDArray[np.int64]
) -> NDArray[np.floating]:
    """Signals with NaN between those segments that were joined; the same array where that is so already."""
    within = np.isin(before[1:, 0], joined[:, 0], invert=True)
    gaps = np.stack([before[:-1, 1], before[1:, 0]], axis=1)[within]
    if all(np.isnan(signals[start:stop]).all() for start, stop in gaps.tolist()):
        return signals
    masked = signals.copy()
    for start, stop in gaps.tolist():
        masked[start:stop] = np.nan
    return masked
