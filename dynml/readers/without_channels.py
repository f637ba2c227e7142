"""Leaves channels out of files of any format that names them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.readers.fmri.atlas import check_names
from dynml.readers.reader import FileDescription, ReaderOfReader


class WithoutChannels(ReaderOfReader):
    """Reads through another reader, without some of its channels.

    Parameters
    ----------
    reader : Reader
    excluded : tuple of str
        Names of the channels to leave out.
    """

    def describe(self, path: Path) -> FileDescription:
        """Describe the channels that stay.

        Raises
        ------
        DataError
            When the file names no channels, or not all of those to be left out.
        """
        description = self.reader.describe(path)
        if description.channel_names is None:
            raise DataError(f"{path} names no channels, so that 'exclude_channels' cannot be used on it.")
        # A channel that one person's file marks bad is left out there already: it is excluded for the others' sake.
        asked = [name for name in self.excluded if name not in description.bad_channels]
        check_names(list(description.channel_names), asked, f"channels of {path}")
        names = tuple(name for name in description.channel_names if name not in self.excluded)
        return dataclasses.replace(description, n_channels=len(names), channel_names=names)

    def read(self, path: Path) -> NDArray[Any]:
        """Read the channels that stay, (T, C)."""
        names = self.reader.describe(path).channel_names or ()
        chosen = np.array([position for position, name in enumerate(names) if name not in self.excluded])
        return self.reader.read(path)[:, chosen]
