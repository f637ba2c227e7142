"""Optimizers, parameter groups and learning rates of gradient families, made from `TrainerConfig`."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch

from dynml.errors import ConfigurationError
from dynml.training.config import TrainerConfig, learning_rates_by_epoch
from dynml.training.progress import Progress

WITHOUT_DECAY = (
    torch.nn.Embedding,
    torch.nn.EmbeddingBag,
    torch.nn.LayerNorm,
    torch.nn.RMSNorm,
    torch.nn.GroupNorm,
    torch.nn.modules.batchnorm._NormBase,
)
"""Modules whose own parameters are no matrices in the sense of `weight_decay_on`."""

FUSED = ("adamw", "adam", "sgd")
"""Optimizers that can leave a step out by a flag on the device."""

SMALL_PARAMETER = 2**14
"""Numbers of a parameter, on average."""

_rates_of = functools.lru_cache(maxsize=16, typed=True)(learning_rates_by_epoch)
"""Read once, not at every step."""


def build_optimizer(
    config: TrainerConfig, model: torch.nn.Module, *, fused: bool = False
) -> torch.optim.Optimizer | None:
    """Make the optimizer, or None for a model that has nothing to learn by gradients.

    Parameters
    ----------
    config : TrainerConfig
    model : torch.nn.Module
        It may offer `parameter_groups() -> list[tuple[float, list[Parameter]]]`: factors of the learning rate.
    fused : bool
        One kernel for a whole step, which takes `found_inf`, a flag on the device that leaves the step out.
    """
    groups = parameter_groups(config, model)
    if not groups:
        return None
    rate = _base_rate(config, 0) * _factor(config, 0, 1, config.warmup_epochs or config.warmup_steps)
    further: dict[str, Any] = {"fused": True} if fused else {}
    if not fused and config.optimizer in FUSED and _are_small(groups):
        further = {"foreach": True} if config.optimizer == "sgd" else {"fused": True}
    if config.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9, **further)
        if fused:
            # Left to itself the fused step begins with memory that is not set, which a step left out would keep.
            for parameter in (parameter for group in groups for parameter in group["params"]):
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    else:
        kinds: dict[str, Any] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "radam": torch.optim.RAdam}
        betas = (config.adam_beta_1, config.adam_beta_2)
        optimizer = kinds[config.optimizer](groups, lr=rate, betas=betas, eps=config.adam_epsilon, **further)
    set_learning_rate(optimizer, rate)
    return optimizer


def parameter_groups(config: TrainerConfig, model: torch.nn.Module) -> list[dict[str, Any]]:
    """Group the trained parameters by the factor of their learning rate and by whether they decay.

    Returns
    -------
    list of dict
        As torch's optimizers take them: params, weight_decay, learning_rate_factor; in the order of the parameters.

    Raises
    ------
    ConfigurationError
        When the model's own groups name a parameter twice or have a factor that is not above 0.
    """
    factors, decaying = _factors(model), _decaying(config, model)
    groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups.setdefault((factors.get(id(parameter), 1.0), id(parameter) in decaying), []).append(parameter)
    return [
        {"params": members, "weight_decay": config.weight_decay if decays else 0.0, "learning_rate_factor": factor}
        for (factor, decays), members in groups.items()
    ]


def _are_small(groups: list[dict[str, Any]]) -> bool:
    """Whether parameters are better stepped together on a CPU, where calls cost more than their numbers."""
    parameters = [parameter for group in groups for parameter in group["params"]]
    n_numbers = sum(parameter.numel() for parameter in parameters)
    return n_numbers < SMALL_PARAMETER * len(parameters) and all(p.device.type == "cpu" for p in parameters)


def _factors(model: torch.nn.Module) -> dict[int, float]:
    own = getattr(model, "parameter_groups", None)
    factors: dict[int, float] = {}
    for factor, members in own() if callable(own) else ():
        if not 0 < factor < math.inf:
            raise ConfigurationError("model.parameter_groups()", factor, "factors of the learning rate above 0")
        for parameter in members:
            if id(parameter) in factors:
                found = f"a parameter of shape {tuple(parameter.shape)} twice"
                raise ConfigurationError("model.parameter_groups()", found, "each parameter once")
            factors[id(parameter)] = float(factor)
    return factors


def _decaying(config: TrainerConfig, model: torch.nn.Module) -> set[int]:
    """Parameters (their ids) that weight decay acts on; one that is tied to an embedding counts as embedding."""
    kept: set[int] = set()
    left_out: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_matrix = parameter.ndim >= 2 and not isinstance(module, WITHOUT_DECAY) and not name.startswith("bias")
            (kept if is_matrix or config.weight_decay_on == "all" else left_out).add(id(parameter))
    return kept - left_out


def learning_rate_at(config: TrainerConfig, epoch: int, n_epochs: int, constant_epochs: int = 0) -> float:
    """Learning rate of one epoch, for a schedule by epochs.

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
    return _base_rate(config, epoch) * _factor(config, epoch, n_epochs, config.warmup_epochs, constant_epochs)


def learning_rate_at_step(
    config: TrainerConfig, step: int, epoch: int, n_steps: int, steps_per_epoch: int, constant_epochs: int = 0
) -> float:
    """Learning rate of one step (a training batch), for a schedule by steps.

    Parameters
    ----------
    config : TrainerConfig
    step : int
        From 0, over all epochs.
    epoch : int
        That it belongs to, from 0: a list of learning rates is by epochs.
    n_steps, steps_per_epoch : int
        Length of the schedule and of an epoch, as they were when the run began: added steps run at the final value.
    constant_epochs : int
        Epochs, those of the warm-up included, before the rate begins to fall.
    """
    warmup = config.warmup_steps or config.warmup_epochs * steps_per_epoch
    factor = _factor(config, step, n_steps, warmup, constant_epochs * steps_per_epoch, steps_per_epoch)
    return _base_rate(config, epoch) * factor


def settled_schedule(config: Any, steps_per_epoch: int) -> int:
    """Length of the learning rate's schedule: that of the whole run, in epochs or steps as the config says.

    Parameters
    ----------
    config : RunConfig
    steps_per_epoch : int
        Training batches of an epoch.
    """
    if getattr(config, "schedule_by", "epoch") == "epoch":
        return config.max_epochs or math.ceil(config.max_steps / max(steps_per_epoch, 1))
    limits = (config.max_steps, config.max_epochs and config.max_epochs * steps_per_epoch)
    return min(limit for limit in limits if limit is not None)


def sentences_on_schedule(config: TrainerConfig, progress: Progress, constant_epochs: int, path: str) -> list[str]:
    """Say at which rate a run goes on that was given more epochs or steps than its schedule was settled for.

    Parameters
    ----------
    config : TrainerConfig
    progress : Progress
    constant_epochs : int
        Epochs before the rate begins to fall.
    path : str
        The experiment, for the advice.
    """
    length, steps_per_epoch = progress.schedule_length, progress.steps_per_epoch
    n_units = settled_schedule(config, steps_per_epoch)
    if config.learning_rate_schedule == "constant" or n_units <= length:
        return []
    last = n_units - 1
    if config.schedule_by == "epoch":
        rate, epoch = learning_rate_at(config, last, length, constant_epochs), last
    else:
        epoch = last // max(steps_per_epoch, 1)
        rate = learning_rate_at_step(config, last, epoch, length, steps_per_epoch, constant_epochs)
    return [
        f"The learning rate's schedule was settled for {length} {config.schedule_by}s when the run began; the "
        f"{n_units - length} beyond them are trained at its final rate, {rate:.3g} "
        f"({rate / _base_rate(config, epoch):.3g} of trainer.learning_rate): for a schedule of their own start a new "
        f"experiment from this one (--pretrained {path}), for another rate resume with --new_learning_rate."
    ]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each parameter group the learning rate times its own factor."""
    for group in optimizer.param_groups:
        group["learning_rate"] = rate
        group["lr"] = rate * group["learning_rate_factor"]


def _base_rate(config: TrainerConfig, epoch: int) -> float:
    rates = _rates_of(config.learning_rate)
    return rates[min(epoch, len(rates) - 1)]


def _factor(
    config: TrainerConfig, index: int, n: int, warmup: int, n_constant: int = 0, units_per_epoch: int = 1
) -> float:
    """Factor of unit `index` (an epoch or a step) among `n`; it falls after `warmup` and `n_constant` units."""
    if index < warmup:
        return (index + 1) / (warmup + 1)
    first = max(warmup, n_constant)
    length = max(n - first - 1, 1)
    position = min(max(index - first, 0), length)
    floor = config.learning_rate_decay
    if config.learning_rate_schedule == "cosine":
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * position / length))
    if config.learning_rate_schedule == "linear":
        return floor + (1 - floor) * (1 - position / length)
    if config.learning_rate_schedule == "exponential":
        return math.exp(-floor * position / units_per_epoch)
    return 1.0
