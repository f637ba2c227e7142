"""M-step of the Gaussian HMM in closed form, its priors, and the revival of empty states.

Shapes: K states, C channels. Everything is float64 on the CPU.

Maximum a posteriori with
- covariances: inverse-Wishart prior of n0 pseudo-samples with covariance P, log p(S) = -n0/2 (log det S + tr(P S^-1));
- transitions: Dirichlet prior, given as pseudo-counts n_ij, log p(A) = sum n_ij log A_ij;
both up to a constant. EM then never lowers log p(x) + log p(parameters).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from dynml.ops.hmm.statistics import GaussianHMMParameters, Statistics
from dynml.ops.workers import one_thread

SMALLEST_OCCUPANCY = 1.0
"""Samples below which a state counts as empty."""


@dataclass(frozen=True)
class CovariancePrior:
    """Inverse-Wishart prior of every state's covariance, as samples seen before the data."""

    pseudo_samples: float
    """n0: how many samples it weighs."""
    pooled_covariance: Tensor
    """(C, C), about the states' fixed means, or about the pooled mean if means are learnt; (C,) also for diagonal."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "pooled_covariance", torch.as_tensor(self.pooled_covariance).double().cpu())

    def covariance(self, parameters: GaussianHMMParameters) -> Tensor:
        """The pooled covariance in the form of the parameters' covariances: (C, C), or (C,)."""
        pooled = self.pooled_covariance
        if parameters.covariance_type == "diagonal":
            return pooled.diagonal() if pooled.ndim == 2 else pooled
        return pooled if pooled.ndim == 2 else torch.diag(pooled)


@dataclass(frozen=True)
class EmptyStates:
    """States that an M-step left as they were, because (almost) no sample belongs to them."""

    states: tuple[int, ...] = ()
    occupancies: tuple[float, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.states)


@one_thread()
def m_step(
    statistics: Statistics,
    previous: GaussianHMMParameters,
    *,
    learn_means: bool = True,
    learn_covariances: bool = True,
    learn_transitions: bool = True,
    learn_initial_probabilities: bool = True,
    covariance_prior: CovariancePrior | None = None,
    transition_prior: float | Tensor | None = None,
    covariances_epsilon: float = 0.0,
    tied_covariance: bool = False,
    smallest_occupancy: float = SMALLEST_OCCUPANCY,
) -> tuple[GaussianHMMParameters, EmptyStates]:
    """Parameters that maximise the expected log-likelihood plus log-prior.

    Parameters
    ----------
    statistics : Statistics
        Of `e_step` at `previous`, over all data.
    previous : GaussianHMMParameters
        Parts that are not learnt, and states that are empty, stay as they are here.
    learn_means : bool
        If not, covariances are second moments about the previous means.
    learn_covariances, learn_transitions, learn_initial_probabilities : bool
    covariance_prior : CovariancePrior, optional
        S_k = (scatter_k + n0 P) / (occupancy_k + n0).
    transition_prior : float or Tensor (K, K), optional
        Pseudo-counts added to the expected numbers of transitions.
    covariances_epsilon : float
        Added to the diagonal of every learnt covariance, after the maximisation.
    tied_covariance : bool
        One covariance for all states, S = (sum of scatter_k + n0 P) / (all samples + n0).
    smallest_occupancy : float
        A state with fewer samples is empty: it keeps its mean, covariance and transitions.

    Returns
    -------
    parameters : GaussianHMMParameters
    empty : EmptyStates
        Which states were left as they were; `revive_state` can put them to use.
    """
    occupancies = statistics.occupancies_K
    is_empty = ~(occupancies >= smallest_occupancy)
    weight = occupancies.clamp(min=smallest_occupancy).unsqueeze(1)
    means = previous.means_KC
    if learn_means:
        means = torch.where(is_empty.unsqueeze(1), means, statistics.first_moments_KC / weight)
    covariances = previous.covariances_KCC
    if learn_covariances:
        shares = (previous, means, weight.squeeze(1), covariance_prior, covariances_epsilon)
        updated = _covariances(statistics, *shares, tied=tied_covariance)
        keeps = is_empty.view(-1, *[1] * (updated.ndim - 1))
        covariances = updated if tied_covariance else torch.where(keeps, covariances, updated)
    transitions = previous.transition_probabilities_KK
    if learn_transitions:
        transitions = _transitions(statistics.transitions_KK, transitions, is_empty, transition_prior)
    initial = previous.initial_probabilities_K
    if learn_initial_probabilities and float(statistics.initial_K.sum()) > 0:
        initial = statistics.initial_K / statistics.initial_K.sum()
    indices = tuple(int(state) for state in is_empty.nonzero()[:, 0])
    return (
        GaussianHMMParameters(means, covariances, initial, transitions),
        EmptyStates(indices, tuple(float(occupancies[state]) for state in indices)),
    )


def _covariances(
    statistics: Statistics,
    previous: GaussianHMMParameters,
    means: Tensor,
    weight: Tensor,
    prior: CovariancePrior | None,
    epsilon: float,
    *,
    tied: bool,
) -> Tensor:
    first, second = statistics.first_moments_KC, statistics.second_moments_KCC
    occupancies = statistics.occupancies_K
    if previous.covariance_type == "full":
        half = means.unsqueeze(2) * (first - 0.5 * occupancies.unsqueeze(1) * means).unsqueeze(1)
        scatter = second - (half + half.transpose(1, 2))
        ridge = epsilon * torch.eye(previous.n_channels, dtype=torch.float64)
        weight = weight.view(-1, 1, 1)
    else:
        scatter = second + means * (occupancies.unsqueeze(1) * means - 2 * first)
        ridge = torch.full((previous.n_channels,), epsilon, dtype=torch.float64)
        weight = weight.unsqueeze(1)
    if tied:
        scatter = scatter.sum(0, keepdim=True).expand_as(scatter)
        weight = occupancies.sum().clamp(min=SMALLEST_OCCUPANCY).expand_as(weight)
    if prior is None:
        return scatter / weight + ridge
    pooled = prior.covariance(previous)
    return (scatter + prior.pseudo_samples * pooled) / (weight + prior.pseudo_samples) + ridge


def _transitions(counts: Tensor, previous: Tensor, is_empty: Tensor, transition_prior: float | Tensor | None) -> Tensor:
    if transition_prior is not None:
        counts = counts + transition_prior
    totals = counts.sum(1, keepdim=True)
    keeps = is_empty.unsqueeze(1) | ~(totals > 0)
    return torch.where(keeps, previous, counts / torch.where(keeps, 1.0, totals))


def constrained(
    parameters: GaussianHMMParameters, *, allowed_KK: Tensor | None = None, tied_covariance: bool = False
) -> GaussianHMMParameters:
    """Parameters without transitions that are not allowed, and with one covariance if it is tied.

    EM keeps a probability of 0, so that it is enough to constrain where it starts from and states that are revived.

    Parameters
    ----------
    parameters : GaussianHMMParameters
    allowed_KK : Tensor (K, K) of bool, optional
        A state whose transitions all go takes those that are allowed alike.
    tied_covariance : bool
        The mean of the states' covariances becomes that of all.
    """
    transitions, covariances = parameters.transition_probabilities_KK, parameters.covariances_KCC
    if allowed_KK is not None:
        kept = transitions * allowed_KK
        kept = torch.where(kept.sum(1, keepdim=True) > 0, kept, allowed_KK.double())
        transitions = kept / kept.sum(1, keepdim=True)
    if tied_covariance:
        covariances = covariances.mean(0, keepdim=True).expand_as(covariances).contiguous()
    return dataclasses.replace(parameters, transition_probabilities_KK=transitions, covariances_KCC=covariances)


@one_thread()
def log_prior(
    parameters: GaussianHMMParameters,
    *,
    covariance_prior: CovariancePrior | None = None,
    transition_prior: float | Tensor | None = None,
    tied_covariance: bool = False,
) -> float:
    """Log-density of the parameters under the priors of `m_step`, up to a constant, in nats."""
    total = 0.0
    if covariance_prior is not None:
        pooled = covariance_prior.covariance(parameters)
        if parameters.covariance_type == "full":
            factors = torch.linalg.cholesky(parameters.covariances_KCC)
            log_determinants = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(1)
            traces = torch.cholesky_solve(pooled.expand_as(factors), factors).diagonal(dim1=1, dim2=2).sum(1)
        else:
            log_determinants = parameters.covariances_KCC.log().sum(1)
            traces = (pooled / parameters.covariances_KCC).sum(1)
        if tied_covariance:  # one covariance has one prior, however many states share it
            log_determinants, traces = log_determinants[:1], traces[:1]
        total -= 0.5 * covariance_prior.pseudo_samples * float((log_determinants + traces).sum())
    if transition_prior is not None:
        pseudo_counts = torch.as_tensor(transition_prior, dtype=torch.float64)
        total += float(torch.xlogy(pseudo_counts, parameters.transition_probabilities_KK).sum())
    return total


@one_thread()
def revive_state(
    parameters: GaussianHMMParameters,
    state: int,
    occupancies_K: Tensor,
    *,
    learn_means: bool = True,
    learn_transitions: bool = True,
) -> GaussianHMMParameters:
    """Give an empty state half of the most occupied one, split along its first principal axis.

    Parameters
    ----------
    parameters : GaussianHMMParameters
    state : int
        The state to revive.
    occupancies_K : Tensor, (K,)
        Samples of each state; the largest of the others is split.
    learn_means : bool
        If so, the halves lie half a standard deviation on either side of the old mean; if not, one is wider and one is
        narrower along the axis by half the variance.
    learn_transitions : bool
        If not, transition probabilities stay as they are.

    Returns
    -------
    GaussianHMMParameters
        The two halves have together the mean and the covariance of the state that was split, and follow each other like
        the two sides of a fair coin: but for the split along the axis the model is the same without the empty state.
    """
    others = occupancies_K.double().cpu().clone()
    others[state] = -torch.inf
    donor = int(others.argmax())
    covariances, means = parameters.covariances_KCC.clone(), parameters.means_KC.clone()
    axis, spread = _principal_axis(covariances[donor])
    if learn_means:
        means[state], means[donor] = means[donor] + 0.5 * axis, means[donor] - 0.5 * axis
        covariances[state] = covariances[donor] = covariances[donor] - 0.25 * spread
    else:
        means[state] = means[donor]
        covariances[state], covariances[donor] = covariances[donor] + 0.5 * spread, covariances[donor] - 0.5 * spread
    initial, transitions = parameters.initial_probabilities_K.clone(), parameters.transition_probabilities_KK.clone()
    both = [state, donor]
    initial[both] = initial[both].mean()
    if learn_transitions:
        transitions[state] = transitions[donor]
        transitions[:, both] = transitions[:, both].mean(1, keepdim=True)
    return GaussianHMMParameters(means, covariances, initial, transitions)


def _principal_axis(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """First principal axis, as long as its standard deviation, and its share of the covariance (or variances)."""
    if covariance.ndim == 1:
        axis = torch.zeros_like(covariance)
        channel = int(covariance.argmax())
        axis[channel] = covariance[channel].sqrt()
        return axis, axis.square()
    eigenvalues, eigenvectors = torch.linalg.eigh(covariance)
    axis = eigenvectors[:, -1] * eigenvalues[-1].sqrt()
    axis = axis * torch.where(axis[axis.abs().argmax()] < 0, -1.0, 1.0)
    return axis, torch.outer(axis, axis)
