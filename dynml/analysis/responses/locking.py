"""Whether one participant's series is locked to events: shifts within runs, or labels of trials exchanged.

A shift keeps the autocorrelation of the series, which makes neighbouring samples anything but independent, and breaks
its relation to the events. Where events come at equal distances a shift by that distance changes nothing; then the
labels of trials are exchanged within runs instead.

Shapes: T rows, K states, W samples of an epoch, n trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.responses.epochs import Epochs, Window
from dynml.analysis.responses.series import SubjectSeries

Doubles = NDArray[np.float64]
SHIFTS, EXCHANGES = "circular shifts within runs", "labels of trials exchanged within runs"
PERIODIC_SHARE = 0.9
"""Share of events that meet another one when all are moved by some time, from which a design counts as periodic."""
LEAST_EVENTS = 3
"""Pairs of events that must meet."""


@dataclass(frozen=True)
class Locking:
    """What a test of one participant and condition says."""

    p: Doubles
    """Corrected over all cells, of the shape of the statistic."""
    n_surrogates: int
    method: str
    """How the surrogates were made."""


def surrogate_p(observed: Doubles, surrogates: Doubles) -> Doubles:
    """p-values of each cell's deviation from its surrogates, corrected over cells by the maximum.

    Parameters
    ----------
    observed : array, (cells,)
    surrogates : array, (n, cells)

    Returns
    -------
    array, (cells,)
        (1 + b) / (1 + n); NaN where a cell does not vary.
    """
    centre, spread = surrogates.mean(axis=0), surrogates.std(axis=0)
    size = max(float(np.abs(observed).max(initial=0.0)), float(np.abs(surrogates).max(initial=0.0)))
    varies = spread > 1e-9 * size
    p = np.full(observed.shape, np.nan)
    if not varies.any():
        return p
    maxima = (np.abs(surrogates[:, varies] - centre[varies]) / spread[varies]).max(axis=1)
    own = np.abs(observed[varies] - centre[varies]) / spread[varies]
    n_larger = len(maxima) - np.searchsorted(np.sort(maxima) * (1 + 1e-9), own, side="left")
    p[varies] = (1 + n_larger) / (1 + len(maxima))
    return p


def is_periodic(onsets: NDArray[np.float64]) -> bool:
    """Whether the events of one condition in one run come again after some time, nearly all of them.

    Parameters
    ----------
    onsets : array, (n,)
        Rows, ascending.
    """
    if len(onsets) < LEAST_EVENTS + 1:
        return False
    distances = onsets[None, :] - onsets[:, None]
    ordered = np.sort(distances, axis=None)
    lags = np.unique(np.round(ordered[ordered > 2.5]))
    n_beyond = np.searchsorted(onsets, onsets[-1] + 1.0 - lags, side="right")  # others would meet events after the last
    n_meeting = np.searchsorted(ordered, lags + 1.0, side="right") - np.searchsorted(ordered, lags - 1.0)
    enough = n_beyond >= max(LEAST_EVENTS, len(onsets) / 2)
    # Pairs are counted first: of the many lags of a long run, few are left to look at event by event.
    candidates = enough & (n_meeting >= PERIODIC_SHARE * n_beyond)
    for lag, n_compared in zip(lags[candidates], n_beyond[candidates]):
        nearest = np.abs(distances[:n_compared] - lag).min(axis=1)
        if (nearest <= 1.0).mean() >= PERIODIC_SHARE:
            return True
    return False


def random_lags(n_rows: Sequence[int], n_shifts: int, *, seed: int) -> list[NDArray[np.int64]]:
    """Lags of each run, all equally likely, small ones too: without them p would be too small.

    Shifts of several runs hardly ever are small in all of them. Of a single run, the lags that leave a response about
    where it is are a share of them that p cannot be below. Half of its surrogates therefore also run backward in time,
    which keeps the autocorrelation as well: lags from the number of rows on stand for that.

    Parameters
    ----------
    n_rows : sequence of int
        Of each run.
    n_shifts : int
    seed : int

    Returns
    -------
    list of array, (n_shifts,)
    """
    generator = np.random.default_rng(seed)
    turns = 2 if len(n_rows) == 1 else 1
    return [generator.integers(0, max(1, turns * n), n_shifts) for n in n_rows]


def shifted_rows(doubled: Doubles, lag: int) -> Doubles:
    """Rows of a run turned by a lag, backward in time from as many as there are rows on: a view.

    Parameters
    ----------
    doubled : array, (2 rows, K)
        All rows, twice one after the other.
    lag : int
    """
    n_rows = len(doubled) // 2
    if lag >= n_rows:
        doubled, lag = doubled[::-1], lag - n_rows
    return doubled[n_rows - lag : 2 * n_rows - lag]


class ShiftedRuns:
    """The observed rows of all runs of one participant, shifted against what lies around events.

    The rows of a run that were observed form a circle, which is turned; rows that were not keep their positions, so
    that every surrogate has as many samples as the data.

    Parameters
    ----------
    series : sequence of SubjectSeries
        Of one participant.
    epochs : sequence of Epochs
        Of each of them.
    window : Window
    baseline : Window, optional
        Its mean is subtracted from every mean.
    """

    def __init__(
        self, series: Sequence[SubjectSeries], epochs: Sequence[Epochs], window: Window, baseline: Window | None = None
    ) -> None:
        self._window, self._baseline = window, baseline
        self._runs = [_Run(one, own, number) for one, own in zip(series, epochs) for number in range(len(one.runs))]

    def means(self, condition: int, lags: Sequence[NDArray[np.int64]]) -> Doubles:
        """Mean over the trials of a condition, (n, W, K), for n lags of each run."""
        count = np.zeros(len(self._window))
        sums = np.zeros((len(lags[0]), len(self._window), self._runs[0].n_states))
        for run, own in zip(self._runs, lags):
            weights = run.weights(condition, self._window)
            count += np.asarray(weights.sum(axis=1)).ravel()
            if weights.nnz:
                for number, lag in enumerate(own):
                    sums[number] += weights @ run.shifted(int(lag))
        means = np.divide(sums, count[:, None], out=np.full_like(sums, np.nan), where=count[:, None] > 0)
        if self._baseline is not None:
            means -= np.nanmean(means[:, self._window.positions_of(self._baseline)], axis=1, keepdims=True)
        return means

    def p(self, condition: int, *, n_shifts: int, seed: int) -> Locking:
        """Test the mean response to a condition, corrected over times and states, (W, K)."""
        observed = self.means(condition, [np.zeros(1, dtype=np.int64)] * len(self._runs))[0]
        n_rows = [run.n_rows for run in self._runs]
        lags = random_lags(n_rows, n_shifts, seed=seed)
        p = surrogate_p(observed.ravel(), self.means(condition, lags).reshape(n_shifts, -1))
        return Locking(p.reshape(observed.shape), n_shifts, SHIFTS)


class _Run:
    """The observed rows of one run, twice one after the other, so that a shift is a slice."""

    def __init__(self, series: SubjectSeries, epochs: Epochs, number: int) -> None:
        self.start, self.stop = (int(row) for row in series.runs[number])
        self.valid = series.valid[self.start : self.stop]
        rows = series.values[self.start : self.stop][self.valid].astype(np.float64)
        self.n_rows, self.n_states = rows.shape
        self._doubled = np.concatenate([rows, rows])
        self._of_run = epochs.run == number
        self._epochs = epochs

    def shifted(self, lag: int) -> Doubles:
        return shifted_rows(self._doubled, lag)

    def weights(self, condition: int, window: Window) -> Any:
        """How often each observed row stands at each sample of the epochs, sparse (W, rows)."""
        from scipy.sparse import csr_matrix

        events = self._epochs.rows[self._of_run & (self._epochs.condition == condition)]
        rows = events[:, None] + np.arange(window.first, window.stop) - self.start
        inside = (rows >= 0) & (rows < self.stop - self.start)
        inside[inside] = self.valid[rows[inside]]
        _, times = np.nonzero(inside)
        column_of = np.cumsum(self.valid) - 1
        ones = np.ones(len(times))
        return csr_matrix((ones, (times, column_of[rows[inside]])), shape=(len(window), self.n_rows))


def exchanged_labels_p(epochs: Sequence[Epochs], condition: int, *, n_exchanges: int, seed: int) -> Locking | None:
    """Test whether a condition's mean differs from that of the other trials, by exchanging labels within runs.

    Parameters
    ----------
    epochs : sequence of Epochs
        Of the subjects of one participant.
    condition : int
    n_exchanges : int
    seed : int

    Returns
    -------
    Locking or None
        With p of (W, K); None where no run has trials of this and of another condition.
    """
    values = np.concatenate([one.values for one in epochs]).astype(np.float64)
    own = np.concatenate([one.condition == condition for one in epochs])
    runs = np.concatenate([one.run + 1_000_000 * number for number, one in enumerate(epochs)])
    mixed = np.isin(runs, [run for run in np.unique(runs) if 0 < own[runs == run].sum() < (runs == run).sum()])
    if not mixed.any():
        return None
    values, own, runs = values[mixed], own[mixed], runs[mixed]
    flat = values.reshape(len(values), -1)
    seen, filled = np.isfinite(flat).astype(np.float64), np.nan_to_num(flat)
    generator = np.random.default_rng(seed)
    labels = np.stack([own, *(_exchanged(own, runs, generator) for _ in range(n_exchanges))]).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = (labels @ filled) / (labels @ seen) - ((1 - labels) @ filled) / ((1 - labels) @ seen)
    statistic = np.nan_to_num(statistic)
    p = surrogate_p(statistic[0], statistic[1:])
    return Locking(p.reshape(values.shape[1:]), n_exchanges, EXCHANGES)


def _exchanged(labels: NDArray[np.bool_], runs: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.bool_]:
    order = np.argsort(runs, kind="stable")
    shuffled = order[np.lexsort((generator.random(len(order)), runs[order]))]
    exchanged = np.empty_like(labels)
    exchanged[order] = labels[shuffled]
    return exchanged
