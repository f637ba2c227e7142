"""The baselines of a model of brain dynamics on subjects that it was not fitted to, one by one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from dynml.batches.whole_segments import PackedSegments
from dynml.dataset.subset import MultiSubjectSubset
from dynml.ops.hmm.gaussian_hmm import GaussianHMMParameters
from dynml.training.data.baselines import GAUSSIAN, MIXTURE, without_time
from dynml.training.data.em import MStepSettings, PooledMoments, expectation, gaussian_free_energy, pooled_moments
from dynml.training.processes import Processes


def baselines_by_subject(
    subset: MultiSubjectSubset,
    moments: PooledMoments,
    mixture: GaussianHMMParameters,
    settings: MStepSettings,
) -> dict[str, dict[str, float]]:
    """Score one Gaussian and a mixture of as many Gaussians as there are states.

    Parameters
    ----------
    subset : MultiSubjectSubset
        Subjects to score.
    moments : PooledMoments
        Of the training data: the Gaussian.
    mixture : GaussianHMMParameters
        Fitted to the training data (`fitted_mixture`).
    settings : MStepSettings

    Returns
    -------
    dict
        Baseline to subject to nats per observed sample; NaN where there is no density.
    """
    alone = Processes()
    scores: dict[str, dict[str, float]] = {GAUSSIAN: {}, MIXTURE: {}}
    for subject, segments in segments_by_subject(subset):
        own = pooled_moments([segments], len(moments.mean_C), alone)
        value = gaussian_free_energy(own, moments, epsilon=settings.covariances_epsilon)
        scores[GAUSSIAN][subject] = math.nan if value is None else value
        scores[MIXTURE][subject] = expectation(without_time([segments]), mixture, alone).free_energy
    return scores


def segments_by_subject(subset: MultiSubjectSubset) -> Iterator[tuple[str, PackedSegments]]:
    """Give each subject with its whole segments, end to end."""
    for index, subject in enumerate(subset.subjects):
        table = subset.segments.of_subject(index)
        spans = zip(table.start.tolist(), table.stop.tolist(), strict=True)
        signals = torch.cat([subset.read(index, start, stop) for start, stop in spans])
        yield subject, PackedSegments(signals, torch.tensor([0, *np.cumsum(table.lengths)], dtype=torch.int64))
