"""Reads the spectra that another script wrote, and makes maps and networks of them by band.

Shapes: N subjects, K states, C channels, F frequencies.
"""

from __future__ import annotations

import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.maps.bands import Band, band_integral, band_mean
from dynml.errors import DataCorruptionError, DataError

FILE = "spectra.npz"
NEEDED = ("frequencies", "power")


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

    def power_of_band(self, band: Band) -> NDArray[np.float64]:
        """Variance within a band, (K, C)."""
        return band_integral(self.frequencies, self.power, band)

    def coherence_of_band(self, band: Band) -> NDArray[np.float64] | None:
        """Mean coherence within a band, (K, C, C)."""
        return None if self.coherence is None else band_mean(self.frequencies, self.coherence, band)


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
        raise DataError(f"{folder} is no folder of spectra: it has no {FILE}; dynml_compute_spectra.py makes one.")
    try:
        with np.load(path, allow_pickle=False) as file:
            lacking = [name for name in NEEDED if name not in file]
            if lacking:
                raise DataError(f"{path} has no {lacking[0]!r}; it holds {', '.join(file)}.")
            frequencies = np.asarray(file["frequencies"], dtype=np.float64)
            power = np.asarray(file["power"], dtype=np.float64)
            coherence = np.asarray(file["coherence"]) if "coherence" in set(file) else None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataCorruptionError(f"{path} could not be read: {error}.") from error
    _check(path, frequencies, power, coherence, n_states)
    return Spectra(path, frequencies, _mean(power), None if coherence is None else _mean(coherence), len(power))


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
