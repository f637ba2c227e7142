"""Priors and constraints of the HMM's transitions, from its settings. Shapes: K states."""

from __future__ import annotations

import torch

from dynml.models.hmm.config import HMMConfig


def transition_prior_of(config: HMMConfig) -> float | torch.Tensor:
    """Pseudo-counts of a Dirichlet prior: one number for all transitions, or (K, K) float64; 0 where not allowed."""
    allowed = allowed_transitions_of(config)
    if not config.sticky_prior and config.transition_prior_matrix is None and allowed is None:
        return config.transition_prior
    K = config.n_states
    counts = torch.full((K, K), config.transition_prior, dtype=torch.float64)
    if config.transition_prior_matrix is not None:
        counts = counts + torch.tensor(config.transition_prior_matrix, dtype=torch.float64)
    counts = counts + config.sticky_prior * torch.eye(K, dtype=torch.float64)
    return counts if allowed is None else counts * allowed


def allowed_transitions_of(config: HMMConfig) -> torch.Tensor | None:
    """Which transitions there are, (K, K) bool; None: all of them."""
    if config.allowed_transitions is None:
        return None
    return torch.tensor(config.allowed_transitions, dtype=torch.float64) > 0
