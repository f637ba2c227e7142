"""Passes over whole segments, for what looks at the data apart from a family's own batches: moments, EM, baselines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from dynml.batches.batch import Batch
from dynml.batches.loader import BatchLoader
from dynml.batches.sampler import BatchSampler
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.subset import MultiSubjectSubset
from dynml.ops.masked_samples import observed_if_masked

SAMPLES_PER_BATCH = 1_000_000
_PART_STREAM = 11
_SMALLEST_READING = 4096


@dataclass(frozen=True)
class PackedSegments:
    """Whole segments laid end to end: what EM asks of a batch."""

    signals: torch.Tensor
    starts: torch.Tensor
    groups: torch.Tensor | None = None


class SegmentPasses:
    """Gives all segments of a subset that belong to this process, packed, as often as asked, without augmentation.

    Parameters
    ----------
    dataset : MultiSubjectDataset
    """

    def __init__(self, dataset: MultiSubjectDataset) -> None:
        self._sampler = BatchSampler(
            dataset,
            strategy="whole_segments",
            batch_size_units="nb_samples",
            batch_size_training=SAMPLES_PER_BATCH,
        )
        self._loader = BatchLoader(dataset, collate="packed")

    def __call__(self, context: Literal["training", "validation", "testing"]) -> Iterator[Batch]:
        """Batches of a subset."""
        self._sampler.set_context(context)
        self._loader.set_context(context)
        return self._loader.iterate(self._sampler, 0)


def part_of_subset(subset: MultiSubjectSubset, n_samples: int, seed: int, number: int = 0) -> PackedSegments:
    """Draw whole segments at random until there are enough observed samples; the last one may be cut.

    Parameters
    ----------
    subset : MultiSubjectSubset
    n_samples : int
    seed, number : int
        The same two give the same part.
    """
    table = subset.segments
    generator = np.random.default_rng(np.random.SeedSequence((seed, _PART_STREAM, number)))
    rows, lengths, wanted = [], [], min(n_samples, table.n_samples)
    for index in generator.permutation(len(table)):
        segment = slice(int(table.start[index]), int(table.stop[index]))
        pieces, n_observed = _beginning(subset, int(table.subject[index]), segment, wanted)
        rows += pieces
        lengths.append(sum(len(piece) for piece in pieces))
        wanted -= n_observed
        if wanted <= 0:
            break
    starts = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int64)
    return PackedSegments(torch.cat(rows), starts)


def _beginning(subset: MultiSubjectSubset, subject: int, segment: slice, wanted: int) -> tuple[list[torch.Tensor], int]:
    """Rows of a segment's beginning, in pieces, and how many were observed: as many as wanted, if there are."""
    if not subset.n_masked:
        rows = subset.read(subject, segment.start, min(segment.stop, segment.start + wanted))
        return [rows], len(rows)
    pieces, start, n_observed = [], segment.start, 0
    while start < segment.stop and n_observed < wanted:
        missing = wanted - n_observed
        piece = subset.read(subject, start, min(segment.stop, start + max(missing, _SMALLEST_READING)))
        observed = observed_if_masked(piece)
        observed = torch.ones(len(piece), dtype=torch.bool) if observed is None else observed.cpu()
        n_rows = int(torch.searchsorted(observed.cumsum(0), missing)) + 1
        pieces.append(piece[:n_rows])
        n_observed += int(observed[:n_rows].sum())
        start += len(piece)
    return pieces, n_observed
