"""Runs of a subject as they lie in stored rows, and where each of them was in its original recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from dynml.dataset.signal_source import SignalSource
from dynml.recording import Source, run_starts


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """One run that has a segment."""

    name: str
    start: int
    """Row."""
    stop: int
    """Row after the last one."""
    first_source_sample: float
    """Sample of the original recording where the first row lies, from 0."""
    source_step: float
    """Original samples from one row to the next."""
    sampling_frequency: float
    """Hz, of the rows."""
    source: Source | None
    """File that the run was read from; None where that is not known."""

    @property
    def start_time(self) -> float:
        """Seconds from the start of the original recording to the first row."""
        return self.first_source_sample / (self.sampling_frequency * self.source_step)


def stored_runs(source: SignalSource, group: str, subject: str) -> list[StoredRun]:
    """List the runs of a subject, in stored order."""
    described, names = source.attributes(subject, group), source.run_names(subject, group)
    segments, source_samples = source.segments(subject, group), source.source_samples(subject, group)
    starts = run_starts(segments, source_samples[:, 1], source_samples, len(names), source_step=described.source_step)
    present, first_segments = np.unique(source_samples[:, 1], return_index=True)
    stops = np.append(starts[present][1:], described.n_samples)
    runs = []
    for run, segment, stop in zip(present.tolist(), first_segments.tolist(), stops.tolist()):
        start = int(starts[run])
        before = (segments[segment, 0] - start) * described.source_step
        runs.append(
            StoredRun(
                name=names[run],
                start=start,
                stop=stop,
                first_source_sample=float(source_samples[segment, 0] + described.source_offset - before),
                source_step=described.source_step,
                sampling_frequency=described.sampling_frequency,
                source=_source_of(described.sources, names, run),
            )
        )
    return runs


def _source_of(sources: tuple[Source, ...], names: list[str], run: int) -> Source | None:
    """The file of a run: by its name, or by its position where there are as many files as runs."""
    named = [one for one in sources if PurePosixPath(one.file).name.startswith(names[run])]
    if len(named) == 1:
        return named[0]
    return sources[run] if len(sources) == len(names) else None
