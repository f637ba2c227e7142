"""One subject's values over time, with the runs and the events that they are looked at by.

Shapes: T stored rows, K states, R runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.recording import NO_LABEL, Events


@dataclass(frozen=True, kw_only=True)
class Onsets:
    """Events of one column that have a label, n of them, in ascending order."""

    row: NDArray[np.float64]
    """Stored rows, between two of them where the store knows it, (n,)."""
    duration: NDArray[np.int64]
    """Samples, (n,)."""
    condition: NDArray[np.int64]
    """Index into the names of the conditions, (n,)."""
    n_unlabelled: int = 0
    """Events that were left out because they have no label, or one of no condition."""

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def of(cls, events: Events, column: str, conditions: tuple[str, ...], *, pooled: bool = False) -> Onsets:
        """Take the events whose label in a column is one of the conditions; pooled: as events of one condition."""
        events = events.with_plain_labels(column)
        position = {name: 0 if pooled else number for number, name in enumerate(conditions)}
        codes = np.array([*(position.get(name, NO_LABEL) for name in events.names[column]), NO_LABEL], dtype=np.int64)
        condition = codes[events.labels[column]]
        labelled = condition != NO_LABEL
        onset = events.onset if events.exact_onset is None else events.exact_onset
        return cls(
            row=onset[labelled].astype(np.float64),
            duration=events.duration[labelled],
            condition=condition[labelled],
            n_unlabelled=int((~labelled).sum()),
        )


@dataclass(frozen=True, kw_only=True)
class SubjectSeries:
    """Values of one subject's stored rows, and its events."""

    subject: str
    participant: str
    values: NDArray[np.float32]
    """(T, K); rows that are not valid may hold anything."""
    valid: NDArray[np.bool_]
    """Rows that lie in a segment and were observed, (T,)."""
    masked: NDArray[np.bool_]
    """Rows that lie in a segment, but were not observed, (T,)."""
    runs: NDArray[np.int64]
    """First row of each run and the one after its last, (R, 2)."""
    run_names: tuple[str, ...]
    onsets: Onsets
    sampling_frequency: float
    """Hz."""

    def run_of_onsets(self) -> NDArray[np.int64]:
        """Run that each event belongs to, (n,)."""
        return np.maximum(np.searchsorted(self.runs[:, 0], self.onsets.row + 0.5, side="right") - 1, 0)


def valid_rows(
    segments: NDArray[np.int64], n_rows: int, observed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say which rows lie in segments and were observed, and which lie in segments and were not, (T,) each."""
    inside = np.zeros(n_rows, dtype=bool)
    for start, stop in segments:
        inside[start:stop] = True
    if observed is None:
        return inside, np.zeros(n_rows, dtype=bool)
    return inside & observed, inside & ~observed
