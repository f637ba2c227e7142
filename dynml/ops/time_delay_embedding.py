"""Time-delay embedding of signals, and its projection as a convolution that never makes the embedded series.

Shapes: T samples, C channels, n embeddings, P components, B windows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dynml.ops.gaussian import full_float32_precision
from dynml.ops.masked_samples import observed_rows


def embedded(rows_TC: Tensor, n_embeddings: int) -> Tensor:
    """Put each channel's neighbouring samples beside it.

    Parameters
    ----------
    rows_TC : Tensor, (T, C)
        One stretch without gaps, T at least n - 1.
    n_embeddings : int

    Returns
    -------
    Tensor, (T - n + 1, C n)
        Channel-major, from the latest sample to the earliest, as the step `time_delay_embedding` has it. A row that a
        masked one enters is NaN in all columns.
    """
    return embedded_windows(rows_TC[None], n_embeddings)[0]


def embedded_windows(rows_BTC: Tensor, n_embeddings: int) -> Tensor:
    """Do the same to each of several windows, (B, T, C) to (B, T - n + 1, C n)."""
    n_windows, n_times, n_channels = rows_BTC.shape
    if n_times < n_embeddings:
        return rows_BTC.new_empty(n_windows, 0, n_channels * n_embeddings)
    side_by_side = rows_BTC.unfold(1, n_embeddings, 1).flip(-1).flatten(2)
    observed = observed_rows(rows_BTC).unfold(1, n_embeddings, 1).all(dim=-1)
    # Elsewhere than on a CPU, asking costs more than doing.
    if observed.device.type == "cpu" and bool(observed.all()):
        return side_by_side
    return side_by_side.masked_fill_(~observed[:, :, None], torch.nan)


def projected(rows_TC: Tensor, filters_nCP: Tensor, out: Tensor | None = None) -> Tensor:
    """Project each run of n neighbouring samples.

    Parameters
    ----------
    rows_TC : Tensor, (T, C)
        One stretch without gaps, T at least n - 1.
    filters_nCP : Tensor, (n, C, P)
        Weights of the samples, the earliest first; same type and device as the rows.
    out : Tensor, (T - n + 1, P), optional
        What is written to.

    Returns
    -------
    Tensor, (T - n + 1, P)
        Row t is the sum over l and c of rows[t + l, c] filters[l, c].

    Notes
    -----
    Rows first, first + n, .. begin windows that do not overlap, so that they are a matrix (windows, n C) without a
    copy: n matrix products, one for each `first`, do exactly the convolution's work and need no memory but the result.
    """
    n_embeddings, n_channels, n_components = filters_nCP.shape
    n_windows = max(len(rows_TC) - n_embeddings + 1, 0)
    rows_TC, weights = rows_TC.contiguous(), filters_nCP.reshape(-1, n_components)
    if out is None:
        out = rows_TC.new_empty(n_windows, n_components)
    assert out.shape == (n_windows, n_components), (out.shape, n_windows, n_components)
    with full_float32_precision(rows_TC.device):
        for first in range(min(n_embeddings, n_windows)):
            n_whole = (len(rows_TC) - first) // n_embeddings
            windows = rows_TC[first : first + n_whole * n_embeddings].view(n_whole, n_embeddings * n_channels)
            torch.mm(windows, weights, out=out[first::n_embeddings])
    return out


def projected_windows(rows_BTC: Tensor, filters_nCP: Tensor) -> Tensor:
    """Project windows that bring (n - 1) / 2 samples more on each side, (B, T - n + 1, P).

    Parameters
    ----------
    rows_BTC : Tensor, (B, T, C)
    filters_nCP : Tensor, (n, C, P)
    """
    n_embeddings, n_channels, n_components = filters_nCP.shape
    n_windows, n_times = rows_BTC.shape[:2]
    if not n_windows:
        return rows_BTC.new_empty(0, n_times - n_embeddings + 1, n_components)
    # As one stretch: what reaches across windows is worked out in vain and left out.
    flat = rows_BTC.reshape(-1, n_channels)
    whole = rows_BTC.new_empty(len(flat), n_components)
    projected(flat, filters_nCP, whole[: len(flat) - n_embeddings + 1])
    return whole.view(n_windows, n_times, n_components)[:, : n_times - n_embeddings + 1].contiguous()
