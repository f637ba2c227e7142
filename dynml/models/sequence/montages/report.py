"""What is said of a model that was trained on several groups, group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from dynml.models.sequence.montages.checks import HasGroups, Subset


class Scored(Protocol):
    """The part of `scoring.Scores` that tells subjects apart."""

    @property
    def by_subject(self) -> Mapping[str, float]:
        """Mean loss of each subject."""
        ...


def report_of_groups(
    judged: Mapping[str, Scored],
    model: str,
    dataset: HasGroups,
    subset: Subset,
    name: str,
    positions: Sequence[Sequence[float]] | None,
) -> dict[str, Any]:
    """Scores of each group, and findings.

    Parameters
    ----------
    judged : mapping
        The model and its baselines to their scores.
    model : str
        Which of them is the model.
    dataset : MultiSubjectDataset
    subset, name
        Where they were scored.
    positions : sequence of (x, y, z), optional
        Where the channels lie, mm; () where unknown.

    Returns
    -------
    dict
        score_by_group {group: {model, baselines}}: mean loss over the group's subjects; findings.
    """
    scores: dict[str, dict[str, float]] = {}
    for group in dataset.groups:
        own = [subject for subject in subset.subjects if dataset.origin(subject)[1] == group]
        each = {key: [one.by_subject[who] for who in own if who in one.by_subject] for key, one in judged.items()}
        if any(each.values()):
            scores[group] = {key: float(np.mean(values)) for key, values in each.items()}
    findings = [_beside_best(group, scores[group], model, name) for group in scores]
    findings += [
        f"No {name} subject has the group {group}, so that nothing was compared or chosen by it."
        for group in dataset.groups
        if group not in scores
    ]
    return {"score_by_group": scores, "findings": findings + _strangers(dataset, positions)}


def _beside_best(group: str, scores: Mapping[str, float], model: str, subset: str) -> str:
    best = min((key for key in scores if key != model), key=scores.__getitem__)
    gain = 1 - scores[model] / scores[best]
    return (
        f"Group {group}, {subset} data: the model's loss is {100 * abs(gain):.1f} % {'below' if gain > 0 else 'above'} "
        f"that of {best}, the best baseline of the group's own."
    )


def _strangers(dataset: HasGroups, positions: Sequence[Sequence[float]] | None) -> list[str]:
    """Say which groups share no channel, and how far their channels lie from each other."""
    from scipy.spatial import cKDTree

    if positions is None or dataset.montages is None:
        return []
    channels, found = dataset.channels_of_groups, []
    numbers = {name: number for number, name in enumerate(dataset.channel_names)}
    first, *others = dataset.groups
    for group in others:
        if set(channels[first]).isdisjoint(channels[group]):
            there, here = (np.array([positions[numbers[name]] for name in channels[one]]) for one in (first, group))
            distances = cKDTree(there).query(here)[0]
            found.append(
                f"The groups {first} and {group} have no channel in common: they are connected by positions alone, and "
                f"a channel of {group} lies {distances.mean():.0f} mm from the nearest one of {first} in the mean."
            )
    return found
