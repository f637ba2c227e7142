"""Hidden Markov model with Gaussian states: exact E-step, likelihood, most likely path; the M-step stands beside it.

Shapes: n samples of one or more segments end to end, C channels, K states. `starts`, (n_segments + 1,), are the row
borders of the segments: 0 first, n last.

A row that is NaN in all channels is a sample that was not observed. It is marginalised exactly: the chain goes on
through it with a density of 1 under every state, its state probabilities are given as those of any row, and it counts
in no moment, no occupancy and no number of samples.

One pass costs about 4 K C^2 FLOP a sample: one whitened product for all states' log-likelihoods, forward-backward, and
one Gram product a state. Memory beyond the data (and the posteriors, if asked for) does not grow with n, and signals
may be the reader of a file; `dynml.ops.hmm.passes` tells how.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.ops.devices import float64_device
from dynml.ops.gaussian import full_float32_precision
from dynml.ops.hmm.forward_backward import as_borders, most_likely_path
from dynml.ops.hmm.m_step import CovariancePrior, EmptyStates, log_prior, m_step, revive_state
from dynml.ops.hmm.passes import CHUNK_ROWS, HMMPass, PassSums, Signals
from dynml.ops.hmm.statistics import CovarianceType, GaussianHMMParameters, Statistics
from dynml.ops.masked_samples import observed_if_masked
from dynml.ops.memory import in_smaller_pieces
from dynml.ops.moments.weighted import Moments, chunk_moments, rounded_centres
from dynml.ops.workers import Workers

__all__ = [
    "CovariancePrior",
    "EmptyStates",
    "GaussianHMMParameters",
    "Signals",
    "Statistics",
    "e_step",
    "log_likelihood",
    "log_prior",
    "m_step",
    "n_parameters",
    "revive_state",
    "statistics_of_posteriors",
    "viterbi",
]


@in_smaller_pieces
def e_step(
    signals: Signals,
    starts: Tensor | NDArray[Any],
    parameters: GaussianHMMParameters,
    *,
    posteriors: bool = False,
    memory: int | None = None,
    n_threads: int | None = None,
    groups: Tensor | NDArray[Any] | None = None,
) -> tuple[Statistics, Tensor, Tensor | None]:
    """One exact pass over the data: expected sufficient statistics and log-likelihood.

    Parameters
    ----------
    signals : Tensor, (n, C), float32 or float64, on any device; or a reader with `.shape` and `[a:b]`
        A reader is asked from several threads.
    starts : Tensor or array, (n_segments + 1,)
        Row borders of the segments. Segments of any length, also 1.
    parameters : GaussianHMMParameters
    posteriors : bool
        Whether to give the state probabilities of every row, too.
    memory : int, optional
        Bytes for what is kept of segments longer than a chunk; default 64 MiB on a CPU, 2 GiB on a GPU. The statistics
        depend on it by no more than the rounding of float64 sums.
    n_threads : int, optional
        Default: torch's. The results do not depend on it.
    groups : Tensor or array, (n_groups + 1,), optional
        First segment of every group (a subject, say), and n_segments. What a group adds to the statistics then does
        not depend on the groups beside it, but for the rounding of float64 sums. Default: all are one group. Not used
        on a GPU.

    Returns
    -------
    statistics : Statistics
    log_likelihoods : Tensor, (n_segments,), float64, CPU
        log p(x) of each segment, nats, exact. NaN or infinite if the signals are, but for rows that are NaN in all
        channels.
    posteriors : Tensor, (n, K), of the signals' type and device, or None

    Raises
    ------
    NotPositiveDefiniteError
        Names the first state whose covariance has no Cholesky factor.
    """
    borders = as_borders(starts, signals.shape[0])
    statistics = Statistics.zeros(parameters.n_states, parameters.n_channels, parameters.covariance_type)
    with full_float32_precision(_device(signals)), Workers(_n_threads(signals, n_threads)) as workers:
        passing = HMMPass(
            signals,
            borders,
            parameters,
            workers,
            memory=memory,
            posteriors=posteriors,
            groups=None if groups is None else np.asarray(groups),
        )
        sums = PassSums.zeros(len(borders) - 1, parameters, passing.device)
        for part in passing.parts():
            sums.add(part)
        sums = sums.on_host()
        moments = sums.moments.about_zero(rounded_centres(parameters.means_KC, passing.dtype))
    statistics.transitions_KK, statistics.initial_K = sums.transitions_KK, sums.initial_K
    statistics.occupancies_K, statistics.first_moments_KC = moments.occupancies_K, moments.first_KC
    statistics.second_moments_KCC = moments.second_KCC
    statistics.log_likelihood = float(sums.log_likelihoods.sum())
    statistics.n_samples = int(borders[-1]) - int(sums.n_masked)
    statistics.n_segments = int((borders[1:] > borders[:-1]).sum())
    probabilities = passing.posteriors
    if probabilities is not None and isinstance(signals, Tensor):
        probabilities = probabilities.to(signals.device)
    return statistics, sums.log_likelihoods, probabilities


@in_smaller_pieces
def log_likelihood(
    signals: Signals,
    starts: Tensor | NDArray[Any],
    parameters: GaussianHMMParameters,
    *,
    memory: int | None = None,
    n_threads: int | None = None,
) -> Tensor:
    """Log p(x) of each segment, (n_segments,), float64, nats: the forward half of `e_step`; parameters as there."""
    borders = as_borders(starts, signals.shape[0])
    with full_float32_precision(_device(signals)), Workers(_n_threads(signals, n_threads)) as workers:
        passing = HMMPass(signals, borders, parameters, workers, memory=memory)
        logs = torch.zeros(len(borders) - 1, dtype=torch.float64, device=passing.device)
        for part in passing.log_likelihoods():
            assert part.log_likelihoods is not None
            logs[part.segments] += part.log_likelihoods
    return logs.cpu()


@in_smaller_pieces
def viterbi(
    signals: Signals, starts: Tensor | NDArray[Any], parameters: GaussianHMMParameters
) -> tuple[Tensor, Tensor]:
    """Most likely sequence of states of every segment.

    Parameters
    ----------
    signals, starts, parameters
        As in `e_step`. The log-likelihoods of the longest segment are held in memory.

    Returns
    -------
    path : Tensor, (n,), int64, CPU
        Where two states are equally good, the lower one.
    log_joint : Tensor, (n_segments,), float64, CPU
        log p(x, path) of each segment, nats.
    """
    borders = as_borders(starts, signals.shape[0])
    path = torch.empty(int(borders[-1]), dtype=torch.int64)
    log_joint = torch.zeros(len(borders) - 1, dtype=torch.float64)
    with full_float32_precision(_device(signals)), Workers(_n_threads(signals, None)) as workers:
        passing = HMMPass(signals, borders, parameters, workers)
        for piece, likelihoods in passing.state_log_likelihoods():
            path[piece.first : piece.last], log_joint[piece.segments] = most_likely_path(
                likelihoods,
                passing.local_borders(piece),
                parameters.initial_probabilities_K,
                parameters.transition_probabilities_KK,
            )
    return path, log_joint


def _device(signals: Signals) -> torch.device:
    return signals.device if isinstance(signals, Tensor) else torch.device("cpu")


def _n_threads(signals: Signals, n_threads: int | None) -> int | None:
    return n_threads if _device(signals).type == "cpu" else 1


def statistics_of_posteriors(
    signals: Signals, starts: Tensor | NDArray[Any], posteriors_TK: Tensor, *, covariance_type: CovarianceType = "full"
) -> Statistics:
    """Sufficient statistics of given state probabilities, for starts of EM and for dual estimation.

    Parameters
    ----------
    signals, starts
        As in `e_step`.
    posteriors_TK : Tensor, (n, K)
        Probabilities, or a one-hot path. A row of zeros belongs to no state.
    covariance_type : {"full", "diagonal"}

    Returns
    -------
    Statistics
        Transitions are counted as products of neighbouring rows (exact for a one-hot path), also through masked rows,
        which count in no other sum than that and `initial_K`; `log_likelihood` is 0.
    """
    borders = as_borders(starts, signals.shape[0])
    n_rows, chunk_rows = int(borders[-1]), CHUNK_ROWS["cpu"]
    statistics = Statistics.zeros(posteriors_TK.shape[1], signals.shape[1], covariance_type)
    posteriors = posteriors_TK.double() if posteriors_TK.dtype != torch.float32 else posteriors_TK
    # The mean of the first rows is near enough to all means to save the digits that a large offset would cost.
    rows = signals[0 : min(chunk_rows, n_rows)]
    device = rows.device if rows.device.type == "cpu" else float64_device(rows.device)
    moments = Moments.zeros(posteriors_TK.shape[1], signals.shape[1], covariance_type, device)
    rows = rows.to(device)
    observed = observed_if_masked(rows)
    centre = (rows if observed is None else rows[observed]).double().mean(0).nan_to_num()
    dtype = rows.dtype if rows.dtype == torch.float64 else torch.float32
    centres, n_masked = rounded_centres(centre.expand(posteriors.shape[1], -1).cpu(), dtype), 0

    def of_chunk(first: int) -> tuple[Moments, int]:
        rows = signals[first : min(first + chunk_rows, n_rows)].to(device)
        observed, weights = observed_if_masked(rows), posteriors[first : first + len(rows)].to(rows.device)
        masked = 0 if observed is None else len(rows) - int(observed.sum())
        return chunk_moments(rows, weights, centres, covariance_type, observed), masked

    with full_float32_precision(_device(signals)), Workers(_n_threads(signals, None)) as workers:
        for part, masked in workers.map(of_chunk, range(0, n_rows, chunk_rows)):
            moments.add(part)
            n_masked += masked
        moments = Moments(*(tensor.cpu() for tensor in vars(moments).values())).about_zero(centres)
    begins = torch.from_numpy(borders[:-1][np.diff(borders) > 0])
    statistics.initial_K = posteriors[begins.to(posteriors.device)].sum(0, dtype=torch.float64).cpu()
    statistics.transitions_KK = _counts_of_neighbours(posteriors, begins)
    statistics.occupancies_K, statistics.first_moments_KC = moments.occupancies_K, moments.first_KC
    statistics.second_moments_KCC = moments.second_KCC
    statistics.n_samples, statistics.n_segments = n_rows - n_masked, len(begins)
    return statistics


def _counts_of_neighbours(posteriors: Tensor, begins: Tensor) -> Tensor:
    continues = torch.ones(len(posteriors), 1, dtype=torch.bool)
    continues[begins] = False
    counts = torch.zeros(posteriors.shape[1], posteriors.shape[1], dtype=torch.float64)
    for first in range(1, len(posteriors), CHUNK_ROWS["cpu"]):
        last = min(first + CHUNK_ROWS["cpu"], len(posteriors))
        rows = posteriors[first - 1 : last].double().cpu()
        counts += (rows[:-1] * continues[first:last]).T @ rows[1:]
    return counts


def n_parameters(n_states: int, n_channels: int, covariance_type: CovarianceType = "full") -> dict[str, int]:
    """Numbers of parameters by part; their sum is the model's.

    A covariance counts its lower triangle (or its diagonal), the hidden-state part all of the transition matrix and the
    initial probabilities.
    """
    per_covariance = n_channels * (n_channels + 1) // 2 if covariance_type == "full" else n_channels
    return {
        "means": n_states * n_channels,
        "covariances": n_states * per_covariance,
        "hidden_states": n_states * n_states + n_states,
    }
