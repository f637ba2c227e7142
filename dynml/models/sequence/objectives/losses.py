"""What an error costs, over scored samples only."""

from __future__ import annotations

import torch
from torch import Tensor

from dynml.models.sequence.config import SequenceConfig


def elementwise_loss(predicted: Tensor, target: Tensor, config: SequenceConfig) -> Tensor:
    """Cost of each error: |e|, e^2, or Huber's function of it.

    Huber (1964): e^2 / 2 for |e| below delta, delta (|e| - delta / 2) beyond.
    """
    if config.loss == "l1":
        return (predicted - target).abs()
    if config.loss == "l2":
        return (predicted - target).square()
    return torch.nn.functional.huber_loss(predicted, target, reduction="none", delta=config.huber_delta)


def mean_loss(
    predicted_BTC: Tensor, target_BTC: Tensor, scored: Tensor, config: SequenceConfig
) -> tuple[Tensor, Tensor]:
    """Mean cost over scored samples and channels.

    Parameters
    ----------
    predicted_BTC, target_BTC : Tensor, (B, T, C)
    scored : Tensor, bool, broadcastable to (B, T, C)
    config : SequenceConfig

    Returns
    -------
    loss : Tensor, ()
        0 where nothing is scored.
    n_scored : Tensor, ()
        Scored numbers (samples x channels), float64.
    """
    weights = scored.expand_as(target_BTC)
    # Not masked by multiplication: what is predicted for padding may be anything.
    costs = torch.where(weights, elementwise_loss(predicted_BTC.float(), target_BTC, config), 0.0)
    n_scored = weights.sum(dtype=torch.float64)
    return (costs.sum() / n_scored.clamp(min=1.0)).float(), n_scored
