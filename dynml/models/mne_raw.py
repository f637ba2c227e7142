"""Alpha as MNE's raw object: one channel per state, NaN and BAD annotations where nothing was observed.

mne is imported where it is used.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DynmlError
from dynml.recording import NO_LABEL, Events
from dynml.stretches import stretches_of

UNOBSERVED, VISIT = "BAD_unobserved", "{component}-{number}"


def raw_of_alpha(
    alpha: NDArray[np.float32],
    sampling_frequency: float,
    *,
    first_sample: int = 0,
    events: Events | None = None,
    first_row: int = 0,
    visits_of: NDArray[np.int64] | None = None,
    segments: NDArray[np.int64] | None = None,
    component: str = "state",
) -> Any:
    """Make a raw object.

    Parameters
    ----------
    alpha : array, (T, K)
        NaN where nothing was observed.
    sampling_frequency : float
        Hz.
    first_sample : int
        `first_samp`: number of the first sample in the original recording.
    events : Events, optional
        In stored rows. Each column of labels becomes a stimulus channel: the label's number from 1, 0 outside events.
        What the numbers mean stands in `raw.info["description"]` as JSON.
    first_row : int
        Stored row of the first sample.
    visits_of : array, (T,), optional
        State of each sample, from 0 and below 0 for none: each visit is annotated.
    segments : array, (n, 2), optional
        In samples of alpha; no visit reaches over their borders.
    component : str
        What channels are called: state-1, mode-1, ..

    Returns
    -------
    mne.io.RawArray
        Alpha in channels of the type misc; `BAD_unobserved` where it is NaN.

    Raises
    ------
    DynmlError
        When mne is not installed.
    """
    mne = _mne()
    names = [VISIT.format(component=component, number=number) for number in range(1, alpha.shape[1] + 1)]
    stimuli, meaning = _stimuli(events, first_row, first_row + len(alpha))
    info = mne.create_info(
        [*names, *(f"STI {column}" for column in stimuli)],
        sampling_frequency,
        ["misc"] * len(names) + ["stim"] * len(stimuli),
    )
    if meaning:
        info["description"] = json.dumps(meaning)
    data = np.concatenate([alpha.T.astype(np.float64), *(channel[None] for channel in stimuli.values())])
    raw = mne.io.RawArray(data, info, first_samp=first_sample, verbose="error")
    unobserved = np.asarray(~np.isfinite(alpha).all(axis=1))
    found = [(first, last, UNOBSERVED) for first, last in stretches_of(unobserved).tolist()]
    if visits_of is not None:
        borders = np.array([[0, len(alpha)]]) if segments is None else segments
        found += _visits(visits_of, np.clip(borders, 0, len(alpha)), component)
    starts, stops, described = zip(*sorted(found)) if found else ((), (), ())
    onsets, ends = np.array(starts) / sampling_frequency, np.array(stops) / sampling_frequency
    raw.set_annotations(mne.Annotations(onsets, ends - onsets, described))
    return raw


def _visits(states: NDArray[np.int64], segments: NDArray[np.int64], component: str) -> list[tuple[int, int, str]]:
    found = []
    for start, stop in segments.tolist():
        piece = states[start:stop]
        for state in np.unique(piece[piece >= 0]).tolist():
            name = VISIT.format(component=component, number=state + 1)
            found += [(first, last, name) for first, last in (stretches_of(piece == state) + start).tolist()]
    return found


def save_fif(raw: Any, path: Path) -> Path:
    """Write a raw object whole or not at all.

    Parameters
    ----------
    raw : mne.io.Raw
    path : Path
        Ends in `_raw.fif`, as mne wants it.
    """
    from dynml.files import made_folder

    assert path.name.endswith("_raw.fif"), path
    partial = made_folder(path.parent) / f".partial_{path.name}"
    try:
        raw.save(partial, fmt="single", overwrite=True, verbose="error")
        partial.replace(path)
    except OSError as error:
        raise DynmlError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _stimuli(
    events: Events | None, start: int, stop: int
) -> tuple[dict[str, NDArray[np.float64]], dict[str, dict[str, int]]]:
    """One channel a column of labels, and what its numbers mean."""
    channels: dict[str, NDArray[np.float64]] = {}
    meaning: dict[str, dict[str, int]] = {}
    for column in () if events is None else events.labels:
        assert events is not None
        channel = np.zeros(stop)
        for onset, duration, label in zip(events.onset, events.duration, events.labels[column]):
            if label != NO_LABEL and onset >= 0:
                channel[onset : onset + max(int(duration), 1)] = label + 1
        channels[column] = channel[start:]
        meaning[f"STI {column}"] = {name: number for number, name in enumerate(events.names[column], start=1)}
    return channels, meaning


def _mne() -> Any:
    try:
        import mne
    except ImportError as error:
        raise DynmlError("mne is needed for this, and is not installed: pip install 'dynml[mne]'.") from error
    return mne
