"""Epochs that mne opens: each is a segment, labelled by its event."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.readers import FileDescription
from dynml.readers.meg_eeg.encodings import open_eeglab
from dynml.readers.meg_eeg.library import LOUDNESS
from dynml.readers.meg_eeg.picks import ChosenChannels
from dynml.readers.reader import FileEvents
from dynml.tables import NOT_AVAILABLE

COLUMN = "event"
BYTES_PER_BLOCK = 64 * 1024**2


def open_epochs(mne: Any, path: Path) -> Any:
    """Open epochs; rejected ones are not there any more. Signals are not read from `.fif` files."""
    if path.name.lower().endswith(".set"):
        return open_eeglab(functools.partial(mne.io.read_epochs_eeglab, verbose=LOUDNESS), path)
    return mne.read_epochs(path, proj=False, preload=False, verbose=LOUDNESS)


def describe_epochs(epochs: Any, channels: ChosenChannels, path: Path, parts: tuple[Path, ...]) -> FileDescription:
    """Say what epochs hold; one lies after another.

    Raises
    ------
    DataError
        When there is none, or they have a single sample.
    """
    n_epochs, n_samples = len(epochs.events), len(epochs.times)
    if n_epochs == 0 or n_samples < 2:
        found = "no epoch that was not rejected" if n_epochs == 0 else "epochs of a single sample"
        raise DataError(f"{path} has {found}.")
    starts = n_samples * np.arange(n_epochs, dtype=np.int64)
    warned = list(channels.warned)
    if any(not projection["active"] for projection in epochs.info["projs"]):
        warned.append("projections (SSP, average reference) are in the file but not applied")
    return FileDescription(
        n_samples=n_epochs * n_samples,
        n_channels=len(channels.indices),
        channel_names=channels.names,
        sampling_frequency=float(epochs.info["sfreq"]),
        warned=tuple(warned),
        stretches=np.stack([starts, starts + n_samples], axis=1),
        events=FileEvents(
            onset=starts,
            duration=np.full(n_epochs, n_samples, dtype=np.int64),
            labels={COLUMN: _labels(epochs)},
        ),
        units=channels.units,
        further_files=parts,
        bad_channels=channels.bads,
    )


def read_epochs(epochs: Any, channels: ChosenChannels) -> NDArray[np.float64]:
    """Read the signals, (epochs x samples, C), in SI units, some epochs at a time."""
    n_epochs, n_samples, indices = len(epochs.events), len(epochs.times), list(channels.indices)
    signals = np.empty((n_epochs * n_samples, len(indices)))
    n_at_once = max(1, BYTES_PER_BLOCK // (8 * n_samples * len(indices)))
    for first in range(0, n_epochs, n_at_once):
        some = epochs[first : first + n_at_once].get_data(picks=indices, verbose=LOUDNESS)
        start = first * n_samples
        if len(some) < min(n_at_once, n_epochs - first):  # what was not filled would be whatever lay in memory
            raise DataError("Some epochs are bad and not dropped yet: drop_bad() first.")
        signals[start : start + len(some) * n_samples] = some.transpose(0, 2, 1).reshape(-1, len(indices))
    return signals


def _labels(epochs: Any) -> list[str]:
    """Name of each epoch's event, or its number where it has none."""
    names = {int(number): name for name, number in epochs.event_id.items()}
    return [names.get(number, str(number)).strip() or NOT_AVAILABLE for number in epochs.events[:, 2].tolist()]
