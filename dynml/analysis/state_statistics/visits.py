"""Visits: runs of samples in one state, within one segment.

Shapes: T samples, K states, V visits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.errors import DataError
from dynml.stretches import runs_of_equal

Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Visits:
    """All visits of one subject in their order, (V,) each."""

    state: Integers
    """From 0."""
    segment: Integers
    """From 0, among the segments that hold samples."""
    start: Integers
    """Row."""
    stop: Integers
    """Row after the last one."""
    is_cut: NDArray[np.bool_]
    """Whether a visit touches a border of its segment, so that it may have lasted longer than was seen."""
    interval: NDArray[np.float64]
    """Samples since the end of the state's visit before, in the same segment; NaN where there is none."""
    n_states: int

    @property
    def length(self) -> Integers:
        """Samples."""
        return self.stop - self.start


def all_visits(states_or_alpha: ArrayLike, segments: ArrayLike | None, *, n_states: int | None = None) -> Visits:
    """List every visit; arguments as of `state_statistics`.

    Raises
    ------
    DataError
        As `state_statistics`.
    """
    borders = _borders(states_or_alpha, segments)
    pieces, n_states = pieces_of(states_or_alpha, segments, n_states)
    parts = []
    for number, (piece, first) in enumerate(zip(pieces, borders[:, 0])):
        state, start, stop = visits_of(piece)
        cut = np.zeros(len(state), dtype=bool)
        cut[[0, -1]] = True
        parts.append(
            (state, np.full(len(state), number), start + first, stop + first, cut, _intervals(state, start, stop))
        )
    state, segment, start, stop, is_cut, interval = (np.concatenate(column) for column in zip(*parts))
    return Visits(
        state=state, segment=segment, start=start, stop=stop, is_cut=is_cut, interval=interval, n_states=n_states
    )


def _intervals(state: Integers, start: Integers, stop: Integers) -> NDArray[np.float64]:
    intervals = np.full(len(state), np.nan)
    for one in np.unique(state):
        own = np.flatnonzero(state == one)
        intervals[own[1:]] = start[own[1:]] - stop[own[:-1]]
    return intervals


def _borders(states_or_alpha: ArrayLike, segments: ArrayLike | None) -> Integers:
    """Segments that hold samples."""
    length = len(np.asarray(states_or_alpha))
    borders = np.array([[0, length]]) if segments is None else np.asarray(segments, dtype=np.int64).reshape(-1, 2)
    return borders[borders[:, 1] > borders[:, 0]]


def pieces_of(
    states_or_alpha: ArrayLike, segments: ArrayLike | None, n_states: int | None
) -> tuple[list[NDArray[np.int64]], int]:
    """States of each segment that holds samples, and how many states there are."""
    values = np.asarray(states_or_alpha)
    borders = _borders(values, segments)
    if not len(borders):
        raise DataError("The segments hold no sample, so states have no statistics.")
    if borders.min() < 0 or borders.max() > len(values):
        raise DataError(
            f"Segments reach from row {borders.min()} to {borders.max()}, but there are {len(values)} rows."
        )
    assert values.ndim in (1, 2), values.shape
    pieces = [_path(values[start:stop], int(start)) for start, stop in borders]
    n_states = values.shape[1] if values.ndim == 2 else n_states or int(max(piece.max() for piece in pieces)) + 1
    _check_range(pieces, borders, n_states)
    return pieces, n_states


def visits_of(piece: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """State, start and stop of every visit in one segment."""
    starts, stops = runs_of_equal(piece).T
    return piece[starts], starts, stops


def _path(values: NDArray[Any], first_row: int) -> NDArray[np.int64]:
    """States of one segment."""
    if values.dtype.kind == "f":
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            row = first_row + int(np.argmin(finite))
            raise DataError(f"Row {row} lies within a segment, but its states are NaN or infinite.")
    return (values.argmax(axis=1) if values.ndim == 2 else values).astype(np.int64)


def _check_range(pieces: list[NDArray[np.int64]], borders: NDArray[np.int64], n_states: int) -> None:
    for piece, (start, _) in zip(pieces, borders):
        outside = (piece < 0) | (piece >= n_states)
        if outside.any():
            row = int(np.argmax(outside))
            raise DataError(f"Row {start + row} is in state {piece[row]}, but states reach from 0 to {n_states - 1}.")
