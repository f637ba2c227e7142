"""What a dataset of several groups says of them, and how their subjects come together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dynml.dataset.config import DatasetConfig
from dynml.dataset.montages.montages import Montages
from dynml.dataset.montages.united_source import Origin, UnitedSource, origins_of
from dynml.dataset.signal_source import SignalSource, SourceOfAnother
from dynml.errors import ConfigurationError, DataError
from dynml.store.subsets import Subsets


class UnitedDataset:
    """The part of a dataset that knows of several groups; there may be one.

    Attributes
    ----------
    signal_source : SignalSource
    group : str
        The first one.
    config : DatasetConfig
    subjects : list of str
    channel_names : tuple of str
    montages : Montages or None
        Which channels each subject has; None where all have all of them.
    """

    signal_source: SignalSource
    group: str
    config: DatasetConfig
    subjects: list[str]
    channel_names: tuple[str, ...]
    montages: Montages | None

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of the store."""
        return groups_in_force(self.group, self.config)

    @property
    def channels_of_groups(self) -> dict[str, dict[str, str]]:
        """Group to {channel of the dataset: its name in the store}, in the group's order."""
        united = _united(self.signal_source)
        if united is None:
            return {self.group: {name: name for name in self.channel_names}}
        own = set(self.channel_names)
        return {
            group: {name: stored for name, stored in columns.items() if name in own}
            for group, columns in united.columns_of_groups.items()
        }

    def origin(self, subject: str) -> tuple[str, str]:
        """Name of a subject in the store, and its group."""
        united = _united(self.signal_source)
        return (subject, self.group) if united is None else united.origin(subject)

    @property
    def stored_source(self) -> SignalSource:
        """The source of all channels as they are stored, before what is done to them when rows are read."""
        return self.signal_source.stored if isinstance(self.signal_source, SourceOfAnother) else self.signal_source

    def stored_subjects(self, group: str, subjects: Sequence[str] | None = None) -> list[str]:
        """Names in the store of those of some subjects (default: all) that come from a group."""
        origins = [self.origin(subject) for subject in (self.subjects if subjects is None else subjects)]
        return [name for name, own in origins if own == group]

    def described_groups(self, preparations: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """Entry `groups` of a description, with the preparation of each; {}: there is one group."""
        if len(self.groups) == 1:
            return {}
        channels = self.channels_of_groups
        noted = {
            group: {
                "channel_names": list(channels[group]),
                "subjects": {one: self.origin(one)[0] for one in self.subjects if self.origin(one)[1] == group},
                "preparation": preparations[group],
            }
            for group in self.groups
        }
        return {"groups": noted}


def groups_in_force(group: str, config: DatasetConfig) -> tuple[str, ...]:
    """The first group and the further ones."""
    return (group, *(config.further_groups or ()))


def united(source: SignalSource, group: str, subsets: Subsets, config: DatasetConfig) -> tuple[SignalSource, Subsets]:
    """Present the subjects of all groups under the channels of all, subset by subset.

    A person's subjects stand in one subset, whichever group they come from, since subsets are those of the store.

    Returns
    -------
    source : SignalSource
        As it is where there is one group, or groups were united before.
    subsets : Subsets
        Of all groups.

    Raises
    ------
    ConfigurationError
        For a group that is named twice.
    DataError
        When the store has no such group, a subject has none of them, or the rates differ between groups.
    """
    groups, listed = groups_in_force(group, config), subsets.all_subjects
    if len(groups) == 1:
        return source, subsets
    if len(set(groups)) < len(groups):
        accepted = f"names of other groups than {group}, each once"
        raise ConfigurationError("dataset.further_groups", config.further_groups, accepted)
    origins = origins_of(source, groups, listed)
    if not isinstance(source, SourceOfAnother):
        _check_groups(source, groups, listed, origins)
    new_names: dict[str, list[str]] = {}
    for name, origin in origins.items():
        new_names.setdefault(origin.subject, []).append(name)
    placed = {
        subset: sorted(
            (name for subject in names for name in new_names.get(subject, ())),
            key=lambda name: groups.index(origins[name].group),
        )
        for subset, names in subsets.subjects.items()
    }
    if not isinstance(source, SourceOfAnother):
        source = UnitedSource(source, groups, origins)
    return source, Subsets(placed, subsets.split)


def united_anew(source: SignalSource, renamed: Mapping[str, Mapping[str, str]]) -> SignalSource:
    """The same groups, with channels that are not those of the same name in other groups."""
    before = _united(source)
    assert before is not None
    return before.with_renamed(renamed)


def _united(source: SignalSource) -> UnitedSource | None:
    while isinstance(source, SourceOfAnother):
        if isinstance(source, UnitedSource):
            return source
        source = source.base
    return None


def _check_groups(
    source: SignalSource, groups: Sequence[str], listed: Sequence[str], origins: Mapping[str, Origin]
) -> None:
    where, found = source.path or "The arrays", {origin.group for origin in origins.values()}
    for group in groups:
        if group not in found:
            there = sorted({one for subject in listed for one in source.groups(subject)})
            raise DataError(
                f"{where}: no subject has a group {group!r} (one of several by dataset.further_groups); the "
                f"groups are {', '.join(there)}."
            )
    stored = {origin.subject for origin in origins.values()}
    lacking = next((subject for subject in listed if subject not in stored), None)
    if lacking is not None:
        raise DataError(f"{where}: subject {lacking} has none of the groups {', '.join(groups)}.")
