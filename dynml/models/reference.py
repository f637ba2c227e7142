"""Where the free energy of a recording lies among those that a model was published with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.errors import shortened

ODD = 95.0
"""Percentile above which a recording is named."""


def percentiles_of(free_energies: ArrayLike) -> dict[str, Any]:
    """Sum up free energies of sessions by their percentiles, which name no session.

    Parameters
    ----------
    free_energies : array, (n,)
        Nats a sample.

    Returns
    -------
    dict
        `n_sessions`, and `percentiles`: those from 0 to 100.
    """
    values: NDArray[np.float64] = np.asarray(free_energies, dtype=np.float64)
    return {"n_sessions": len(values), "percentiles": np.percentile(values, range(101)).tolist()}


def percentile_among(reference: Mapping[str, Any], free_energy: float) -> float:
    """Percentile of a free energy: 0 below all sessions, 100 above all."""
    return float(np.interp(free_energy, reference["percentiles"], np.arange(101.0)))


def findings_of(reference: Mapping[str, Any], percentiles: Mapping[str, float]) -> Iterator[str]:
    """Tell of recordings that fit the model worse than nearly all that it was published with."""
    odd = [f"{name} ({value:.0f})" for name, value in percentiles.items() if value > ODD]
    if odd:
        yield (
            f"The free energy of {shortened(odd)} lies above the {ODD:.0f}th percentile of the "
            f"{reference['n_sessions']} sessions that the model was published with: these signals are unlike theirs."
        )
