"""What the tables and scores of decoders of classes and of numbers have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.models.experiment import Experiment
    from dynml.models.sequence.decoding.baselines import FittedBaseline
    from dynml.models.sequence.decoding.numbers.baselines import NumberBaseline
    from dynml.models.sequence.decoding.targets import Trials

FROM_MOST_TO_LEAST_NEW = ("testing", "validation", "training")
TRIAL_COLUMNS = ("participant", "subject", "run", "trial", "truth")


def number_in_words(value: float | None) -> str:
    """A score as it is read, n/a where there is none."""
    return "n/a" if value is None else f"{value:.3f}"


def best_baseline_in_words(baselines: Mapping[str, Mapping[str, Any]], score: str) -> str:
    """Name and score of the baseline with the largest score, to follow a decoder's own; nothing where none has one."""
    known = {name: one[score] for name, one in baselines.items() if one[score] is not None}
    if not known:
        return ""
    best = max(known, key=lambda name: known[name])
    return f"; the best baseline, {best.replace('_', ' ')}, {known[best]:.3f}"


def about_decoding(experiment: Experiment, dataset: MultiSubjectDataset, name: str) -> dict[str, Any]:
    """Entries of metrics.json that say what was decoded, by what and of whom."""
    from dynml.models.seen_subjects import seen_before
    from dynml.models.sequence.decoding.pretraining import seen_by_pretrained

    config: Any = experiment.model.config
    return {
        "subset": name,
        "experiment": experiment.name,
        "weights": experiment.weights,
        "model_sha256": experiment.sha256,
        "other_preparation": experiment.other_preparation,
        "split": dataset.split,
        "target": config.target,
        "subjects": list(dataset.subset(name).subjects),
        "subjects_seen_in_training": seen_before(experiment.parameters["dataset"], dataset, name),
        "pretraining_overlap": config.pretraining_overlap,
        "subjects_seen_in_pretraining": seen_by_pretrained(experiment.parameters, dataset, name),
    }


def interval_of_gain(gain: ArrayLike, trials: Trials) -> dict[str, Any]:
    """How much better a decoder is on the same trials than another, (n,), with intervals.

    Over participants where there are several, else over runs. Of one participant also over trials, as if these were
    independent; that is the only one where there is one run.
    """
    import numpy as np

    from dynml.analysis.classification import bootstrap_interval

    values, runs = np.asarray(gain, dtype=np.float64), runs_of(trials)
    is_one = len(set(trials.participants)) == 1
    over, groups = ("runs", runs) if is_one else ("participants", trials.participants)
    interval = bootstrap_interval(values, groups)
    by_trials = bootstrap_interval(values, [str(number) for number in range(len(values))]) if is_one else None
    if interval is None and by_trials is not None:
        over, interval = "trials", by_trials
    found: dict[str, Any] = {
        "difference": float(values.mean()),
        "difference_interval": None if interval is None else list(interval),
        "interval_over": None if interval is None else over,
    }
    if by_trials is not None:
        found["difference_interval_over_trials"] = list(by_trials)
    return found


def runs_of(trials: Trials) -> list[str]:
    """Run of each trial, by its subject."""
    return [f"{subject}\n{run}" for subject, run in zip(trials.subjects, trials.run, strict=True)]


def trial_rows(trials: Trials) -> list[list[Any]]:
    """Participant, subject, run, number and true label of each trial."""
    columns = (trials.participants, trials.subjects, trials.run, trials.number.tolist(), trials.truth.tolist())
    return [[*trial, trials.names[truth]] for *trial, truth in zip(*columns, strict=True)]


def write_baseline_predictions(
    out: Path,
    trials: Sequence[Trials],
    baselines: Mapping[str, FittedBaseline | NumberBaseline | None],
    word: Callable[[Any], str],
) -> None:
    """Write baseline_predictions.tsv: what each fitted baseline says of each trial, n/a where it serves not all."""
    from dynml.models.sequence.decoding.baselines import serves
    from dynml.tables import write_table

    fitted = {name: baseline for name, baseline in baselines.items() if baseline is not None}
    if not fitted:
        return
    rows: list[list[Any]] = []
    for one in trials:
        columns = [baseline.predict(one).tolist() if serves(name, one) else None for name, baseline in fitted.items()]
        for number, trial in enumerate(trial_rows(one)):
            rows.append([*trial, *("n/a" if column is None else word(column[number]) for column in columns)])
    write_table(out / "baseline_predictions.tsv", [*TRIAL_COLUMNS, *fitted], rows, durable=False)
