"""Reads the spectra that another script wrote, and makes maps and networks of them by band.

Shapes: N subjects, K states, C channels, F frequencies.
"""

from __future__ import annotations

import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.spectra.bands import mean_weights, power_weights, weighted
from dynml.analysis.spectra.settings import Band
from dynml.errors import DataCorruptionError, DataError
from dynml.files import read_json

FILE = "spectra.npz"
SUMMARY = "summary.json"
NEEDED = ("frequencies", "power")
OPTIONAL = ("coherence", "channel_names", "band_names", "bands")


@dataclass(frozen=True, eq=False)
class Spectra:
    """Spectra of all subjects together: the mean over those in whom a state occurs."""

    path: Path
    frequencies: NDArray[np.float64]
    """(F,), Hz."""
    power: NDArray[np.float64]
    """(K, C, F); NaN for a state that occurs in nobody."""
    coherence: NDArray[np.float64] | None
    """(K, C, C, F), if there is any."""
    n_subjects: int
    channel_names: tuple[str, ...] | None = None
    """C names, if the file has them."""
    bands: tuple[Band, ...] = ()
    """Those that the spectra were summed up over, if the file has them."""
    about: dict[str, Any] = field(default_factory=dict)
    """Content of the folder's summary.json: of which model, group and store the spectra are."""

    def power_of_band(self, band: Band) -> NDArray[np.float64]:
        """Variance within a band, (K, C)."""
        return weighted(self.power, power_weights(self.frequencies, band))

    def coherence_of_band(self, band: Band) -> NDArray[np.float64] | None:
        """Mean coherence within a band, (K, C, C), over the frequencies that have one."""
        return None if self.coherence is None else weighted(self.coherence, mean_weights(self.frequencies, band))


def read_spectra(folder: Path, n_states: int) -> Spectra:
    """Read `spectra.npz` of a folder.

    Raises
    ------
    DataError
        When there is none, it is of another number of states, or its arrays do not fit each other.
    DataCorruptionError
        When it cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        raise DataError(f"{folder} is not a folder of spectra: it has no {FILE}; dynml_compute_spectra.py makes one.")
    try:
        with np.load(path, allow_pickle=False) as file:
            lacking = [name for name in NEEDED if name not in file]
            if lacking:
                raise DataError(f"{path} has no {lacking[0]!r}; it holds {', '.join(file)}.")
            frequencies = np.asarray(file["frequencies"], dtype=np.float64)
            power = np.asarray(file["power"], dtype=np.float64)
            optional = {name: np.asarray(file[name]) for name in OPTIONAL if name in file}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataCorruptionError(f"{path} could not be read: {error}.") from error
    coherence = optional.get("coherence")
    _check(path, frequencies, power, coherence, n_states)
    names = tuple(map(str, optional.get("channel_names", ())))
    if names and len(names) != power.shape[2]:
        raise DataError(f"{path} names {len(names)} channels, but has power of {power.shape[2]}.")
    summary = read_json(folder / SUMMARY) if (folder / SUMMARY).is_file() else {}
    return Spectra(
        path=path,
        frequencies=frequencies,
        power=_mean(power),
        coherence=None if coherence is None else _mean(coherence),
        n_subjects=len(power),
        channel_names=names or None,
        bands=_bands(optional),
        about=summary if isinstance(summary, dict) else {},
    )


def _bands(optional: dict[str, NDArray[Any]]) -> tuple[Band, ...]:
    names, limits = optional.get("band_names"), optional.get("bands")
    if names is None or limits is None or limits.shape != (len(names), 2):
        return ()
    return tuple(Band(str(name), float(low), float(high)) for name, (low, high) in zip(names, limits))


def _check(
    path: Path,
    frequencies: NDArray[np.float64],
    power: NDArray[np.float64],
    coherence: NDArray[np.float64] | None,
    n_states: int,
) -> None:
    if frequencies.ndim != 1 or len(frequencies) < 2 or (np.diff(frequencies) <= 0).any():
        raise DataError(f"{path} has frequencies of shape {frequencies.shape}, but needs 2 or more, ascending.")
    if power.ndim != 4 or power.shape[3] != len(frequencies):
        raise DataError(
            f"{path} has power of shape {power.shape}, but must have (subjects, states, channels, "
            f"{len(frequencies)} frequencies)."
        )
    n_subjects, n_found, n_channels, n_frequencies = power.shape
    if n_found != n_states:
        raise DataError(f"{path} has spectra of {n_found} states, but the model has {n_states}.")
    expected = (n_subjects, n_states, n_channels, n_channels, n_frequencies)
    if coherence is not None and coherence.shape != expected:
        raise DataError(f"{path} has coherence of shape {coherence.shape}, but power asks for {expected}.")


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.asarray(np.nanmean(values, axis=0, dtype=np.float64))
