"""Rows of two groups, or of two stores, that are the same samples of the recording.

What a model was given and the signals whose spectra are wanted may differ in their rows: an embedding loses the ends
of segments, and one of them may have had bad samples cut out. Both say which sample of which run each segment starts
at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynml.dataset.conditioning.clocks import Clock
from dynml.errors import DataError

SAME_RATE = 1e-6


@dataclass(frozen=True)
class AlignedSpan:
    """Rows of one group that are the same samples as rows of another one."""

    first: int
    """Row of the first group."""
    second: int
    """Row of the second group."""
    length: int
    run: str


def aligned_spans(first: Clock, second: Clock, subject: str) -> list[AlignedSpan]:
    """Find the rows that both groups have of the same samples, in ascending order of the first.

    Groups that were downsampled alike but begin a fraction of a row apart are laid over one another to the nearest
    row.

    Raises
    ------
    DataError
        When the rates differ, or no run, or no sample of one, is in both.
    """
    for what, one, other in (
        ("sampling frequency", first.sampling_frequency, second.sampling_frequency),
        ("original sampling frequency", first.sampling_frequency * first.step, second.sampling_frequency * second.step),
    ):
        if abs(one - other) > SAME_RATE * one:
            raise DataError(
                f"Subject {subject}: the {what} is {one:g} Hz in {first.where} and {other:g} Hz in {second.where}, so "
                "that their samples cannot be laid over one another."
            )
    if not set(first.runs) & set(second.runs):
        raise DataError(
            f"Subject {subject}: {first.where} has the runs {_listed(first.runs)} and {second.where} "
            f"{_listed(second.runs)}, none of which is in both."
        )
    spans = [
        span
        for number, run in enumerate(first.runs)
        for other, name in enumerate(second.runs)
        if run == name
        for span in _common(first, number, second, other)
    ]
    if not spans:
        raise DataError(f"Subject {subject}: {first.where} and {second.where} have no sample in common.")
    return spans


def _common(first: Clock, number: int, second: Clock, other: int) -> list[AlignedSpan]:
    # Rows from the start of the first's segment to that of the second's.
    shift = int(np.floor((second.starts[other] - first.starts[number]) / first.step + 0.5))
    (a, a_stop), (b, b_stop) = first.segments[number].tolist(), second.segments[other].tolist()
    begin, end = max(0, shift), min(a_stop - a, shift + b_stop - b)
    return [AlignedSpan(a + begin, b + begin - shift, end - begin, first.runs[number])] if end > begin else []


def _listed(names: tuple[str, ...]) -> str:
    different = list(dict.fromkeys(names))
    return ", ".join(different[:4]) + (", .." if len(different) > 4 else "")
