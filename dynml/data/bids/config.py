"""Which runs of BIDS derivatives a group is made of."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from dynml.configuration import check_choice
from dynml.errors import ConfigurationError

PIPELINES = ("fmriprep", "xcp_d")
NATIVE = "native"
Labels = str | int | list[str | int] | None


@dataclass(frozen=True, kw_only=True)
class BidsConfig:
    """The key `bids` of a group. Entities that are given must be those of the files; a list accepts any of several."""

    pipeline: Literal["fmriprep", "xcp_d"]
    """Which program wrote the derivatives."""

    task: Labels = None
    """Entity `task`."""

    session: Labels = None
    """Entity `ses`."""

    run: Labels = None
    """Entity `run`."""

    space: str | None = None
    """Entity `space`; "native" for files without one."""

    resolution: str | int | None = None
    """Entity `res`."""

    density: str | None = None
    """Entity `den`, of surfaces."""

    desc: str | None = None
    """Entity `desc`; by default `preproc` for fMRIPrep's images."""

    atlas: str | None = None
    """Entity `atlas` or `seg` of XCP-D's parcels."""

    raw: str | None = None
    """Folder of the raw data set, for events, repetition times and participants.tsv."""

    brain_mask: bool = True
    """Use the brain mask of each of fMRIPrep's images, unless the group has a `mask` of its own."""

    def __post_init__(self) -> None:
        check_choice("bids.pipeline", self.pipeline, PIPELINES)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "brain_mask":
                accepted, right = "true or false", isinstance(value, bool)
            elif field.name in ("task", "session", "run"):
                accepted, right = "a label or a list of labels", value is None or all(map(_is_label, as_list(value)))
            else:
                accepted, right = "a text", value is None or _is_label(value)
            if not right or value == []:
                raise ConfigurationError(f"bids.{field.name}", value, accepted)
        if self.atlas is not None and self.pipeline != "xcp_d":
            raise ConfigurationError("bids.atlas", self.atlas, "left out with fmriprep: its key is the group's 'atlas'")

    @property
    def filters(self) -> dict[str, tuple[str, list[str | int]]]:
        """For each setting that chooses files, its entity and the labels that are accepted."""
        entities = {"task": "task", "session": "ses", "run": "run", "space": "space", "resolution": "res"}
        entities |= {"density": "den", "desc": "desc", "atlas": "atlas"}
        given = {key: getattr(self, key) for key in entities}
        return {key: (entities[key], as_list(value)) for key, value in given.items() if value is not None}


def as_list(value: Labels) -> list[str | int]:
    """One label, or several."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_label(value: object) -> bool:
    return (isinstance(value, str) and bool(value)) or (isinstance(value, int) and not isinstance(value, bool))
