"""How many parameters of a Gaussian HMM can be chosen freely.

Shapes: K states, C channels.
"""

from __future__ import annotations

from typing import Literal


def n_free_parameters(
    n_states: int,
    n_channels: int,
    *,
    learn_means: bool = True,
    learn_covariances: bool = True,
    covariance_type: Literal["full", "diagonal"] = "full",
    learn_transitions: bool = True,
    learn_initial: bool = True,
    tied_covariance: bool = False,
    n_forbidden: int = 0,
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
    tied_covariance : bool
        All states share one covariance.
    n_forbidden : int
        Transitions that are not allowed.
    covariance_type : "full" or "diagonal"

    Returns
    -------
    int
    """
    per_covariance = n_channels * (n_channels + 1) // 2 if covariance_type == "full" else n_channels
    return (
        learn_means * n_states * n_channels
        + learn_covariances * (1 if tied_covariance else n_states) * per_covariance
        + learn_transitions * (n_states * (n_states - 1) - n_forbidden)
        + learn_initial * (n_states - 1)
    )
