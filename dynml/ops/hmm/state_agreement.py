"""Whether two models have the same states.

Shapes: C channels, K states.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dynml.ops.hmm.statistics import GaussianHMMParameters
from dynml.ops.matching import match_by_similarity
from dynml.ops.workers import one_thread


@one_thread()
def divergence_of_states(first: GaussianHMMParameters, second: GaussianHMMParameters) -> float:
    """Mean divergence, in nats, of the Gaussians of two models, paired so that it is least.

    Parameters
    ----------
    first, second : GaussianHMMParameters
        Of as many states and channels, the states in any order.

    Returns
    -------
    float
        Mean over states of the symmetric Kullback-Leibler divergence, half of both directions' sum: 0 for the same
        Gaussians.
    """
    divergences = 0.5 * (_divergences(first, second) + _divergences(second, first).T)
    order = match_by_similarity(-divergences)
    return float(divergences[torch.arange(len(order)), torch.from_numpy(order)].mean())


def _divergences(first: GaussianHMMParameters, second: GaussianHMMParameters) -> Tensor:
    """KL(first i || second j), (K, K): 1/2 (|W_j L_i|^2 + |W_j (m_i - m_j)|^2 - C) + log |L_j| - log |L_i|."""
    factors = torch.linalg.cholesky(first.full_covariances())
    others = torch.linalg.cholesky(second.full_covariances())
    log_determinants = factors.diagonal(dim1=1, dim2=2).log().sum(1)
    other_log_determinants = others.diagonal(dim1=1, dim2=2).log().sum(1)
    columns = []
    for state, other in enumerate(others):
        deviations = (first.means_KC - second.means_KC[state]).unsqueeze(2)
        whitened = torch.linalg.solve_triangular(other, torch.cat([factors, deviations], 2), upper=False)
        columns.append(0.5 * (whitened.square().sum((1, 2)) - first.n_channels))
    return torch.stack(columns, 1) + other_log_determinants - log_determinants.unsqueeze(1)
