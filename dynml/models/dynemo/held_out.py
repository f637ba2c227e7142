"""The baselines of a DyNeMo on subjects that it was not trained on."""

from __future__ import annotations

from typing import Any

from dynml.dataset.subset import MultiSubjectSubset
from dynml.training.data.baselines_by_subject import baselines_by_subject


def held_out_scores(trainer: Any, subset: MultiSubjectSubset) -> dict[str, dict[str, float]]:
    """Score the baselines of a finished run of a DynemoTrainer: nats per observed sample, by baseline and subject."""
    moments = trainer.moments
    assert moments is not None
    fitted = trainer.fitted_baselines()
    return baselines_by_subject(subset, moments, fitted.mixture, fitted.settings)
