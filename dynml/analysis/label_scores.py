"""How well labels of trials are told that may have several: areas under curves of each label.

Shapes: n trials, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dynml.ops.metrics import macro_auc


def label_scores(
    marks: ArrayLike, scores: ArrayLike, labels: Sequence[str], participants: Sequence[str]
) -> dict[str, Any]:
    """Scores of all trials together, of each label and of each participant.

    Parameters
    ----------
    marks : array, (n, K)
        1 where a trial has a label, else 0.
    scores : array, (n, K)
        Higher where it is likelier.
    labels : sequence of K str
    participants : sequence of n str

    Returns
    -------
    dict
        n_trials, n_participants, macro_auc and macro_average_precision (means over the labels that some trials have and
        others have not; None without one), macro_average_precision_chance (the mean of these labels' shares of trials),
        labels (of each: n_trials, share, auc, average_precision), and per_participant (n_trials, macro_auc).
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    known, said, people = np.asarray(marks), np.asarray(scores), np.asarray(participants)
    of_labels: dict[str, dict[str, Any]] = {}
    for number, label in enumerate(labels):
        own, score = known[:, number], said[:, number]
        is_told = 0 < own.sum() < len(own)
        of_labels[label] = {
            "n_trials": int(own.sum()),
            "share": float(own.mean()),
            "auc": float(roc_auc_score(own, score)) if is_told else None,
            "average_precision": float(average_precision_score(own, score)) if is_told else None,
        }
    told = [one for one in of_labels.values() if one["auc"] is not None]
    return {
        "n_trials": len(known),
        "n_participants": len(np.unique(people)),
        "macro_auc": macro_auc(known, said),
        "macro_average_precision": _mean([one["average_precision"] for one in told]),
        "macro_average_precision_chance": _mean([one["share"] for one in told]),
        "labels": of_labels,
        "per_participant": {
            name: {
                "n_trials": int((people == name).sum()),
                "macro_auc": macro_auc(known[people == name], said[people == name]),
            }
            for name in dict.fromkeys(people.tolist())
        },
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
