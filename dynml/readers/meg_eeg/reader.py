"""Reads what the package mne reads: `.fif` recordings and epochs, EDF, BDF, BrainVision, EEGLAB.

mne is an option of the installation and imported only when such a file is read.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.geometry.geometry import Geometry
from dynml.readers.formats import extension_of
from dynml.readers.guard import guarded
from dynml.readers.meg_eeg.epochs import describe_epochs, open_epochs, read_epochs
from dynml.readers.meg_eeg.fif import first_part_of
from dynml.readers.meg_eeg.geometry import geometry_of_sensors
from dynml.readers.meg_eeg.library import mne_package, mne_reading
from dynml.readers.meg_eeg.picks import PicksConfig, chosen_channels
from dynml.readers.meg_eeg.raw import RawFile, describe_raw, opened_raw, read_raw
from dynml.readers.reader import FileDescription, Reader

FIF = (".fif", ".fif.gz")


class MneReader(Reader):
    """Reads recordings and epochs through mne."""

    Config = PicksConfig
    config: PicksConfig

    @guarded
    def describe(self, path: Path) -> FileDescription:
        """Read the header; annotations and epochs make segments and events.

        Raises
        ------
        DataError
            When mne is not installed, the channels asked for are not there, all is marked bad, or the file is a later
            part of a recording; `DataCorruptionError` when it cannot be read or is truncated.
        """
        mne = mne_package(path)
        with mne_reading(path) as warned:
            parts = first_part_of(path)[1] if extension_of(path) in FIF else ()
            opened = self._opened(mne, path)
            if isinstance(opened, RawFile):
                description = describe_raw(opened, path)
            else:
                description = describe_epochs(opened, chosen_channels(opened, self.config, path), path, parts)
        return dataclasses.replace(description, warned=(*description.warned, *warned))

    @guarded
    def read(self, path: Path) -> NDArray[np.float64]:
        """Read the signals, (T, C), float64 in SI units; epochs lie one after another."""
        mne = mne_package(path)
        with mne_reading(path):
            opened = self._opened(mne, path)
            if isinstance(opened, RawFile):
                return read_raw(opened)
            return read_epochs(opened, chosen_channels(opened, self.config, path))

    @guarded
    def geometry(self, path: Path) -> Geometry | None:
        """Say where the sensors are, if the file does."""
        mne = mne_package(path)
        with mne_reading(path):
            opened = self._opened(mne, path)
            if isinstance(opened, RawFile):
                return geometry_of_sensors(opened.raw, opened.channels.indices, path.name)
            return geometry_of_sensors(opened, chosen_channels(opened, self.config, path).indices, path.name)

    def _opened(self, mne: Any, path: Path) -> Any:
        """Open a recording as `RawFile`, or epochs as mne's."""
        if self._holds_epochs(path):
            return open_epochs(mne, path)
        try:
            return opened_raw(mne, path, self.config)
        except TypeError as error:
            if "number of trials" not in str(error):
                raise
            return open_epochs(mne, path)  # of EEGLAB, whose files do not differ by name

    def _holds_epochs(self, path: Path) -> bool:
        if extension_of(path) not in FIF:
            return False
        structure, _ = first_part_of(path)
        return structure.holds_epochs and not structure.holds_raw
