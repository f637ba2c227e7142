"""Slow and obvious references for hidden Markov models, and random problems for them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from dynml.ops.hmm.statistics import GaussianHMMParameters


@dataclass
class Enumeration:
    """What the sum over all K^T paths of every segment says."""

    posteriors: Tensor
    pairs: Tensor
    log_likelihoods: Tensor
    best_paths: Tensor
    best_scores: Tensor


def enumerate_paths(log_likelihoods, starts, initial, transitions) -> Enumeration:
    """Brute force over all paths."""
    parts = [
        _enumerate_segment(log_likelihoods[first:last].double(), initial.log(), transitions.log())
        for first, last in itertools.pairwise(starts)
    ]
    posteriors, pairs, logs, paths, scores = zip(*parts, strict=True)
    return Enumeration(torch.cat(posteriors), sum(pairs), torch.stack(logs), torch.cat(paths), torch.stack(scores))


def _enumerate_segment(likelihoods, log_initial, log_transitions):
    n_rows, n_states = likelihoods.shape
    paths = torch.tensor(list(itertools.product(range(n_states), repeat=n_rows)))
    scores = log_initial[paths[:, 0]] + likelihoods[0, paths[:, 0]]
    for t in range(1, n_rows):
        scores = scores + log_transitions[paths[:, t - 1], paths[:, t]] + likelihoods[t, paths[:, t]]
    log_likelihood = scores.logsumexp(0)
    weights = (scores - log_likelihood).exp()
    one_hot = torch.nn.functional.one_hot(paths, n_states).double()
    posteriors = torch.einsum("p,ptk->tk", weights, one_hot)
    pairs = torch.einsum("p,pti,ptj->ij", weights, one_hot[:, :-1], one_hot[:, 1:])
    return posteriors, pairs, log_likelihood, paths[scores.argmax()], scores.max()


def logarithmic_posteriors(log_likelihoods, initial, transitions):
    """Forward-backward of one segment, row by row in normalised float64 logarithms: posteriors and log p."""
    likelihoods, log_transitions = log_likelihoods.double().numpy(), transitions.double().log().numpy()
    n_rows, n_states = likelihoods.shape
    forward, backward, totals = np.zeros((n_rows, n_states)), np.zeros((n_rows, n_states)), np.zeros(n_rows)
    expected = initial.double().log().numpy()
    for t in range(n_rows):
        forward[t] = expected + likelihoods[t]
        totals[t] = np.logaddexp.reduce(forward[t])
        forward[t] -= totals[t]
        expected = np.logaddexp.reduce(forward[t][:, None] + log_transitions, axis=0)
    for t in range(n_rows - 2, -1, -1):
        backward[t] = np.logaddexp.reduce(log_transitions + likelihoods[t + 1] + backward[t + 1], axis=1)
        backward[t] -= np.logaddexp.reduce(backward[t])
    joint = forward + backward
    return torch.from_numpy(np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))), float(totals.sum())


def random_chain(n_states, seed, *, zeros=False):
    """Initial and transition probabilities, with impossible steps on request."""
    generator = torch.Generator().manual_seed(seed)
    transitions = torch.rand(n_states, n_states, generator=generator, dtype=torch.float64) + 0.05
    initial = torch.rand(n_states, generator=generator, dtype=torch.float64) + 0.05
    if zeros:
        transitions *= torch.rand(n_states, n_states, generator=generator) > 0.4
        transitions += 1e-3 * torch.eye(n_states)
        initial[seed % n_states] = 0.0
    return initial / initial.sum(), transitions / transitions.sum(1, keepdim=True)


def random_parameters(n_states, n_channels, seed, *, covariance_type="full", zero_means=False) -> GaussianHMMParameters:
    """Well-behaved random parameters."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(n_states, n_channels, generator=generator, dtype=torch.float64)
    factors = torch.randn(n_states, n_channels, n_channels, generator=generator, dtype=torch.float64) / n_channels**0.5
    covariances = factors @ factors.mT + 0.3 * torch.eye(n_channels)
    if covariance_type == "diagonal":
        covariances = covariances.diagonal(dim1=1, dim2=2).clone()
    initial, transitions = random_chain(n_states, seed)
    return GaussianHMMParameters(torch.zeros_like(means) if zero_means else means, covariances, initial, transitions)


def sample_signals(parameters: GaussianHMMParameters, n_samples, seed, dtype=torch.float64) -> Tensor:
    """Signals of one long chain with sticky transitions and the Gaussians of `parameters`."""
    generator = np.random.default_rng(seed)
    n_states = parameters.n_states
    states = np.repeat(generator.integers(n_states, size=n_samples // 5 + 1), 5)[:n_samples]
    noise = torch.from_numpy(generator.normal(size=(n_samples, parameters.n_channels)))
    factors = torch.linalg.cholesky(parameters.full_covariances())
    signals = parameters.means_KC[states] + torch.einsum("tcd,td->tc", factors[states], noise)
    return signals.to(dtype)


def log_densities(signals, parameters: GaussianHMMParameters) -> Tensor:
    """Log-density of every sample under every state, by torch.distributions in float64."""
    return torch.stack(
        [
            MultivariateNormal(mean, covariance).log_prob(signals.double())
            for mean, covariance in zip(parameters.means_KC, parameters.full_covariances(), strict=True)
        ],
        dim=1,
    )
