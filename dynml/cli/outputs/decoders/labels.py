"""What dynml_infer_from_model.py writes of a decoder of labels: probabilities, their scores, and a picture."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.cli.outputs.decoders.trials import best_baseline_in_words, number_in_words
from dynml.errors import DataWarning

if TYPE_CHECKING:
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.models.experiment import Experiment
    from dynml.models.sequence.decoding.inference import DecodedLabels
    from dynml.models.sequence.decoding.labels.baselines import LabelBaseline
    from dynml.models.sequence.decoding.labels.predictions import LabelPredictions


def write_decoded_labels(
    experiment: Experiment, dataset: MultiSubjectDataset, decoded: DecodedLabels, out: Path
) -> str:
    """Write predictions.tsv, metrics.json, labels.tsv and labels.png; give a line on them.

    The scores at the top of metrics.json are those of the newest subset among those asked for; `subsets` holds all.

    Parameters
    ----------
    experiment : Experiment
    dataset : MultiSubjectDataset
    decoded : DecodedLabels
    out : Path
        An existing folder.
    """
    from dynml.cli.outputs.decoders.trials import FROM_MOST_TO_LEAST_NEW
    from dynml.files import write_json
    from dynml.plotting.findings.labels import plot_labels
    from dynml.plotting.style import save_figure

    found, baselines = decoded.predictions, decoded.baselines
    metrics = {name: _metrics(experiment, dataset, name, found[name], baselines) for name in found}
    first = next(name for name in FROM_MOST_TO_LEAST_NEW if name in found)
    _write_predictions(out, list(found.values()))
    for name, own in metrics.items():
        ending = "" if name == first else f"_{name}"
        _write_labels(out / f"labels{ending}.tsv", own)
        title = f"{name.capitalize()}: mean area {number_in_words(own['macro_auc'])}, {own['n_trials']} trials"
        areas = {label: one["auc"] for label, one in own["labels"].items()}
        rivals = {key: one["auc"] for key, one in own["baselines"].items()}
        save_figure(plot_labels(areas, rivals, title=title), out / f"labels{ending}.png")
    write_json(out / "metrics.json", {**metrics[first], "subsets": metrics})
    for said in dict.fromkeys(finding for own in metrics.values() for finding in own["findings"]):
        warnings.warn(said, DataWarning, stacklevel=3)
    return f"{sum(len(one.trials) for one in found.values())} trials decoded; {_in_words(metrics[first])}."


def _in_words(own: Mapping[str, Any]) -> str:
    beside = best_baseline_in_words(own["baselines"], "macro_auc")
    names = ("macro_auc", "macro_average_precision", "macro_average_precision_chance")
    area, precision, chance = (number_in_words(own[name]) for name in names)
    return (
        f"{own['subset']} mean area under the ROC curve of {len(own['labels'])} labels {area}{beside}; mean average "
        f"precision {precision} (chance {chance}) ({own['split']})"
    )


def _metrics(
    experiment: Experiment,
    dataset: MultiSubjectDataset,
    name: str,
    predictions: LabelPredictions,
    baselines: Mapping[str, LabelBaseline | None],
) -> dict[str, Any]:
    from dynml.analysis.label_permutations import chance_of_labels
    from dynml.analysis.label_scores import label_scores
    from dynml.analysis.tidy import KIND
    from dynml.cli.outputs.decoders.trials import about_decoding, runs_of
    from dynml.models.sequence.decoding.baselines import serves
    from dynml.models.sequence.decoding.findings import untold_labels

    trials, marks, logits = predictions.trials, predictions.marks, predictions.logits
    metrics = {KIND: "decoding", **label_scores(marks, logits, predictions.labels, trials.participants)}
    metrics |= about_decoding(experiment, dataset, name)
    metrics["findings"] = untold_labels(name, marks, predictions.labels)
    metrics["permutation"] = chance_of_labels(marks, logits, trials.participants, runs_of(trials))
    metrics["baselines"] = {
        key: _compared(one, predictions) for key, one in baselines.items() if one is not None and serves(key, trials)
    }
    return metrics


def _compared(baseline: LabelBaseline, predictions: LabelPredictions) -> dict[str, Any]:
    """Areas of a baseline, and by how much the decoder's cross-entropy is lower, in nats per trial and label."""
    import numpy as np

    from dynml.analysis.label_scores import label_scores
    from dynml.cli.outputs.decoders.trials import interval_of_gain

    trials, marks, theirs = predictions.trials, predictions.marks, baseline.logits(predictions.trials)
    losses = [(np.logaddexp(0.0, logits) - marks * logits).mean(axis=1) for logits in (theirs, predictions.logits)]
    scores = label_scores(marks, theirs, predictions.labels, trials.participants)
    return {
        "macro_auc": scores["macro_auc"],
        "macro_average_precision": scores["macro_average_precision"],
        "auc": {label: one["auc"] for label, one in scores["labels"].items()},
        **interval_of_gain(losses[0] - losses[1], trials),
    }


def _write_labels(path: Path, metrics: Mapping[str, Any]) -> None:
    from dynml.analysis.tidy import Column, write_tidy

    columns = [
        Column("label", "label"),
        Column("n_trials", "trials that have it"),
        Column("share", "share of trials that have it, the average precision of chance", "1"),
        Column("auc", "area under the ROC curve; n/a where all trials or none have it", "1"),
        Column("average_precision", "average precision", "1"),
        *(Column(f"auc_{name}", f"area of the baseline {name}", "1") for name in metrics["baselines"]),
    ]
    rows = [
        [label, *one.values(), *(rival["auc"][label] for rival in metrics["baselines"].values())]
        for label, one in metrics["labels"].items()
    ]
    write_tidy(path, columns, rows, Subset=metrics["subset"])


def _write_predictions(out: Path, found: list[LabelPredictions]) -> None:
    from dynml.cli.outputs.decoders.trials import TRIAL_COLUMNS, trial_rows
    from dynml.tables import write_table

    header = [*TRIAL_COLUMNS, *(f"probability_{label}" for label in found[0].labels)]
    rows = [
        [*trial, *(f"{value:.6g}" for value in probabilities)]
        for one in found
        for trial, probabilities in zip(trial_rows(one.trials), one.probabilities)
    ]
    write_table(out / "predictions.tsv", header, rows, durable=False)
