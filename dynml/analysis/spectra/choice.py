"""Which estimator suits the states or modes of a model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.spectra.settings import Method, SpectraConfig, smearing_limit
from dynml.analysis.spectra.subjects import Visits
from dynml.errors import ConfigurationError

RARE = 0.01
"""A state of a smaller share of the samples does not choose the estimator."""


def pooled_visits(visits: Iterable[Visits]) -> Visits:
    """Add up the visits of all subjects."""
    every = list(visits)
    return Visits(
        n_visits=np.sum([own.n_visits for own in every], axis=0),
        n_samples=np.sum([own.n_samples for own in every], axis=0),
    )


def chosen_method(config: SpectraConfig, components: str, visits: Iterable[Visits], rate: float) -> Method:
    """Give the method that is asked for, or the one that fits.

    Parameters
    ----------
    config : SpectraConfig
    components : {"states", "modes"}
    visits : of each subject
    rate : float
        Hz.

    Raises
    ------
    ConfigurationError
        For pairs of modes, which are always all there.
    """
    if config.method == "pairs" and components == "modes":
        raise ConfigurationError("method", "pairs", "auto or regression for modes, which are never there alone")
    if config.method != "auto":
        return config.method
    if components == "modes":
        return "regression"
    return "pairs" if len(short_states(pooled_visits(visits), rate)) else "multitaper"


def short_states(visits: Visits, rate: float) -> NDArray[np.int64]:
    """States, numbered from 0, of which one by the mean visit exceeds what tapers smear by default."""
    seconds = visits.mean_seconds(rate)
    usual = visits.n_samples > RARE * visits.n_samples.sum()
    return np.flatnonzero(usual & (seconds * smearing_limit(rate) < 1))
