"""What dynml_infer_from_model.py writes of a decoder of numbers: predictions, their scores, and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynml.cli.outputs.decoders.trials import best_baseline_in_words, number_in_words

if TYPE_CHECKING:
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.models.experiment import Experiment
    from dynml.models.sequence.decoding.inference import DecodedNumbers
    from dynml.models.sequence.decoding.numbers.baselines import NumberBaseline
    from dynml.models.sequence.decoding.numbers.predictions import NumberPredictions


def write_decoded_numbers(
    experiment: Experiment, dataset: MultiSubjectDataset, decoded: DecodedNumbers, out: Path
) -> str:
    """Write predictions.tsv, baseline_predictions.tsv, metrics.json and predictions.png; give a line on them.

    The scores at the top of metrics.json are those of the newest subset among those asked for; `subsets` holds all.

    Parameters
    ----------
    experiment : Experiment
    dataset : MultiSubjectDataset
    decoded : DecodedNumbers
    out : Path
        An existing folder.
    """
    from dynml.cli.outputs.decoders.trials import FROM_MOST_TO_LEAST_NEW
    from dynml.files import write_json
    from dynml.plotting.predicted_numbers import plot_predicted_numbers
    from dynml.plotting.style import save_figure

    found, baselines = decoded.predictions, decoded.baselines
    metrics = {name: _metrics(experiment, dataset, name, found[name], baselines) for name in found}
    first = next(name for name in FROM_MOST_TO_LEAST_NEW if name in found)
    _write_tables(out, list(found.values()), baselines)
    for name, one in found.items():
        ending = "" if name == first else f"_{name}"
        title = f"{name.capitalize()}: R² {number_in_words(one.r_squared)} of {len(one.trials)} trials"
        target = str(metrics[name]["target"])
        figure = plot_predicted_numbers(one.truth, one.predicted, one.trials.participants, target=target, title=title)
        save_figure(figure, out / f"predictions{ending}.png")
    write_json(out / "metrics.json", {**metrics[first], "subsets": metrics})
    return f"{sum(len(one.trials) for one in found.values())} trials decoded; {_in_words(metrics[first])}."


def _in_words(own: Mapping[str, Any]) -> str:
    beside = best_baseline_in_words(own["baselines"], "r_squared")
    correlation, mean = (number_in_words(own[name]) for name in ("correlation", "mean_correlation"))
    return (
        f"{own['subset']} R^2 {number_in_words(own['r_squared'])}{beside}; correlation {correlation}, mean of "
        f"participants {mean} ({own['split']})"
    )


def _metrics(
    experiment: Experiment,
    dataset: MultiSubjectDataset,
    name: str,
    predictions: NumberPredictions,
    baselines: Mapping[str, NumberBaseline | None],
) -> dict[str, Any]:
    from dynml.analysis.label_permutations import chance_of_numbers
    from dynml.analysis.number_scores import number_scores
    from dynml.analysis.tidy import KIND
    from dynml.cli.outputs.decoders.trials import about_decoding, runs_of
    from dynml.models.sequence.decoding.baselines import serves

    trials, truth, predicted = predictions.trials, predictions.truth, predictions.predicted
    metrics = {KIND: "decoding", **number_scores(truth, predicted, trials.participants)}
    metrics |= about_decoding(experiment, dataset, name)
    metrics["permutation"] = chance_of_numbers(truth, predicted, trials.participants, runs_of(trials))
    metrics["baselines"] = {
        key: _compared(one, predictions) for key, one in baselines.items() if one is not None and serves(key, trials)
    }
    if experiment.parameters["sampler"]["trials"] is None:
        metrics["by_subject"] = _by_subject(predictions)
    return metrics


def _compared(baseline: NumberBaseline, predictions: NumberPredictions) -> dict[str, Any]:
    """R^2 of a baseline, and by how much the decoder's squared error is smaller, in shares of the numbers' variance."""
    import numpy as np

    from dynml.cli.outputs.decoders.trials import interval_of_gain

    truth = predictions.truth
    theirs = np.square(truth - baseline.predict(predictions.trials))
    gain = (theirs - np.square(truth - predictions.predicted)) / (truth.var() or 1.0)
    return {"r_squared": baseline.r_squared(predictions.trials), **interval_of_gain(gain, predictions.trials)}


def _by_subject(predictions: NumberPredictions) -> dict[str, Any]:
    """Score of whole recordings, whose windows all have one number: by the mean of what is predicted for them."""
    import numpy as np

    from dynml.analysis.number_scores import correlation
    from dynml.ops.metrics import r_squared

    of_trial = predictions.trials.spans.subject
    subjects = np.unique(of_trial)
    means = np.array([predictions.predicted[of_trial == subject].mean() for subject in subjects])
    truth = np.array([predictions.truth[of_trial == subject][0] for subject in subjects])
    return {
        "n_subjects": len(subjects),
        "r_squared": r_squared(truth, means),
        "correlation": correlation(truth, means),
        "mean_absolute_error": float(np.abs(truth - means).mean()),
    }


def _write_tables(out: Path, found: list[NumberPredictions], baselines: Mapping[str, NumberBaseline | None]) -> None:
    from dynml.cli.outputs.decoders.trials import TRIAL_COLUMNS, trial_rows, write_baseline_predictions
    from dynml.tables import write_table

    rows = [
        [*trial, f"{value:.9g}"]
        for one in found
        for trial, value in zip(trial_rows(one.trials), one.predicted.tolist(), strict=True)
    ]
    write_table(out / "predictions.tsv", [*TRIAL_COLUMNS, "predicted"], rows, durable=False)
    write_baseline_predictions(out, [one.trials for one in found], baselines, "{:.9g}".format)
