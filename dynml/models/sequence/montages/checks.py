"""Which channels of several groups are the same, and groups that one model cannot be trained on together. No torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dynml.dataset.montages.montages import Montages
from dynml.errors import ConfigurationError, DataError, DataWarning, first_of

SAME_CHANNEL = 1.0
"""mm, within which channels of one name are the same, where channels are known by their positions."""


class Subset(Protocol):
    """The part of `MultiSubjectSubset` that says who is there."""

    @property
    def subjects(self) -> Sequence[str]:
        """Names."""
        ...


class HasGroups(Protocol):
    """The part of `MultiSubjectDataset` that says which groups there are; see there."""

    montages: Montages | None

    @property
    def channel_names(self) -> Sequence[str]:
        """In their order."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of the store."""
        ...

    @property
    def channels_of_groups(self) -> Mapping[str, Mapping[str, str]]:
        """Group to {channel of the dataset: its name in the store}."""
        ...

    @property
    def preparations(self) -> Mapping[str, Mapping[str, Any]]:
        """How the signals of each group were prepared, see `preparation_signature`."""
        ...

    def origin(self, subject: str) -> tuple[str, str]:
        """Name of a subject in the store, and its group."""
        ...


Known = Mapping[str, NDArray[np.float64]]
"""Channel to its position (3,) in mm; NaN where that is unknown."""


def refuse_by_order(dataset: HasGroups) -> None:
    """Refuse recordings with different channels for a model that knows channels by their order."""
    if dataset.montages is not None:
        accepted = "name or position where the channels of the groups differ (dataset.further_groups)"
        raise ConfigurationError("model.channel_embedding", "none", accepted)


def channels_apart(positions: Mapping[str, Known]) -> dict[str, dict[str, str]]:
    """Find channels that lie elsewhere than those of the same name in groups before, as parcels of two atlases do.

    Those whose position is unknown are not taken to be those of the same name either.

    Parameters
    ----------
    positions : mapping
        Group to the positions of its channels.

    Returns
    -------
    dict
        Group to {channel: name that tells it apart}; without groups where there is none.
    """
    seen: dict[str, NDArray[np.float64]] = {}
    found: dict[str, dict[str, str]] = {}
    for group, known in positions.items():
        for name, position in known.items():
            if name in seen and not np.linalg.norm(position - seen[name]) <= SAME_CHANNEL:
                found.setdefault(group, {})[name] = f"{name}@{group}"
        seen = {**known, **seen}
    return found


def check_groups(dataset: HasGroups, training: Subset, *, by_name: bool, where: str) -> None:
    """Refuse groups that nobody is trained on, that no channel is left of, or that are strangers to each other.

    Parameters
    ----------
    dataset : MultiSubjectDataset
        With the channels that are taken.
    training : MultiSubjectSubset
    by_name : bool
        Whether channels without a common name have nothing in common.
    where : str
        For messages.

    Raises
    ------
    DataError
        Names the group.
    """
    trained = {dataset.origin(subject)[1] for subject in training.subjects}
    channels = dataset.channels_of_groups
    for group in dataset.groups:
        if not channels[group]:
            raise DataError(f"{where}: group {group} has none of the channels that the model knows.")
        if group not in trained:
            raise DataError(
                f"{where}: no training subject has the group {group}, so that nothing is learnt from it; leave it out "
                "of dataset.further_groups."
            )
    if by_name:
        first, *others = dataset.groups
        lone = _without_connection(channels, first, others)
        if lone:
            raise DataError(
                f"{where}: group {lone[0]} ({first_of(list(channels[lone[0]]))}) has no channel of a name that is in "
                f"group {first} ({first_of(list(channels[first]))}), directly or by way of other groups, so that a "
                "model that knows channels by name would learn nothing of one from the other; use "
                "model.channel_embedding position."
            )


def tell_of_other_preparations(dataset: HasGroups, where: str) -> None:
    """Warn of groups that were prepared otherwise than the first one."""
    first, *others = dataset.groups
    for group in others:
        before, now = (_in_words(dataset.preparations[one]) for one in (first, group))
        found = [f"{key} {before[key]} and {now[key]}" for key in before if before[key] != now[key]]
        if found:
            warnings.warn(
                f"{where}: the groups {first} and {group} were prepared differently ({'; '.join(found)}), so that "
                "what the model learns of one may not hold for the other.",
                DataWarning,
                stacklevel=5,
            )


def _in_words(preparation: Mapping[str, Any]) -> dict[str, str]:
    units = preparation["units"] if preparation["standardization"] == "none" else ""
    steps = ", ".join(str(step["step"]) for step in preparation["steps"] or ()) or "none"
    return {"standardization": str(preparation["standardization"]), "units": units, "steps": steps}


def _without_connection(channels: Mapping[str, Mapping[str, str]], first: str, others: Sequence[str]) -> list[str]:
    """Groups that share no channel with the first one, nor with a group that does."""
    reached, left = set(channels[first]), list(others)
    while True:
        joined = [group for group in left if reached & set(channels[group])]
        if not joined:
            return left
        reached |= {name for group in joined for name in channels[group]}
        left = [group for group in left if group not in joined]
