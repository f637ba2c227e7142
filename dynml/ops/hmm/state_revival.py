"""Revival of an empty state by the data: split the state whose samples are least like one Gaussian.

Shapes: n samples of one or more segments end to end, C channels, K states.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.errors import NotPositiveDefiniteError
from dynml.ops.hmm.forward_backward import as_borders
from dynml.ops.hmm.gaussian_hmm import CovariancePrior, e_step, log_prior, revive_state
from dynml.ops.hmm.state_initialization import parameters_from_labels, window_clustering
from dynml.ops.hmm.statistics import GaussianHMMParameters
from dynml.ops.masked_samples import observed_if_masked

_SAMPLES_PER_HALF = 2
"""Times the rows of a covariance: what a state needs for each half to be worth a trial."""


@dataclass(frozen=True)
class _Split:
    """Two states in place of one."""

    donor: int
    gain: float
    """Nats that the two explain better than the one."""
    halves: GaussianHMMParameters
    shares: Tensor
    """(2,): of the donor's samples."""


def revive_from_data(
    signals: Tensor,
    starts: Tensor | NDArray[Any],
    parameters: GaussianHMMParameters,
    state: int,
    *,
    generator: np.random.Generator,
    learn_means: bool = True,
    learn_transitions: bool = True,
    prior: CovariancePrior | None = None,
) -> GaussianHMMParameters:
    """Give an empty state a part of another one, where two Gaussians explain the samples much better than one.

    Parameters
    ----------
    signals : Tensor, (n, C)
        The data, or a part of them.
    starts : Tensor or array, (n_segments + 1,)
        Row borders of the segments.
    parameters : GaussianHMMParameters
    state : int
        The state to revive.
    generator : numpy Generator
    learn_means, learn_transitions : bool
    prior : CovariancePrior, optional

    Returns
    -------
    GaussianHMMParameters
        The two halves take the place of the donor and of the empty state. Where no state has enough samples to be
        split, what `revive_state` makes of the most occupied one.

    Notes
    -----
    One pass tells which samples belong to which state most likely. The runs of every state are then split by
    `window_clustering` into two states, and the split that gains most likelihood is taken. All splits together cost
    about as much as one start on as many samples.
    """
    borders = as_borders(starts, len(signals))
    statistics, _, posteriors = e_step(signals, borders, parameters, posteriors=True)
    assert posteriors is not None
    labels = posteriors.argmax(1).cpu().numpy()
    observed = observed_if_masked(signals)
    kept = np.ones(len(signals), dtype=bool) if observed is None else observed.cpu().numpy()
    best: _Split | None = None
    for donor in range(parameters.n_states):
        rows, runs = _rows_of(labels, borders, donor)
        if donor == state or np.count_nonzero(kept[rows]) < 2 * _SAMPLES_PER_HALF * _rows_of_covariance(parameters):
            continue
        of_donor = signals[torch.from_numpy(rows).to(signals.device)]
        split = _split(of_donor, runs, parameters, donor, generator, learn_means, prior)
        if split is not None and (best is None or split.gain > best.gain):
            best = split
    if best is None:
        return revive_state(
            parameters,
            state,
            statistics.occupancies_K,
            learn_means=learn_means,
            learn_transitions=learn_transitions,
        )
    return _with_halves(parameters, state, best, learn_transitions)


def _rows_of_covariance(parameters: GaussianHMMParameters) -> int:
    return parameters.n_channels if parameters.covariance_type == "full" else 1


def _rows_of(labels: NDArray[Any], borders: NDArray[Any], state: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows with a label, and the borders, counted among these rows, of their runs without gap."""
    rows = np.flatnonzero(labels == state)
    segments = np.searchsorted(borders, rows, side="right")
    breaks = np.flatnonzero((np.diff(rows) > 1) | (np.diff(segments) > 0)) + 1
    return rows, np.concatenate([[0], breaks, [len(rows)]])


def _split(
    signals: Tensor,
    runs: NDArray[Any],
    parameters: GaussianHMMParameters,
    donor: int,
    generator: np.random.Generator,
    learn_means: bool,
    prior: CovariancePrior | None,
) -> _Split | None:
    """Two states for the samples of one, and what they gain over one Gaussian; None where a covariance is singular."""
    settings: dict[str, Any] = {
        "generator": generator,
        "learn_means": learn_means,
        "covariance_type": parameters.covariance_type,
        "prior": prior,
    }
    fixed = torch.zeros_like(parameters.means_KC[donor]) if learn_means else parameters.means_KC[donor]
    signals = signals - fixed.to(signals)
    alone = torch.ones(1, 1, dtype=torch.float64)
    one = parameters_from_labels(signals, torch.zeros(len(signals), dtype=torch.int64), alone, **settings)
    two = window_clustering(signals, runs, 2, **settings)
    try:
        of_one, _, _ = e_step(signals, runs, one)
        of_two, _, _ = e_step(signals, runs, two)
    except NotPositiveDefiniteError:
        return None
    gain = of_two.log_likelihood + log_prior(two, covariance_prior=prior)
    gain -= of_one.log_likelihood + log_prior(one, covariance_prior=prior)
    two = dataclasses.replace(two, means_KC=two.means_KC + fixed)
    return _Split(donor, gain, two, of_two.occupancies_K / of_two.occupancies_K.sum())


def _with_halves(
    parameters: GaussianHMMParameters, state: int, split: _Split, learn_transitions: bool
) -> GaussianHMMParameters:
    """Put the halves in the places of the donor and the empty state.

    Both leave as the donor did, and follow each other as within its runs; who came to the donor comes to them by share.
    """
    pair = [split.donor, state]
    means, covariances = parameters.means_KC.clone(), parameters.covariances_KCC.clone()
    means[pair], covariances[pair] = split.halves.means_KC, split.halves.covariances_KCC
    initial, transitions = parameters.initial_probabilities_K.clone(), parameters.transition_probabilities_KK.clone()
    initial[pair] = initial[pair].sum() * split.shares
    if learn_transitions:
        transitions[state] = transitions[split.donor]
        arriving = transitions[:, pair].sum(1, keepdim=True)
        transitions[:, pair] = arriving * split.shares
        transitions[torch.tensor(pair)[:, None], torch.tensor(pair)] = (
            arriving[pair] * split.halves.transition_probabilities_KK
        )
    return GaussianHMMParameters(means, covariances, initial, transitions)
