"""The baselines of an HMM on subjects that it was not trained on."""

from __future__ import annotations

from typing import Any

from dynml.dataset.subset import MultiSubjectSubset
from dynml.models.hmm.starts import part_for_starts
from dynml.training.data.baselines import fitted_mixture
from dynml.training.data.baselines_by_subject import baselines_by_subject


def held_out_scores(trainer: Any, subset: MultiSubjectSubset) -> dict[str, dict[str, float]]:
    """Score the baselines of a finished run of an HMMTrainer: nats per observed sample, by baseline and subject."""
    assert trainer.moments is not None
    settings, mixture = trainer.m_step_settings(), trainer.mixture
    if mixture is None:  # the run ended in another process
        part = part_for_starts(trainer.dataset.training_set, trainer.initialization, trainer.config.seed)
        mixture = fitted_mixture(trainer.model.get_parameters(), part, settings)
    return baselines_by_subject(subset, trainer.moments, mixture, settings)
