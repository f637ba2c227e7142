"""What a store is to hold: the config file, one section per group, and the three lists of subjects."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dynml.configuration import (
    check_choice,
    check_instance,
    check_positive,
    check_texts,
    config_from,
    defaults_of,
    nearest_name,
)
from dynml.conversion.bids.config import BidsConfig
from dynml.errors import ConfigurationError, DataError
from dynml.files import read_json
from dynml.preparation.bad_stretches import BAD_STRETCHES
from dynml.preparation.confounds.config import CleaningConfig
from dynml.readers.formats import check_keys, configs_of_formats
from dynml.reading_files import check_encoding, read_text
from dynml.store import layout
from dynml.stretches import MISSING

STANDARDIZATIONS = ("per_run", "per_subject", "none")
OF_TABLES = ("files", "bids", "events")
"""Keys of a group that a table of files has columns for."""


@dataclass(frozen=True, kw_only=True)
class TimeseriesGroupConfig(CleaningConfig):
    """One group of the store: which files of a subject make its signals, and how they are prepared.

    Paths are relative to the subject's folder, then to the folder of the config file; `files` to the subject's only.
    """

    type: Literal["timeseries"]
    """Kind of the group."""

    files: list[str] = dataclasses.field(default_factory=list)
    """Patterns of the runs' files, in order; files of one pattern are sorted in natural order."""

    bids: dict[str, Any] | None = dataclasses.field(default=None, metadata={"settings": BidsConfig})
    """Runs of BIDS derivatives to use instead of files: a mapping of settings."""

    standardization: Literal["per_run", "per_subject", "none"] = "per_run"
    """Subtract each channel's mean and divide by its standard deviation, in each run or over all runs of a subject."""

    detrend: bool = False
    """Remove each run's linear trend, around the channel's mean."""

    sampling_frequency: float | None = None
    """Samples per second, Hz. Overrides the value in the files, with a warning."""

    repetition_time: float | None = None
    """Seconds between samples, an alternative to `sampling_frequency` for fMRI."""

    exclude_channels: list[str] = dataclasses.field(default_factory=list)
    """Names of channels (labels, parcels, columns) to exclude for all subjects."""

    events: str | None = None
    """Pattern of .tsv files: BIDS events (onset and duration in seconds), or one label per sample."""

    channel_names: str | list[str] | None = None
    """Names of the channels, or a text file with one name per line."""

    match_channels: bool = False
    """Bring the channels of all subjects into the same order by their names."""

    units: str = "arbitrary"
    """Units of the signals before standardization. Overrides the value in the files, with a warning, and converts
    nothing; refused where the numbers can be in the files' units only."""

    encoding: str | None = None
    """Encoding of text in and beside the files (tables, names, annotations); by default UTF-8, or else Windows-1252."""

    missing: Literal["error", "segment", "mask"] = "error"
    """What to do with samples that are NaN or infinite: stop (error), cut them out of the segments, or mask them."""

    bad_stretches: Literal["tell", "cut", "error"] = "tell"
    """What to do with dropouts, constant stretches, clipping and isolated spikes: warn (tell), cut them out of the
    segments, or stop (error)."""

    preparation: list[str | dict[str, Any]] = dataclasses.field(default_factory=list)
    """Steps applied in this order before standardization: {"step": name, parameter: value, ..}, or a name alone."""

    of_formats: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Keys that formats of files have of their own, which stand beside the others in the config file."""

    def __post_init__(self) -> None:
        check_keys(self.of_formats, KEYS_OF_ALL)
        check_choice("type", self.type, [layout.GROUP_TYPE])
        check_choice("standardization", self.standardization, STANDARDIZATIONS)
        check_choice("missing", self.missing, MISSING)
        check_choice("bad_stretches", self.bad_stretches, BAD_STRETCHES)
        for key in ("detrend", "match_channels"):
            check_instance(key, getattr(self, key), bool, "true or false")
        check_texts("files", self.files)
        if not self.files and self.bids is None:
            raise ConfigurationError("files", self.files, "a list of at least one pattern, such as run-*.npy")
        check_texts("exclude_channels", self.exclude_channels)
        check_instance("events", self.events, (str, type(None)), "a path")
        check_instance("units", self.units, str, "a text")
        check_instance("encoding", self.encoding, (str, type(None)), "the name of an encoding, such as latin-1")
        if self.encoding is not None and not check_encoding(self.encoding):
            raise ConfigurationError("encoding", self.encoding, "an encoding that Python knows, such as latin-1")
        if isinstance(self.channel_names, list):
            check_texts("channel_names", self.channel_names)
        check_instance("channel_names", self.channel_names, (str, list, type(None)), "a list of names or a path")
        accepted = 'a list of steps, such as [{"step": "notch", "frequency": 50}]'
        check_instance("preparation", self.preparation, list, accepted)
        self._check_rate()
        super().__post_init__()
        self._check_bids()

    def _check_rate(self) -> None:
        for key in ("sampling_frequency", "repetition_time"):
            value = getattr(self, key)
            check_positive(key, value, optional=True)
            if value is not None and not math.isfinite(value):
                raise ConfigurationError(key, value, "a finite number above 0")
        if self.sampling_frequency is not None and self.repetition_time is not None:
            raise ConfigurationError(
                "repetition_time", self.repetition_time, "left out where sampling_frequency is given"
            )

    def _check_bids(self) -> None:
        if self.bids is None:
            if self.confounds_strategy and self.confounds is None:
                accepted = "a pattern of .tsv files where 'confounds_strategy' is given"
                raise ConfigurationError("confounds", None, accepted)
            return
        check_instance("bids", self.bids, dict, 'a mapping, such as {"pipeline": "fmriprep", "task": "rest"}')
        for key in ("files", "confounds"):
            if getattr(self, key):
                raise ConfigurationError(key, getattr(self, key), "left out where 'bids' finds them")
        if "pipeline" not in self.bids:
            raise ConfigurationError("bids", self.bids, 'a mapping with a key "pipeline": "fmriprep" or "xcp_d"')
        for key, why in self.bids_runs.needless.items():
            value = self.keys[key]
            if value != defaults_of_keys()[key]:
                raise ConfigurationError(key, value, f"left out with {self.bids_runs.pipeline}{why}")

    @property
    def keys(self) -> dict[str, Any]:
        """All keys as the config file has them, defaults included."""
        return defaults_of_keys() | {key: getattr(self, key) for key in KEYS_OF_ALL} | self.of_formats

    @property
    def bids_runs(self) -> BidsConfig:
        """The key `bids`, checked."""
        assert self.bids is not None
        return config_from(BidsConfig, self.bids, "bids")

    @property
    def detrends_as_step(self) -> bool:
        """Say whether the trend is removed by itself; else it goes together with the confounds, as it has to."""
        return self.detrend and not self.cleans

    @property
    def stated_sampling_frequency(self) -> float | None:
        """Rate that the config states, in Hz, or None."""
        return 1.0 / self.repetition_time if self.repetition_time is not None else self.sampling_frequency


KEYS_OF_ALL = tuple(
    key for key in (*TimeseriesGroupConfig.__annotations__, *defaults_of(CleaningConfig)) if key != "of_formats"
)
"""Keys that a group has, whatever its files are."""


def defaults_of_keys() -> dict[str, Any]:
    """Key to default of all keys that a group can have, those of formats last; MISSING where one is needed."""
    of_all = defaults_of(TimeseriesGroupConfig)
    keys = {key: of_all[key] for key in KEYS_OF_ALL}
    for config in configs_of_formats().values():
        keys |= {key: default for key, default in defaults_of(config).items() if key not in keys}
    return keys


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """A config file, checked.

    The file has one entry for each group, and the keys of `layout.TOP_LEVEL_KEYS` beside them.
    """

    groups: dict[str, TimeseriesGroupConfig]

    allow_mixed_sampling_frequency: bool = False
    """Subjects may differ in their sampling frequency."""

    split: str = "participants"
    """"participants", or "runs": runs of one participant may be in several subsets."""

    participants: str | dict[str, Any] | None = None
    """A .tsv file with a column subject (or participant_id) that names the folders, and columns participant, dataset
    and any covariates; or a mapping {"subject": "participant"}, or {"subject": {"participant": .., "dataset": ..}}. By
    default each subject is a participant."""

    folder: Path = Path()
    """Where the config file stands."""
    content: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The config as it was given."""


def read_store_config(path: Path, *, needs_files: bool = True) -> StoreConfig:
    """Read and check a config file; without `needs_files`, a table names the files.

    Raises
    ------
    DynmlError
        For a missing or unreadable file.
    ConfigurationError
        For an unknown or misspelt key, or a value that is not accepted; names the group and the key.
    """
    return store_config_from(read_json(path), path.parent, str(path), needs_files=needs_files)


def store_config_from(content: Any, folder: Path, name: str = "the config", *, needs_files: bool = True) -> StoreConfig:
    """Check a config that is at hand as plain values; `folder` is where its relative paths start."""
    if not isinstance(content, dict):
        raise DataError(
            f'{name} must hold a JSON object of groups, such as {{"signals": {{"type": "timeseries", ..}}}}.'
        )
    settings = {key: value for key, value in content.items() if key in layout.TOP_LEVEL_KEYS}
    sections = {key: value for key, value in content.items() if key not in layout.TOP_LEVEL_KEYS}
    groups = {key: _group_config(key, value, needs_files) for key, value in sections.items()}
    if not groups:
        raise DataError(
            f'{name} names no group; it needs one such as "signals": {{"type": "timeseries", "files": [..]}}.'
        )
    allow_mixed = settings.get(layout.ALLOW_MIXED_SAMPLING_FREQUENCY, False)
    check_instance(layout.ALLOW_MIXED_SAMPLING_FREQUENCY, allow_mixed, bool, "true or false")
    split = settings.get(layout.SPLIT, "participants")
    check_choice(layout.SPLIT, split, ["participants", "runs"])
    participants = settings.get(layout.PARTICIPANTS)
    check_instance(layout.PARTICIPANTS, participants, (str, dict, type(None)), "a path of a .tsv file or a mapping")
    return StoreConfig(
        groups=groups,
        allow_mixed_sampling_frequency=allow_mixed,
        split=split,
        participants=participants,
        folder=folder,
        content=content,
    )


def read_subject_list(path: Path) -> list[str]:
    """Read the names of a subset's subjects: one per line; empty lines and lines that start with # do not count.

    Raises
    ------
    DataError
        For a missing file, a name that stands twice, or one that cannot name a folder.
    """
    try:
        lines = read_text(path).splitlines()
    except DataError as error:
        raise DataError(f"The list of subjects {error}") from error
    subjects = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for subject in subjects:
        if not layout.is_valid_name(subject):
            raise DataError(f"{path} names a subject {subject!r}, which cannot be the name of a folder.")
    seen: set[str] = set()
    for subject in subjects:
        if subject in seen:
            raise DataError(f"Subject {subject} is listed twice in {path}.")
        seen.add(subject)
    return subjects


def read_subsets(lists: dict[str, Path]) -> dict[str, list[str]]:
    """Read the lists of all subsets, which may be empty, but not all, and share no subject.

    Parameters
    ----------
    lists : dict
        Subset name to text file.

    Raises
    ------
    DataError
        When a subject stands twice, or no list names any.
    """
    subsets = {subset: read_subject_list(path) for subset, path in lists.items()}
    home: dict[str, str] = {}
    for subset, subjects in subsets.items():
        for subject in subjects:
            if subject in home:
                raise DataError(
                    f"Subject {subject} stands in two lists: {lists[home[subject]]} ({home[subject]}) and "
                    f"{lists[subset]} ({subset})."
                )
            home[subject] = subset
    if not home:
        raise DataError(f"None of the lists {', '.join(map(str, lists.values()))} names a subject.")
    return subsets


def _group_config(name: str, values: Any, needs_files: bool) -> TimeseriesGroupConfig:
    if not layout.is_valid_name(name):
        raise DataError(f"{name!r} cannot name a group of the store: use letters, digits, - and _.")
    if not isinstance(values, dict):
        raise ConfigurationError(name, values, f"a known key or a group{nearest_name(name, layout.TOP_LEVEL_KEYS)}")
    if not needs_files:
        values = _without_files(name, values)
    for key in ("type", "files"):
        if key not in values and (key == "type" or values.get("bids") is None):
            near = nearest_name(name, layout.TOP_LEVEL_KEYS)
            hint = near if "did you mean" in near else ""
            raise DataError(f"Group {name!r} of the config has no {key!r}{hint}.")
    if isinstance(values.get("files"), str):
        values = {**values, "files": [values["files"]]}
    of_all = {key: value for key, value in values.items() if key in KEYS_OF_ALL}
    of_formats = {key: value for key, value in values.items() if key not in KEYS_OF_ALL}
    try:
        return TimeseriesGroupConfig(**of_all, of_formats=of_formats)
    except ConfigurationError as error:
        if error.key.startswith(f"{name}."):
            raise
        raise ConfigurationError(f"{name}.{error.key}", error.found, error.accepted) from error


def _without_files(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Refuse what a table says, and fill in its place."""
    for key in OF_TABLES:
        if key in values:
            raise ConfigurationError(f"{name}.{key}", values[key], "left out where a table names the files")
    return {**values, "files": ["as the table says"]}
