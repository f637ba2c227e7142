"""Fisher scores of a hidden Markov model: the gradient of a subject's log-likelihood by the group's parameters.

Jaakkola and Haussler 1999; for HMMs of the brain Ahrends, Woolrich and Vidaurre 2024.

Shapes: T samples, C channels, K states, S segments.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def fisher_scores(
    signals: Doubles,
    alpha: Doubles,
    firsts: Doubles,
    transitions: Doubles,
    initial_probabilities: Doubles,
    transition_probabilities: Doubles,
    means: Doubles,
    covariances: Doubles,
) -> Doubles:
    """Gradient of log p(x) divided by the number of samples.

    Probabilities are parametrized by the softmax, so that gradients stay within the simplex; covariances by their lower
    triangle, each entry off the diagonal standing for two.

    Parameters
    ----------
    signals : array, (T, C)
        Observed samples.
    alpha : array, (T, K)
        State probabilities of the same samples.
    firsts : array, (K,)
        Sum of the state probabilities at the first sample of each segment.
    transitions : array, (K, K)
        Expected transitions, row = from.
    initial_probabilities : array, (K,)
    transition_probabilities : array, (K, K)
    means : array, (K, C)
    covariances : array, (K, C, C)

    Returns
    -------
    array, (K + K K + K C + K C (C + 1) / 2,)
        Of initial states, transitions, means and covariances, in this order.
    """
    of_initial = firsts - initial_probabilities * firsts.sum()
    of_transitions = transitions - transition_probabilities * transitions.sum(axis=1, keepdims=True)
    rows, columns = np.tril_indices(signals.shape[1])
    of_means, of_covariances = [], []
    for weights, mean, covariance in zip(alpha.T, means, covariances):
        centred = signals - mean
        precision = np.linalg.inv(covariance)
        of_means.append(precision @ (weights @ centred))
        scatter = (centred * weights[:, None]).T @ centred
        gradient = precision @ (scatter - weights.sum() * covariance) @ precision / 2
        of_covariances.append(np.where(rows == columns, 1.0, 2.0) * gradient[rows, columns])
    parts = [of_initial, of_transitions.ravel(), np.concatenate(of_means), np.concatenate(of_covariances)]
    scores: Doubles = np.concatenate(parts) / len(signals)
    return scores
