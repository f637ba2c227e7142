"""One subject's signals in memory: what every reader makes and every preparation step maps to another."""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_LABEL = -1
"""Code of an event whose label is not given (`n/a`), and of samples outside all events."""

BETWEEN_COLUMNS, BETWEEN_LABELS = ",", ";"
"""What joins the names of columns, and the labels that one event has at once."""


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def plain_label(text: str) -> str:
    """A label without blanks around it, its letters composed (Unicode's NFC): what looks the same is the same."""
    return unicodedata.normalize("NFC", text).strip()


def number_of(text: str) -> float | None:
    """The finite number that a label is; None where it is another text."""
    own = text.strip()
    value = float(own) if _NUMBER.fullmatch(own) else math.nan
    return value if math.isfinite(value) else None


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that signals were read from."""

    file: str
    """Path within the subject's folder."""
    n_bytes: int
    sha256: str

    def as_dictionary(self) -> dict[str, Any]:
        """Plain values, as they are stored."""
        return {"file": self.file, "bytes": self.n_bytes, "sha256": self.sha256}

    @classmethod
    def from_dictionary(cls, values: dict[str, Any]) -> Source:
        """Inverse of `as_dictionary`."""
        return cls(file=values["file"], n_bytes=values["bytes"], sha256=values["sha256"])


@dataclass(frozen=True, kw_only=True)
class GroupDescription:
    """What a store says about one subject's group without reading its signals."""

    n_samples: int
    """Rows, good or not."""
    n_channels: int
    sampling_frequency: float
    """Hz."""
    channel_names: tuple[str, ...]
    units: str
    rank: int
    """Numerical rank of the good samples."""
    sha256: str
    """Of the data's bytes followed by the segments' bytes."""
    sources: tuple[Source, ...]
    preparation: tuple[dict[str, Any], ...]
    source_step: float = 1.0
    """Original samples from one row to the next; above 1 once downsampled."""
    source_offset: float = 0.0
    """Fraction of an original sample to add to the source samples."""
    n_masked: int = 0
    """Rows within segments that are masked: NaN in all channels."""


@dataclass(frozen=True, kw_only=True)
class Events:
    """What happened when, in samples of the stored rows.

    One label per sample is kept in the same way: each run of equal labels is one event.
    """

    onset: NDArray[np.int64]
    """First sample of each event, (n_events,), in ascending order."""
    duration: NDArray[np.int64]
    """Samples, (n_events,); 0 for an instant."""
    labels: dict[str, NDArray[np.int64]]
    """Per column of the events' file, the index into `names` of each event's label, (n_events,); -1 where not given."""
    names: dict[str, tuple[str, ...]]
    """Per column, the labels that occur in it, sorted."""
    exact_onset: NDArray[np.float64] | None = None
    """Onsets between two samples, (n_events,), of which `onset` is the nearest sample; None: they are samples."""

    def __len__(self) -> int:
        return len(self.onset)

    def with_plain_labels(self, column: str) -> Events:
        """The same with the labels of a column as `plain_label` has them; nothing but blanks is no label."""
        given = self.names[column]
        plain = [plain_label(name) for name in given]
        names = tuple(dict.fromkeys(filter(None, plain)))
        if names == given:
            return self
        codes = np.array([*(names.index(name) if name else NO_LABEL for name in plain), NO_LABEL], dtype=np.int64)
        labels = self.labels | {column: codes[self.labels[column]]}
        return dataclasses.replace(self, labels=labels, names=self.names | {column: names})

    def labels_of_samples(self, column: str, n_samples: int) -> NDArray[np.int64]:
        """Label of every sample, (n_samples,); -1 outside events. Where events overlap, the later one counts."""
        labels = np.full(n_samples, NO_LABEL, dtype=np.int64)
        for onset, duration, label in zip(self.onset, self.duration, self.labels[column]):
            labels[onset : onset + duration] = label
        return labels


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One subject's signals, all runs one after another.

    Shapes: T samples, C channels, R runs.
    """

    signals: NDArray[np.floating[Any]]
    """(T, C), float32 once stored; float64 sources stay float64 until then, so that offsets are removed exactly."""
    sampling_frequency: float
    """Hz."""
    channel_names: tuple[str, ...]
    """C names."""
    segments: NDArray[np.int64]
    """Good stretches [start, stop), (n_segments, 2), ascending; each lies within one run."""
    segment_runs: NDArray[np.int64]
    """Index into `run_names` of each segment, (n_segments,)."""
    run_names: tuple[str, ...]
    """R names."""
    source_samples: NDArray[np.int64]
    """For each segment, the sample of the original run where it starts, and that run, (n_segments, 2)."""
    segment_parts: NDArray[np.int64] | None = None
    """Number of the part of its run that each segment lies in, (n_segments,); one part everywhere where None.

    Segments of one part are divided by missing samples alone, and may become one whose samples between are masked.
    """
    source_step: float = 1.0
    """Original samples from one row to the next; above 1 once downsampled."""
    source_offset: float = 0.0
    """What to add to `source_samples` where segments start between two original samples; at most half a sample."""
    events: Events | None = None
    sources: tuple[Source, ...] = ()
    preparation: tuple[dict[str, Any], ...] = ()
    """The steps that were applied, in order, as plain values."""
    units: str = "arbitrary"
    mean: NDArray[np.float64] | None = field(default=None)
    """What standardization subtracted, (R or 1, C); None before it."""
    std: NDArray[np.float64] | None = field(default=None)
    """What standardization divided by, (R or 1, C); None before it."""
    known_moments: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Moments of these very signals, kept by `preparation.standardization.moments`; a changed recording has none."""

    def __post_init__(self) -> None:
        assert self.signals.ndim == 2, self.signals.shape
        assert self.signals.shape[1] == len(self.channel_names), (self.signals.shape, len(self.channel_names))
        assert self.segments.shape == self.source_samples.shape == (len(self.segment_runs), 2)
        assert self.segment_parts is None or self.segment_parts.shape == self.segment_runs.shape

    @property
    def n_samples(self) -> int:
        """Rows, good or not."""
        return int(self.signals.shape[0])

    @property
    def n_channels(self) -> int:
        """Columns."""
        return int(self.signals.shape[1])

    @property
    def run_starts(self) -> NDArray[np.int64]:
        """Row where each run starts, (R,)."""
        return run_starts(
            self.segments, self.segment_runs, self.source_samples, len(self.run_names), source_step=self.source_step
        )

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """Give (run, first row, row after the last) of every run."""
        starts = [*self.run_starts.tolist(), self.n_samples]
        for run in range(len(self.run_names)):
            yield run, starts[run], starts[run + 1]

    def segments_of_run(self, run: int) -> NDArray[np.int64]:
        """Segments of one run, (n, 2)."""
        return self.segments[self.segment_runs == run]


def run_starts(
    segments: NDArray[np.int64],
    segment_runs: NDArray[np.int64],
    source_samples: NDArray[np.int64],
    n_runs: int,
    *,
    source_step: float = 1.0,
) -> NDArray[np.int64]:
    """Row where each run starts, from its segments: a run keeps all its rows, and every run has a segment.

    Downsampled runs but the first count from their first segment, for where missing rows divide is not kept.

    Parameters
    ----------
    segments, source_samples : array, (n_segments, 2)
    segment_runs : array, (n_segments,)
    n_runs : int
    source_step : float
        Original samples from one row to the next.

    Returns
    -------
    array, (n_runs,), rows
    """
    starts = np.zeros(n_runs, dtype=np.int64)
    if source_step != 1.0:
        first_segments = np.searchsorted(segment_runs, np.arange(1, n_runs))
        starts[1:] = segments[first_segments, 0]
        return starts
    starts[segment_runs] = segments[:, 0] - source_samples[:, 0]
    return starts


def recording_of_runs(
    runs: Sequence[NDArray[np.floating[Any]]],
    *,
    sampling_frequency: float,
    channel_names: Sequence[str] | None = None,
    run_names: Sequence[str] | None = None,
    stretches: Sequence[NDArray[np.int64]] | None = None,
    parts: Sequence[NDArray[np.int64]] | None = None,
    events: Events | None = None,
    sources: Sequence[Source] = (),
    units: str = "arbitrary",
) -> Recording:
    """Lay runs one after another; all rows are kept.

    Parameters
    ----------
    runs : sequence of array, (T_r, C)
    sampling_frequency : float
        Hz.
    channel_names : sequence of str, optional
        `channel_0` and so on by default.
    run_names : sequence of str, optional
        `run_0` and so on by default.
    stretches : sequence of array, (n, 2), optional
        For each run, the good stretches [start, stop) in its own samples, at least one; all of it by default.
    parts : sequence of array, (n,), optional
        For each run, the number of the part of it that each stretch lies in; see `Recording.segment_parts`.
    events : Events, optional
        In samples of the rows as they lie in the result.
    sources : sequence of Source, optional
    units : str

    Returns
    -------
    Recording
        With signals (sum of T_r, C).
    """
    n_runs, n_channels = len(runs), runs[0].shape[1]
    if stretches is None:
        stretches = [np.array([[0, len(run)]], dtype=np.int64) for run in runs]
    starts = np.cumsum([0, *(len(run) for run in runs)])
    segment_runs = np.repeat(np.arange(n_runs), [len(pieces) for pieces in stretches]).astype(np.int64)
    return Recording(
        signals=np.concatenate(list(runs)) if n_runs > 1 else runs[0],
        sampling_frequency=sampling_frequency,
        channel_names=tuple(channel_names or (f"channel_{number}" for number in range(n_channels))),
        segments=np.concatenate([pieces + start for pieces, start in zip(stretches, starts)]).astype(np.int64),
        segment_runs=segment_runs,
        run_names=tuple(run_names or (f"run_{number}" for number in range(n_runs))),
        source_samples=np.stack([np.concatenate([pieces[:, 0] for pieces in stretches]), segment_runs], axis=1),
        segment_parts=None if parts is None else np.concatenate(parts).astype(np.int64),
        events=events,
        sources=tuple(sources),
        units=units,
    )


def masked_as_nan(series: Any) -> Any:
    """Give a masked array of NumPy with NaN where it is masked, which else counts as data; other things as they are."""
    if not np.ma.isMaskedArray(series) or series.dtype.kind not in "fiub":
        return series
    return np.ma.filled(series.astype(np.result_type(series.dtype, np.float32)), np.nan)
