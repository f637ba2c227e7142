"""What a store is to hold: the config file, one section a group, and the three lists of subjects."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dynml.configuration import check_choice, check_positive, config_from, nearest_name
from dynml.conversion.bids.config import BidsConfig
from dynml.errors import ConfigurationError, DataError
from dynml.files import read_json
from dynml.preparation.bad_stretches import BAD_STRETCHES
from dynml.preparation.confounds.config import check_strategy
from dynml.readers.fmri.motion_config import MotionCorrectionConfig
from dynml.reading_files import check_encoding, read_text
from dynml.store import layout

STANDARDIZATIONS = ("per_run", "per_subject", "none")
TIME_AXES = ("first", "last")
MISSING = ("error", "segment", "mask")
OF_TABLES = ("files", "bids", "events")
"""Keys of a group that a table of files has columns for."""


@dataclass(frozen=True, kw_only=True)
class TimeseriesGroupConfig:
    """One group of the store: which files of a subject make its signals, and how they are prepared.

    Paths are relative to the subject's folder, then to the folder of the config file; `files` to the subject's only.
    """

    type: Literal["timeseries"]
    """Kind of the group."""

    files: list[str] = dataclasses.field(default_factory=list)
    """Patterns of the runs' files. Patterns count in their order, the files of one pattern in natural order."""

    bids: dict[str, Any] | None = None
    """Which runs of BIDS derivatives to take, instead of `files`; see `BidsConfig`."""

    standardization: Literal["per_run", "per_subject", "none"] = "per_run"
    """Subtract each channel's mean and divide by its standard deviation, in each run or over all runs of a subject."""

    detrend: bool = False
    """Remove each run's linear trend, around the channel's mean."""

    sampling_frequency: float | None = None
    """Samples per second, Hz. Overrides what the files say, with a warning."""

    repetition_time: float | None = None
    """Seconds between samples: the same as `sampling_frequency`, as fMRI states it."""

    variable: str | None = None
    """Name of the array inside .mat and .npz files, or its path inside .h5 and .hdf5 files; by default the only one."""

    time_axis: Literal["first", "last"] = "first"
    """Which axis of the files' arrays is time: "first" for time x channels, "last" for channels x time."""

    atlas: str | None = None
    """NIfTI image of whole-number labels, whose voxels are averaged, or of one map a channel; .dlabel.nii for CIFTI."""

    atlas_labels: str | list[str] | dict[str, str] | None = None
    """Names of the atlas' labels: a list, a mapping {value: name}, a .json file of either, or a .tsv (index, name)."""

    mask: str | None = None
    """NIfTI image of the voxels to use, or "auto": the brain as dipy's median_otsu finds it in each run's mean."""

    motion_correction: bool | dict[str, Any] = False
    """Take the head's motion out of NIfTI images before anything else: true, or see `MotionCorrectionConfig`."""

    smoothing: float | None = None
    """Full width at half maximum, mm, of the Gaussian that smooths NIfTI images before the atlas."""

    confounds: str | None = None
    """Pattern of .tsv files of confounds, one a run, as fMRIPrep writes them; BIDS derivatives find their own."""

    confounds_strategy: list[str] = dataclasses.field(default_factory=list)
    """What to remove: motion, wm_csf, global_signal, compcor, high_pass, scrub, or names of columns."""

    confounds_parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Parameters of the strategies, under nilearn's names, such as {"motion": "basic", "fd_threshold": 0.2}."""

    high_pass: float | None = None
    """Hz; lower frequencies are removed together with the confounds."""

    low_pass: float | None = None
    """Hz; higher frequencies are removed together with the confounds."""

    exclude_channels: list[str] = dataclasses.field(default_factory=list)
    """Names of channels (labels, parcels, columns) to leave out of the files of all subjects."""

    events: str | None = None
    """Pattern of .tsv files: BIDS events (onset and duration in seconds), or one label per sample."""

    channel_names: str | list[str] | None = None
    """Names of the channels, or a text file with one name a line."""

    match_channels: bool = False
    """Bring channels that subjects have in different orders into one order, by their names."""

    units: str = "arbitrary"
    """Units of the signals before standardization. Overrides what the files say, with a warning."""

    picks: str | list[str] | None = None
    """Channels of files that mne reads: types (eeg, meg, mag, misc, ..) or names; all data channels by default."""

    include_bads: bool = False
    """Keep channels that such a file marks as bad."""

    encoding: str | None = None
    """Encoding of text in and beside the files (tables, names, annotations); by default UTF-8, or else Windows-1252."""

    missing: Literal["error", "segment", "mask"] = "error"
    """What to do with samples that are NaN or infinite: refuse them, cut them out of the segments, or mask them."""

    bad_stretches: Literal["tell", "cut", "error"] = "tell"
    """What to do with dropouts, held values, clipping and isolated spikes: tell of them, make gaps of them, or refuse
    them."""

    preparation: list[str | dict[str, Any]] = dataclasses.field(default_factory=list)
    """Steps applied in this order before standardization: {"step": name, parameter: value, ..}, or a name alone."""

    def __post_init__(self) -> None:
        check_choice("type", self.type, [layout.GROUP_TYPE])
        check_choice("standardization", self.standardization, STANDARDIZATIONS)
        check_choice("missing", self.missing, MISSING)
        check_choice("bad_stretches", self.bad_stretches, BAD_STRETCHES)
        _check_type("detrend", self.detrend, bool, "true or false")
        for key in ("sampling_frequency", "repetition_time"):
            value = getattr(self, key)
            check_positive(key, value, optional=True)
            if value is not None and not math.isfinite(value):
                raise ConfigurationError(key, value, "a finite number above 0")
        if self.sampling_frequency is not None and self.repetition_time is not None:
            raise ConfigurationError(
                "repetition_time", self.repetition_time, "left out where sampling_frequency is given"
            )
        _check_texts("files", self.files)
        if not self.files and self.bids is None:
            raise ConfigurationError("files", self.files, "a list of at least one pattern, such as run-*.npy")
        self._check_bids()
        self._check_cleaning()
        self._check_motion()
        _check_texts("exclude_channels", self.exclude_channels)
        for key in ("atlas", "mask", "events", "confounds"):
            _check_type(key, getattr(self, key), (str, type(None)), "a path")
        _check_type("picks", self.picks, (str, list, type(None)), "a type of channels, a name, or a list of them")
        if self.picks is not None:
            _check_texts("picks", [self.picks] if isinstance(self.picks, str) else self.picks)
        if self.picks == []:
            raise ConfigurationError("picks", self.picks, "left out, or a list of at least one type or name")
        _check_type("include_bads", self.include_bads, bool, "true or false")
        check_choice("time_axis", self.time_axis, TIME_AXES)
        if not (self.variable is None or (isinstance(self.variable, str) and self.variable.strip("/"))):
            raise ConfigurationError("variable", self.variable, "the name of an array in the files")
        _check_type("units", self.units, str, "a text")
        _check_type("encoding", self.encoding, (str, type(None)), "the name of an encoding, such as latin-1")
        if self.encoding is not None and not check_encoding(self.encoding):
            raise ConfigurationError("encoding", self.encoding, "an encoding that Python knows, such as latin-1")
        _check_type("match_channels", self.match_channels, bool, "true or false")
        if isinstance(self.channel_names, list):
            _check_texts("channel_names", self.channel_names)
        _check_type("channel_names", self.channel_names, (str, list, type(None)), "a list of names or a path")
        _check_type("atlas_labels", self.atlas_labels, (str, list, dict, type(None)), "a path, a list or a mapping")
        _check_type(
            "preparation", self.preparation, list, 'a list of steps, such as [{"step": "notch", "frequency": 50}]'
        )

    def _check_bids(self) -> None:
        if self.bids is None:
            return
        _check_type("bids", self.bids, dict, 'a mapping, such as {"pipeline": "fmriprep", "task": "rest"}')
        if self.files:
            raise ConfigurationError("files", self.files, "left out where 'bids' finds them")
        if self.confounds is not None:
            raise ConfigurationError("confounds", self.confounds, "left out where 'bids' finds them")
        if "pipeline" not in self.bids:
            raise ConfigurationError("bids", self.bids, 'a mapping with a key "pipeline": "fmriprep" or "xcp_d"')
        if self.bids_runs.pipeline == "xcp_d" and self.confounds_strategy:
            accepted = "left out with xcp_d, which has removed the confounds"
            raise ConfigurationError("confounds_strategy", self.confounds_strategy, accepted)

    def _check_cleaning(self) -> None:
        for key in ("smoothing", "high_pass", "low_pass"):
            check_positive(key, getattr(self, key), optional=True)
        if self.high_pass is not None and self.low_pass is not None and not self.high_pass < self.low_pass:
            raise ConfigurationError("high_pass", self.high_pass, f"below low_pass, {self.low_pass} Hz")
        _check_texts("confounds_strategy", self.confounds_strategy)
        _check_type("confounds_parameters", self.confounds_parameters, dict, "a mapping of names to values")
        check_strategy(self.confounds_strategy, self.confounds_parameters)
        if self.confounds is not None and not self.confounds_strategy:
            accepted = "a list such as ['motion', 'wm_csf', 'high_pass'] where 'confounds' is given"
            raise ConfigurationError("confounds_strategy", self.confounds_strategy, accepted)
        if self.confounds_strategy and self.confounds is None and self.bids is None:
            raise ConfigurationError("confounds", None, "a pattern of .tsv files where 'confounds_strategy' is given")

    def _check_motion(self) -> None:
        accepted = 'true, false, or a mapping such as {"reference": "mean"}'
        _check_type("motion_correction", self.motion_correction, (bool, dict), accepted)
        if self.motion is not None and self.bids is not None and self.bids_runs.pipeline == "xcp_d":
            raise ConfigurationError("motion_correction", self.motion_correction, "left out with xcp_d")

    @property
    def motion(self) -> MotionCorrectionConfig | None:
        """The key `motion_correction`, checked; None where it is off."""
        if self.motion_correction is False:
            return None
        values = {} if self.motion_correction is True else self.motion_correction
        return config_from(MotionCorrectionConfig, values, "motion_correction")

    @property
    def bids_runs(self) -> BidsConfig:
        """The key `bids`, checked."""
        assert self.bids is not None
        return config_from(BidsConfig, self.bids, "bids")

    @property
    def cleans(self) -> bool:
        """Say whether confounds or frequencies are removed from each run after it was read."""
        return bool(self.confounds_strategy) or self.high_pass is not None or self.low_pass is not None

    @property
    def detrends_as_step(self) -> bool:
        """Say whether the trend is removed by itself; else it goes together with the confounds, as it has to."""
        return self.detrend and not self.cleans

    @property
    def stated_sampling_frequency(self) -> float | None:
        """Rate that the config states, in Hz, or None."""
        return 1.0 / self.repetition_time if self.repetition_time is not None else self.sampling_frequency


@dataclass(frozen=True, kw_only=True)
class StoreConfig:
    """A config file, checked.

    Beside the groups it may hold `allow_mixed_sampling_frequency` (bool), `split` ("participants", or "runs" where runs
    of one participant may stand in several subsets) and `participants`: a .tsv file with a column `subject` (or BIDS's
    `participant_id`) that names the folders and columns `participant`, `dataset` and any covariate, or a mapping
    {subject: participant} or {subject: {"participant": .., "dataset": .., ..}}.
    """

    groups: dict[str, TimeseriesGroupConfig]
    allow_mixed_sampling_frequency: bool = False
    split: str = "participants"
    participants: str | dict[str, Any] | None = None
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
    _check_type(layout.ALLOW_MIXED_SAMPLING_FREQUENCY, allow_mixed, bool, "true or false")
    split = settings.get(layout.SPLIT, "participants")
    check_choice(layout.SPLIT, split, ["participants", "runs"])
    participants = settings.get(layout.PARTICIPANTS)
    _check_type(layout.PARTICIPANTS, participants, (str, dict, type(None)), "a path of a .tsv file or a mapping")
    return StoreConfig(
        groups=groups,
        allow_mixed_sampling_frequency=allow_mixed,
        split=split,
        participants=participants,
        folder=folder,
        content=content,
    )


def read_subject_list(path: Path) -> list[str]:
    """Read the names of a subset's subjects: one a line; empty lines and lines that start with # do not count.

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
            raise DataError(f"Subject {subject} stands twice in {path}.")
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
    try:
        return config_from(TimeseriesGroupConfig, values, name)
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


def _check_type(key: str, value: object, types: type | tuple[type, ...], accepted: str) -> None:
    if not isinstance(value, types):
        raise ConfigurationError(key, value, accepted)


def _check_texts(key: str, values: object) -> None:
    if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
        raise ConfigurationError(key, values, "a list of texts")
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise ConfigurationError(key, values, f"a list without repetitions ({twice!r} stands twice)")
