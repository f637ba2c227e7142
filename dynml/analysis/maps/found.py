"""Maps and networks of a trained model: of its means and covariances, and of spectra.

Shapes: K states or modes, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.maps.networks import correlations_of, relative_to_average
from dynml.analysis.maps.projection import BackProjection
from dynml.analysis.maps.spectra_folder import Spectra
from dynml.analysis.spectra.settings import Band
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.models.experiment import SUBSETS, Experiment
from dynml.models.inferred import inferred_subjects

MEAN, POWER, NETWORK = "mean", "power", "network"
MODEL = "model"
"""Stands for the band where values come from the model's moments, of all frequencies together."""
UNLEARNT = 1e-12


@dataclass(frozen=True, eq=False)
class Found:
    """One kind of values of all states: a map (K, C), or a network (K, C, C)."""

    kind: str
    """"mean", "power" or "network"."""
    band: str
    """Name of the band, or "model"."""
    quantity: str
    """What the values are, in words."""
    units: str
    values: NDArray[np.float64]
    relative: NDArray[np.float64]
    """Minus the average over states weighted by occupancy."""
    channel_names: tuple[str, ...]

    @property
    def name(self) -> str:
        """For files."""
        return f"{self.kind}_{self.band}"

    @property
    def is_network(self) -> bool:
        """Whether there is a value for each pair of channels."""
        return self.kind == NETWORK


def found_in_model(
    arrays: dict[str, NDArray[np.float64]], back: BackProjection, occupancies: NDArray[np.float64], units: str
) -> list[Found]:
    """Make maps and networks of means and covariances, brought back to the channels.

    Parameters
    ----------
    arrays : dict
        `means` (K, P), `covariances` (K, P, P) or (K, P).
    back : BackProjection
    occupancies : array, (K,)
    units : str
        Of the channels.
    """
    names, found = back.channel_names, []
    means = arrays.get("means")
    if means is not None and np.abs(means).max() > UNLEARNT:
        found.append(_found(MEAN, MODEL, "mean", units, back.means(means), occupancies, names))
    covariances = arrays.get("covariances")
    if covariances is None:
        return found
    if covariances.ndim == 2:
        covariances = np.stack([np.diag(variances) for variances in covariances])
    own = back.covariances(covariances)
    variances = np.diagonal(own, axis1=1, axis2=2)
    found.append(_found(POWER, MODEL, "variance", squared(units), variances, occupancies, names))
    if own[:, ~np.eye(len(names), dtype=bool)].any():
        found.append(_found(NETWORK, MODEL, "correlation", "", correlations_of(own), occupancies, names))
    return found


def found_in_spectra(
    spectra: Spectra, bands: Sequence[Band], occupancies: NDArray[np.float64], names: Sequence[str], units: str
) -> list[Found]:
    """Make maps of the variance, and networks of the mean coherence, within each band."""
    found = []
    for band in bands:
        own = spectra.power_of_band(band)
        what = f"power, {band.in_words}"
        found.append(_found(POWER, band.name, what, squared(units), own, occupancies, tuple(names)))
        coherence = spectra.coherence_of_band(band)
        if coherence is not None and len(names) > 1:
            what = f"coherence, {band.in_words}"
            found.append(_found(NETWORK, band.name, what, "", coherence, occupancies, tuple(names)))
    return found


def squared(units: str) -> str:
    """Units of a variance."""
    return f"{units}²" if units.isalpha() else f"({units})²"


def _found(
    kind: str,
    band: str,
    quantity: str,
    units: str,
    values: NDArray[np.float64],
    occupancies: NDArray[np.float64],
    names: tuple[str, ...],
) -> Found:
    relative = relative_to_average(values, occupancies)
    return Found(kind, band, quantity, units, values, relative, names)


def occupancies_of(experiment: Experiment, dataset: MultiSubjectDataset) -> NDArray[np.float64]:
    """Share of the observed samples of all subjects that each state has, (K,)."""
    total: NDArray[np.float64] | None = None
    for name in SUBSETS:
        for result in inferred_subjects(experiment.family, experiment.model, dataset.subset(name)):
            rows = np.isfinite(result.alpha).all(axis=1)
            rows = rows if result.observed is None else rows & result.observed
            own = result.alpha[rows].sum(axis=0, dtype=np.float64)
            total = own if total is None else total + own
    assert total is not None, "a store has subjects"
    return np.asarray(total / total.sum())
