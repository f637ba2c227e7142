"""What a model sees of each subject, stretch by stretch, and such stretches as a dataset to fit models to.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.subset import MultiSubjectSubset
from dynml.recording import Recording
from dynml.stretches import stretches_of

Array = NDArray[np.float64]
SHORTEST = 20
"""Samples of a stretch that is worth taking."""


@dataclass(frozen=True)
class SubjectStretches:
    """Observed samples of one subject, in the order of time; no stretch crosses a gap or the border of a segment."""

    subject: str
    participant: str
    sampling_frequency: float
    stretches: list[Array]

    @property
    def n_samples(self) -> int:
        """Of all stretches."""
        return sum(len(own) for own in self.stretches)

    def of(self, stretches: Sequence[Array]) -> SubjectStretches:
        """Give the same subject other signals."""
        return dataclasses.replace(self, stretches=list(stretches))


def stretches_of_subset(subset: MultiSubjectSubset) -> list[SubjectStretches]:
    """Read what the model sees of every subject; subjects whose stretches are all short are left out."""
    found = []
    for index, subject in enumerate(subset.subjects):
        own = [piece for piece in _pieces(subset, index) if len(piece) >= SHORTEST]
        if own:
            rate = float(subset.sampling_frequencies[index])
            found.append(SubjectStretches(subject, subset.participants[index], rate, own))
    return found


def _pieces(subset: MultiSubjectSubset, index: int) -> Iterator[Array]:
    table, observed = subset.segments.of_subject(index), subset.observed(index)
    for start, stop in zip(table.start.tolist(), table.stop.tolist(), strict=True):
        rows = subset.read(index, start, stop).cpu().numpy().astype(np.float64)
        if observed is None:
            yield rows
            continue
        for first, last in stretches_of(observed[start:stop]).tolist():
            yield rows[first:last]


def dataset_of(
    subjects: Sequence[SubjectStretches],
    device: str | torch.device = "cpu",
    testing: Sequence[SubjectStretches] = (),
) -> MultiSubjectDataset:
    """Make a dataset whose segments are the stretches; nothing is standardized again."""
    return MultiSubjectDataset.from_arrays(
        {one.subject: _recording(one) for one in subjects},
        testing={one.subject: _recording(one) for one in testing},
        standardization="none",
        participants={one.subject: one.participant for one in [*subjects, *testing]},
        device=device,
    )


def _recording(one: SubjectStretches) -> Recording:
    lengths = [len(own) for own in one.stretches]
    stops = np.cumsum(lengths)
    starts = stops - lengths
    return Recording(
        signals=np.concatenate(one.stretches).astype(np.float32),
        sampling_frequency=one.sampling_frequency,
        channel_names=tuple(f"channel_{channel}" for channel in range(one.stretches[0].shape[1])),
        segments=np.stack([starts, stops], axis=1),
        segment_runs=np.zeros(len(lengths), dtype=np.int64),
        run_names=("run",),
        source_samples=np.stack([starts, np.zeros_like(starts)], axis=1),
        events=None,
        sources=(),
        preparation=(),
        units="",
    )
