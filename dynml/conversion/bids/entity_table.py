"""Which entities of a BIDS name make a run, and which only say in which version of a run a file is.

The table follows the list of entities of the BIDS specification (src/schema/objects/entities.yaml, version 1.10): a run
is an uninterrupted acquisition, distinguished by session, task, the parameters it was acquired with, and a number. What
one acquisition gives at once (echoes, magnitude and phase, several recorders) and what is computed from it
(reconstructions, spaces, resolutions, atlases) are versions of one run.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Meaning(Enum):
    """What an entity says of a file."""

    OWNER = "whose data these are"
    ACQUISITION = "which acquisition: another label is another run"
    PIECE = "which piece of one recording, which goes on in the next file"
    VERSION = "which version of one acquisition"
    DERIVED = "which version of one acquisition, as computed from it"


@dataclass(frozen=True)
class Entity:
    """One entity, with its name in the specification and the key of `bids` that chooses by it."""

    key: str
    name: str
    meaning: Meaning
    setting: str | None = None


ENTITIES = {
    entity.key: entity
    for entity in (
        Entity("sub", "subject", Meaning.OWNER),
        Entity("sample", "sample", Meaning.OWNER),
        Entity("ses", "session", Meaning.ACQUISITION, "session"),
        Entity("task", "task", Meaning.ACQUISITION, "task"),
        Entity("acq", "acquisition", Meaning.ACQUISITION, "acquisition"),
        Entity("ce", "contrast enhancing agent", Meaning.ACQUISITION),
        Entity("trc", "tracer", Meaning.ACQUISITION),
        Entity("dir", "phase-encoding direction", Meaning.ACQUISITION, "direction"),
        Entity("run", "run", Meaning.ACQUISITION, "run"),
        Entity("split", "split", Meaning.PIECE),
        Entity("rec", "reconstruction", Meaning.VERSION, "reconstruction"),
        Entity("proc", "processed on the device", Meaning.VERSION),
        Entity("mod", "corresponding modality", Meaning.VERSION),
        Entity("echo", "echo", Meaning.VERSION, "echo"),
        Entity("flip", "flip angle", Meaning.VERSION),
        Entity("inv", "inversion time", Meaning.VERSION),
        Entity("mt", "magnetization transfer", Meaning.VERSION),
        Entity("part", "part", Meaning.VERSION, "part"),
        Entity("recording", "recording", Meaning.VERSION, "recording"),
        Entity("tracksys", "tracking system", Meaning.VERSION),
        Entity("chunk", "chunk", Meaning.VERSION),
        Entity("nuc", "nucleus", Meaning.VERSION),
        Entity("voi", "volume of interest", Meaning.VERSION),
        Entity("tpl", "template", Meaning.DERIVED),
        Entity("cohort", "cohort", Meaning.DERIVED, "cohort"),
        Entity("hemi", "hemisphere", Meaning.DERIVED, "hemisphere"),
        Entity("space", "space", Meaning.DERIVED, "space"),
        Entity("atlas", "atlas", Meaning.DERIVED, "atlas"),
        Entity("seg", "segmentation", Meaning.DERIVED, "atlas"),
        Entity("scale", "scale", Meaning.DERIVED),
        Entity("res", "resolution", Meaning.DERIVED, "resolution"),
        Entity("den", "density", Meaning.DERIVED, "density"),
        Entity("label", "label", Meaning.DERIVED),
        Entity("thresh", "threshold", Meaning.DERIVED),
        Entity("stat", "statistic", Meaning.DERIVED),
        Entity("desc", "description", Meaning.DERIVED, "desc"),
    )
}
JOINED_BY_PIPELINES = ("run", "dir")
"""Entities that programs leave out of the name of a series that they made by laying runs end to end."""


def meaning_of(key: str) -> Meaning:
    """Meaning of an entity; one that the specification does not know describes a version."""
    return ENTITIES[key].meaning if key in ENTITIES else Meaning.DERIVED


def makes_runs(key: str) -> bool:
    """Say whether files that differ in an entity are of different runs, or different pieces of one."""
    return meaning_of(key) in (Meaning.ACQUISITION, Meaning.PIECE)


def is_acquired(key: str) -> bool:
    """Say whether an entity is one of the acquisition itself, so that files beside a series share it."""
    return makes_runs(key) or meaning_of(key) is Meaning.VERSION


def setting_of(key: str) -> str:
    """Key of `bids` that chooses by an entity."""
    entity = ENTITIES.get(key)
    return f"entities.{key}" if entity is None or entity.setting is None else entity.setting
