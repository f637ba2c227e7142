"""What is said of a trained sequence model: its score beside those of its baselines, and findings in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dynml.dataset.dataset import MultiSubjectDataset
from dynml.models.sequence.baselines.baseline import Baseline
from dynml.models.sequence.baselines.named import BASELINE_NAMES
from dynml.models.sequence.montages.report import report_of_groups
from dynml.models.sequence.scoring import MODEL, Scores, predictors_of, scores_of_subset
from dynml.models.sequence.sequence_model import SequenceModel
from dynml.training.processes import Processes

REPORTED = ("training", "validation")
OVERFITTING = 1.1
"""A validation loss above this many training losses draws a finding."""

_NO_TARGET = "Signals were no target of the training (model.signal_weight 0): their predictions are those of {}."


def report(
    model: SequenceModel,
    baselines: Mapping[str, Baseline],
    dataset: MultiSubjectDataset,
    window_length: int,
    processes: Processes,
) -> dict[str, Any]:
    """Entries of summary.json for the best model.

    Returns
    -------
    dict
        score {training, validation}: mean loss over scored samples; baselines {name: {training, validation}}, null for
        those that make no sense for this family; score_by_network, score_by_horizon (validation, or training without
        one); n_subjects_improved; findings.
    """
    model.eval()
    predictors = predictors_of(model, baselines)
    subsets = [name for name in REPORTED if dataset.subset(name).n_subjects]
    scores = {name: scores_of_subset(model, predictors, dataset, name, window_length, processes) for name in subsets}
    judged = scores[subsets[-1]]

    def by_subset(name: str) -> dict[str, float | None]:
        return {subset: scores[subset][name].mean if subset in scores else None for subset in REPORTED}

    content: dict[str, Any] = {
        "score": by_subset(MODEL),
        "baselines": {name: by_subset(name) if name in baselines else None for name in BASELINE_NAMES},
        "score_by_network": {
            name: value for name, value in zip(dataset.channel_names, judged[MODEL].by_network) if np.isfinite(value)
        },
    }
    if judged[MODEL].by_horizon is not None:
        content["score_by_horizon"] = {name: values.by_horizon for name, values in judged.items()}
    if getattr(model.config, "signal_weight", 1.0) == 0:
        return {**content, "findings": [_NO_TARGET.format(model.linear_baseline)]}
    findings = _findings(judged, subsets[-1], content["score"])
    if len(dataset.groups) > 1:
        where = dataset, dataset.subset(subsets[-1]), subsets[-1], model.config.channel_positions
        content |= (of_groups := report_of_groups(judged, MODEL, *where))
        findings += of_groups["findings"]
    return {**content, "findings": findings}


def _findings(judged: Mapping[str, Scores], subset: str, score: Mapping[str, float | None]) -> list[str]:
    own = judged[MODEL]
    better = sorted(name for name, values in judged.items() if name != MODEL and values.mean <= own.mean)
    best = min((name for name in judged if name != MODEL), key=lambda name: judged[name].mean)
    gain = 1 - own.mean / judged[best].mean
    found = []
    if better:
        found.append(
            f"The model does not beat {', '.join(better)} on {subset} data: it has learnt nothing beyond "
            f"{'them' if len(better) > 1 else 'it'}."
        )
    else:
        n_better = sum(own.by_subject[name] < judged[best].by_subject[name] for name in own.by_subject)
        found.append(
            f"On {subset} data the model's loss is {100 * gain:.1f} % below that of {best}, the best baseline, and "
            f"lower for {n_better} of {len(own.by_subject)} subjects."
        )
    training, validation = score["training"], score["validation"]
    if training is not None and validation is not None and validation > OVERFITTING * training:
        found.append(
            f"The loss on validation data is {100 * (validation / training - 1):.0f} % above that on training data: "
            "the model fits what does not recur (more data, dropout or a smaller model would help)."
        )
    worst = int(np.nanargmax(own.by_network))
    if own.by_network[worst] > 2 * float(np.nanmedian(own.by_network)):
        found.append(f"Channel number {worst} is predicted far worse than the others.")
    return found
