"""Spectra of many subjects, gathered one at a time, and their mean.

Shapes: N subjects, C channels, K states or modes, F frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.files import new_mapped_array
from dynml.ops.spectra.cross_spectra import CrossSpectra, coherence_floor, power

Real = NDArray[np.float64]
COHERENCE = "coherence.npy"


@dataclass
class WeightedMean:
    """Mean over subjects of arrays whose first axis is the state; NaN counts as absent."""

    total: Any = 0.0
    weights: Any = 0.0

    def add(self, values: NDArray[np.floating], weight_K: Real) -> None:
        """Add one subject's."""
        known = np.isfinite(values)
        weight = np.where(known, weight_K.reshape(-1, *(1,) * (values.ndim - 1)), 0.0)
        self.total = self.total + np.where(known, values, 0.0) * weight
        self.weights = self.weights + weight

    @property
    def mean(self) -> Real:
        """NaN where nobody has a value."""
        known = self.weights > 0
        return np.divide(self.total, self.weights, out=np.full(self.total.shape, np.nan), where=known)


@dataclass
class GatheredSpectra:
    """Subjects' spectra as they come: auto spectra in memory, coherence in a file.

    Subjects count by the squared weights that they have in each state; those who are never in it do not count.
    """

    n_subjects: int
    folder: Path
    subjects: list[str] = field(default_factory=list)
    frequencies: Real = field(default_factory=lambda: np.zeros(0))
    rows: list[dict[str, Real]] = field(default_factory=list)
    """Per subject: power (K, C, F), static_power (C, F), and numbers of each state (K,)."""
    power: WeightedMean = field(default_factory=WeightedMean)
    coherence: WeightedMean = field(default_factory=WeightedMean)
    static_power: WeightedMean = field(default_factory=WeightedMean)
    static_coherence: WeightedMean = field(default_factory=WeightedMean)
    floor: WeightedMean = field(default_factory=WeightedMean)
    conditions: list[float] = field(default_factory=list)
    _file: Any = None

    def add(self, subject: str, own: CrossSpectra, static: CrossSpectra | None, mean_visit_K: Real) -> None:
        """Add one subject's spectra, and those of all of its samples together."""
        number = len(self.subjects)
        coherences, autos = own.coherence, power(own.values)
        if self._file is None:
            shape = (self.n_subjects, *coherences.shape)
            path = self.folder / COHERENCE
            self._file = new_mapped_array(path, np.float32, shape)
            self.frequencies = own.frequencies
        self._file[number] = coherences
        self.subjects.append(subject)
        weight = np.where(np.isfinite(own.weight), own.weight, 1.0)
        floor = coherence_floor(own.n_independent)
        self.power.add(autos, weight)
        self.coherence.add(coherences, weight)
        self.floor.add(floor, weight)
        self.conditions.append(own.condition)
        nothing = np.full(autos.shape[:1] + autos.shape[2:], np.nan)
        row = {
            "power": autos,
            "samples": own.weight,
            "independent_estimates": own.n_independent,
            "coherence_floor": floor,
            "resolution": np.where(np.isfinite(own.n_independent) | np.isnan(own.weight), own.resolution, np.nan),
            "mean_visit": mean_visit_K,
            "negative_share": nothing[:, 0] if own.negative_share is None else own.negative_share,
            "negative_share_KF": nothing if own.negative_share_KF is None else own.negative_share_KF,
        }
        if static is not None:
            row["static_power"] = power(static.values)[0]
            self.static_power.add(power(static.values), static.weight)
            self.static_coherence.add(static.coherence, static.weight)
        self.rows.append(row)

    def stacked(self, name: str) -> Real:
        """What each subject has of `name`, (N, ..)."""
        return np.stack([row[name] for row in self.rows])

    @property
    def coherence_file(self) -> Path:
        """File of the coherences, (N, K, C, C, F) float32."""
        if self._file is not None:
            self._file.flush()
        return self.folder / COHERENCE
