"""How often, how long and how regularly each state is visited.

Shapes: T samples, K states. Every segment stands for itself: no visit and no interval reaches over a segment's border.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.analysis.state_statistics.visits import pieces_of, visits_of
from dynml.analysis.tidy import Column, write_sidecar
from dynml.tables import NOT_AVAILABLE, write_table

SUBJECT = Column("subject", "Subject of the store")
STATE = Column("state", "State or mode, from 1: column state - 1 of alpha")
DESCRIBED = (
    SUBJECT,
    STATE,
    Column("fractional_occupancy", "Share of the samples in which the state is the most probable one", "1"),
    Column("mean_lifetime", "Mean duration of a visit, those included that a segment's border cuts", "s"),
    Column("mean_interval", "Mean time from the end of a visit to the next one in the same segment", "s"),
    Column("switching_rate", "Visits per second", "Hz"),
)
COLUMNS = tuple(column.name for column in DESCRIBED)


@dataclass(frozen=True, kw_only=True)
class StateStatistics:
    """One subject's statistics, one number per state, (K,) each."""

    fractional_occupancy: NDArray[np.float64]
    """Share of the samples in segments that belong to the state; sums to 1."""
    mean_lifetime: NDArray[np.float64]
    """Mean duration of a visit in seconds; NaN for a state that never occurs."""
    mean_interval: NDArray[np.float64]
    """Mean time in seconds from the end of a visit to the start of the next one in the same segment; NaN where no
    segment holds two visits."""
    switching_rate: NDArray[np.float64]
    """Visits per second of samples in segments; 0 for a state that never occurs."""

    @property
    def n_states(self) -> int:
        """K."""
        return len(self.fractional_occupancy)


def state_statistics(
    states_or_alpha: ArrayLike,
    segments: ArrayLike | None,
    sampling_frequency: float,
    *,
    n_states: int | None = None,
) -> StateStatistics:
    """Statistics of one subject's states.

    Parameters
    ----------
    states_or_alpha : array, (T,) or (T, K)
        State of every sample (a Viterbi path), or the probability (or mixing coefficient) of every state: then a sample
        belongs to its most probable state. Rows outside all segments may hold anything (NaN, -1).
    segments : array, (n_segments, 2), or None
        Good stretches [start, stop) in rows; None: all rows are one segment.
    sampling_frequency : float
        Hz.
    n_states : int, optional
        K, where a path is given: the largest state in it need not be the last one. Default: the largest plus one.

    Returns
    -------
    StateStatistics

    Raises
    ------
    DataError
        When a row inside a segment holds NaN or no state, or segments hold no sample or reach beyond the rows.

    Notes
    -----
    A visit is a run of samples in one state. One that is cut by a segment's border counts with the part that is seen,
    so lifetimes are a little too short where segments are. The switching rate counts visits, the first of a segment
    included. Masked samples, of which states are inferred only, count as any others.
    """
    pieces, n_states = pieces_of(states_or_alpha, segments, n_states)
    visits = np.zeros(n_states)
    samples = np.zeros(n_states)
    gaps = np.zeros(n_states)
    n_gaps = np.zeros(n_states)
    for piece in pieces:
        visited, starts, stops = visits_of(piece)
        np.add.at(visits, visited, 1)
        np.add.at(samples, visited, stops - starts)
        for state in np.unique(visited):
            own = visited == state
            between = starts[own][1:] - stops[own][:-1]
            gaps[state] += between.sum()
            n_gaps[state] += len(between)
    seconds = samples.sum() / sampling_frequency
    return StateStatistics(
        fractional_occupancy=samples / samples.sum(),
        mean_lifetime=_ratio(samples, visits) / sampling_frequency,
        mean_interval=_ratio(gaps, n_gaps) / sampling_frequency,
        switching_rate=visits / seconds,
    )


def visit_lengths(
    states_or_alpha: ArrayLike,
    segments: ArrayLike | None = None,
    *,
    n_states: int | None = None,
    whole_visits: bool = True,
) -> list[NDArray[np.int64]]:
    """Length in samples of every visit to each state.

    Parameters
    ----------
    states_or_alpha, segments, n_states
        As for `state_statistics`.
    whole_visits : bool
        Leave out visits that touch a segment's border, since their true length is not seen. False: with what is seen.

    Returns
    -------
    list of K arrays, in the order of the visits

    Raises
    ------
    DataError
        As `state_statistics`.
    """
    pieces, n_states = pieces_of(states_or_alpha, segments, n_states)
    lengths: list[list[int]] = [[] for _ in range(n_states)]
    for piece in pieces:
        visited, starts, stops = visits_of(piece)
        inner = slice(1, -1) if whole_visits else slice(None)
        for state, length in zip(visited[inner], (stops - starts)[inner]):
            lengths[state].append(int(length))
    return [np.array(own, dtype=np.int64) for own in lengths]


def lifetime_mean_and_std(
    states_or_alpha: ArrayLike,
    segments: ArrayLike | None = None,
    sampling_frequency: float = 1.0,
    *,
    n_states: int | None = None,
    whole_visits: bool = True,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each state's lifetimes.

    Parameters
    ----------
    states_or_alpha, segments, n_states
        As for `state_statistics`.
    sampling_frequency : float
        Hz; lifetimes come in seconds. Default: in samples.
    whole_visits : bool
        Leave out visits that touch a segment's border, as `visit_lengths` does.

    Returns
    -------
    array (K,), array (K,)
        NaN for a state without a visit; the standard deviation divides by the number of visits.
    """
    lengths = visit_lengths(states_or_alpha, segments, n_states=n_states, whole_visits=whole_visits)
    means = np.array([own.mean() if len(own) else np.nan for own in lengths])
    deviations = np.array([own.std() if len(own) else np.nan for own in lengths])
    return means / sampling_frequency, deviations / sampling_frequency


def write_state_statistics(path: str | Path, statistics: Mapping[str, StateStatistics]) -> None:
    """Write a .tsv table with one row per subject and state, and its sidecar; NaN is written as n/a.

    States count from 1, as in figures: state 1 is column 0 of alpha.

    Parameters
    ----------
    path : str or Path
    statistics : mapping
        Subject to its statistics, in the order in which they are written.

    Raises
    ------
    DynmlError
        When the file cannot be written; an old one stays.
    """
    rows = [
        [subject, state + 1, *(_number(getattr(own, column)[state]) for column in COLUMNS[2:])]
        for subject, own in statistics.items()
        for state in range(own.n_states)
    ]
    write_table(Path(path), COLUMNS, rows)
    write_sidecar(Path(path), DESCRIBED)


def _ratio(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)


def _number(value: float) -> str:
    return NOT_AVAILABLE if np.isnan(value) else f"{value:.6g}"
