"""Epochs: the rows around each event, with NaN where nothing was observed.

Shapes: n events, W samples of an epoch, K states.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.responses.series import SubjectSeries
from dynml.errors import ConfigurationError

LEAST_SHARE = 0.5
"""Of an epoch's samples that must have been observed; epochs with less are left out, as trials of decoders are."""


@dataclass(frozen=True)
class Window:
    """Samples [first, stop) about the sample of an event."""

    first: int
    stop: int
    sampling_frequency: float

    @classmethod
    def of_seconds(cls, start: float, stop: float, sampling_frequency: float, key: str = "--window") -> Window:
        """Round a window in seconds to whole samples, so that the event's own sample is at time 0.

        Raises
        ------
        ConfigurationError
            When it holds no sample, or its limits are no numbers in order.
        """
        given = f"{start:g} {stop:g}"
        if not (np.isfinite([start, stop]).all() and start < stop):
            raise ConfigurationError(key, given, "two numbers of seconds, the lower one first")
        first, last = (int(np.floor(limit * sampling_frequency + 0.5)) for limit in (start, stop))
        if last <= first:
            accepted = f"at least one sample long, of {1 / sampling_frequency:g} s"
            raise ConfigurationError(key, given, accepted)
        return cls(first, last, sampling_frequency)

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def times(self) -> NDArray[np.float64]:
        """Seconds since the event, (W,)."""
        return np.arange(self.first, self.stop) / self.sampling_frequency

    def positions_of(self, other: Window) -> slice:
        """Where the samples of another window, of the same rate, stand in this one.

        Raises
        ------
        ConfigurationError
            When they do not.
        """
        if other.first < self.first or other.stop > self.stop:
            accepted = f"within the window, from {self.times[0]:g} to {self.stop / self.sampling_frequency:g} s"
            rate = self.sampling_frequency
            raise ConfigurationError("--baseline", f"{other.first / rate:g} {other.stop / rate:g}", accepted)
        return slice(other.first - self.first, other.stop - self.first)


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """Epochs of one subject's events, in their order, without those that were left out."""

    values: NDArray[np.float32]
    """(n, W, K); NaN where nothing was observed: outside the run, in a gap, at masked samples."""
    rows: NDArray[np.int64]
    """Stored row of each epoch's event, (n,)."""
    condition: NDArray[np.int64]
    """(n,)."""
    run: NDArray[np.int64]
    """(n,)."""
    number: NDArray[np.int64]
    """Which of the subject's events each is, (n,), from 0."""
    n_events: int
    """Events with a label, left out or not."""
    n_cut: int
    """Epochs that reach over a run's border or into a gap; the rest of them counts."""
    n_masked: int
    """Epochs with masked samples; the rest of them counts."""
    n_left_out: int
    """Events of whose epoch less than half was observed."""
    n_without_baseline: int = 0
    """Events without an observed sample in the baseline; left out."""

    def counts(self) -> dict[str, int]:
        """Plain numbers for summary.json."""
        return {
            "events": self.n_events,
            "epochs": len(self.rows),
            "cut": self.n_cut,
            "masked": self.n_masked,
            "left_out": self.n_left_out,
            "without_baseline": self.n_without_baseline,
        }


def cut_epochs(series: SubjectSeries, window: Window, baseline: Window | None = None) -> Epochs:
    """Cut the values around each event.

    The event's sample is the nearest one. An epoch has the rows of the event's run that were observed; an epoch at the
    very start or end of a run is whole if its window just fits.

    Parameters
    ----------
    series : SubjectSeries
    window : Window
    baseline : Window, optional
        The mean over these samples is subtracted from each epoch.

    Returns
    -------
    Epochs
    """
    onsets = series.onsets
    rows, run = np.floor(onsets.row + 0.5).astype(np.int64), series.run_of_onsets()
    positions = rows[:, None] + np.arange(window.first, window.stop)
    within = (positions >= series.runs[run, 0, None]) & (positions < series.runs[run, 1, None])
    safe = np.where(within, positions, 0)
    seen, masked = within & series.valid[safe], within & series.masked[safe]
    kept = seen.sum(axis=1) >= LEAST_SHARE * len(window)
    with_baseline = kept
    if baseline is not None:
        with_baseline = kept & seen[:, window.positions_of(baseline)].any(axis=1)
    values = series.values[safe[with_baseline]].astype(np.float32)
    values[~seen[with_baseline]] = np.nan
    if baseline is not None:
        values -= np.nanmean(values[:, window.positions_of(baseline)], axis=1, keepdims=True)
    return Epochs(
        values=values,
        rows=rows[with_baseline],
        condition=onsets.condition[with_baseline],
        run=run[with_baseline],
        number=np.flatnonzero(with_baseline),
        n_events=len(onsets),
        n_cut=int((~seen & ~masked)[with_baseline].any(axis=1).sum()),
        n_masked=int(masked[with_baseline].any(axis=1).sum()),
        n_left_out=int((~kept).sum()),
        n_without_baseline=int((kept & ~with_baseline).sum()),
    )
