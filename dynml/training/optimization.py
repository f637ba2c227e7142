"""Optimizers and learning rates of gradient families, made from `TrainerConfig`."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from dynml.training.config import TrainerConfig, learning_rates_by_epoch


def build_optimizer(config: TrainerConfig, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer | None:
    """Make the optimizer, or None for a model that has nothing to learn by gradients."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        return None
    rate, decay = learning_rate_at(config, 0, config.max_epochs), config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(trained, lr=rate, weight_decay=decay, momentum=0.9)
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "radam": torch.optim.RAdam}
    return kinds[config.optimizer](trained, lr=rate, weight_decay=decay)


def learning_rate_at(config: TrainerConfig, epoch: int, n_epochs: int, constant_epochs: int = 0) -> float:
    """Learning rate of one epoch.

    Parameters
    ----------
    config : TrainerConfig
    epoch : int
        From 0.
    n_epochs : int
        Length of the schedule, as it was when the run began: added epochs run at the final value.
    constant_epochs : int
        Epochs, those of the warm-up included, before the rate begins to fall.
    """
    rates = learning_rates_by_epoch(config.learning_rate)
    rate = rates[min(epoch, len(rates) - 1)]
    if epoch < config.warmup_epochs:
        return rate * (epoch + 1) / (config.warmup_epochs + 1)
    first = max(config.warmup_epochs, constant_epochs)
    length = max(n_epochs - first - 1, 1)
    position = min(max(epoch - first, 0), length)
    if config.learning_rate_schedule == "cosine":
        floor = config.learning_rate_decay
        return rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * position / length)))
    if config.learning_rate_schedule == "exponential":
        return rate * math.exp(-config.learning_rate_decay * position)
    return rate


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameter groups one learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
