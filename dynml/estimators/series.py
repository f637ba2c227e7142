"""X as recordings of participants, and results of these in the form of X again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.estimators.blocks import Item
from dynml.recording import Events, Recording, recording_of_runs

LABELS = "label"
"""Column of the events that the labels of trials stand in."""


@dataclass(frozen=True)
class BlockRows:
    """Where a block of X lies: rows [start, stop) of a recording."""

    name: str
    start: int
    stop: int


@dataclass
class TimeSeries:
    """X as recordings.

    Attributes
    ----------
    recordings : dict of str to Recording
    participants : dict of str to str
    items : list of (Item, list of BlockRows)
        In the order of X.
    names : list of str or None
        Keys, where X was a mapping.
    is_list : bool
        Whether X was a list of items.
    held_out : frozenset of str
        Participants whom nothing is learnt from.
    """

    is_list: bool = False
    names: list[str] | None = None
    recordings: dict[str, Recording] = field(default_factory=dict)
    participants: dict[str, str] = field(default_factory=dict)
    items: list[tuple[Item, list[BlockRows]]] = field(default_factory=list)
    held_out: frozenset[str] = frozenset()

    def people_of(self, number: int, item: Item, groups: NDArray[Any] | None) -> list[str]:
        """Participant of each block of the item of that number."""
        return [self._base(number)] * len(item.blocks) if groups is None else [str(group) for group in groups]

    def learnt_and_held_out(self) -> tuple[dict[str, Recording], dict[str, Recording]]:
        """Recordings of those whom is learnt from, and of those who choose the best epoch."""
        held_out = {name: one for name, one in self.recordings.items() if self.participants[name] in self.held_out}
        return {name: one for name, one in self.recordings.items() if name not in held_out}, held_out

    def _base(self, number: int) -> str:
        return self.names[number] if self.names else f"recording-{number}"

    def add(self, item: Item, groups: NDArray[Any] | None, labels: Sequence[str] | None, rate: float) -> None:
        """Add an item; its blocks become a recording for each group, in the order of their first blocks."""
        base = self._base(len(self.items))
        rows_of_blocks: list[BlockRows | None] = [None] * len(item.blocks)
        for group, numbers in _blocks_of_groups(groups, len(item.blocks)).items():
            name = base if len(set(groups.tolist() if groups is not None else ())) < 2 else f"{base}-{group}"
            own = [item.blocks[number] for number in numbers]
            borders = np.cumsum([0, *map(len, own)])
            chosen = None if labels is None else [labels[number] for number in numbers]
            self.recordings[name] = _recording(item, own, borders, chosen, rate, name)
            self.participants[name] = name if groups is None else str(group)
            for number, start, stop in zip(numbers, borders[:-1].tolist(), borders[1:].tolist()):
                rows_of_blocks[number] = BlockRows(name, start, stop)
        self.items.append((item, [rows for rows in rows_of_blocks if rows is not None]))

    def restored(self, values: Mapping[str, NDArray[Any]]) -> Any:
        """Results of all rows of the recordings, in the form that X had.

        Parameters
        ----------
        values : mapping of str to array, (T, ..)

        Returns
        -------
        array, (T, ..) or (n, T, ..); of a list: an object array of these; of a mapping: a dict of these
        """
        found = []
        for item, rows_of_blocks in self.items:
            pieces = [values[rows.name][rows.start : rows.stop] for rows in rows_of_blocks]
            found.append(np.concatenate(pieces) if item.joined == "end to end" else np.stack(pieces))
        return self.arranged(found)

    def arranged(self, found: list[NDArray[Any]]) -> Any:
        """One result an item, in the form that X had."""
        if self.names is not None:
            return dict(zip(self.names, found))
        if not self.is_list:
            return found[0]
        # Results of one length would become one array, whose rows are then no recordings.
        arranged = np.empty(len(found), dtype=object)
        for number, one in enumerate(found):
            arranged[number] = one
        return arranged


def _blocks_of_groups(groups: NDArray[Any] | None, n_blocks: int) -> dict[Any, list[int]]:
    members: dict[Any, list[int]] = {}
    for number, group in enumerate([None] * n_blocks if groups is None else groups.tolist()):
        members.setdefault(group, []).append(number)
    return members


def _recording(
    item: Item,
    blocks: list[NDArray[np.float64]],
    borders: NDArray[Any],
    labels: list[str] | None,
    rate: float,
    name: str,
) -> Recording:
    stretches = np.stack([borders[:-1], borders[1:]], axis=1) if item.stretches is None else item.stretches
    if not len(stretches):
        raise DataError(f"{name} has no sample.")
    return recording_of_runs(
        [np.concatenate(blocks)],
        sampling_frequency=rate,
        channel_names=item.channel_names,
        run_names=[name],
        stretches=[stretches.astype(np.int64)],
        parts=[np.arange(len(stretches))],
        events=None if labels is None else _events(borders, labels),
        units=item.units,
    )


def _events(borders: NDArray[Any], labels: list[str]) -> Events:
    names, codes = np.unique(labels, return_inverse=True)
    return Events(
        onset=borders[:-1].astype(np.int64),
        duration=np.diff(borders).astype(np.int64),
        labels={LABELS: codes.astype(np.int64)},
        names={LABELS: tuple(names.tolist())},
    )
