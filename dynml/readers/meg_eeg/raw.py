"""Continuous recordings that mne opens: their channels, their good stretches, and what happened in them."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.readers.formats import extension_of
from dynml.readers.meg_eeg.encodings import open_brainvision, open_edf, open_eeglab
from dynml.readers.meg_eeg.headers import check_brainvision_is_whole, check_one_rate, edf_header
from dynml.readers.meg_eeg.library import LOUDNESS
from dynml.readers.meg_eeg.picks import ChosenChannels, PicksConfig, chosen_channels
from dynml.readers.meg_eeg.volts import Scaling, scaling_of
from dynml.readers.reader import FileDescription, FileEvents
from dynml.reading_files import is_file
from dynml.tables import NOT_AVAILABLE

OPENERS = {
    ".edf": "read_raw_edf",
    ".bdf": "read_raw_bdf",
    ".vhdr": "read_raw_brainvision",
    ".set": "read_raw_eeglab",
}
COLUMN = "description"
BAD, EDGE = "BAD", "EDGE"
BOUNDARY, NEW_SEGMENT = "BOUNDARY", "NEW SEGMENT"
"""Where EEGLAB and BrainVision mark that a recording was cut and goes on; how much is gone is no duration here."""
NUMBERED_BOUNDARY = re.compile(r"-99(\.0*)?")
"""The same in EEGLAB's files whose types of events are numbers."""
COMMENT = "Comment/"
"""What BrainVision files put before annotations that mne wrote."""
BYTES_PER_BLOCK = 64 * 1024**2
HALF_AND_ROUNDING = 0.5 + 1e-6


def open_raw(mne: Any, path: Path, **settings: Any) -> Any:
    """Open a recording by its extension, without reading its signals."""
    opener = OPENERS.get(extension_of(path))
    if opener is None:
        return mne.io.read_raw_fif(path, on_split_missing="raise", verbose=LOUDNESS)
    reads = functools.partial(getattr(mne.io, opener), verbose=LOUDNESS)
    if opener == "read_raw_brainvision":
        return open_brainvision(reads, path, **settings)
    return (open_eeglab if opener == "read_raw_eeglab" else open_edf)(reads, path, **settings)


@dataclass(frozen=True)
class RawFile:
    """An open recording, and the channels that are meant."""

    raw: Any
    channels: ChosenChannels
    scaling: Scaling | None = None
    """Of EDF and BDF files, of whose units mne scales two and takes all others for volts."""


def opened_raw(mne: Any, path: Path, config: PicksConfig) -> RawFile:
    """Open a recording, choose its channels, and check that its file is whole.

    Raises
    ------
    DataError
        When channels are not there, or differ in their rate; `DataCorruptionError` when the file is truncated.
    """
    extension = extension_of(path)
    header = edf_header(path) if extension in (".edf", ".bdf") else None
    raw = open_raw(mne, path)
    channels = chosen_channels(raw, config, path)
    scaling = None
    if header is not None and len(header.rates) == len(raw.ch_names):
        check_one_rate(path, header, raw.ch_names, channels.indices)
        scaling = scaling_of([header.units[channel] for channel in channels.indices], channels.names, path)
        if header.rates[channels.indices[0]] != max(header.rates):
            # Beside a faster channel mne gives all at its rate; alone, slower ones keep their own.
            raw = open_raw(mne, path, include=list(channels.names))
            channels = chosen_channels(raw, config, path)
    if extension == ".vhdr":
        check_brainvision_is_whole(path, raw.n_times, len(raw.ch_names), Path(raw.filenames[0]))
    return RawFile(raw, channels, scaling)


def describe_raw(file: RawFile, path: Path) -> FileDescription:
    """Say what a recording holds.

    Raises
    ------
    DataError
        When all of it is marked bad.
    """
    raw, channels = file.raw, file.channels
    rate = float(raw.info["sfreq"])
    marks = _marks(raw, channels.names, of_eeglab=extension_of(path) == ".set")
    stretches = good_stretches(raw.n_times, marks.bad, marks.joints)
    if not len(stretches):
        raise DataError(f"{path}: annotations mark all {raw.n_times} samples as bad.")
    scaling = Scaling((), channels.units) if file.scaling is None else file.scaling
    warned = [*channels.warned, *scaling.warned]
    if any(not projection["active"] for projection in raw.info["projs"]):
        warned.append("projections (SSP, average reference) are in the file but not applied")
    if marks.n_outside:
        warned.append(f"{marks.n_outside} annotations lie outside of the recording and were left out")
    return FileDescription(
        n_samples=int(raw.n_times),
        n_channels=len(channels.indices),
        channel_names=channels.names,
        sampling_frequency=rate,
        warned=tuple(warned),
        stretches=stretches,
        events=marks.events,
        units=scaling.units,
        units_fault=scaling.fault,
        further_files=further_files(raw, path),
        bad_channels=channels.bads,
    )


def read_raw(file: RawFile) -> NDArray[np.float64]:
    """Read the signals, (T, C), in SI units, a block at a time, so that memory holds them once."""
    raw, indices = file.raw, list(file.channels.indices)
    factors = None if file.scaling is None else np.array(file.scaling.factors) / _factors_of_mne(raw, indices)
    signals = np.empty((raw.n_times, len(indices)))
    n_rows = max(1, BYTES_PER_BLOCK // (8 * len(indices)))
    for start in range(0, len(signals), n_rows):
        stop = min(start + n_rows, len(signals))
        signals[start:stop] = raw.get_data(picks=indices, start=start, stop=stop, verbose=LOUDNESS).T
        if factors is not None and (factors != 1).any():
            signals[start:stop] *= factors
    return signals


def _factors_of_mne(raw: Any, indices: Sequence[int]) -> NDArray[np.float64]:
    """What mne multiplies the numbers of an EDF or BDF file by, (C,)."""
    return np.asarray(raw._raw_extras[0]["units"], dtype=np.float64)[list(indices)]


def further_files(recording: Any, path: Path) -> tuple[Path, ...]:
    """Files beside the named one that the signals come from: later parts, or where a header leads to."""
    files = [path.parent / Path(name).name for name in getattr(recording, "filenames", ()) if name is not None]
    return tuple(dict.fromkeys(file for file in files if file.name != path.name and is_file(file)))


def good_stretches(n_samples: int, bad: Sequence[tuple[int, int]], joints: Sequence[int] = ()) -> NDArray[np.int64]:
    """Stretches [start, stop) between bad ones, (n, 2), ascending; none goes over a joint.

    Parameters
    ----------
    n_samples : int
    bad : sequence of (start, stop)
        In samples; may overlap.
    joints : sequence of int
        Samples before which the recording was cut.
    """
    is_good = np.ones(n_samples, dtype=bool)
    for start, stop in bad:
        is_good[max(start, 0) : max(stop, 0)] = False
    starts = np.ones(n_samples, dtype=bool)
    starts[1:] = is_good[1:] != is_good[:-1]
    starts[[joint for joint in joints if 0 <= joint < n_samples]] = True
    borders = np.append(np.flatnonzero(starts), n_samples)
    stretches = np.stack([borders[:-1], borders[1:]], axis=1)
    return stretches[is_good[stretches[:, 0]]].astype(np.int64)


@dataclass(frozen=True)
class _Marks:
    """Annotations of a recording, by what they mean."""

    bad: list[tuple[int, int]]
    joints: list[int]
    events: FileEvents | None
    n_outside: int


def _is_joint(text: str, *, of_eeglab: bool) -> bool:
    """Say whether an annotation marks that a recording was cut and goes on."""
    meaning = text.removeprefix(COMMENT).strip().upper()
    if of_eeglab and NUMBERED_BOUNDARY.fullmatch(meaning):
        return True
    return meaning.startswith((EDGE, NEW_SEGMENT)) or meaning == BOUNDARY


def _marks(raw: Any, channel_names: Sequence[str], *, of_eeglab: bool) -> _Marks:
    """Sort annotations into bad stretches, joints and events, in samples from the first of the file."""
    annotations, n_samples = raw.annotations, int(raw.n_times)
    starts, stops = _samples(raw)
    bad: list[tuple[int, int]] = []
    joints: list[int] = []
    kept: list[int] = []
    n_outside = 0
    for number, text in enumerate(annotations.description):
        start, stop = int(starts[number]), int(stops[number])
        concerned = set(annotations.ch_names[number])
        meaning = text.removeprefix(COMMENT).strip().upper()
        if _is_joint(text, of_eeglab=of_eeglab):
            joints.append(start)
        elif meaning.startswith(BAD):
            if concerned and concerned.isdisjoint(channel_names):
                continue
            bad.append((start, stop))
            # A bad stretch of no length is how joined recordings mark their border.
            joints += [start] if start == stop else []
        elif 0 <= start < n_samples:
            kept.append(number)
        else:
            n_outside += 1
    kept.sort(key=lambda number: int(starts[number]))
    onset = starts[kept]
    events = FileEvents(
        onset=onset,
        duration=np.minimum(stops[kept], n_samples) - onset,
        labels={COLUMN: [annotations.description[number].strip() or NOT_AVAILABLE for number in kept]},
    )
    return _Marks(bad, joints, events if kept else None, n_outside)


def _samples(raw: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First sample of each annotation and the one after its last; sample 0 is the first of the file.

    mne counts onsets from the start of the measurement, `first_samp` samples before the first of the file.
    """
    rate, annotations = float(raw.info["sfreq"]), raw.annotations
    before = raw.first_samp / rate
    if annotations.orig_time is not None:
        before += (raw.info["meas_date"] - annotations.orig_time).total_seconds()
    onset = np.asarray(annotations.onset, dtype=np.float64) - before
    stop = onset + np.asarray(annotations.duration, dtype=np.float64)
    starts, stops = (np.floor(seconds * rate + HALF_AND_ROUNDING).astype(np.int64) for seconds in (onset, stop))
    return starts, stops
