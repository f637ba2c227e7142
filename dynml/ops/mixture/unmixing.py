"""Modes from states: covariances of many states as mixtures of fewer modes.

Shapes: S states, C channels, J modes, R starts.

The states of a hidden Markov model with more states than there are modes are averages over moments at which the modes
mixed alike. Their covariances are then mixtures, C_s = sum_j w_sj D_j, and the modes are what explains all of them by
the Gaussian likelihood of the n_s samples that each state stands for,

    sum_s n_s / 2 (log |M_s| + tr(M_s^-1 (C_s + d_s d_s'))),    M_s = sum_j w_sj D_j,    d_s = m_s - sum_j w_sj mu_j,

with weights by softmax, modes by Cholesky factors, and Adam (Kingma and Ba 2015). Modes that are more extreme than need
be explain the states as well, so the minimum is not unique. A very weak inverse-Wishart prior around the pooled
covariance decides for the least extreme ones: where some states are pure, those are the modes. On simulated states
(4 to 10 modes, 10 to 40 channels) it halves the distance to the true modes. There are other minima; several starts are
tried, and the most promising ones finished.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dynml.ops.gaussian import inverse_cholesky
from dynml.ops.mixture.cholesky_parameters import cholesky_factors, vectors_from_covariances
from dynml.ops.workers import one_thread

_TRIAL_SHARE = 0.2
_FINISHED_STARTS = 2
_LEARNING_RATE = 0.15
_OWN_WEIGHT = 0.9
_RIDGE = 1e-3  # of the pooled covariance, in a start


@dataclass(frozen=True)
class Unmixing:
    """Modes, and how states are made of them."""

    covariances_JCC: Tensor
    """(J, C, C), float64."""

    weights_SJ: Tensor
    """(S, J), float64; rows add up to one. Those of states without samples are uniform."""

    objective: float
    """Negative log-likelihood of the states' moments in nats per sample, without C / 2 log 2 pi and without prior."""

    means_JC: Tensor | None = None
    """(J, C), float64, if means were given."""


def unmix_covariances(
    covariances_SCC: Tensor,
    occupancies_S: Tensor,
    n_modes: int,
    *,
    generator: np.random.Generator,
    means_SC: Tensor | None = None,
    n_starts: int = 6,
    n_steps: int = 300,
    prior: float = 1e-4,
) -> Unmixing:
    """Explain covariances of states by mixtures of modes.

    Parameters
    ----------
    covariances_SCC : Tensor, (S, C, C), symmetric positive definite
    occupancies_S : Tensor, (S,)
        Samples that each state stands for; a state without any does not count.
    n_modes : int
        At most the number of states that count, or modes stay undetermined.
    generator : numpy Generator
        Draws the starts.
    means_SC : Tensor, (S, C), optional
        Means of the states, if modes have means too.
    n_starts : int
        Starts; each begins with the covariances of `n_modes` states that differ.
    n_steps : int
        Steps of Adam for a start that is finished; the others end after a fifth of them.
    prior : float
        Pseudo-samples of each mode's prior, as a share of all samples.

    Raises
    ------
    NotPositiveDefiniteError
        Names the first state whose covariance has no Cholesky factor.
    """
    used = (occupancies_S > 0).nonzero()[:, 0].cpu()
    assert 1 <= n_modes <= len(used), f"{n_modes} modes from {len(used)} states"
    with one_thread(), torch.enable_grad():
        problem = _Problem.whitened(covariances_SCC, occupancies_S, means_SC)
        starts = [_start(problem, n_modes, generator, first=number == 0) for number in range(n_starts)]
        descent = _Descent(problem, starts, n_steps, prior)
        descent.walk(max(1, round(_TRIAL_SHARE * n_steps)))
        descent.keep(_FINISHED_STARTS)
        descent.walk(n_steps)
        return descent.result()


@dataclass(frozen=True)
class _Problem:
    """The states in coordinates where their pooled covariance is the unit matrix; shares add up to one."""

    covariances_SCC: Tensor
    means_SC: Tensor | None
    shares_S: Tensor
    used: Tensor
    coloring_CC: Tensor
    center_C: Tensor
    log_scale: float
    n_states: int

    @classmethod
    def whitened(cls, covariances: Tensor, occupancies: Tensor, means: Tensor | None) -> _Problem:
        shares = occupancies.detach().double().cpu() / float(occupancies.sum())
        used = (shares > 0).nonzero()[:, 0]
        targets = covariances.detach().double().cpu()
        inverse_cholesky(torch.where(shares[:, None, None] > 0, targets, torch.eye(targets.shape[1]).double()))
        pooled = (shares[used, None, None] * targets[used]).sum(0)
        centers = None if means is None else means.detach().double().cpu()
        center = torch.zeros(len(pooled), dtype=torch.float64) if centers is None else shares[used] @ centers[used]
        coloring = torch.linalg.cholesky(pooled)
        whitener = inverse_cholesky(pooled[None])[0]
        return cls(
            covariances_SCC=whitener @ targets[used] @ whitener.T,
            means_SC=None if centers is None else (centers[used] - center) @ whitener.T,
            shares_S=shares[used],
            used=used,
            coloring_CC=coloring,
            center_C=center,
            log_scale=float(coloring.diagonal().log().sum()),
            n_states=len(shares),
        )


@dataclass(frozen=True)
class _Start:
    vectors_JV: Tensor
    logits_SJ: Tensor
    means_JC: Tensor


def _start(problem: _Problem, n_modes: int, generator: np.random.Generator, *, first: bool) -> _Start:
    """Modes are states far from each other and from the pool, drawn; the first start takes the farthest."""
    states = problem.covariances_SCC
    n_channels = states.shape[1]
    identity = torch.eye(n_channels, dtype=torch.float64)
    distances = _divergences(states, identity[None])[:, 0]
    chosen: list[int] = []
    for _ in range(n_modes):
        merits = (problem.shares_S * distances).clamp(min=0)
        merits[chosen] = 0.0
        total = float(merits.sum())
        probabilities = (merits / total).numpy() if total > 0 else _others(len(states), chosen)
        drawn = int(probabilities.argmax()) if first else int(generator.choice(len(states), p=probabilities))
        chosen.append(drawn)
        distances = _divergences(states, states[chosen]).amin(1)
    modes = (1 - _RIDGE) * states[chosen] + _RIDGE * identity
    nearest = _divergences(states, modes).argmin(1)
    own = torch.nn.functional.one_hot(nearest, n_modes).double()
    weights = (1 - _OWN_WEIGHT) / n_modes + _OWN_WEIGHT * own
    means = torch.zeros(n_modes, n_channels, dtype=torch.float64)
    if problem.means_SC is not None:
        means = problem.means_SC[chosen].clone()
    return _Start(vectors_from_covariances(modes), weights.log(), means)


def _others(n_states: int, chosen: list[int]) -> np.ndarray:
    weights = np.ones(n_states)
    weights[chosen] = 0.0
    return weights / weights.sum()


def _divergences(states_SCC: Tensor, modes_JCC: Tensor) -> Tensor:
    """Kullback-Leibler divergences of zero-mean Gaussians, (S, J)."""
    inverses = torch.linalg.inv(modes_JCC)
    traces = states_SCC.flatten(1) @ inverses.flatten(1).T
    logs = torch.logdet(modes_JCC)[None, :] - torch.logdet(states_SCC)[:, None]
    return 0.5 * (traces + logs - states_SCC.shape[1])


class _Descent:
    """Adam on several starts side by side; each keeps its best point."""

    def __init__(self, problem: _Problem, starts: list[_Start], n_steps: int, prior: float) -> None:
        self._problem, self._n_steps, self._done = problem, n_steps, 0
        n_modes, n_channels = len(starts[0].vectors_JV), problem.covariances_SCC.shape[1]
        # A mode's prior is one more state: the mode alone, with the pooled covariance.
        pooled = torch.eye(n_channels, dtype=torch.float64).expand(n_modes, -1, -1)
        self._targets = torch.cat([problem.covariances_SCC, pooled])
        self._halves = 0.5 * torch.cat([problem.shares_S, torch.full((n_modes,), prior, dtype=torch.float64)])
        self._parameters = [
            torch.stack([start.vectors_JV for start in starts]).requires_grad_(),
            torch.stack([start.logits_SJ for start in starts]).requires_grad_(),
            torch.stack([start.means_JC for start in starts]).requires_grad_(problem.means_SC is not None),
        ]
        self._optimizer = self._new_optimizer()
        self._best = [parameter.detach().clone() for parameter in self._parameters]
        self._totals = torch.full((len(starts),), math.inf, dtype=torch.float64)
        self._objectives = self._totals.clone()

    def _new_optimizer(self) -> torch.optim.Adam:
        return torch.optim.Adam([p for p in self._parameters if p.requires_grad], lr=_LEARNING_RATE)

    def walk(self, until: int) -> None:
        """Go on to a number of steps counted from the start."""
        while self._done < until:
            rate = _LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * self._done / self._n_steps))
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.zero_grad()
            self._evaluate()
            self._optimizer.step()
            self._done += 1
        self._evaluate()

    def keep(self, n_starts: int) -> None:
        """Go on with the best ones alone, and with what Adam knows of them."""
        kept = self._totals.argsort()[:n_starts]
        memories = [self._optimizer.state.get(parameter, {}) for parameter in self._parameters]
        self._parameters = [p.detach()[kept].clone().requires_grad_(p.requires_grad) for p in self._parameters]
        self._optimizer = self._new_optimizer()
        for parameter, memory in zip(self._parameters, memories, strict=True):
            if memory:
                self._optimizer.state[parameter] = {
                    name: value[kept].clone() if value.ndim else value for name, value in memory.items()
                }
        self._best = [best[kept] for best in self._best]
        self._totals, self._objectives = self._totals[kept], self._objectives[kept]

    def _evaluate(self) -> None:
        """Objectives of all starts, and their gradients in closed form."""
        vectors, logits, mode_means = self._parameters
        n_starts, n_modes = vectors.shape[:2]
        factors = cholesky_factors(vectors.flatten(0, 1))
        modes = (factors @ factors.mT).view(n_starts, n_modes, -1)
        weights = logits.softmax(2)
        n_states, n_channels = self._problem.covariances_SCC.shape[:2]
        mixed = torch.cat([weights @ modes, modes], 1).view(n_starts, -1, n_channels, n_channels)
        targets, deviations = self._targets.expand_as(mixed), None
        if self._problem.means_SC is not None:
            deviations = self._problem.means_SC - weights @ mode_means
            targets = targets.clone()
            targets[:, :n_states] += (deviations.unsqueeze(3) * deviations.unsqueeze(2)).detach()
        with torch.no_grad():
            roots, faults = torch.linalg.cholesky_ex(mixed)
            lost = (faults != 0).any(1)
            roots = torch.where(lost[:, None, None, None], self._targets[-1], roots)
            inverses = torch.cholesky_inverse(roots)
            logs = 2 * roots.diagonal(dim1=2, dim2=3).log().sum(2)
            objectives = (logs + (inverses * targets).sum((2, 3))) * self._halves
            slopes = (inverses - inverses @ targets @ inverses) * self._halves[:, None, None]
        # The gradient of this sum is that of the objectives.
        tangent = (slopes * mixed).sum()
        if deviations is not None:
            pulls = inverses[:, :n_states] @ deviations.detach().unsqueeze(3) * 2 * self._halves[:n_states, None, None]
            tangent = tangent + (pulls.squeeze(3) * deviations).sum()
        tangent.backward()  # type: ignore[no-untyped-call]
        totals = torch.where(lost, math.inf, objectives.sum(1))
        better = totals < self._totals
        self._totals = torch.where(better, totals, self._totals)
        self._objectives = torch.where(better, objectives[:, :n_states].sum(1), self._objectives)
        for best, parameter in zip(self._best, self._parameters, strict=True):
            best[better] = parameter.detach()[better]

    def result(self) -> Unmixing:
        """The best point of all, in the coordinates of the given covariances."""
        winner = int(self._totals.argmin())
        vectors, logits, means = (best[winner] for best in self._best)
        problem = self._problem
        factors = problem.coloring_CC @ cholesky_factors(vectors)
        weights = torch.full((problem.n_states, len(vectors)), 1 / len(vectors), dtype=torch.float64)
        weights[problem.used] = logits.softmax(1)
        return Unmixing(
            covariances_JCC=factors @ factors.mT,
            weights_SJ=weights,
            objective=float(self._objectives[winner]) + problem.log_scale,
            means_JC=None if problem.means_SC is None else means @ problem.coloring_CC.T + problem.center_C,
        )
