"""What is said of a trained decoder of labels: areas under ROC curves beside those of its baselines, and findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynml.models.sequence.decoding.findings import score_findings, untold_labels
from dynml.models.sequence.decoding.labels.baselines import LabelBaseline
from dynml.models.sequence.decoding.labels.predictions import predicted_labels
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import Trials


def label_report(
    model: Decoding, trials: dict[str, Trials], fit: Callable[[Trials], dict[str, LabelBaseline | None]]
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
    predicted = {name: predicted_labels(model, part) for name, part in trials.items()}
    own = {name: one.macro_auc for name, one in predicted.items()}
    untold = untold_labels("validation", predicted["validation"].marks, config.class_names or ())
    fitted = fit(trials["training"])
    baselines = {
        name: {subset: None if one is None else one.macro_auc(part) for subset, part in trials.items()}
        for name, one in fitted.items()
    }
    return {
        "score": own,
        "macro_auc": own,
        "baselines": baselines,
        "baseline_settings": {name: one.settings for name, one in fitted.items() if one is not None},
        "n_trials": {name: len(part) for name, part in trials.items()},
        "target": config.target,
        "target_values": config.target_values,
        "label_names": config.class_names,
        "label_counts": config.class_counts,
        "pretraining_overlap": config.pretraining_overlap,
        "findings": score_findings(
            own,
            baselines,
            len(trials["validation"]),
            score="mean area under the ROC curve",
            undefined="All validation trials have the same labels, so that areas under ROC curves say nothing of them.",
        )
        + untold,
    }
