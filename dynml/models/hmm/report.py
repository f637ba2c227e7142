"""What is said of a trained HMM beside its free energies: findings in plain words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dynml.dataset.spans import Spans
from dynml.dataset.subset import MultiSubjectSubset
from dynml.ops.hmm.gaussian_hmm import GaussianHMMParameters, Statistics, e_step
from dynml.ops.workers import one_thread
from dynml.stretches import runs_of_equal
from dynml.training.data.baselines import names_of_better, words_of_better
from dynml.training.data.em import PooledMoments
from dynml.training.data.run_moments import RanksOfRuns
from dynml.training.data.subject_differences import Occupancies

ROWS_AT_ONCE = 2**17
"""About so many rows of short subjects are looked at together."""

SELDOM = 0.01
"""A state with less than this share of the samples is named among the findings."""

COLLAPSED = 1e-3
"""A covariance has collapsed when it has less than this share of the variance of all data in some direction."""

ADVICE = "Consider fewer states, a stronger covariance prior, or more data."


def findings(statistics: Statistics, report: dict[str, Any], rank: int) -> list[str]:
    """Say what a statistician would point out: states that hardly occur, baselines that win, missing dimensions."""
    shares = statistics.occupancies_K / statistics.occupancies_K.sum()
    seldom = [f"{state} ({share:.2%})" for state, share in enumerate(shares.tolist(), start=1) if share < SELDOM]
    said = [f"These states hardly occur: {', '.join(seldom)}. Consider fewer states."] if seldom else []
    n_channels = statistics.first_moments_KC.shape[1]
    if rank < n_channels:
        said.append(
            f"The data have rank {rank} of {n_channels}: missing dimensions were given a small variance, so compare "
            "free energies with runs on the same data only."
        )
    for subset in ("training", "validation"):
        better = names_of_better(report["free_energy"], report["baselines"], subset)
        if better:
            said.append(f"On {subset} data the HMM is no better than {words_of_better(better)}. {ADVICE}")
    return said


def words_of_shared(ranks: RanksOfRuns, n_directions: int, n_channels: int) -> str:
    """Say what was done about runs that lack dimensions which others fill, and what else could be."""
    share = "direction" if n_directions == 1 else f"{n_directions} directions"
    text = ranks.describe(n_channels)
    return (
        f"{text[0].upper()}{text[1:]}, and lack other directions than one another, as after an average reference or "
        f"interpolation: all states share the covariance of all data in the {share} concerned. To model what the runs "
        f'have in common only, reduce the channels by the step {{"step": "pca", "n_components": {ranks.lowest}}} of '
        "the store's config."
    )


def occupancies_of(subset: MultiSubjectSubset, parameters: GaussianHMMParameters) -> Occupancies:
    """State probabilities of this process's subjects, summed over each run, by one more pass."""
    found = Occupancies("states")
    for subject, segments in itertools.groupby(_posteriors(subset, parameters), key=lambda one: one[0]):
        alpha = np.full((int(subset.n_rows_of[subject]), parameters.n_states), np.nan, dtype=np.float32)
        for _, start, posteriors in segments:
            alpha[start : start + len(posteriors)] = posteriors
        found.add_subject(subset, subject, alpha)
    return found


def _posteriors(
    subset: MultiSubjectSubset, parameters: GaussianHMMParameters
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Give subject, first row and state probabilities (n, K) of each segment; those of short subjects at once."""
    table = subset.segments.take(np.flatnonzero(subset.is_own[subset.segments.subject]))
    batch_of = (np.cumsum(table.lengths) - 1) // ROWS_AT_ONCE
    for first, stop in runs_of_equal(batch_of).tolist() if len(table) else []:
        batch = table.take(np.arange(first, stop))
        none = np.full(len(batch), -1, dtype=np.int64)
        spans = Spans(np.stack([batch.subject, batch.segment, batch.start, batch.stop, none, none]))
        borders = np.concatenate([[0], np.cumsum(batch.lengths)])
        of_rows = e_step(subset.packed(spans), borders, parameters, posteriors=True)[2]
        assert of_rows is not None
        rows = of_rows.cpu().numpy()
        for number, (subject, start) in enumerate(zip(batch.subject.tolist(), batch.start.tolist(), strict=True)):
            yield subject, start, rows[borders[number] : borders[number + 1]]


@one_thread()
def collapsed_states(parameters: GaussianHMMParameters, moments: PooledMoments, ridge: float) -> list[str]:
    """Name the states whose covariance is next to singular beside that of all data."""
    identity = torch.eye(parameters.n_channels, dtype=torch.float64)
    factor, fault = torch.linalg.cholesky_ex(moments.covariance_CC + ridge * identity)
    if int(fault):
        return []
    whitener = torch.linalg.solve_triangular(factor, identity, upper=False)
    whitened = whitener @ parameters.full_covariances() @ whitener.T
    smallest = torch.linalg.eigvalsh(whitened)[:, 0].tolist()
    named = [f"{state} ({share:.1e})" for state, share in enumerate(smallest, start=1) if share < COLLAPSED]
    if not named:
        return []
    return [
        f"The covariances of these states have collapsed: {', '.join(named)}, the share of the variance of all data "
        f"that is left in the smallest direction. Samples of others are next to impossible there. {ADVICE}"
    ]
