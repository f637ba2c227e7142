"""What is said of a trained decoder in sentences."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataWarning, shortened
from dynml.models.sequence.decoding.targets import Trials


def share_of_most_frequent(trials: Trials) -> float | None:
    """Accuracy of always answering the class that these trials have most often; None without trials."""
    return float(np.bincount(trials.truth).max() / len(trials)) if len(trials) else None


def absent_classes(subset: str, trials: Trials, class_names: Sequence[str]) -> list[str]:
    """Say which classes of the decoder no trial of a subset has, and what scores then are; nothing without trials.

    Parameters
    ----------
    subset : str
    trials : Trials
        Whose names begin with the classes.
    class_names : sequence of str
        Of the decoder.
    """
    if not len(trials):
        return []
    counts = np.bincount(trials.truth, minlength=len(class_names))
    absent = [str(name) for name, count in zip(class_names, counts) if not count]
    if not absent:
        return []
    n_left = np.count_nonzero(counts)
    left = "the one class" if n_left == 1 else f"the {n_left} classes"
    return [
        f"No {subset} trial is of the class{'es' if len(absent) > 1 else ''} {shortened(absent, N_NAMED)}: balanced "
        f"accuracy is the mean over {left} that occur (chance {1 / n_left:.3g}), and macro F1 counts an absent class "
        "as 0 where it is predicted, so that neither compares with scores of trials of all classes."
    ]


def untold_labels(subset: str, marks: NDArray[np.float64], labels: Sequence[str]) -> list[str]:
    """Say which labels all trials of a subset have, or none, so that no area tells of them; nothing without trials.

    Parameters
    ----------
    subset : str
    marks : array, (n, K)
        1 where a trial has a label, else 0.
    labels : sequence of K str
        Of the decoder.
    """
    counts = marks.sum(axis=0)
    found, n_left = [], int(((counts > 0) & (counts < len(marks))).sum())
    for who, concerned in (("No", counts == 0), ("Every", counts == len(marks))):
        named = [str(label) for label, is_one in zip(labels, concerned) if is_one]
        if len(marks) and named:
            found.append(
                f"{who} {subset} trial has the label{'s' if len(named) > 1 else ''} {shortened(named, N_NAMED)}: mean "
                f"area and mean average precision are over the {n_left} of {len(labels)} labels that some trials have "
                "and others have not, and do not compare with scores of other labels."
            )
    return found


N_NAMED = 5
"""Classes, or labels."""
FAR_BELOW_FOLDS = 0.05
"""A network may score training trials so much lower than networks of folds score those that they have not seen."""


def share_findings(
    answer_report: dict[str, Any] | None, loss: str = "cross-entropy", training_score: float | None = None
) -> list[str]:
    """Say where nothing of the network stays, where all of it does unproven, and where its last training has failed."""
    if answer_report is None:
        return []
    found = answer_report.get("network")
    if found is None:
        return [
            "All of the network is added to the linear answer, and no left-out trials were asked whether it helps "
            "(by folds: trainer.inner_folds above 0, on one process)."
        ]
    if found["share"]:
        held_out = found.get("held_out_score")
        if training_score is None or held_out is None or training_score >= held_out - FAR_BELOW_FOLDS:
            return []
        return [
            f"Trained on all training trials, the network scores these {training_score:.3f}, but networks of folds "
            f"scored trials that they had not seen {held_out:.3f}: its training went wrong. Try another trainer.seed, "
            "or average several networks (model.n_networks)."
        ]
    why = "left-out training trials were all of one participant or run, which cannot tell whether it helps"
    if not found["n_trials"]:
        why = "there were no left-out training trials"
    elif found["gain"] <= 0 and found["standard_error_of_gain"] is not None:
        why = f"it does not lower the {loss} of left-out training trials"
    elif found["standard_error_of_gain"] is not None:
        gain, error = found["gain"], found["standard_error_of_gain"]
        why = f"it lowers the {loss} of left-out training trials by {gain:.2g}, with standard error {error:.2g}"
    return [f"Nothing of the network is added to the linear answer: {why}."]


def unread_finding(answer_report: dict[str, Any] | None) -> list[str]:
    """Say of how many training trials the linear answer reads the course alone."""
    if not (answer_report or {}).get("n_without_spectrum"):
        return []
    assert answer_report is not None
    n_without, n_trials = answer_report["n_without_spectrum"], answer_report["n_trials"]
    what = "so these say nothing of them" if answer_report["spectra_used"] else "so that these are not used at all"
    return [
        f"{n_without} of {n_trials} training trials have no power, covariances or connectivity (too short for a band, "
        f"or constant), {what}."
    ]


def findings(
    accuracy: dict[str, float | None],
    baselines: dict[str, dict[str, float | None]],
    most_frequent: float | None = None,
) -> list[str]:
    """Say where a decoder is no better than a baseline, on validation trials if there are any.

    `most_frequent` is the share of their own most frequent class, which that of the training trials need not be.
    """
    if accuracy["validation"] is None:
        return ["There are no validation trials, so there is no estimate for new ones."]
    own = accuracy["validation"]
    better = {name: scores["validation"] for name, scores in baselines.items()}
    commonest = {"always the most frequent class of these trials": most_frequent}
    named = [
        f"{name.replace('_', ' ')}, {score:.3f}"
        for name, score in (better | commonest).items()
        if score is not None and score >= own
    ]
    if not named:
        return []
    return [f"On validation trials decoding ({own:.3f}) is no better than its baselines ({'; '.join(named)})."]


def score_findings(
    own: dict[str, float | None],
    baselines: dict[str, dict[str, float | None]],
    n_validation: int,
    *,
    score: str,
    undefined: str,
) -> list[str]:
    """Say where a decoder of numbers or of labels is no better than a baseline; larger scores are better.

    Parameters
    ----------
    own : dict
        Score by subset.
    baselines : dict
        The same of each baseline.
    n_validation : int
        Validation trials.
    score : str
        Its name in a sentence.
    undefined : str
        What is said where validation trials have no score.
    """
    if not n_validation:
        return ["There are no validation trials, so there is no estimate for new ones."]
    value = own["validation"]
    if value is None:
        return [undefined]
    named = [
        f"{name.replace('_', ' ')}, {scores['validation']:.3f}"
        for name, scores in baselines.items()
        if scores["validation"] is not None and scores["validation"] >= value
    ]
    if not named:
        return []
    return [
        f"On validation trials decoding ({score} {value:.3f}) is no better than its baselines ({'; '.join(named)})."
    ]


def tell_of_unused_folds(n_folds: int) -> None:
    """Warn that on several processes no folds are trained on."""
    warnings.warn(
        f"On several processes no folds are trained on, so that trainer.inner_folds ({n_folds}) is not used: all of "
        "the network is added to the linear answer, whether it helps or not.",
        DataWarning,
        stacklevel=3,
    )


def tell_of_unused_epochs(n_chosen: int) -> None:
    """Warn that a run which goes on for longer does not learn for longer."""
    warnings.warn(
        f"More epochs are not used: folds of the training trials have chosen {n_chosen} (trainer.inner_folds). A run "
        "of another name tries more.",
        DataWarning,
        stacklevel=3,
    )
