"""Where everything stands in a store: the names of its groups, datasets and attributes, in one place.

/                                 attributes FORMAT, FORMAT_VERSION, DYNML_VERSION, CREATED, CONFIG (JSON)
/subsets/<subset>                 subject names
/subjects/<subject>               attributes PARTICIPANT, DATASET, and any covariate
/subjects/<subject>/<group>       DATA, SEGMENTS, SEGMENT_RUNS, RUN_NAMES, MEAN, STD, SOURCE_SAMPLES, EVENTS,
                                  and the group's attributes
/preparation/<group>              what was fitted across training subjects
/geometry/<group>                 where its channels lie, if that is known: atlas, axes or sensors

In a joined store /subjects/<subject> is a link to the same path of another file, one of PARTS.
"""

from __future__ import annotations

import re
from typing import Any

FORMAT_VERSION = 1
"""Version of the layout that this package writes, and the newest that it reads."""

FORMAT_NAME = "dynml"
SUBSET_NAMES = ("training", "validation", "testing")
GROUP_TYPE = "timeseries"

SUBSETS = "subsets"
SUBJECTS = "subjects"
PREPARATION_FITS = "preparation"
GEOMETRY = "geometry"

# Root attributes.
FORMAT = "format"
FORMAT_VERSION_KEY = "format_version"
DYNML_VERSION = "dynml_version"
CREATED = "created"
CONFIG = "config"

SHARED_FILES = "shared_files"
"""Names and SHA-256 of each group's atlas and mask, JSON; not there where there are none, or subjects have others."""
SharedFiles = dict[str, dict[str, dict[str, str]]]
"""Group to "atlas" or "mask" to `file` and `sha256`."""

WARNINGS = "warnings"
"""Warnings that were given while the store was made or extended, a JSON list of sentences; absent where none was."""

EXTENDED = "extended"
"""When which subjects were added to a store that there was, JSON; not there where none were."""

PARTS = "parts"
"""Files that the subjects lie in, JSON, see `joined.parts`; not there where they lie in the file itself."""

PART = "part"
"""Which part of which subjects a store was made to hold, JSON; not there where it holds all."""

# Attribute of the subsets.
DRAWN = "drawn"
"""How they were drawn, JSON; not there where they were given."""

# Attributes of a subject.
PARTICIPANT = "participant"
DATASET = "dataset"

# Datasets of a subject's group.
DATA = "data"
SEGMENTS = "segments"
SEGMENT_RUNS = "segment_runs"
RUN_NAMES = "run_names"
MEAN = "mean"
STD = "std"
SOURCE_SAMPLES = "source_samples"
REQUIRED_DATASETS = (DATA, SEGMENTS, SEGMENT_RUNS, RUN_NAMES, MEAN, STD, SOURCE_SAMPLES)

# Events of a subject's group.
EVENTS = "events"
ONSET = "onset"
DURATION = "duration"
EXACT_ONSET = "exact_onset"
"""Onsets as fractions of rows; not there where they are whole."""
LABELS = "labels"
NAMES = "names"

# Attributes of a subject's group.
TYPE = "type"
SAMPLING_FREQUENCY = "sampling_frequency"
UNITS = "units"
CHANNEL_NAMES = "channel_names"
RANK = "rank"
SOURCES = "sources"
PREPARATION = "preparation"
SOURCE_STEP = "source_step"
"""Original samples from one row to the next; not there where it is 1."""
SOURCE_OFFSET = "source_offset"
"""Fraction of an original sample to add to SOURCE_SAMPLES; not there where it is 0."""
N_MASKED = "n_masked"
"""Rows within segments that are NaN in all channels, for masked samples; not there where there are none."""
SHA256 = "sha256"
REQUIRED_ATTRIBUTES = (TYPE, SAMPLING_FREQUENCY, UNITS, CHANNEL_NAMES, RANK, SOURCES, PREPARATION, SHA256)

# Keys of the config that are no groups.
ALLOW_MIXED_SAMPLING_FREQUENCY = "allow_mixed_sampling_frequency"
SPLIT = "split"
PARTICIPANTS = "participants"
TOP_LEVEL_KEYS = (ALLOW_MIXED_SAMPLING_FREQUENCY, SPLIT, PARTICIPANTS)


def subject_path(subject: str, group: str | None = None) -> str:
    """Path in the file of a subject, or of one of its groups."""
    return f"{SUBJECTS}/{subject}" if group is None else f"{SUBJECTS}/{subject}/{group}"


def subset_path(subset: str) -> str:
    """Path in the file of a subset's list of subjects."""
    return f"{SUBSETS}/{subset}"


def is_valid_name(name: str) -> bool:
    """Say whether a name can stand in a path of the file: not empty, no "/", no "." or "..", no control character."""
    return bool(name) and name not in {".", ".."} and "/" not in name and name.isprintable()


def natural_order(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that counts digits as numbers: run-2 stands before run-10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part], name


def text_of(value: Any) -> str:
    """Text of an attribute, however it is stored."""
    return value.decode() if isinstance(value, bytes) else str(value)
