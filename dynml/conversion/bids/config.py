"""Which runs of BIDS derivatives a group is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from dynml.configuration import check_choice
from dynml.conversion.bids.entity_table import ENTITIES, makes_runs
from dynml.errors import ConfigurationError

PIPELINES = ("fmriprep", "xcp_d")
WITHOUT = ("native", "none")
"""Labels that stand for files without the entity."""
DONE_BY_XCP_D = {"confounds_strategy": ", which has removed the confounds", "motion_correction": ""}
Labels = str | int | list[str | int] | None


@dataclass(frozen=True, kw_only=True)
class BidsConfig:
    """The key `bids` of a group: entities that are given must be those of the files.

    A list accepts any of several labels, and "none" files without the entity.
    """

    pipeline: Literal["fmriprep", "xcp_d"]
    """Pipeline that wrote the derivatives."""

    task: Labels = None
    """Entity `task`."""

    session: Labels = None
    """Entity `ses`."""

    run: Labels = None
    """Entity `run`."""

    acquisition: Labels = None
    """Entity `acq`."""

    direction: Labels = None
    """Entity `dir`."""

    reconstruction: str | int | None = None
    """Entity `rec`."""

    echo: str | int | None = None
    """Entity `echo`; "none" for the combination of all echoes."""

    part: str | None = None
    """Entity `part`."""

    recording: str | int | None = None
    """Entity `recording`."""

    space: str | None = None
    """Entity `space`; "native" for files without one."""

    cohort: str | int | None = None
    """Entity `cohort`, of spaces with several templates."""

    resolution: str | int | None = None
    """Entity `res`."""

    density: str | None = None
    """Entity `den`, of surfaces."""

    hemisphere: str | None = None
    """Entity `hemi`, of surfaces."""

    desc: str | None = None
    """Entity `desc`; by default `preproc` for fMRIPrep's images."""

    atlas: str | None = None
    """Entity `atlas` or `seg` of XCP-D's parcels."""

    entities: dict[str, str | int] | None = None
    """Labels of any other entities, such as {"proc": "sss"}."""

    dropped_volumes: int | None = None
    """Number of volumes that the pipeline dropped from the start of each run, to align events; by default read from its
    files."""

    start_time: float | None = None
    """Time in a run, in seconds, that its first acquired volume represents; by default read from the sidecars."""

    raw: str | None = None
    """Folder of the raw data set, for events, repetition times and participants.tsv."""

    brain_mask: bool = True
    """Use the brain mask of each of fMRIPrep's images, unless the group has a `mask` of its own."""

    def __post_init__(self) -> None:
        check_choice("bids.pipeline", self.pipeline, PIPELINES)
        for name in OF_FILES:
            value, several = getattr(self, name), name in SEVERAL
            right = value is None or (all(map(_is_label, as_list(value))) if several else _is_label(value))
            if not right or value == []:
                accepted = "a label or a list of labels" if several else "a text"
                raise ConfigurationError(f"bids.{name}", value, accepted)
        for name, right, accepted in (
            ("brain_mask", isinstance(self.brain_mask, bool), "true or false"),
            ("raw", self.raw is None or _is_label(self.raw), "a text"),
            ("entities", self._are_other_entities(), 'a mapping of entities without a key, such as {"proc": "sss"}'),
            (
                "dropped_volumes",
                _is_count(self.dropped_volumes),
                "a whole number from 0",
            ),
            ("start_time", _is_seconds(self.start_time), "seconds"),
        ):
            if not right:
                raise ConfigurationError(f"bids.{name}", getattr(self, name), accepted)
        if self.atlas is not None and self.pipeline != "xcp_d":
            raise ConfigurationError("bids.atlas", self.atlas, "left out with fmriprep: its key is the group's 'atlas'")

    def _are_other_entities(self) -> bool:
        own = {entity.key for entity in ENTITIES.values() if entity.setting is not None}
        given = {} if self.entities is None else self.entities
        return isinstance(given, dict) and own.isdisjoint(given) and all(map(_is_label, given.values()))

    @property
    def needless(self) -> Mapping[str, str]:
        """Keys of a group that stay away because the pipeline has done it, with the reason, where it says one."""
        return DONE_BY_XCP_D if self.pipeline == "xcp_d" else {}

    @property
    def filters(self) -> dict[str, tuple[str, list[str | int]]]:
        """For each setting that chooses files, its entity and the labels that are accepted."""
        given = {name: (key, getattr(self, name)) for name, key in OF_FILES.items()}
        given |= {f"entities.{key}": (key, label) for key, label in (self.entities or {}).items()}
        return {name: (key, as_list(value)) for name, (key, value) in given.items() if value is not None}


OF_FILES = {entity.setting: entity.key for entity in reversed(ENTITIES.values()) if entity.setting is not None}
"""For each setting that chooses files, its entity; `atlas` also stands for `seg`."""
SEVERAL = {setting for setting, key in OF_FILES.items() if makes_runs(key)}
"""Settings that may list several labels."""


def as_list(value: Labels) -> list[str | int]:
    """One label, or several."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_label(value: object) -> bool:
    return (isinstance(value, str) and bool(value)) or (isinstance(value, int) and not isinstance(value, bool))


def _is_count(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def _is_seconds(value: object) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value is None or (is_number and math.isfinite(cast(float, value)))
