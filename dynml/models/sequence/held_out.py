"""The loss of a sequence model and of its baselines on subjects that it was not trained on."""

from __future__ import annotations

from typing import Any

from dynml.dataset.subset import MultiSubjectSubset
from dynml.models.sequence.scoring import predictors_of, scores_of_subset


def held_out_scores(trainer: Any, subset: MultiSubjectSubset) -> dict[str, dict[str, float]]:
    """Score a finished run of a SequenceTrainer: mean loss, by predictor (`model` and the baselines) and subject."""
    predictors = predictors_of(trainer.model.eval(), trainer.baselines_on_device())
    window_length, processes = trainer.longest_window, trainer.processes
    scores = scores_of_subset(trainer.model, predictors, trainer.dataset, subset.name, window_length, processes)
    return {name: own.by_subject for name, own in scores.items()}
