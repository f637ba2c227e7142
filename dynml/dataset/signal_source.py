"""What a dataset reads from: a store, or arrays that stand in for one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.errors import DataError
from dynml.recording import Events, GroupDescription


@runtime_checkable
class KnowsCovariates(Protocol):
    """A source that knows more about its subjects than their participants, as a store does."""

    def covariates(self, subject: str) -> dict[str, str]:
        """Give a subject's data set and covariates, by name."""
        ...


class SignalSource(Protocol):
    """The part of `Store` that a dataset needs; see there for what each gives."""

    @property
    def path(self) -> Path | None:
        """File that is read, None for arrays."""
        ...

    @property
    def split(self) -> str:
        """What separates the subsets: "participants" or "runs"."""
        ...

    @property
    def subjects(self) -> list[str]:
        """All subjects."""
        ...

    def subset(self, name: str) -> list[str]:
        """List a subset's subjects."""
        ...

    def groups(self, subject: str) -> list[str]:
        """List a subject's groups."""
        ...

    def participant(self, subject: str) -> str:
        """Name the person behind a subject."""
        ...

    def attributes(self, subject: str, group: str) -> GroupDescription:
        """Describe a subject's group without reading its signals."""
        ...

    def segments(self, subject: str, group: str) -> NDArray[np.int64]:
        """Give the good stretches [start, stop), (n_segments, 2)."""
        ...

    def source_samples(self, subject: str, group: str) -> NDArray[np.int64]:
        """Give the sample of its run where each segment starts, and that run, (n_segments, 2)."""
        ...

    def run_names(self, subject: str, group: str) -> list[str]:
        """List the names of the runs, in stored order."""
        ...

    def events(self, subject: str, group: str) -> Events | None:
        """Give the events, None where there are none."""
        ...

    def read(self, subject: str, group: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Read rows [start, stop), (n, C)."""
        ...

    def verifying(self, subject: str, group: str) -> AbstractContextManager[None]:
        """Compare the rows that are read in the block, in ascending order, with their digest."""
        ...

    def masked_rows(self, subject: str, group: str) -> NDArray[np.bool_]:
        """Say of every row whether it is masked, (T,); reads signals only where there are masked rows."""
        ...

    def fingerprint(self, group: str, subjects: Iterable[str]) -> str:
        """SHA-256 over names, participants and data of some subjects."""
        ...


@runtime_checkable
class EmbedsRows(Protocol):
    """A source of embedded rows, as `EmbeddedSource` is, which also gives what they are made of."""

    def stored_rows(self, subject: str, group: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows [start, stop) before they are embedded, (n, C)."""
        ...

    def read_on(self, device: torch.device, subject: str, group: str, start: int, stop: int) -> Tensor:
        """Rows [start, stop), (n, P), embedded on a device."""
        ...

    def scaling(self, subject: str) -> Tensor:
        """Mean and inverse standard deviation of the components of each segment's run, (n_segments, 2, P)."""
        ...


@runtime_checkable
class HoldsRows(Protocol):
    """A source that holds its rows in memory, as `ArraySource` does, and can let go of them."""

    def share_rows(self, subject: str, signals: NDArray[np.float32]) -> None:
        """Take the rows that a dataset keeps in place of one's own."""
        ...


class RowEmbedding(Protocol):
    """The part of `Embedding` that is applied to rows when they are read; see there."""

    @property
    def standardize(self) -> bool:
        """Whether components are brought to mean 0 and standard deviation 1."""
        ...

    @property
    def margin(self) -> int:
        """Rows that each stretch loses at each end."""
        ...

    def apply(self, rows_TC: Tensor, scaling_2P: Tensor | None = None) -> Tensor:
        """Embed one stretch, (T, C) to (T - n + 1, P)."""
        ...

    def apply_to_stretches(
        self, rows_TC: Tensor, lengths: NDArray[np.int64], scaling_S2P: Tensor | None = None
    ) -> Tensor:
        """Embed stretches that lie end to end."""
        ...

    def apply_to_windows(self, rows_BTC: Tensor, scaling_B2P: Tensor | None = None) -> Tensor:
        """Embed each of several windows, (B, T, C) to (B, T - n + 1, P)."""
        ...


class SourceOfAnother:
    """Gives what another source gives; a subclass changes rows and what describes them.

    Parameters
    ----------
    base : SignalSource
    """

    def __init__(self, base: SignalSource) -> None:
        self.base = base

    @property
    def stored(self) -> SignalSource:
        """The source at the bottom, of the channels as they are stored."""
        return self.base.stored if isinstance(self.base, SourceOfAnother) else self.base

    def present(self, subject: str) -> NDArray[np.bool_] | None:
        """Which of the channels a subject has, (C,); None: all of them."""
        return self.base.present(subject) if isinstance(self.base, SourceOfAnother) else None

    @property
    def path(self) -> Path | None:
        """File that is read, None for arrays."""
        return self.base.path

    @property
    def split(self) -> str:
        """What separates the subsets."""
        return self.base.split

    @property
    def subjects(self) -> list[str]:
        """All subjects."""
        return self.base.subjects

    def subset(self, name: str) -> list[str]:
        """List a subset's subjects."""
        return self.base.subset(name)

    def groups(self, subject: str) -> list[str]:
        """List a subject's groups."""
        return self.base.groups(subject)

    def participant(self, subject: str) -> str:
        """Name the person behind a subject."""
        return self.base.participant(subject)

    def covariates(self, subject: str) -> dict[str, str]:
        """Give a subject's data set and covariates; arrays have none."""
        read = getattr(self.base, "covariates", None)
        return {} if read is None else read(subject)

    def run_names(self, subject: str, group: str) -> list[str]:
        """List the names of the runs, in stored order."""
        return self.base.run_names(subject, group)

    def events(self, subject: str, group: str) -> Events | None:
        """Give the events, whose rows are the store's."""
        return self.base.events(subject, group)

    def verifying(self, subject: str, group: str) -> AbstractContextManager[None]:
        """Compare the stored rows that are read in the block with their SHA-256."""
        return self.base.verifying(subject, group)


class ChosenChannels(SourceOfAnother):
    """Some channels of another source, in an order of their own.

    Parameters
    ----------
    base : SignalSource
    columns : sequence of int
        Which of its channels, at least one.
    """

    def __init__(self, base: SignalSource, columns: Sequence[int]) -> None:
        super().__init__(base)
        assert len(columns)
        self._columns = list(columns)

    def present(self, subject: str) -> NDArray[np.bool_] | None:
        """Which of these channels a subject has, (C,); None: all of them."""
        present_C = self.base.present(subject) if isinstance(self.base, SourceOfAnother) else None
        return None if present_C is None else present_C[self._columns]

    def attributes(self, subject: str, group: str) -> GroupDescription:
        """Describe a subject's group with these channels alone."""
        described = self.base.attributes(subject, group)
        names = tuple(described.channel_names[column] for column in self._columns)
        rank = min(described.rank, len(names))
        return dataclasses.replace(described, n_channels=len(names), channel_names=names, rank=rank)

    def segments(self, subject: str, group: str) -> NDArray[np.int64]:
        """Give the good stretches [start, stop), (n_segments, 2)."""
        return self.base.segments(subject, group)

    def source_samples(self, subject: str, group: str) -> NDArray[np.int64]:
        """Give the sample of its run where each segment starts, and that run, (n_segments, 2)."""
        return self.base.source_samples(subject, group)

    def masked_rows(self, subject: str, group: str) -> NDArray[np.bool_]:
        """Say of every row whether it is masked, (T,)."""
        return self.base.masked_rows(subject, group)

    def fingerprint(self, group: str, subjects: Iterable[str]) -> str:
        """SHA-256 of what is read, whichever channels of it are taken."""
        return self.base.fingerprint(group, subjects)

    def read(self, subject: str, group: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Read rows [start, stop), (n, C)."""
        return np.ascontiguousarray(self.base.read(subject, group, start, stop)[:, self._columns])


def only_group(source: SignalSource, subjects: Sequence[str]) -> str:
    """Name of the one group that all subjects have.

    Raises
    ------
    DataError
        When there are several, or none.
    """
    groups = {tuple(source.groups(subject)) for subject in subjects}
    names = sorted({name for of_subject in groups for name in of_subject})
    if len(names) != 1:
        found = f"has the groups {', '.join(names)}" if names else "has no groups"
        raise DataError(f"{source.path or 'The dataset'} {found}: say which one by group=.")
    return names[0]


def common_channels(source: SignalSource, group: str, subjects: Sequence[str]) -> tuple[str, ...]:
    """Names of the channels, which are the same in all subjects.

    Raises
    ------
    DataError
        When a subject has others, or there are no subjects.
    """
    if not subjects:
        raise DataError(f"{source.path or 'The dataset'} has no subject in any subset.")
    common = source.attributes(subjects[0], group).channel_names
    for subject in subjects[1:]:
        names = source.attributes(subject, group).channel_names
        if names != common:
            raise DataError(
                f"Subject {subject}, group {group}: the channels differ from those of {subjects[0]} "
                f"({len(names)} and {len(common)})."
            )
    return common
