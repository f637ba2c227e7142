"""What a trained DyNeMo says of each subject: mixing coefficients, bound, and the moments that they mix.

Windows overlap by half, and each sample is taken from the window in whose middle it lies, so that the ends of windows,
where the networks see one side only, leave no trace, and no sample of a segment is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.batches.fixed_windows import WINDOWS_PER_BATCH
from dynml.dataset.subset import MultiSubjectSubset
from dynml.errors import DataError
from dynml.models.dynemo.model import DRAWS_SEED, Dynemo
from dynml.models.inferred import InferredSubject
from dynml.ops.keyed_noise import span_keys
from dynml.ops.masked_samples import observed_rows
from dynml.ops.mixture.cholesky_parameters import covariances_from_vectors, variances_from_vectors
from dynml.ops.mixture.mixture_gaussian import mixture_log_likelihood
from dynml.ops.overlapping_windows import overlapping_windows

N_DRAWS = 10
DUAL_STEPS, DUAL_LEARNING_RATE = 150, 0.02
"""Adam on a subject's own modes, from the group's, with its coefficients fixed."""


@dataclass(frozen=True, kw_only=True)
class DynemoSubject(InferredSubject):
    """One subject under DyNeMo: its log-likelihood is the bound by seeded draws, and it has no path of states.

    What is said of a masked sample is inferred from those around it. The free energy at the posterior's mean is no
    bound; it is for comparison with osl-dynamics.
    """

    theta: NDArray[np.float32]
    """The posterior's mean of the logits, (T, J); NaN outside segments."""


def infer(model: Dynemo, subset: MultiSubjectSubset, *, dual_estimation: bool = False) -> Iterator[DynemoSubject]:
    """Go through the subjects of a subset.

    Parameters
    ----------
    model : Dynemo
    subset : MultiSubjectSubset
    dual_estimation : bool
        Also estimate each subject's own means and covariances.

    Raises
    ------
    DataError
        When the data have another number of channels than the model.
    """
    if subset.n_subjects and subset.n_channels != model.n_channels:
        raise DataError(f"The data have {subset.n_channels} channels, but the model was trained on {model.n_channels}.")
    model.eval()
    for index in range(subset.n_subjects):
        yield _infer_subject(model, subset, index, dual_estimation)


def _infer_subject(model: Dynemo, subset: MultiSubjectSubset, index: int, dual: bool) -> DynemoSubject:
    table = subset.segments.of_subject(index)
    segments = np.stack([table.start, table.stop], axis=1)
    shape = int(subset.n_rows_of[index]), model.config.n_modes
    theta = np.full(shape, np.nan, dtype=np.float32)
    score = torch.zeros(4, dtype=torch.float64)
    with torch.no_grad():
        for number, (start, stop) in enumerate(segments.tolist()):
            signals = subset.read(index, start, stop)
            theta[start:stop] = posterior_mean(model, signals).cpu().numpy()
            score += _scores_of_segment(model, signals, (index, number, start))
        logits = torch.from_numpy(theta).to(model.means.device)
        alpha = model.alpha(logits).cpu().numpy()
    bound, nll, divergence, n_transitions = score.tolist()
    observed = subset.observed(index)
    n_samples = int(table.lengths.sum()) if observed is None else int(observed.sum())
    own: dict[str, Any] = {}
    if dual:
        rows = np.concatenate([np.arange(start, stop) for start, stop in segments])
        signals = torch.cat([subset.read(index, start, stop) for start, stop in segments.tolist()])
        if observed is not None:
            signals, rows = signals[torch.from_numpy(observed[rows]).to(signals.device)], rows[observed[rows]]
        own = estimate_modes(model, signals, torch.from_numpy(alpha[rows]).to(signals.device))
    return DynemoSubject(
        subject=subset.subjects[index],
        alpha=alpha,
        theta=theta,
        segments=segments,
        observed=observed,
        log_likelihood=-bound,
        free_energy_at_mean=nll / n_samples + divergence / max(n_transitions, 1.0),
        n_samples=n_samples,
        sampling_frequency=float(subset.sampling_frequencies[index]),
        **own,
    )


def posterior_mean(model: Dynemo, signals: Tensor) -> Tensor:
    """The posterior's mean of the logits of a whole segment, (T, J), from overlapping windows of its rows (T, C)."""
    windows = overlapping_windows(len(signals), model.config.sequence_length)
    theta = signals.new_empty(len(signals), model.config.n_modes)
    for first in range(0, len(windows), WINDOWS_PER_BATCH):
        some = windows[first : first + WINDOWS_PER_BATCH]
        stacked = torch.stack([signals[start:stop] for start, stop, _, _ in some])
        mean, _ = model.posterior(stacked, observed_BT=observed_rows(stacked))
        for of_window, (start, _, begin, end) in zip(mean, some):
            theta[begin:end] = of_window[begin - start : end - start]
    return theta


@torch.no_grad()
def states_of_stretch(model: Dynemo, signals_TC: Tensor) -> Tensor:
    """Mixing coefficients given a stretch of samples alone, (T, J), on the CPU; masked samples are NaN."""
    model.eval()
    return model.alpha(posterior_mean(model, signals_TC.to(model.means))).cpu()


def _scores_of_segment(model: Dynemo, signals: Tensor, origin: tuple[int, int, int]) -> Tensor:
    """Negative bound, negative log-likelihood and divergence at the mean, and number of transitions."""
    length, n_samples = model.config.sequence_length, len(signals)
    subject, segment, offset = origin
    total = torch.zeros(4, dtype=torch.float64)
    n_whole = n_samples // length
    pieces = [signals[: n_whole * length].view(n_whole, length, -1)] if n_whole else []
    tail = signals[n_whole * length :]
    firsts = [offset + length * np.arange(n_whole)] if n_whole else []
    if len(tail):
        pieces.append(tail[None])
        firsts.append(np.array([offset + n_whole * length]))
    for windows, starts in zip(pieces, firsts):
        for first in range(0, len(windows), WINDOWS_PER_BATCH):
            some = windows[first : first + WINDOWS_PER_BATCH]
            begin = torch.from_numpy(starts[first : first + WINDOWS_PER_BATCH]).to(signals.device)
            own = torch.full_like(begin, subject)
            keys = span_keys(DRAWS_SEED, 0, own, torch.full_like(begin, segment), begin, begin + some.shape[1])
            observed = observed_rows(some)
            at_mean = model.bound_terms(some, None, observed_BT=observed)
            values = [
                float(model.bounds_of_draws(some, keys, N_DRAWS, observed_BT=observed).sum()),
                -float(at_mean.log_likelihood_BT.double().sum()),
                float(at_mean.divergence_BT[:, 1:].double().sum()),
                float(len(some) * (some.shape[1] - 1)),
            ]
            total += torch.tensor(values, dtype=torch.float64)
    return total


def mixed_moments(model: Dynemo, alpha: Tensor, chunk: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
    """Means and covariances of every sample, in chunks of rows, so that no large stack is held.

    Parameters
    ----------
    model : Dynemo
    alpha : Tensor, (T, J)
    chunk : int
        Rows at a time.

    Yields
    ------
    means : Tensor, (rows, C)
    covariances : Tensor, (rows, C, C)
    """
    covariances, means = model.full_covariances().to(alpha), model.means.detach().to(alpha)
    for rows in alpha.split(chunk):
        yield rows @ means, torch.einsum("tj,jab->tab", rows, covariances)


def estimate_modes(model: Dynemo, signals: Tensor, alpha: Tensor) -> dict[str, NDArray[np.float64]]:
    """Dual estimation: the modes of one subject, given its coefficients, by gradients from the group's modes.

    Parameters
    ----------
    model : Dynemo
        Left as it is.
    signals : Tensor, (T, C)
    alpha : Tensor, (T, J)

    Returns
    -------
    dict
        means (J, C) and covariances (J, C, C), float64.
    """
    config = model.config
    vectors = model.covariance_vectors.detach().clone().requires_grad_()
    means = model.means.detach().clone().requires_grad_(config.learn_means)
    trained = [vectors, means] if config.learn_means else [vectors]
    optimizer = torch.optim.Adam(trained, lr=DUAL_LEARNING_RATE)
    from_vectors = variances_from_vectors if config.covariance_type == "diagonal" else covariances_from_vectors
    with torch.enable_grad():
        for step in range(DUAL_STEPS):
            for group in optimizer.param_groups:
                group["lr"] = DUAL_LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * step / DUAL_STEPS))
            covariances = from_vectors(vectors, config.covariances_epsilon)
            modes = means if config.learn_means else None, covariances
            loss = -mixture_log_likelihood(signals, alpha, *modes, weights_hold=True).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    final = from_vectors(vectors.detach(), config.covariances_epsilon).double()
    final = torch.diag_embed(final) if final.ndim == 2 else final
    return {"means": means.detach().double().cpu().numpy(), "covariances": final.cpu().numpy()}
