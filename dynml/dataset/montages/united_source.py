"""A source whose subjects are those of several groups, under the channels of all of them.

Shapes: n rows, C channels of all groups.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dynml.dataset.montages.montages import Montages
from dynml.dataset.signal_source import SignalSource, SourceOfAnother, common_channels
from dynml.errors import DataError
from dynml.recording import Events, GroupDescription
from dynml.store.layout import natural_order


class Origin(NamedTuple):
    """Where a subject of several groups is stored."""

    subject: str
    group: str


def origins_of(source: SignalSource, groups: Sequence[str], subjects: Sequence[str]) -> dict[str, Origin]:
    """Name every subject in every group that it has, group after group.

    A subject keeps its name in the first of its groups, and is `NAME@GROUP` in further ones.

    Raises
    ------
    DataError
        When the store has a subject of such a name already.
    """
    origins: dict[str, Origin] = {}
    known, own = set(source.subjects), {subject: set(source.groups(subject)) for subject in subjects}
    for group in groups:
        for subject in subjects:
            if group in own[subject]:
                name = f"{subject}@{group}" if subject in origins else subject
                if name != subject and name in known:
                    raise DataError(
                        f"{source.path or 'The arrays'}: {name} is the name of a subject, so that subject {subject} in "
                        f"group {group} cannot be named so; rename one of the two."
                    )
                origins[name] = Origin(subject, group)
    return origins


class UnitedSource(SourceOfAnother):
    """Gives the rows of several groups, each in the columns of its own channels; columns of others are 0.

    The channels of the first group come first, in their order, then those that others have beside them, in natural
    order. Channels of one name are one column.

    Parameters
    ----------
    base : SignalSource
    groups : sequence of str
    origins : mapping
        See `origins_of`; at least one subject of each group.
    renamed : mapping, optional
        Group to its channels that are not those of the same name in other groups, with the names that they get.

    Attributes
    ----------
    united_groups : tuple of str
    columns_of_groups : dict
        Group to {channel here: channel in the store}, in the group's order.

    Raises
    ------
    DataError
        When sampling frequencies differ between groups.
    """

    def __init__(
        self,
        base: SignalSource,
        groups: Sequence[str],
        origins: Mapping[str, Origin],
        renamed: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__(base)
        self.united_groups, self._origins = tuple(groups), dict(origins)
        self.columns_of_groups: dict[str, dict[str, str]] = {}
        for group in groups:
            names = common_channels(base, group, self.stored_subjects(group))
            new = (renamed or {}).get(group, {})
            self.columns_of_groups[group] = {new.get(name, name): name for name in names}
        self._check_rates()
        first, *others = self.columns_of_groups.values()
        more = {name for columns in others for name in columns} - set(first)
        self._names = (*first, *sorted(more, key=natural_order))
        numbers = {name: number for number, name in enumerate(self._names)}
        self._columns = {group: [numbers[name] for name in own] for group, own in self.columns_of_groups.items()}

    def with_renamed(self, renamed: Mapping[str, Mapping[str, str]]) -> UnitedSource:
        """Give the same groups with other channels of their own."""
        return UnitedSource(self.base, self.united_groups, self._origins, renamed)

    def origin(self, subject: str) -> tuple[str, str]:
        """Name of a subject in the store, and its group."""
        return self._origins[subject]

    def stored_subjects(self, group: str) -> list[str]:
        """Subjects of a group, as the store names them."""
        return [origin.subject for origin in self._origins.values() if origin.group == group]

    def present(self, subject: str) -> NDArray[np.bool_]:
        """Which of the channels a subject has, (C,)."""
        present_C = np.zeros(len(self._names), dtype=np.bool_)
        present_C[self._columns[self._origins[subject].group]] = True
        return present_C

    def participant(self, subject: str) -> str:
        """Name the person behind a subject, the same in all groups."""
        return self.base.participant(self._stored(subject))

    def covariates(self, subject: str) -> dict[str, str]:
        """Give a subject's data set and covariates."""
        return super().covariates(self._stored(subject))

    def attributes(self, subject: str, group: str) -> GroupDescription:
        """Describe a subject with the channels of all groups."""
        described = self.base.attributes(*self._origins[subject])
        return dataclasses.replace(described, n_channels=len(self._names), channel_names=self._names)

    def segments(self, subject: str, group: str) -> NDArray[np.int64]:
        """Give the good stretches [start, stop), (n_segments, 2)."""
        return self.base.segments(*self._origins[subject])

    def source_samples(self, subject: str, group: str) -> NDArray[np.int64]:
        """Give the sample of its run where each segment starts, and that run, (n_segments, 2)."""
        return self.base.source_samples(*self._origins[subject])

    def run_names(self, subject: str, group: str) -> list[str]:
        """List the names of the runs, in stored order."""
        return self.base.run_names(*self._origins[subject])

    def events(self, subject: str, group: str) -> Events | None:
        """Give the events of the subject's own group."""
        return self.base.events(*self._origins[subject])

    def masked_rows(self, subject: str, group: str) -> NDArray[np.bool_]:
        """Say of every row whether it is masked, (T,)."""
        return self.base.masked_rows(*self._origins[subject])

    @contextmanager
    def verifying(self, subject: str, group: str) -> Iterator[None]:
        """Compare the rows that are read in the block with their digest."""
        with self.base.verifying(*self._origins[subject]):
            yield

    def fingerprint(self, group: str, subjects: Iterable[str]) -> str:
        """SHA-256 over names, participants and data of some subjects, each in its own group."""
        origins = [self._origins[subject] for subject in subjects]
        parts = [
            (one, self.base.fingerprint(one, [origin.subject for origin in origins if origin.group == one]))
            for one in self.united_groups
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def read(self, subject: str, group: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Read rows [start, stop), (n, C): 0 in channels that the subject lacks, but NaN in all where masked."""
        origin = self._origins[subject]
        own = self.base.read(*origin, start, stop)
        rows = np.zeros((len(own), len(self._names)), dtype=np.float32)
        rows[:, self._columns[origin.group]] = own
        rows[np.isnan(own[:, 0])] = np.nan
        return rows

    def _stored(self, subject: str) -> str:
        """Name of a subject in the store; those that are in no group keep theirs."""
        return self._origins[subject].subject if subject in self._origins else subject

    def _check_rates(self) -> None:
        first, *others = self.united_groups
        for group in others:
            if self._rates(group) != self._rates(first):
                found = " and ".join(f"{self._rates(one)} in group {one}" for one in (first, group))
                raise DataError(
                    f"{self.path or 'The arrays'}: the sampling frequency is {found}, so that one model cannot be "
                    "trained on both (dataset.further_groups); bring them to one rate when the store is made (the step "
                    "downsample)."
                )

    def _rates(self, group: str) -> str:
        rates = {self.base.attributes(one, group).sampling_frequency for one in self.stored_subjects(group)}
        return f"{', '.join(f'{rate:g}' for rate in sorted(rates))} Hz"


def montages_of(source: SignalSource, subjects: Sequence[str]) -> Montages | None:
    """Find the montages of some subjects, in the order in which they come; None where all have all channels."""
    if not isinstance(source, SourceOfAnother):
        return None
    found: dict[tuple[bool, ...], int] = {}
    number_of: dict[str, int] = {}
    for subject in subjects:
        present_C = source.present(subject)
        if present_C is None:
            return None
        number_of[subject] = found.setdefault(tuple(present_C.tolist()), len(found))
    present_MC = np.array(list(found))
    return None if present_MC.all() else Montages(present_MC, number_of)
