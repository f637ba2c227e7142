"""What is said of a trained decoder of numbers: R^2 beside that of its baselines, and findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynml.models.sequence.decoding.findings import score_findings
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.numbers.baselines import NumberBaseline
from dynml.models.sequence.decoding.numbers.predictions import predicted_numbers
from dynml.models.sequence.decoding.targets import Trials


def number_report(
    model: Decoding, trials: dict[str, Trials], fit: Callable[[Trials], dict[str, NumberBaseline | None]]
) -> dict[str, Any]:
    """Entries of summary.json for the best model.

    Parameters
    ----------
    model : Decoding
    trials : dict
        Of training and validation.
    fit : callable
        Fits the baselines to training trials.
    """
    config = model.config
    own = {name: predicted_numbers(model, part).r_squared for name, part in trials.items()}
    fitted = fit(trials["training"])
    baselines = {
        name: {subset: None if one is None else one.r_squared(part) for subset, part in trials.items()}
        for name, one in fitted.items()
    }
    return {
        "score": own,
        "r_squared": own,
        "baselines": baselines,
        "baseline_settings": {name: one.settings for name, one in fitted.items() if one is not None},
        "n_trials": {name: len(part) for name, part in trials.items()},
        "target": config.target,
        "target_values": config.target_values,
        "value_moments": config.value_moments,
        "pretraining_overlap": config.pretraining_overlap,
        "findings": score_findings(
            own,
            baselines,
            len(trials["validation"]),
            score="R^2",
            undefined="All validation trials have the same number, so that R^2 says nothing of them.",
        ),
    }
