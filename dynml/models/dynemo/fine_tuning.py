"""A subject's own DyNeMo: the group's model, trained a little further on one subject, with the group's prior kept.

The prior network says how modes follow one another, which one recording can hardly tell; the modes and the network that
infers the coefficients adapt to the subject.
"""

from __future__ import annotations

import copy

import torch

from dynml.configuration import check_at_least, check_positive
from dynml.dataset.subset import MultiSubjectSubset
from dynml.errors import DataError
from dynml.models.dynemo.model import Dynemo
from dynml.ops.keyed_noise import span_keys
from dynml.ops.masked_samples import observed_rows

FINE_TUNING_SEED = 17


def fine_tuned(
    model: Dynemo,
    subset: MultiSubjectSubset,
    subject: int,
    *,
    n_epochs: int = 10,
    learning_rate: float = 0.001,
    batch_size: int = 16,
) -> Dynemo:
    """Train a copy of the model on one subject, with the prior network fixed.

    Parameters
    ----------
    model : Dynemo
        Left as it is.
    subset : MultiSubjectSubset
    subject : int
        Number of the subject in the subset.
    n_epochs : int
    learning_rate : float
        Of Adam; constant.
    batch_size : int
        Windows.

    Raises
    ------
    DataError
        When the subject has no segment as long as a window.
    """
    check_at_least("n_epochs", n_epochs, 1)
    check_positive("learning_rate", learning_rate)
    own = copy.deepcopy(model)
    for part in (own.model_rnn, own.prior_head):
        part.requires_grad_(False)
    own.kl_annealing_factor.fill_(1.0)
    windows, starts, segments = _windows_of(subset, subject, own.config.sequence_length)
    optimizer = torch.optim.Adam([p for p in own.parameters() if p.requires_grad], lr=learning_rate)
    own.train()
    for epoch in range(n_epochs):
        order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(epoch))
        for some in order.split(batch_size):
            begin = starts[some]
            same = torch.full_like(begin, subject)
            keys = span_keys(FINE_TUNING_SEED, epoch, same, segments[some], begin, begin + windows.shape[1])
            signals = windows[some.to(windows.device)]
            noise = own.noise(keys.to(signals.device), signals)
            terms = own.bound_terms(signals, noise, observed_BT=observed_rows(signals), in_sum=True)
            loss = (terms.divergence_BT - terms.log_likelihood_BT).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(own.parameters(), 1.0)
            optimizer.step()
    own.model_rnn.requires_grad_(True)
    own.prior_head.requires_grad_(True)
    return own.eval()


def _windows_of(
    subset: MultiSubjectSubset, subject: int, length: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Whole windows (N, T, C) of a subject, end to end in each segment, with their first samples and segments (N,)."""
    table = subset.segments.of_subject(subject)
    windows, starts, segments = [], [], []
    for start, stop, segment in zip(table.start.tolist(), table.stop.tolist(), table.segment.tolist()):
        n_windows = (stop - start) // length
        if n_windows:
            rows = subset.read(subject, start, start + n_windows * length)
            windows.append(rows.view(n_windows, length, -1))
            starts.append(start + length * torch.arange(n_windows))
            segments.append(torch.full((n_windows,), segment))
    if not windows:
        raise DataError(f"{subset.subjects[subject]} has no segment of {length} samples to fine-tune on.")
    return torch.cat(windows), torch.cat(starts), torch.cat(segments)
