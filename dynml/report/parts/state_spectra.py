"""The spectrum of each state or mode, from the folder of dynml_compute_spectra.py.

Shapes: F frequencies, C channels, K states or modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError
from dynml.report.figures import plot_spectrum
from dynml.report.pictures import Picture, picture_of_figure
from dynml.report.results import ResultsFolder, of_kind
from dynml.report.words import number

SPECTRA, ARCHIVE = "spectra", "spectra.npz"


def spectrum_pictures(
    results: Sequence[ResultsFolder], n_components: int, colours: Sequence[str]
) -> dict[int, list[Picture]]:
    """Mean power over channels of each component that has a spectrum, by its number from 0, beside that of the others.

    Raises
    ------
    DataError
        When the archive is damaged, or has another number of components.
    """
    spectra = of_kind(results, SPECTRA)
    if spectra is None or not (spectra.path / ARCHIVE).is_file():
        return {}
    path = spectra.path / ARCHIVE
    try:
        with np.load(path, allow_pickle=False) as archive:
            frequencies, power_KCF = archive["frequencies"], archive["group_power"]
    except Exception as error:  # numpy parses archives with whatever that raises
        raise DataError(f"{path} could not be read: {str(error).rstrip('.')}.") from error
    if power_KCF.ndim != 3 or len(power_KCF) != n_components:
        raise DataError(f"{path} has spectra of {len(power_KCF)} components, but the model has {n_components}.")
    return _drawn(frequencies, power_KCF.mean(axis=1), colours, str(spectra.summary.get("units_of_power") or ""))


def _drawn(
    frequencies: NDArray[np.float64], power_KF: NDArray[np.float64], colours: Sequence[str], unit: str
) -> dict[int, list[Picture]]:
    pictures = {}
    for position, own in enumerate(power_KF):
        if not np.isfinite(own).any():
            continue
        figure = plot_spectrum(
            frequencies, power_KF, position, colours[position], f"Power ({unit})" if unit else "Power"
        )
        peak = f"at {frequencies[np.nanargmax(own)]:.3g} Hz"
        alt = f"Power spectrum of component {position + 1}, mean over channels: largest {peak}; grey: the others"
        pictures[position] = [picture_of_figure(figure, alt)]
    return pictures


def spectrum_notes(results: Sequence[ResultsFolder], position: int) -> list[tuple[str, str]]:
    """Resolution and floor of a component's spectrum, by its number from 0; a word where it has none."""
    spectra = of_kind(results, SPECTRA)
    listed: list[dict[str, Any]] = [] if spectra is None else list(spectra.summary.get("states") or ())
    own: dict[str, Any] = next((one for one in listed if one.get("state") == position + 1), {})
    titles = {"resolution_Hz": ("Resolution of the spectrum", " Hz"), "coherence_floor": ("Floor of the coherence", "")}
    if own and all(own.get(key) is None for key in titles):
        return [("Spectrum", "none: too rare in every recording")]
    return [
        (title, f"{number(own[key], 2)}{unit}") for key, (title, unit) in titles.items() if own.get(key) is not None
    ]
