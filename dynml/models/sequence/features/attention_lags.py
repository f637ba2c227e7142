"""How far back and forward the attention of transformers looks.

A head's profile is its mean attention to samples at a lag, over all pairs of samples that lie so far apart. Even a head
that looks at all samples alike has a profile that is not flat where windows differ in length or models are causal, so
that of equal attention stands beside it.

Shapes: B windows, T samples, L layers, N heads, D lags.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.errors import ConfigurationError, DataError
from dynml.models.sequence.decoding.evaluation import windows_of_trials
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import Trials
from dynml.models.sequence.features.extraction import device_of
from dynml.models.sequence.sequence_model import SequenceModel, TransformerModel
from dynml.models.sequence.windows import Windows

NUMBERS_AT_ONCE = 2**26
"""Attention weights in memory at a time."""


@dataclass(frozen=True)
class AttentionLags:
    """Attention by lag, averaged over windows."""

    lags: NDArray[np.int64]
    """Samples from the one that looks to the one looked at; below 0: back. (D,)."""

    profiles: NDArray[np.float64]
    """Mean attention at each lag, (L, N, D)."""

    equal: NDArray[np.float64]
    """The same, were all samples looked at alike, (D,)."""

    distances: NDArray[np.float64]
    """Mean size of the lag under the attention, samples, (L, N)."""

    equal_distance: float
    n_windows: int


def model_of_attention(model: SequenceModel | Decoding) -> TransformerModel:
    """The part of a model that attends.

    Raises
    ------
    ConfigurationError
        For models without attention.
    """
    transformer = model.backbone if isinstance(model, Decoding) else model
    if isinstance(transformer, TransformerModel):
        return transformer
    name = f"backbone {model.config.backbone}" if isinstance(model, Decoding) else "autoencoder"
    raise ConfigurationError("--attention", True, f"absent: the {name} has no attention among samples")


@torch.no_grad()
def attention_lags(model: TransformerModel, parts: Sequence[Trials]) -> AttentionLags:
    """Average the attention among the samples of windows or trials.

    Parameters
    ----------
    model : TransformerModel
        In evaluation mode.
    parts : sequence of Trials
        At least one window in all.

    Returns
    -------
    AttentionLags
        Of causal models: lags up to 0.

    Raises
    ------
    DataError
        When tokens are patches.
    """
    config: Any = model.config
    if config.patch_length > 1:
        raise DataError(f"Attention is mapped among samples; the tokens of this model are {config.patch_length} each.")
    longest = max(int(part.spans.lengths.max(initial=1)) for part in parts)
    n_heads = config.resolved_n_heads
    sums = np.zeros((config.n_layers, n_heads, 2 * longest - 1))
    equal, counts = np.zeros((2, 2 * longest - 1))
    n_windows, n_queries, n_at_once = 0, 0, max(1, NUMBERS_AT_ONCE // (config.n_layers * n_heads * longest**2))
    for windows in _chunks(parts, device_of(model), n_at_once):
        known_BT = windows.known_BT
        embedded_BTd = model.embedded(windows.signals_BTC, windows)
        pairs_BTT = known_BT[:, :, None] & known_BT[:, None, :]
        pairs_BTT = pairs_BTT.tril() if model.causal else pairs_BTT
        alike_BTT = pairs_BTT / pairs_BTT.sum(dim=2, keepdim=True).clamp(min=1)
        counts += _by_lag(pairs_BTT.sum(dim=0), longest)
        equal += _by_lag(alike_BTT.double().sum(dim=0), longest)
        maps = model.transformer.attention(
            embedded_BTd, windows.mask_BT, causal=model.causal, observed_BT=windows.observed_BT
        )
        for layer, map_BNTT in enumerate(maps):
            sums[layer] += _by_lag((map_BNTT * pairs_BTT[:, None]).double().sum(dim=0), longest)
        n_windows, n_queries = n_windows + len(known_BT), n_queries + int(known_BT.sum())
    lags = np.arange(1 - longest, longest)
    exist = counts > 0
    return AttentionLags(
        lags=lags[exist],
        profiles=sums[:, :, exist] / counts[exist],
        equal=equal[exist] / counts[exist],
        distances=sums @ np.abs(lags) / n_queries,
        equal_distance=float(equal @ np.abs(lags) / n_queries),
        n_windows=n_windows,
    )


def _chunks(parts: Sequence[Trials], device: torch.device, n_at_once: int) -> Iterator[Windows]:
    for part in parts:
        for windows in windows_of_trials(part, device):
            for first in range(0, len(windows.keys_B), n_at_once):
                some = slice(first, first + n_at_once)
                tensors = (windows.signals_BTC, windows.mask_BT, windows.seconds_BT, windows.keys_B)
                signals_BTC, mask_BT, seconds_BT, keys_B = (tensor[some] for tensor in tensors)
                yield dataclasses.replace(
                    windows,
                    signals_BTC=signals_BTC,
                    mask_BT=mask_BT,
                    seconds_BT=seconds_BT,
                    keys_B=keys_B,
                    observed_BT=None if windows.observed_BT is None else windows.observed_BT[some],
                )


def _by_lag(map_XTT: Tensor, longest: int) -> NDArray[np.float64]:
    """Sums over the diagonals of maps, (..., 2 longest - 1): lags from 1 - longest to longest - 1."""
    n_times = map_XTT.shape[-1]
    times = torch.arange(n_times, device=map_XTT.device)
    lags = (times - times[:, None]).flatten() + longest - 1
    shape = (*map_XTT.shape[:-2], 2 * longest - 1)
    sums = torch.zeros(shape, dtype=torch.float64, device=map_XTT.device)
    found: NDArray[np.float64] = sums.index_add_(-1, lags, map_XTT.double().flatten(-2)).cpu().numpy()
    return found
