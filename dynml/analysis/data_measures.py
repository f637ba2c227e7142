"""Numbers on one subject's signals in a store, read once and in pieces, so that no recording has to fit into memory.

Only samples within segments count, and masked ones count as missing. Shapes: T rows, C channels, F frequencies, B bins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.recording import Events, GroupDescription
from dynml.store.missing.masked_rows import observed_stretches
from dynml.store.reading import Store
from dynml.stretches import source_samples_of_stretches

N_BINS = 1200
"""Bins of an envelope: about the pixels of a picture."""
VALUES_PER_PIECE = 2**21
VALUES_PER_SAMPLE = 2**22
"""Medians are taken over at most so many values, evenly spaced; shorter recordings count in full."""
FEWEST_SAMPLED_ROWS = 1000
MAD_TO_DEVIATION = 1.4826
"""The standard deviation of a Gaussian over its median absolute deviation."""
SECONDS_PER_WINDOW = 2.0
SHORTEST_WINDOW, FEWEST_WINDOWS = 8, 3


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """Smallest and largest good value in each bin of rows, so that no peak is lost in a picture."""

    edges: NDArray[np.int64]
    """First row of each bin, and the row after the last, (B + 1,)."""
    lowest: NDArray[np.float32]
    """(B, C); NaN where a bin has no good row."""
    highest: NDArray[np.float32]
    """(B, C)."""


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Power spectral densities by Welch's method, from windows within segments."""

    frequencies: NDArray[np.float64]
    """Hz, (F,)."""
    power: NDArray[np.float64]
    """Units squared per Hz, (F, C)."""
    n_windows: int


@dataclass(frozen=True, kw_only=True)
class SubjectMeasures:
    """What was read of one subject."""

    subject: str
    description: GroupDescription
    n_rows: int
    """Rows looked at, good or not."""
    segments: NDArray[np.int64]
    """Those rows' good stretches [start, stop), (n, 2): segments, or what masked samples leave of them."""
    segment_runs: NDArray[np.int64]
    """(n,)."""
    source_samples: NDArray[np.int64]
    """Original sample where each stretch starts, and its run, (n, 2)."""
    segment_starts: NDArray[np.int64]
    """Row where each of the store's segments starts, (n_segments,)."""
    run_names: tuple[str, ...]
    run_starts: NDArray[np.int64]
    """Row where each run starts, (n_runs,)."""
    events: Events | None
    amplitudes: NDArray[np.float64]
    """Robust standard deviation of each channel before standardization, (C,)."""
    kurtosis: NDArray[np.float64]
    """Fourth moment over the squared variance, of each channel, (C,); 3 for a Gaussian, NaN for a constant."""
    covariance: NDArray[np.float64]
    """Of the stored values around the means of their runs, (C, C)."""
    spectrum: Spectrum
    envelope: Envelope

    @property
    def n_segments(self) -> int:
        """Segments, whatever samples of them are masked."""
        return len(self.segment_starts)

    @property
    def n_good(self) -> int:
        """Rows of good stretches."""
        return int((self.segments[:, 1] - self.segments[:, 0]).sum())


def measure_subject(store: Store, subject: str, group: str, *, max_seconds: float | None = None) -> SubjectMeasures:
    """Read a subject's good rows once, in pieces, and measure them.

    Parameters
    ----------
    store : Store
    subject, group : str
    max_seconds : float, optional
        Look at so much of the beginning only.

    Returns
    -------
    SubjectMeasures

    Raises
    ------
    DataError
        For an unknown subject or group, or where no good row is left.
    """
    description = store.attributes(subject, group)
    n_rows = description.n_samples
    if max_seconds is not None:
        n_rows = min(n_rows, max(1, round(max_seconds * description.sampling_frequency)))
    segments = store.segments(subject, group).clip(max=n_rows)
    kept = segments[:, 1] > segments[:, 0]
    if not kept.any():
        raise DataError(
            f"Subject {subject}, group {group}: the first {n_rows / description.sampling_frequency:g} s have no good "
            "sample; look at more of it."
        )
    segments, runs = segments[kept], store.segment_runs(subject, group)[kept]
    source_samples, segment_starts = store.source_samples(subject, group)[kept], segments[:, 0]
    if description.n_masked:
        stretches, segment = observed_stretches(segments, store.masked_rows(subject, group))
        source_samples = source_samples_of_stretches(
            source_samples, segments, stretches, segment, description.source_step
        )
        segments, runs = stretches, runs[segment]
    n_good = int((segments[:, 1] - segments[:, 0]).sum())
    n_channels = description.n_channels
    moments = _Moments(n_channels)
    amplitudes = _Amplitudes(store.std(subject, group), n_good, n_channels)
    envelope = _EnvelopeMaker(n_rows, n_channels)
    windows = _Windows(description.sampling_frequency, _window_length(segments, description.sampling_frequency))
    for (start, stop), run in zip(segments.tolist(), runs.tolist()):
        windows.start_segment()
        for first, piece in pieces(store, subject, group, start, stop):
            envelope.add(piece, first)
            values = piece.astype(np.float64)
            moments.add(values, run)
            amplitudes.add(values, run)
            windows.add(values)
    kurtosis, covariance = moments.result()
    run_starts = store.run_starts(subject, group)
    n_runs = max(1, int((run_starts < n_rows).sum()))
    return SubjectMeasures(
        subject=subject,
        description=description,
        n_rows=n_rows,
        segments=segments,
        segment_runs=runs,
        source_samples=source_samples,
        segment_starts=segment_starts,
        run_names=tuple(store.run_names(subject, group)[:n_runs]),
        run_starts=run_starts[:n_runs],
        events=store.events(subject, group),
        amplitudes=amplitudes.result(),
        kurtosis=kurtosis,
        covariance=covariance,
        spectrum=windows.result(),
        envelope=envelope.result(),
    )


def pieces(store: Store, subject: str, group: str, start: int, stop: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Read rows [start, stop) a few megabytes at a time: (first row, rows (n, C))."""
    length = max(1, VALUES_PER_PIECE // store.attributes(subject, group).n_channels)
    for first in range(start, stop, length):
        yield first, store.read(subject, group, first, min(first + length, stop))


def _window_length(segments: NDArray[np.int64], sampling_frequency: float) -> int:
    """Rows of a window: a power of two, of about two seconds or 256 rows, a third of the longest segment at most."""
    longest = int((segments[:, 1] - segments[:, 0]).max())
    wanted = max(256, 2 ** int(np.ceil(np.log2(max(1.0, SECONDS_PER_WINDOW * sampling_frequency)))))
    possible = max(SHORTEST_WINDOW, longest // FEWEST_WINDOWS)
    return min(longest, wanted, 2 ** int(np.log2(possible)))


class _Moments:
    """Sums of powers up to the fourth around the mean of each run's first piece, which keeps them exact."""

    def __init__(self, n_channels: int) -> None:
        self._n_rows = 0
        self._second, self._fourth = np.zeros(n_channels), np.zeros(n_channels)
        self._scatter = np.zeros((n_channels, n_channels))
        self._run: int | None = None
        self._shift = np.zeros(n_channels)
        self._sums = np.zeros((4, n_channels))
        self._products = np.zeros((n_channels, n_channels))
        self._n_run_rows = 0

    def add(self, values: NDArray[np.float64], run: int) -> None:
        if run != self._run:
            self._end_run()
            self._run, self._shift = run, values.mean(axis=0)
        centred = values - self._shift
        squares = centred * centred
        self._sums += np.stack(
            [centred.sum(axis=0), squares.sum(axis=0), (squares * centred).sum(axis=0), (squares * squares).sum(axis=0)]
        )
        self._products += centred.T @ centred
        self._n_run_rows += len(values)

    def _end_run(self) -> None:
        if self._n_run_rows:
            n = self._n_run_rows
            first, second, third, fourth = self._sums / n
            self._second += n * (second - first**2)
            self._fourth += n * (fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4)
            self._scatter += self._products - n * np.outer(first, first)
            self._n_rows += n
        self._sums[:], self._products[:], self._n_run_rows = 0.0, 0.0, 0

    def result(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Kurtosis (C,) and covariance (C, C)."""
        self._end_run()
        varies = self._second > 0
        squared = np.where(varies, self._second, 1.0) ** 2
        return np.where(varies, self._n_rows * self._fourth / squared, np.nan), self._scatter / self._n_rows


class _Amplitudes:
    """Median absolute deviations around the medians of the runs, undoing the standardization."""

    def __init__(self, deviations: NDArray[np.float64], n_good: int, n_channels: int) -> None:
        self._deviations = deviations
        most = max(FEWEST_SAMPLED_ROWS, VALUES_PER_SAMPLE // n_channels)
        self._step = -(-n_good // most)
        self._position = 0
        self._taken: dict[int, list[NDArray[np.float64]]] = {}

    def add(self, values: NDArray[np.float64], run: int) -> None:
        first = -self._position % self._step
        self._taken.setdefault(run, []).append(values[first :: self._step].copy())
        self._position += len(values)

    def result(self) -> NDArray[np.float64]:
        distances = []
        for run, taken in self._taken.items():
            values = np.concatenate(taken)
            if len(values):
                scale = self._deviations[min(run, len(self._deviations) - 1)]
                distances.append(np.abs(values - np.median(values, axis=0)) * scale)
        return MAD_TO_DEVIATION * np.median(np.concatenate(distances), axis=0)


class _EnvelopeMaker:
    """Smallest and largest values of bins of rows."""

    def __init__(self, n_rows: int, n_channels: int) -> None:
        n_bins = min(n_rows, N_BINS)
        self._edges = np.linspace(0, n_rows, n_bins + 1).astype(np.int64)
        self._lowest = np.full((n_bins, n_channels), np.nan, dtype=np.float32)
        self._highest = self._lowest.copy()

    def add(self, rows: NDArray[np.float32], first: int) -> None:
        own = slice(
            int(np.searchsorted(self._edges, first, side="right")) - 1,
            int(np.searchsorted(self._edges, first + len(rows), side="left")),
        )
        starts = np.maximum(self._edges[own] - first, 0)
        # fmin and fmax take the number where the other one is NaN.
        self._lowest[own] = np.fmin(self._lowest[own], np.minimum.reduceat(rows, starts, axis=0))
        self._highest[own] = np.fmax(self._highest[own], np.maximum.reduceat(rows, starts, axis=0))

    def result(self) -> Envelope:
        return Envelope(edges=self._edges, lowest=self._lowest, highest=self._highest)


class _Windows:
    """Welch's spectrum (Welch 1967) of segments that come in pieces; the same as of the segments in one piece."""

    def __init__(self, sampling_frequency: float, length: int) -> None:
        self._rate, self._length = sampling_frequency, length
        self._hop = length - length // 2
        self._total: NDArray[np.float64] | None = None
        self._frequencies = np.zeros(0)
        self._n_windows = 0
        self._carried: NDArray[np.float64] | None = None

    def start_segment(self) -> None:
        self._carried = None

    def add(self, values: NDArray[np.float64]) -> None:
        from scipy.signal import welch

        rows = values if self._carried is None else np.concatenate([self._carried, values])
        n_windows = 1 + (len(rows) - self._length) // self._hop if len(rows) >= self._length else 0
        if n_windows:
            used = rows[: self._length + (n_windows - 1) * self._hop]
            self._frequencies, power = welch(
                used, self._rate, nperseg=self._length, noverlap=self._length - self._hop, axis=0
            )
            self._total = n_windows * power + (0.0 if self._total is None else self._total)
            self._n_windows += n_windows
        self._carried = rows[n_windows * self._hop :].copy()

    def result(self) -> Spectrum:
        assert self._total is not None, "a window is at most as long as the longest segment"
        return Spectrum(frequencies=self._frequencies, power=self._total / self._n_windows, n_windows=self._n_windows)
