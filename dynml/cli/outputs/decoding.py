"""What dynml_infer_from_model.py writes of a decoder: a table of predictions, their scores, and a picture."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.models.experiment import Experiment
    from dynml.models.sequence.decoding.baselines import FittedBaseline
    from dynml.models.sequence.decoding.evaluation import Predictions
    from dynml.models.sequence.decoding.targets import Trials


def write_decoding(
    experiment: Experiment, dataset: MultiSubjectDataset, subsets: Sequence[str], out: Path, *, over_time: bool = False
) -> str:
    """Decode every trial of some subsets once, and write predictions.tsv, metrics.json and pictures.

    Of classes confusion_matrix.png and confusion_matrix.tsv, whose shares have intervals; of numbers predictions.png;
    of labels labels.png and labels.tsv.
    Where the dataset has the training data of the experiment, its baselines are fitted again and scored on the same
    trials: baseline_predictions.tsv, and differences with their intervals in metrics.json. The scores at the top of
    metrics.json are those of the newest subset among those asked for; `subsets` holds all of them.

    Parameters
    ----------
    experiment : Experiment
        Of a family that decodes.
    dataset : MultiSubjectDataset
    subsets : sequence of str
    out : Path
        An existing folder.
    over_time : bool
        Also tell classes at each sample of a trial.

    Returns
    -------
    str
        One line on how it went.

    Raises
    ------
    DataError
        When there is no trial in these subsets.

    Warns
    -----
    DataWarning
        For classes of the decoder that a subset has no trial of.
    """
    from dynml.cli.outputs.decoders.labels import write_decoded_labels
    from dynml.cli.outputs.decoders.numbers import write_decoded_numbers
    from dynml.cli.outputs.decoders.over_time import write_over_time
    from dynml.cli.outputs.decoders.trials import FROM_MOST_TO_LEAST_NEW
    from dynml.errors import ConfigurationError, DataWarning
    from dynml.files import write_json
    from dynml.models.registry import load
    from dynml.plotting.confusion import plot_confusion
    from dynml.plotting.style import save_figure

    assert experiment.family.decode is not None, experiment.family.name
    decoded: Any = load(experiment.family.decode)(experiment, dataset, subsets)
    if decoded.of_numbers or decoded.of_labels:
        if over_time:
            what = "numbers" if decoded.of_numbers else "labels"
            raise ConfigurationError("--over_time", True, f"absent for a decoder of {what}")
        write = write_decoded_numbers if decoded.of_numbers else write_decoded_labels
        return write(experiment, dataset, decoded, out)
    found, baselines = decoded.predictions, decoded.baselines
    metrics = {name: _metrics(experiment, dataset, name, found[name], baselines) for name in found}
    for said in dict.fromkeys(finding for own in metrics.values() for finding in own["findings"]):
        warnings.warn(said, DataWarning, stacklevel=2)
    first = next(name for name in FROM_MOST_TO_LEAST_NEW if name in found)
    _write_tables(out, list(found.values()), baselines)
    for name, own in metrics.items():
        matrix, ending = own["confusion_matrix"], "" if name == first else f"_{name}"
        title = f"{name.capitalize()}: {own['accuracy']:.3f} of {own['n_trials']} trials correct"
        figure = plot_confusion(matrix["counts"], matrix["class_names"], title=title)
        save_figure(figure, out / f"confusion_matrix{ending}.png")
        _write_confusion(out / f"confusion_matrix{ending}.tsv", own, name)
    further: dict[str, Any] = {}
    if over_time:
        further["over_time"] = write_over_time(experiment, dataset, list(found), out)
    write_json(out / "metrics.json", {**metrics[first], **further, "subsets": metrics})
    line = f"{sum(len(one.trials) for one in found.values())} trials decoded; {_in_words(metrics[first])}."
    return f"{line} {_over_time_in_words(further['over_time'])}" if over_time else line


def _over_time_in_words(own: Mapping[str, Any]) -> str:
    people = f"{own['n_participants']} participant{'s' if own['n_participants'] > 1 else ''}"
    return (
        f"Over time, balanced accuracy of {people} is highest at {own['time_of_highest']:.3g} s: "
        f"{own['highest_balanced_accuracy']:.3f} (chance {own['chance']:.3f}; smallest p {own['smallest_p']:.3g}, "
        f"{own['test']})."
    )


def _in_words(own: Mapping[str, Any]) -> str:
    """Accuracy of a subset beside all that answers without looking at a trial come to."""
    low, high = own["accuracy_wilson_interval"]
    return (
        f"{own['subset']} accuracy {own['accuracy']:.3f} ({low:.3f} to {high:.3f}; always the training's most frequent "
        f"class {own['majority']:.3f}, always the {own['subset']} subset's own {own['most_frequent_share']:.3f}), "
        f"balanced accuracy {own['balanced_accuracy']:.3f} (chance {own['balanced_accuracy_chance']:.3f}) "
        f"({own['split']})"
    )


def _metrics(
    experiment: Experiment,
    dataset: MultiSubjectDataset,
    name: str,
    predictions: Predictions,
    baselines: Mapping[str, FittedBaseline | None],
) -> dict[str, Any]:
    import numpy as np

    from dynml.analysis.classification import classification_metrics, most_frequent_of_counts, share_per_group
    from dynml.analysis.label_permutations import chance_of_classes
    from dynml.cli.outputs.decoders.trials import about_decoding, runs_of
    from dynml.models.sequence.decoding.findings import absent_classes

    config: Any = experiment.model.config
    trials, predicted = predictions.trials, predictions.predicted
    occurring = max(int(trials.truth.max()) + 1, len(config.class_names))
    correct = predicted == trials.truth
    majority = trials.truth == int(np.argmax(config.class_counts))
    metrics = classification_metrics(trials.truth, predicted, trials.names[:occurring], trials.participants)
    runs = [f"{subject}, {run}" for subject, run in zip(trials.subjects, trials.run)]
    commonest = [config.class_names[number] for number in most_frequent_of_counts(config.class_counts)]
    metrics |= about_decoding(experiment, dataset, name)
    metrics |= {
        "findings": absent_classes(name, trials, config.class_names),
        "permutation": chance_of_classes(trials.truth, predicted, trials.participants, runs_of(trials)),
        "majority": float(majority.mean()),
        "majority_class": commonest[0],
        "majority_tied_classes": commonest,
        "per_run": share_per_group(correct, runs),
        "baselines": {key: _compared(one, trials, correct) for key, one in baselines.items() if one is not None},
    }
    if experiment.parameters["sampler"]["trials"] is None:
        metrics["by_subject"] = _by_subject(predictions)
    return metrics


def _compared(baseline: FittedBaseline, trials: Trials, correct: Any) -> dict[str, Any]:
    """Accuracy of a baseline, and how much better the decoder is on the same trials."""
    from dynml.analysis.classification import share_per_group
    from dynml.cli.outputs.decoders.trials import interval_of_gain

    accuracy = baseline.accuracy(trials)
    if accuracy is None:
        return {"accuracy": None, "difference": None, "difference_interval": None, "interval_over": None}
    of_baseline = baseline.predict(trials) == trials.truth
    of_people = share_per_group(of_baseline, trials.participants)
    gain = correct.astype(float) - of_baseline
    return {"accuracy": accuracy, **interval_of_gain(gain, trials), "per_participant": of_people}


def _by_subject(predictions: Predictions) -> dict[str, Any]:
    """Score of whole recordings, whose windows are all of one class: by the mean of their probabilities."""
    import numpy as np

    from dynml.analysis.classification import most_frequent, wilson_interval

    of_trial = predictions.trials.spans.subject
    subjects = np.unique(of_trial)
    means = np.stack([predictions.probabilities[of_trial == subject].mean(axis=0) for subject in subjects])
    truth = np.array([predictions.trials.truth[of_trial == subject][0] for subject in subjects])
    n_correct = int((means.argmax(axis=1) == truth).sum())
    return {
        "n_subjects": len(subjects),
        "accuracy": n_correct / len(subjects),
        "accuracy_wilson_interval": list(wilson_interval(n_correct, len(subjects))),
        "most_frequent_share": most_frequent(truth)[1],
    }


def _write_confusion(path: Path, metrics: Mapping[str, Any], subset: str) -> None:
    """Each cell of the confusion matrix with its share of the true class."""
    from dynml.analysis.tidy import Column, write_tidy

    columns = [
        Column("truth", "true class"),
        Column("predicted", "predicted class"),
        Column("n_trials", "trials"),
        Column("share", "share of the trials of the true class", "1"),
        Column("low", "lower end of Wilson's 95 % interval of the share, trials taken for independent", "1"),
        Column("high", "upper end of the same", "1"),
    ]
    matrix, bounds = metrics["confusion_matrix"], metrics["confusion_intervals"]
    names = matrix["class_names"]
    rows = [
        [truth, predicted, count, None if interval is None else count / sum(counts), *(interval or (None, None))]
        for truth, counts, intervals in zip(names, matrix["counts"], bounds, strict=True)
        for predicted, count, interval in zip(names, counts, intervals, strict=True)
    ]
    write_tidy(path, columns, rows, Subset=subset)


def _write_tables(out: Path, found: list[Predictions], baselines: Mapping[str, FittedBaseline | None]) -> None:
    from dynml.cli.outputs.decoders.trials import TRIAL_COLUMNS, trial_rows, write_baseline_predictions
    from dynml.tables import write_table

    names = found[0].trials.names
    n_classes = found[0].probabilities.shape[1]
    header = [*TRIAL_COLUMNS, "predicted", *(f"probability_{name}" for name in names[:n_classes])]
    rows = [
        [*trial, names[predicted], *(f"{value:.6g}" for value in probabilities)]
        for one in found
        for trial, predicted, probabilities in zip(trial_rows(one.trials), one.predicted, one.probabilities)
    ]
    write_table(out / "predictions.tsv", header, rows, durable=False)
    write_baseline_predictions(out, [one.trials for one in found], baselines, names.__getitem__)
