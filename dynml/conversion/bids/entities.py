"""Names of BIDS files: `sub-01_task-rest_desc-preproc_bold.nii.gz` is entities, a suffix and an extension."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dynml.conversion.bids.entity_table import is_acquired, makes_runs
from dynml.reading_files import is_file, is_folder

ENTITY = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9+.]+)")
SUBJECT = "sub"


@dataclass(frozen=True, kw_only=True)
class BidsFile:
    """A file whose name follows BIDS."""

    path: Path
    entities: dict[str, str]
    suffix: str
    """Last part of the name, such as `bold`."""
    extension: str
    """From the first dot on."""

    @property
    def run(self) -> dict[str, str]:
        """Entities that say which run this is of its subject."""
        return {key: value for key, value in self.entities.items() if makes_runs(key)}

    @property
    def acquired(self) -> dict[str, str]:
        """Entities of the acquisition: those of the run, and which echo, part or recording of it this is."""
        return {key: value for key, value in self.entities.items() if is_acquired(key)}

    @property
    def run_name(self) -> str:
        """The same as text, `ses-1_task-rest_run-2`; the suffix where there are none."""
        return "_".join(f"{key}-{value}" for key, value in self.run.items()) or self.suffix

    def applies_to(self, run: BidsFile) -> bool:
        """Say whether what this file describes includes a run: by BIDS's inheritance, no entity differs."""
        whole = {SUBJECT: run.entities.get(SUBJECT), **run.acquired}
        own = {SUBJECT: self.entities[SUBJECT]} if SUBJECT in self.entities else {}
        return all(same_value(whole.get(key), value) for key, value in {**own, **self.acquired}.items())

    def is_of_run(self, run: BidsFile) -> bool:
        """Say whether this is a file of just this run, however processed."""
        return self.run.keys() == run.run.keys() and self.applies_to(run)


def identity_of(run: dict[str, str]) -> str:
    """Text that is equal for the entities of one run, however their numbers are padded."""
    labels = {key: str(int(value)) if value.isdecimal() else value for key, value in run.items()}
    return "_".join(f"{key}-{labels[key]}" for key in sorted(labels))


def parsed(path: Path) -> BidsFile | None:
    """Take a file's name apart; None when it does not follow BIDS."""
    stem, dot, extension = path.name.partition(".")
    *parts, suffix = stem.split("_")
    found = [ENTITY.fullmatch(part) for part in parts]
    if not parts or not dot or "-" in suffix or not all(found):
        return None
    entities = {match[1]: match[2] for match in found if match is not None}
    return BidsFile(path=path, entities=entities, suffix=suffix, extension=f".{extension}")


def files_in(folders: Iterable[Path]) -> list[BidsFile]:
    """Files of some folders, those that are there, whose names follow BIDS."""
    entries = [entry for folder in folders if is_folder(folder) for entry in sorted(folder.iterdir())]
    return [file for file in map(parsed, entries) if file is not None and is_file(file.path)]


def same_value(found: str | None, wanted: object) -> bool:
    """Compare a label; numbers compare as numbers, for `run-1` and `run-01` are one run."""
    if found is None:
        return False
    text = str(wanted)
    return int(found) == int(text) if found.isdecimal() and text.isdecimal() else found == text
