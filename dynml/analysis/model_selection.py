"""Criteria for the number of states: likelihood against the number of free parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InformationCriteria:
    """Akaike's and the Bayesian information criterion of one model on one data set; lower is better."""

    aic: float
    """2 p - 2 log L, nats of all samples together times 2."""
    bic: float
    """p log n - 2 log L."""
    n_parameters: int
    """Free parameters p."""
    n_samples: int
    """Samples n."""


def information_criteria(log_likelihood: float, n_parameters: int, n_samples: int) -> InformationCriteria:
    """AIC (Akaike 1974) and BIC (Schwarz 1978) from a model's log-likelihood on the data that it was trained on.

    Parameters
    ----------
    log_likelihood : float
        Of all samples together, in nats: minus the free energy per sample times `n_samples`.
    n_parameters : int
        Free parameters, as `n_free_parameters` counts them.
    n_samples : int
        Time samples.

    Returns
    -------
    InformationCriteria

    Notes
    -----
    Both are made for independent samples. Samples of a time series are not, so both favour too many states; the
    log-likelihood of held-out subjects is the better guide.
    """
    assert n_samples >= 1, n_samples
    return InformationCriteria(
        aic=2.0 * n_parameters - 2.0 * log_likelihood,
        bic=n_parameters * math.log(n_samples) - 2.0 * log_likelihood,
        n_parameters=n_parameters,
        n_samples=n_samples,
    )
