"""What reads trials by a published model: each at its own length, as if it had come alone.

A token of these models may depend on all that a window holds (CBraMod normalizes over it), so that no padding may come
in. Trials of one length go through together.

Shapes: B trials, T samples, C channels, d numbers of a token, F features.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dynml.models.sequence.backbones.published.resampling import nearest_old_sample, resampling_matrix
from dynml.models.sequence.windows import Windows


class PublishedBackbone(nn.Module):
    """Encoder of a published model; a subclass has `embedder` and `encoder`, and makes features of a trial of them.

    Parameters
    ----------
    config : PublishedConfig
    n_channels : int
        C.
    """

    encoder: nn.ModuleList
    n_features: int
    """F, numbers of one trial's pooled state."""

    def __init__(self, config: Any, n_channels: int) -> None:
        super().__init__()
        self.config, self.n_channels, self.embedding_dim = config, n_channels, config.embedding_dim

    def pooled(self, windows: Windows, pooling: str = "mean") -> Tensor:
        """Features of trials, (B, F).

        Parameters
        ----------
        windows : Windows
            As the store holds them; units, rate and order of channels are made those of the weights here.
        pooling : {"mean", "class_token"}
        """
        lengths_B = windows.lengths_to_pack_by
        order, features = [], []
        for length in sorted(set(lengths_B.tolist())):
            rows = torch.nonzero(lengths_B == length)[:, 0].to(windows.device)
            signals_BTC, known_BT = windows.signals_BTC[rows, :length], windows.known_BT[rows, :length]
            order.append(rows)
            features.append(self.features(*self.as_trained(signals_BTC, known_BT), pooling))
        return torch.cat(features)[torch.cat(order).argsort()]

    def as_trained(self, signals_BTC: Tensor, known_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Signals and known samples in units, order of channels and rate of the weights' training."""
        config = self.config
        if config.input_columns is not None:
            signals_BTC = signals_BTC[:, :, config.input_columns]
        if config.input_scale != 1:
            signals_BTC = signals_BTC * config.input_scale
        if config.input_rate is None:
            return signals_BTC, known_BT
        n_samples = signals_BTC.shape[1]
        weights = resampling_matrix(n_samples, config.input_rate, config.sampling_frequency, config.resampling)
        with torch.autocast(signals_BTC.device.type, enabled=False):  # it would round the signals
            resampled_BTC = torch.einsum("st,btc->bsc", weights.to(signals_BTC), signals_BTC)
        nearest = nearest_old_sample(n_samples, len(weights)).to(known_BT.device)
        return resampled_BTC, known_BT[:, nearest]

    def features(self, signals_BTC: Tensor, known_BT: Tensor, pooling: str) -> Tensor:
        """Features (B, F) of trials of one length, which are as the weights take them."""
        raise NotImplementedError

    def encoded(self, hidden: Tensor, *further: Any) -> Tensor:
        """Tokens after all layers."""
        for layer in self.encoder:
            if self.config.activation_checkpointing and torch.is_grad_enabled():
                hidden = cast(Tensor, checkpoint(layer, hidden, *further, use_reentrant=False))
            else:
                hidden = layer(hidden, *further)
        return hidden


def mean_of_known(states: Tensor, known: Tensor) -> Tensor:
    """Mean of tokens (B, .., N, d) over those of N that are known, (B, .., d); 0 where none is.

    Parameters
    ----------
    states : Tensor
    known : Tensor, bool
        Of the shape of `states` without the last axis, or one that goes with it.
    """
    known = known[..., None]
    return torch.where(known, states, 0.0).sum(dim=-2) / known.sum(dim=-2).clamp(min=1)
