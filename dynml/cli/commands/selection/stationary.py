"""Whether a selection's gain is that of states: the best-ranked setting on data that are stationary by construction."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dynml.analysis.selection.ranking import GAUSSIAN, STATIONARY, Ranking
from dynml.cli.commands.selection.planned_run import Part, PlannedRun, planned_run
from dynml.cli.commands.selection.selection_request import SelectionRequest
from dynml.errors import DataError

if TYPE_CHECKING:
    from dynml.analysis.checks.stretches import SubjectStretches
    from dynml.dataset.dataset import MultiSubjectDataset

KINDS: tuple[Part, ...] = ("var", "phases")
FIRST_SEED = 0
MOST_NUMBERS = 500_000_000
"""Samples times channels that surrogates are made of, in memory."""


def stationary_runs(request: SelectionRequest, ranking: Ranking, folds: int) -> list[PlannedRun]:
    """Plan the runs of the best-ranked setting on surrogates; none where it gains nothing that they could explain."""
    gain = ranking.best_ranked.gain.get(GAUSSIAN)
    infers = request.first.family.inference is not None
    if not request.surrogates or not infers or gain is None or not gain.low > 0:
        return []
    settings = dict(ranking.best_ranked.candidate.settings)
    of_settings = next(one for own, one in request.requests if own == settings)
    return [
        planned_run(of_settings, request.root, settings, FIRST_SEED, kind, fold, folds)
        for kind in KINDS
        for fold in range(folds)
    ]


def stationary_like(dataset: MultiSubjectDataset, run: PlannedRun) -> MultiSubjectDataset:
    """Make surrogates of a fold's people, those held out as well: a pure function of the data, kind, seed and fold.

    Raises
    ------
    DataError
        When the data are too many to be made in memory, or have no stretch that is long enough.
    """
    from dynml.analysis.checks.dynamics import surrogate, trimmed
    from dynml.analysis.checks.stretches import dataset_of, stretches_of_subset
    from dynml.training.environment import resolve_device

    n_numbers = dataset.n_channels * (dataset.training_set.n_samples + dataset.testing_set.n_samples)
    if n_numbers > MOST_NUMBERS:
        raise DataError(f"{n_numbers} numbers are too many for surrogates, which are made of {MOST_NUMBERS} at most.")
    training, testing = (stretches_of_subset(one) for one in (dataset.training_set, dataset.testing_set))
    if not training or not testing:
        raise DataError("No stretch of a subject is long enough for surrogates.")
    assert run.part in STATIONARY
    like = [*training, *testing] if run.part == "var" else trimmed([*training, *testing])
    if dataset.split == "runs":
        like = [dataclasses.replace(one, participant=one.subject) for one in like]
    made: Sequence[SubjectStretches] = surrogate(run.part, like, run.seed, run.fold)
    device = resolve_device(run.request.configs["trainer"].device)
    return dataset_of(made[: len(training)], device, testing=made[len(training) :])
