"""A store that is made in parts, by as many processes or machines: which subjects each holds, and what it is called."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynml.errors import DataError
from dynml.reading_files import is_there
from dynml.store import layout
from dynml.store.reading import Store

ACCEPTED = "NUMBER/OF, such as 3/8, counted from 1"


@dataclass(frozen=True)
class Part:
    """Part `number` of `of`, from 1.

    The subjects of all subsets, one subset after the other, are shared out in stretches of neighbours whose numbers
    differ by one at most, so that the parts in their order hold the lists in theirs.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise DataError(f"--part is {self.number}/{self.of}, but must be {ACCEPTED}.")

    @classmethod
    def from_text(cls, text: str) -> Part:
        """Read `3/8`.

        Raises
        ------
        DataError
            When it is something else.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None:
            raise DataError(f"--part is {text!r}, but must be {ACCEPTED}.")
        return cls(int(found[1]), int(found[2]))

    def path(self, target: Path) -> Path:
        """Where this part of a store goes: beside it, under its name and number."""
        digits = len(str(self.of))
        return target.with_name(f"{target.stem}.part-{self.number:0{digits}d}-of-{self.of}{target.suffix}")

    def share(self, subsets: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Its subjects of each subset.

        Raises
        ------
        DataError
            When there are fewer subjects than parts.
        """
        in_order = [(subset, subject) for subset, subjects in subsets.items() for subject in subjects]
        if len(in_order) < self.of:
            raise DataError(f"--part {self.number}/{self.of} asks for more parts than there are subjects.")
        first, last = (len(in_order) * number // self.of for number in (self.number - 1, self.number))
        chosen: dict[str, list[str]] = {subset: [] for subset in subsets}
        for subset, subject in in_order[first:last]:
            chosen[subset].append(subject)
        return chosen

    def note(self, subsets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """What the file says of itself: its number, and of which subjects it holds a part."""
        lists = json.dumps({name: list(subsets.get(name, [])) for name in layout.SUBSET_NAMES}, ensure_ascii=False)
        return {"number": self.number, "of": self.of, "subjects": hashlib.sha256(lists.encode()).hexdigest()}


def needed_subjects(
    subsets: Mapping[str, Sequence[str]], share: Mapping[str, Sequence[str]], *, fits: bool
) -> dict[str, list[str]]:
    """Whose files a part looks at: its own subjects', the first one's, and with `fits` those of all training subjects.

    The first subject is the one that the channels of all others are compared with, and brought into the order of.
    """
    chosen = {subject for subjects in share.values() for subject in subjects}
    chosen |= set(next((subjects[:1] for subjects in subsets.values() if subjects), []))
    chosen |= set(subsets["training"]) if fits else set()
    return {subset: [name for name in subjects if name in chosen] for subset, subjects in subsets.items()}


def is_made(target: Path, note: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether a part is there already, whole, of the same subjects and by the same config.

    Raises
    ------
    DataError
        When something else is there.
    """
    if not is_there(target):
        return False
    with Store(target) as store:
        if part_note(store) == dict(note) and store.config == json.loads(json.dumps(config)):
            return True
    raise DataError(f"{target} exists already, but was made with other lists or another config; use -f to replace it.")


def part_note(store: Store) -> dict[str, Any] | None:
    """What a store says of the part that it is; None where it is none."""
    text = store.root_attributes().get(layout.PART)
    return None if text is None else {key: value for key, value in json.loads(text).items() if key != "scales"}


def parts_beside(target: Path) -> list[Path]:
    """Parts of a store that lie beside it under their names, in the order of their numbers.

    Raises
    ------
    DataError
        When there are none, some are missing, or parts of several divisions lie there.
    """
    pattern = re.compile(re.escape(target.stem) + r"\.part-(\d+)-of-(\d+)" + re.escape(target.suffix))
    found = {entry: pattern.fullmatch(entry.name) for entry in target.parent.iterdir()}
    numbers = {(int(name[1]), int(name[2])): entry for entry, name in found.items() if name is not None}
    divisions = sorted({of for _, of in numbers})
    if not divisions:
        raise DataError(
            f"There are no parts of {target}: dynml_create_hdf5_dataset.py --part i/n makes them beside it, as "
            f"{target.stem}.part-i-of-n{target.suffix}; or name the stores to join."
        )
    if len(divisions) > 1:
        listed = " and ".join(map(str, divisions))
        raise DataError(f"Parts of {listed} lie beside {target}; name those to join, or remove the others.")
    (of,) = divisions
    missing = [str(number) for number in range(1, of + 1) if (number, of) not in numbers]
    if missing:
        raise DataError(
            f"Of {of} parts of {target}, {len(missing)} {'is' if len(missing) == 1 else 'are'} not there: "
            f"{', '.join(missing[:12])}{', ..' if len(missing) > 12 else ''}; make "
            f"{'it' if len(missing) == 1 else 'them'} by --part {missing[0]}/{of}"
            f"{' and so on' if len(missing) > 1 else ''}, then join again."
        )
    return [numbers[number, of] for number in range(1, of + 1)]
