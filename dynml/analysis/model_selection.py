"""Criteria for the number of states: likelihood against the number of free parameters.

Shapes: K states, C channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


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


def n_free_parameters(
    n_states: int,
    n_channels: int,
    *,
    learn_means: bool = True,
    learn_covariances: bool = True,
    covariance_type: Literal["full", "diagonal"] = "full",
    learn_transitions: bool = True,
    learn_initial: bool = True,
) -> int:
    """Count the parameters of a Gaussian HMM that can be chosen freely.

    Rows of probabilities sum to 1 and covariances are symmetric, so these are fewer than the numbers that a model
    stores: K C (means) + K C (C + 1) / 2 (full covariances; K C diagonal ones) + K (K - 1) (transitions) + K - 1
    (initial probabilities), as far as they are learnt.

    Parameters
    ----------
    n_states, n_channels : int
    learn_means, learn_covariances, learn_transitions, learn_initial : bool
        What is learnt; fixed parameters do not count.
    covariance_type : "full" or "diagonal"

    Returns
    -------
    int
    """
    per_covariance = n_channels * (n_channels + 1) // 2 if covariance_type == "full" else n_channels
    return (
        learn_means * n_states * n_channels
        + learn_covariances * n_states * per_covariance
        + learn_transitions * n_states * (n_states - 1)
        + learn_initial * (n_states - 1)
    )


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
