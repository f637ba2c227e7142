"""Where everything stands in a store: the names of its groups, datasets and attributes, in one place.

Times are in samples.

/                        attributes: format, format_version, dynml_version, created, config (JSON);
                         if any: shared_files (atlas, mask), extended (subjects added), warnings,
                         part, parts (stores in parts), all JSON
/subsets/training        names of subjects; likewise validation and testing
/subjects/<subject>      attributes: participant, dataset, covariates;
                         in a joined store an external link into a part
/subjects/<subject>/<group>/
    data                 (n_samples, C) float32: all runs one after another
    segments             (n_segments, 2) int64: [start, stop) of good stretches, in rows of data
    segment_runs         (n_segments,) int64: the run of each segment, from 0
    run_names            (n_runs,) text
    source_samples       (n_segments, 2) int64: sample of the original run where the segment starts,
                         and that run; attributes source_step, source_offset: original sample =
                         source_samples + source_offset + (row - start) * source_step
    mean, std            (n_runs or 1, C) float64: of the standardization; data * std + mean is in
                         `units`, but for a removed trend
    events/onset         (n_events,) int64, rows of data
    events/duration      (n_events,) int64, samples
    events/exact_onset   (n_events,) float64: onsets with their fraction, where there are any
    events/labels/<column>   (n_events,) int64: index into the attribute `names`, -1: not given
    attributes           type, sampling_frequency (Hz), units, channel_names, rank,
                         sources (files with sha256), preparation (steps), sha256, n_masked
/preparation/<group>/<place>_<step>/     what was fitted across training subjects
    subjects, channel_names              that it has seen
    components, variances                (n C, P): row i C + c is channel c at sample i of a window,
                                         the earliest first; (P,)
    template             (n, C, C) of sign_alignment: correlations at lags of the template subject
    attributes           step, parameters, values, sampling_frequency
/geometry/<group>/       where the channels lie, if known; once for all subjects
    channel_names        of the files, before any step
    positions            (C, 3) float64, mm; NaN where unknown
    of labels            image, affine (4, 4), values (C,): the label of each channel
    of maps              weights, voxels, channels (those that are not 0), shape, affine
    of CIFTI             axis: a CIFTI-2 header (XML); rows: channel of each place, -1 for none
    of sensors           loc (C, 12), codes (C, 4): kind, coil, frame, unit, as MNE keeps them
    attributes           kind, values (JSON: file, space, standard)
/truth                   simulations only: kind, arguments (JSON), and arrays as below

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
