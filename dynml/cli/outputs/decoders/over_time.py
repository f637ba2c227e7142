"""What dynml_infer_from_model.py --over_time writes: the classes of a decoder separated at each sample of a trial."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dynml.analysis.over_time.clusters import Clusters
    from dynml.dataset.dataset import MultiSubjectDataset
    from dynml.models.experiment import Experiment
    from dynml.models.sequence.decoding.targets import Trials


LARGEST_P = 0.05
"""Of a sample's own classifier: only rows of such samples are asked where they generalize to."""


def write_over_time(
    experiment: Experiment, dataset: MultiSubjectDataset, subsets: Sequence[str], out: Path
) -> dict[str, Any]:
    """Fit a classifier to each sample of the training trials, and write how it does on those of some subsets.

    Training trials are judged by classifiers that have not seen their participant (or run). decoding_over_time.tsv and
    .png have the course, generalization_over_time.npz and .png each classifier at all samples.

    Returns
    -------
    dict
        What metrics.json says of it.

    Raises
    ------
    DataError
        When the dataset lacks the training data, rates differ, or nobody has trials of several classes.
    """
    import numpy as np

    from dynml.analysis.over_time.classifiers import by_participant
    from dynml.analysis.over_time.clusters import clusters_above, p_of_one_person
    from dynml.errors import DataError
    from dynml.files import replacing

    trials, times, predicted, width = _predicted(experiment, dataset, subsets)
    people = [name for part in trials for name in part.participants]
    truth = np.concatenate([part.truth for part in trials])
    names, scores, chance = by_participant(predicted, truth, people)
    if not names:
        raise DataError("--over_time needs trials of several classes of a participant, which nobody has.")
    effects = scores - chance[:, None, None]
    courses = np.diagonal(effects, axis1=1, axis2=2)
    of_course, of_matrix = clusters_above(courses), clusters_above(effects)
    if of_course is None:
        own = (np.asarray(people) == names[0]) & (predicted >= 0).all(axis=(0, 2))
        p = p_of_one_person(np.diagonal(predicted[:, own], axis1=0, axis2=2), truth[own])
    else:
        p = of_course.p_of_samples
    p_matrix = np.ones(scores.shape[1:]) if of_matrix is None else of_matrix.p_of_samples
    # A classifier of noise is right or wrong of strong signals by its own chance, which is the same for all people.
    p_matrix = np.where(p[:, None] < LARGEST_P, p_matrix, 1.0)
    with replacing(out / "generalization_over_time.npz", durable=False) as temporary, temporary.open("wb") as stream:
        np.savez(stream, scores=scores, times=times, participants=names, chance=chance, p=p_matrix)
    level = float(chance.mean())
    about = _about(times, courses.mean(axis=0) + level, level, p, of_course, names, width)
    _write_course(out, names, times, courses + chance[:, None], p, about)
    _draw(out, times, scores, courses + chance[:, None], level, p, p_matrix)
    return about


def _predicted(
    experiment: Experiment, dataset: MultiSubjectDataset, subsets: Sequence[str]
) -> tuple[list[Trials], NDArray[np.float64], NDArray[np.int16], int]:
    """Trials of the subsets, seconds of their samples, and what classifiers of each sample say of them."""
    import numpy as np

    from dynml.analysis.over_time.classifiers import binned, cross_validated_over_time, predicted_over_time
    from dynml.errors import DataError
    from dynml.models.sequence.decoding.inference import trials_of_subset
    from dynml.models.sequence.decoding.targets import cross_validation_groups

    if dataset.fingerprints["training"] != experiment.parameters["dataset"]["subsets"]["training"]["fingerprint"]:
        raise DataError("--over_time fits to the training trials of the experiment, which this store does not have.")
    training = trials_of_subset(experiment, dataset, "training")
    rates = {float(rate) for name in ("training", *subsets) for rate in dataset.subset(name).sampling_frequencies}
    if len(rates) > 1:
        raise DataError(f"--over_time needs one sampling frequency; there are {', '.join(map(str, sorted(rates)))} Hz.")
    found = {name: training if name == "training" else trials_of_subset(experiment, dataset, name) for name in subsets}
    trials = {name: part for name, part in found.items() if len(part)}
    shortest = min(int(part.spans.lengths.min()) for part in (training, *trials.values()))
    fitted_to, width = binned(_signals(training, shortest))
    parts = []
    for name, part in trials.items():
        if name == "training":
            groups, _ = cross_validation_groups(part, by_runs=dataset.split == "runs")
            groups = np.arange(len(part)) if groups is None else groups
            parts.append(cross_validated_over_time(fitted_to, part.truth, groups))
        else:
            parts.append(predicted_over_time(fitted_to, training.truth, binned(_signals(part, shortest))[0]))
    shift = float(experiment.parameters["sampler"].get("onset_shift") or 0.0)
    middles = shift + (np.arange(fitted_to.shape[1]) * width + (width - 1) / 2) / rates.pop()
    return list(trials.values()), np.asarray(middles, dtype=np.float64), np.concatenate(parts, axis=1), width


def _signals(trials: Trials, n_times: int) -> NDArray[np.float64]:
    import numpy as np

    from dynml.models.sequence.decoding.evaluation import signals_of_trials

    rows = [signals[:n_times] for signals in signals_of_trials(trials, np.arange(len(trials)))]
    return np.stack(rows).astype(np.float64)


def _about(
    times: NDArray[np.float64],
    mean: NDArray[np.float64],
    chance: float,
    p: NDArray[np.float64],
    clusters: Clusters | None,
    names: Sequence[str],
    width: int,
) -> dict[str, Any]:
    import numpy as np

    peak = int(mean.argmax())
    stretches = []
    if clusters is not None:
        for number, own in enumerate(clusters.p.tolist(), start=1):
            rows = np.flatnonzero(clusters.number == number)
            stretches.append({"start": float(times[rows[0]]), "stop": float(times[rows[-1]]), "p": own})
    return {
        "n_participants": len(names),
        "n_samples": len(times),
        "samples_averaged": width,
        "chance": chance,
        "highest_balanced_accuracy": float(mean[peak]),
        "time_of_highest": float(times[peak]),
        "test": "sign flips of participants, clusters" if clusters is not None else "permuted labels, largest score",
        "clusters": stretches,
        "smallest_p": float(p.min()),
        "smallest_possible_p": 1 / clusters.n_flips if clusters is not None else 1 / 1001,
    }


def _write_course(
    out: Path,
    names: Sequence[str],
    times: NDArray[np.float64],
    courses: NDArray[np.float64],
    p: NDArray[np.float64],
    about: dict[str, Any],
) -> None:
    from dynml.analysis.tidy import Column, write_tidy

    columns = [
        Column("participant", "participant, or all: the mean of participants"),
        Column("time", "middle of the samples that were averaged, since the onset of the event", "s"),
        Column("balanced_accuracy", "mean over classes of the share of their trials that is found", "1"),
        Column("p", "of all: of the sample's cluster (1 without), or of the sample where there is one participant"),
    ]
    rows = [
        ["all", time, value, own]
        for time, value, own in zip(times.tolist(), courses.mean(axis=0).tolist(), p.tolist(), strict=True)
    ]
    for name, course in zip(names, courses.tolist(), strict=True):
        rows += [[name, time, value, None] for time, value in zip(times.tolist(), course, strict=True)]
    write_tidy(out / "decoding_over_time.tsv", columns, rows, Chance=about["chance"], Test=about["test"])


def _draw(
    out: Path,
    times: NDArray[np.float64],
    scores: NDArray[np.float64],
    courses: NDArray[np.float64],
    chance: float,
    p: NDArray[np.float64],
    p_matrix: NDArray[np.float64],
) -> None:
    from dynml.plotting.findings.over_time import plot_course, plot_generalization
    from dynml.plotting.style import save_figure

    save_figure(plot_course(times, courses, chance, p), out / "decoding_over_time.png")
    figure = plot_generalization(times, scores.mean(axis=0), chance, p_matrix)
    save_figure(figure, out / "generalization_over_time.png")
