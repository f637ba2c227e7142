"""Which bands of spectra are drawn.

Shapes: F frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.spectra.settings import Band, read_bands
from dynml.errors import DataError

ALL = "all"
NEAR = 1e-9


def chosen_bands(
    words: Sequence[str] | None, frequencies: NDArray[np.float64], known: Sequence[Band] = ()
) -> list[Band]:
    """Read bands as a user writes them; without any, those that are known, or one band of all frequencies.

    Raises
    ------
    ConfigurationError
        For a band that cannot be read, or is named twice.
    DataError
        For one that reaches beyond the frequencies of the spectra.
    """
    lowest, highest = float(frequencies[0]), float(frequencies[-1])
    bands = list(read_bands(words or ())) or list(known) or [Band(ALL, lowest, highest)]
    for band in bands:
        if band.lowest < lowest - NEAR * highest or band.highest > highest * (1 + NEAR):
            raise DataError(
                f"The band {band.in_words} reaches beyond the frequencies of the spectra, {lowest:g} to {highest:g} Hz."
            )
    return bands
