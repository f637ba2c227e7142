"""What a trained HMM says of each subject: state probabilities, Viterbi path, free energy, own covariances."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch

from dynml.dataset.subset import MultiSubjectSubset
from dynml.errors import DataError
from dynml.models.hmm.model import GaussianHMM
from dynml.models.inferred import InferredSubject
from dynml.ops.hmm.free_parameters import n_free_parameters
from dynml.ops.hmm.gaussian_hmm import CovariancePrior, e_step, m_step


def infer(model: GaussianHMM, subset: MultiSubjectSubset, *, dual_estimation: bool = True) -> Iterator[InferredSubject]:
    """Go through the subjects of a subset; the free energy of each is exact.

    What is said of a masked sample is inferred through the gap.

    Parameters
    ----------
    model : GaussianHMM
    subset : MultiSubjectSubset
    dual_estimation : bool
        Also estimate each subject's own means and covariances; they cost next to nothing here.

    Raises
    ------
    DataError
        When the data have another number of channels than the model.
    """
    if subset.n_subjects and subset.n_channels != model.n_channels:
        raise DataError(f"The data have {subset.n_channels} channels, but the model was trained on {model.n_channels}.")
    for index in range(subset.n_subjects):
        yield _infer_subject(model, subset, index)


def _infer_subject(model: GaussianHMM, subset: MultiSubjectSubset, index: int) -> InferredSubject:
    table = subset.segments.of_subject(index)
    segments = np.stack([table.start, table.stop], axis=1)
    signals = torch.cat([subset.read(index, int(start), int(stop)) for start, stop in segments])
    starts = torch.tensor([0, *np.cumsum(table.lengths)], dtype=torch.int64)
    parameters = model.get_parameters()
    statistics, _, posteriors = e_step(signals, starts, parameters, posteriors=True)
    assert posteriors is not None
    # A state that the subject never visits keeps the group's estimate.
    weak = None
    if model.config.covariance_type == "full":
        pooled = parameters.covariances_KCC.mean(dim=0)
        weak = CovariancePrior(WEAK_PRIOR_SAMPLES, pooled)
    own, _ = m_step(
        statistics,
        parameters,
        learn_means=model.config.learn_means,
        learn_covariances=True,
        learn_transitions=False,
        covariance_prior=weak,
        covariances_epsilon=model.config.covariances_epsilon,
        tied_covariance=model.config.tied_covariance,
    )
    rows = np.concatenate([np.arange(start, stop) for start, stop in segments])
    n_rows = int(subset.n_rows_of[index])
    alpha = np.full((n_rows, model.config.n_states), np.nan, dtype=np.float32)
    alpha[rows] = posteriors.cpu().numpy()
    states = np.full(n_rows, -1, dtype=np.int64)
    states[rows] = model.most_likely_path(signals, starts).cpu().numpy()
    return InferredSubject(
        subject=subset.subjects[index],
        alpha=alpha,
        states=states,
        segments=segments,
        transitions=statistics.transitions_KK.cpu().numpy(),
        observed=subset.observed(index),
        log_likelihood=float(statistics.log_likelihood),
        n_samples=int(statistics.n_samples),
        sampling_frequency=float(subset.sampling_frequencies[index]),
        means=own.means_KC.numpy(),
        covariances=_as_matrices(own.covariances_KCC).numpy(),
    )


def states_of_stretch(model: GaussianHMM, signals_TC: torch.Tensor) -> torch.Tensor:
    """State probabilities given a stretch of samples alone, (T, K), on the CPU; masked samples are NaN.

    The chain begins as it is in the long run, since a trial need not begin as recordings do.
    """
    parameters = model.get_parameters()
    initial_K = long_run_probabilities(parameters.transition_probabilities_KK)
    parameters = dataclasses.replace(parameters, initial_probabilities_K=initial_K)
    signals_TC = signals_TC.cpu()
    starts = torch.tensor([0, len(signals_TC)])
    _, _, posteriors_TK = e_step(signals_TC, starts, parameters, posteriors=True, n_threads=1)
    assert posteriors_TK is not None
    return posteriors_TK


def long_run_probabilities(transitions_KK: torch.Tensor) -> torch.Tensor:
    """Share of time that a chain spends in each state, (K,) float64: pi P = pi; of several such, the most even one."""
    n_states = len(transitions_KK)
    balance = torch.cat([transitions_KK.T - torch.eye(n_states, dtype=torch.float64), torch.ones(1, n_states)])
    wanted = torch.zeros(n_states + 1, dtype=torch.float64)
    wanted[-1] = 1.0
    found = (torch.linalg.pinv(balance) @ wanted).clamp(min=0.0)
    return found / found.sum()


WEAK_PRIOR_SAMPLES = 1.0
"""Pseudo-samples of the group's mean covariance in a subject's dual estimate, so that rare states stay invertible."""


def _as_matrices(covariances: torch.Tensor) -> torch.Tensor:
    return torch.diag_embed(covariances) if covariances.ndim == 2 else covariances


def n_free_parameters_of(model: GaussianHMM) -> int:
    """Count the parameters that this model has learnt freely."""
    config = model.config
    return n_free_parameters(
        config.n_states,
        model.n_channels,
        learn_means=config.learn_means,
        learn_covariances=config.learn_covariances,
        covariance_type=config.covariance_type,
        learn_transitions=config.learn_transitions,
        tied_covariance=config.tied_covariance,
        n_forbidden=sum(row.count(0) for row in config.allowed_transitions or ()),
    )
