"""Moments of all training data and the rank of each run, in one pass over the subjects, in float64.

The rank that counts for covariances is that of a run: signals of an average reference or with interpolated channels
lack a direction in every run, and after standardization each run another one, so that all together seem to lack none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
from torch import Tensor

from dynml.dataset.subset import MultiSubjectSubset
from dynml.ops.moments.pooled import CentredSums, centred_sums
from dynml.ops.moments.shared_directions import null_directions
from dynml.training.data.em import PooledMoments
from dynml.training.processes import Processes

SAMPLES_PER_CHANNEL = 2
"""A run with fewer samples says nothing of its rank; a subject's short runs are looked at together."""


@dataclass(frozen=True)
class RanksOfRuns:
    """How many dimensions the runs of the training data fill."""

    n_runs: int
    """Runs that are long enough to tell."""
    lowest: int | None
    """Lowest rank of a run; None where no run is long enough."""
    lowest_run: str
    """Subject and run that has it."""
    n_deficient: int
    """Runs whose rank is below the number of channels."""

    def describe(self, n_channels: int) -> str:
        """Say in words which runs lack dimensions."""
        share = f"all {self.n_runs}" if self.n_deficient == self.n_runs else f"{self.n_deficient} of {self.n_runs}"
        return (
            f"{share} runs of the training data have a rank below their number of channels (rank {self.lowest} of "
            f"{n_channels} in {self.lowest_run})"
        )


def moments_of_runs(
    subset: MultiSubjectSubset, processes: Processes | None = None
) -> tuple[PooledMoments, RanksOfRuns, list[Tensor]]:
    """Go once through all segments of a subset that belong to this process; sum over all processes.

    Returns
    -------
    moments : PooledMoments
    ranks : RanksOfRuns
    nulls : list of Tensor, (C, L)
        Directions without variance of each run that has some.
    """
    n_channels = subset.n_channels
    total, found = CentredSums.zeros(n_channels), _Found()
    for subject in np.flatnonzero(subset.is_own).tolist():
        short = CentredSums.zeros(n_channels)
        for run, sums in _sums_of_runs(subset, subject):
            total = total.merged(sums)
            if sums.n_samples < SAMPLES_PER_CHANNEL * n_channels:
                short = short.merged(sums)
            else:
                found.add(partial(_words_of_run, subset, subject, run), sums)
        if short.n_samples >= SAMPLES_PER_CHANNEL * n_channels:
            found.add(partial(_words_of_run, subset, subject, None), short)
    gathered = [(total, found)] if processes is None else processes.gather((total, found))
    total = reduce(CentredSums.merged, (sums for sums, _ in gathered))
    moments = PooledMoments(float(total.n_samples), total.mean_C, total.scatter_CC / max(total.n_samples, 1))
    return moments, *_ranks([one for _, one in gathered], n_channels)


class _Found:
    """Null directions of runs, as they are found in one process."""

    def __init__(self) -> None:
        self.n_runs, self.nulls = 0, list[tuple[str, Tensor]]()

    def add(self, name: Callable[[], str], sums: CentredSums) -> None:
        self.n_runs += 1
        null = null_directions(sums.scatter_CC / sums.n_samples)
        if null.shape[1]:
            # Only now: a store of many subjects takes longer to tell names than to sum.
            self.nulls.append((name(), null))


def _words_of_run(subset: MultiSubjectSubset, subject: int, run: int | None) -> str:
    what = "runs of few samples" if run is None else f"run {subset.run_names(subject)[run]}"
    return f"{subset.subjects[subject]}, {what}"


def _ranks(found: list[_Found], n_channels: int) -> tuple[RanksOfRuns, list[Tensor]]:
    n_runs, nulls = sum(one.n_runs for one in found), [null for one in found for null in one.nulls]
    if not nulls:
        return RanksOfRuns(n_runs, n_channels if n_runs else None, "", 0), []
    run, most = max(nulls, key=lambda pair: pair[1].shape[1])
    ranks = RanksOfRuns(n_runs, n_channels - most.shape[1], run, len(nulls))
    return ranks, [null for _, null in nulls]


def _sums_of_runs(subset: MultiSubjectSubset, subject: int) -> Iterator[tuple[int, CentredSums]]:
    """Each run's position among the names and its sums, in stored order."""
    for run, segments in subset.segments_of_runs(subject):
        sums = CentredSums.zeros(subset.n_channels)
        for start, stop in segments:
            sums = sums.merged(centred_sums(subset.slicer(subject, start, stop)))
        yield run, sums
