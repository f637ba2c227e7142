"""What states of a pre-trained model add to the linear answer, by trials that were held out.

Shapes: n trials, K classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.models.sequence.decoding.answer.choice import Choice, Floats, Problem, averaged, standard_error
from dynml.models.sequence.decoding.answer.features import STATE_KINDS

_WORDS = {
    "cross_entropy": "cross-entropy",
    "binary_cross_entropy": "cross-entropy",
    "r_squared": "R^2",
    "macro_auc": "mean area under the ROC curve",
}


def weights_without_states(choices: Sequence[Choice], problem: Problem) -> Floats:
    """Weights of choices as they would be if no states were known, 0 for these."""
    plain = _is_plain(choices)
    weights = np.zeros(len(choices))
    weights[plain] = averaged([choice for choice, is_plain in zip(choices, plain) if is_plain], problem)
    return weights


def worth_of_states(choices: Sequence[Choice], weights: Floats, problem: Problem) -> dict[str, Any]:
    """Paired difference of the losses of held-out trials with states and without, by which they are used or not.

    The weights that a trial is answered by are those of the other folds, with states as well as without, so that more
    kinds of features are not better by choice alone. States are used if they gain more than one standard error and have
    a part in the `weights` of all trials together.
    """
    plain = _is_plain(choices)
    without, beside = (
        _answered([choice for choice, is_used in zip(choices, used) if is_used], problem)
        for used in (plain, np.ones(len(choices), dtype=bool))
    )
    gain = problem.cautious_losses(without) - problem.cautious_losses(beside)
    error = standard_error(gain, problem.groups)
    return {
        "used": bool(gain.mean() > error and weights[~plain].any()),
        "held_out_with": problem.scores(beside),
        "held_out_without": problem.scores(without),
        "gain": float(gain.mean()),
        "standard_error_of_gain": error if math.isfinite(error) else None,
    }


def finding_of_states(answer_report: dict[str, Any] | None, pretrained: Any) -> list[str]:
    """Say what states have added."""
    if answer_report is None or "states" not in answer_report:
        return []
    found = answer_report["states"]
    loss = next(iter(found["held_out_with"]))
    others = {name: value for name, value in found["held_out_with"].items() if name != loss}
    scores = "".join(
        f", and the {_words(name)} from {found['held_out_without'][name]:.3f} to {value:.3f}"
        for name, value in others.items()
        if name in found["held_out_without"]
    )
    weight = sum(answer_report["kinds"][kind]["weight"] for kind in STATE_KINDS)
    use = f"gives the weight {weight:.2f} to" if found["used"] else "does not use"
    error = found["standard_error_of_gain"]
    said = "unknown" if error is None else format(error, ".2g")
    return [
        f"The linear answer {use} the states of {pretrained}: with them the {_words(loss)} of "
        f"left-out training trials goes from {found['held_out_without'][loss]:.3g} to "
        f"{found['held_out_with'][loss]:.3g}{scores}. What counts is the loss with one more trial of unknown class, "
        f"of which they take {found['gain']:.2g} (standard error {said})."
    ]


def _is_plain(choices: Sequence[Choice]) -> NDArray[np.bool_]:
    return np.array([choice.kind not in STATE_KINDS for choice in choices])


def _answered(choices: Sequence[Choice], problem: Problem) -> Floats:
    """Logits of the trials of each fold, with the weights that the others choose, (n, K)."""
    n_trials = len(problem.truth)
    logits = np.tile(problem.log_priors, (n_trials, 1))
    for _, out in problem.folds:
        rest = np.setdiff1d(np.arange(n_trials), out)
        others = [dataclasses.replace(choice, scores=choice.scores[rest]) for choice in choices]
        weights = averaged(others, problem.part(rest, ()))
        logits[out] = problem.log_priors + sum(weight * choice.scores[out] for weight, choice in zip(weights, choices))
    return logits


def _words(name: str) -> str:
    return _WORDS.get(name, name.replace("_", " "))
