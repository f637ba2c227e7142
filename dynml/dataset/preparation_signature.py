"""What was done to the signals of a dataset, as plain values that another dataset's can be held against.

What may differ between data that are alike does not stand in it: names of files and subjects, events, covariates,
versions of libraries, and what steps found in a recording (moments, numbers of bad samples).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.conversion.config import defaults_of_keys
from dynml.dataset.signal_source import SignalSource
from dynml.preparation.chain import step_class
from dynml.preparation.confounds.config import STRATEGIES, with_defaults
from dynml.preparation.fitted.fitted_step import FittedStep
from dynml.readers.formats import readers
from dynml.store.fits import read_fits
from dynml.store.reading import Store

STANDARDIZE, SELECT_CHANNELS = "standardize", "select_channels"
EITHER_METHOD = "per_run or per_subject"
"""Of arrays of one run each, where both are the same."""

UNKNOWN_UNITS = "arbitrary"
RATE_OF_ARRAYS = 1.0
"""Hz, of arrays whose rate was not given."""

_FIELDS_OF_NOTES: dict[str, tuple[str, ...]] = {
    STANDARDIZE: ("method",),
    "clean": ("high_pass", "low_pass", "detrend"),
}
"""Settings in the notes of what is no `PreparationStep` and no reader; the rest was found in a recording."""

_SEEN_OTHERWISE = frozenset(
    {
        *("standardization", "detrend", "preparation", "high_pass", "low_pass"),
        *("sampling_frequency", "repetition_time", "units"),
        *("channel_names", "exclude_channels", "match_channels"),
    }
)
"""Keys of every group whose effect is in the notes of the steps, the rates, or the names of the channels."""

_NO_PREPARATION = frozenset({"type", "files", "events", "confounds", "encoding", "bad_stretches"})
"""Keys of every group that say where signals or events are found and read, or which stretches of them are used."""

_CHOICE_OF_RUNS = frozenset({"task", "session", "run", "raw"})
"""Settings of the key `bids` that say which runs are taken."""

_ROWS_OF_A_SAMPLE, _MOST_SUBJECTS, _FEWEST_ROWS = 4096, 64, 8
_SKETCHES = 4


def preparation_signature(source: SignalSource, group: str, subjects: Sequence[str]) -> dict[str, Any]:
    """Describe how the signals of some subjects were prepared.

    Parameters
    ----------
    source : SignalSource
        A store or arrays, before any embedding on the fly.
    group : str
    subjects : sequence of str
        At least one.

    Returns
    -------
    dict
        `of` ("store" or "arrays"), `standardization`, `units`, `sampling_frequencies` (Hz), `channel_names`, `steps`
        (in their order), `settings` of the store's config, `fits` (figures by which a fit is known again), `files`
        (name and SHA-256 of atlas and mask, of stores that hold them). What is not known of arrays is None.
    """
    first = source.attributes(subjects[0], group)
    steps = [_settings_of_step(note) for note in first.preparation]
    steps = [step for step in steps if step["step"] != SELECT_CHANNELS]
    methods = [step["method"] for step in steps if step["step"] == STANDARDIZE]
    is_store = isinstance(source, Store)
    signature: dict[str, Any] = {
        "of": "store" if is_store else "arrays",
        "standardization": methods[-1] if methods else "none",
        "units": first.units,
        "sampling_frequencies": sorted({source.attributes(name, group).sampling_frequency for name in subjects}),
        "channel_names": list(first.channel_names),
        "steps": steps[:-1] if steps and steps[-1]["step"] == STANDARDIZE else steps,
        "settings": {},
        "fits": {},
        "files": {},
    }
    if isinstance(source, Store):
        signature["files"] = source.shared_files.get(group, {})
        return signature | {"settings": _settings_of_store(source, group), "fits": _fits_of_store(source, group)}
    return signature | _known_of_arrays(source, group, subjects, signature)


def _known_of_arrays(
    source: SignalSource, group: str, subjects: Sequence[str], signature: Mapping[str, Any]
) -> dict[str, Any]:
    """What plain arrays leave open: they may have been prepared before they were given."""
    known: dict[str, Any] = {"settings": None, "fits": None}
    if not signature["steps"]:
        known["steps"] = None
        if signature["standardization"] == "none":
            known["standardization"] = None
    if signature["standardization"] in ("per_run", "per_subject") and all(
        len(source.run_names(name, group)) == 1 for name in subjects
    ):
        known["standardization"] = EITHER_METHOD
    if signature["sampling_frequencies"] == [RATE_OF_ARRAYS]:
        known["sampling_frequencies"] = None
    if all(re.fullmatch(r"channel_\d+", name) for name in signature["channel_names"]):
        known["channel_names"] = None
    return known


def _settings_of_step(note: Mapping[str, Any]) -> dict[str, Any]:
    """Name and parameters of a noted step, without those that are null or that it found by itself."""
    name = str(note.get("step"))
    of_notes = _FIELDS_OF_NOTES | {key: fields for one in readers() for key, fields in one.settings_of_notes.items()}
    kind = None if name in of_notes else step_class(name)
    if kind is not None:
        of_fit = kind.settings_of_fit if issubclass(kind, FittedStep) else ()
        kept = tuple(one.name for one in dataclasses.fields(kind) if one.name not in of_fit)  # type: ignore[arg-type]
    else:
        kept = of_notes.get(name, ())
    return {"step": name, **{key: note[key] for key in kept if note.get(key) is not None}}


def _settings_of_store(store: Store, group: str) -> dict[str, Any]:
    """Keys of the group's config that are not their defaults and change the signals in a way that no note tells."""
    section = store.config.get(group)
    if not isinstance(section, dict) or section.get("type") != "timeseries":
        return {}
    defaults = defaults_of_keys()
    given = {
        key: value
        for key, value in section.items()
        if key not in keys_seen_otherwise() and value not in (defaults.get(key), None, [], {})
    }
    for key in {key for one in readers() for key in one.Config.files} & set(given):
        given[key] = PurePath(str(given[key])).name
    bids = given.pop("bids", None)
    if isinstance(bids, dict):
        chosen = {key: value for key, value in bids.items() if key not in _CHOICE_OF_RUNS and value is not None}
        given |= {f"bids.{key}": value for key, value in chosen.items() if (key, value) != ("brain_mask", True)}
    return given | _confounds(given)


def keys_seen_otherwise() -> frozenset[str]:
    """Keys of groups that two preparations may differ in, those of formats included."""
    return _SEEN_OTHERWISE.union(_NO_PREPARATION, *(one.Config.seen_otherwise for one in readers()))


def _confounds(given: Mapping[str, Any]) -> dict[str, Any]:
    """Confounds in an order of their own, with the parameters that are in use, defaults included."""
    strategy = given.get("confounds_strategy")
    if not strategy:
        return {}
    found: dict[str, Any] = {"confounds_strategy": sorted(strategy)}
    users = {"n_compcor": "compcor", "fd_threshold": "scrub", "std_dvars_threshold": "scrub"}
    parameters = with_defaults(given.get("confounds_parameters") or {})
    in_use = {key: value for key, value in parameters.items() if users.get(key, key) in strategy}
    if in_use and set(strategy) & set(STRATEGIES):
        found["confounds_parameters"] = in_use
    return found


def _fits_of_store(store: Store, group: str) -> dict[str, Any]:
    return {
        name: {"n_subjects": len(fit.subjects), "arrays": {key: sketch(array) for key, array in fit.arrays.items()}}
        for name, fit in read_fits(store, group).items()
    }


def sketch(array: NDArray[Any]) -> dict[str, Any]:
    """A few numbers by which an array is known again, but for rounding: its shape, its norm, and projections.

    A projection is u^T A v with vectors of standard normal draws that depend on the shape alone; over such vectors its
    standard deviation is the norm of A, so that arrays which differ by a share of their norm differ by it here.
    """
    matrix = (
        np.asarray(array, dtype=np.float64).reshape(len(array), -1) if np.ndim(array) else np.reshape(array, (1, 1))
    )
    generator = np.random.default_rng(0)
    projections = []
    for _ in range(_SKETCHES):
        left, right = generator.normal(size=matrix.shape[0]), generator.normal(size=matrix.shape[1])
        projections.append(float(left @ matrix @ right))
    return {"shape": list(np.shape(array)), "norm": float(np.linalg.norm(matrix)), "projections": projections}


def scales(source: SignalSource, group: str, subjects: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Typical standard deviation and size of the mean of each subject: medians over its channels.

    They are those of at most 4096 rows amid the longest segment, masked ones left out. A subject with fewer than 8 such
    rows is not among them.
    """
    found = {}
    for name in subjects:
        segments = source.segments(name, group)
        if not len(segments):
            continue
        start, stop = segments[int(np.argmax(segments[:, 1] - segments[:, 0]))].tolist()
        first = start + max(0, stop - start - _ROWS_OF_A_SAMPLE) // 2
        rows = source.read(name, group, first, min(stop, first + _ROWS_OF_A_SAMPLE)).astype(np.float64)
        rows = rows[np.isfinite(rows).all(axis=1)]
        if len(rows) >= _FEWEST_ROWS:
            found[name] = float(np.median(rows.std(axis=0))), float(np.median(np.abs(rows.mean(axis=0))))
    return found


def scale_of_training(source: SignalSource, group: str, subjects: Sequence[str]) -> dict[str, list[float]] | None:
    """Smallest and largest typical standard deviation and mean of (at most 64, evenly spaced) training subjects."""
    numbers = np.unique(np.linspace(0, len(subjects) - 1, min(len(subjects), _MOST_SUBJECTS)).astype(int))
    found = list(scales(source, group, [subjects[number] for number in numbers]).values()) if len(subjects) else []
    if not found:
        return None
    deviations, means = zip(*found)
    return {"standard_deviation": [min(deviations), max(deviations)], "mean": [min(means), max(means)]}


class PreparedDataset:
    """The part of a dataset that knows how its signals were prepared.

    Attributes
    ----------
    group : str
        The first one.
    """

    group: str

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of the store."""
        raise NotImplementedError

    @property
    def stored_source(self) -> SignalSource:
        """The source of all channels as they are stored."""
        raise NotImplementedError

    def stored_subjects(self, group: str, subjects: Sequence[str] | None = None) -> list[str]:
        """Names in the store of those of some subjects (default: all) that come from a group."""
        raise NotImplementedError

    @property
    def preparation(self) -> dict[str, Any]:
        """How the stored signals (of the first group) were prepared, see `preparation_signature`."""
        return self.preparations[self.group]

    @cached_property
    def preparations(self) -> dict[str, dict[str, Any]]:
        """The same for each group."""
        stored = self.stored_source
        return {one: preparation_signature(stored, one, self.stored_subjects(one)) for one in self.groups}

    def scale_of(self, training: Sequence[str]) -> dict[str, list[float]] | None:
        """As `scale_of_training`, over all groups."""
        parts = [scale_of_training(self.stored_source, one, self.stored_subjects(one, training)) for one in self.groups]
        found = [part for part in parts if part is not None]
        if not found:
            return None
        return {key: [min(one[key][0] for one in found), max(one[key][1] for one in found)] for key in found[0]}
