"""Settings of a run: how long, where, how it is saved, and (for gradient families) how it learns. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dynml.configuration import check_at_least, check_choice, check_fraction, check_positive
from dynml.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every trainer needs to know, however its family learns."""

    max_epochs: int = 100
    """Stop after this many epochs."""

    max_steps: int | None = None
    """Stop after this many training batches, in the middle of an epoch if need be."""

    patience: int | None = None
    """Stop after this many epochs without improvement of the monitored value; null: never."""

    patience_delta: float = 1e-6
    """An improvement is a fall of the monitored value by more than this."""

    seed: int = 1234
    """The one seed of the run: starts, order of batches, augmentation and dropout all derive from it."""

    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto: the GPU if there is one."""

    max_time: float | None = None
    """Stop, saved and resumable, after this many minutes (cluster limits)."""

    save_every: float = 10.0
    """Minutes between checkpoints inside a long epoch."""

    saving_share: float = 0.01
    """Checkpoints at the end of an epoch may take at most this share of the time: very short epochs are not all
    saved. The first, the last and any interrupted one always are. 1: every epoch."""

    non_finite: Literal["stop", "skip"] = "stop"
    """A NaN or infinite loss: stop before the step, or skip that batch and count it."""

    deterministic: bool = False
    """Ask torch for deterministic algorithms (slower on a GPU; on CPU runs repeat bit for bit anyway)."""

    progress: bool = True
    """Show progress bars."""

    profile: bool = False
    """Trace some training batches with torch.profiler: logs/trace.json, and a table of where the time goes."""

    def __post_init__(self) -> None:
        check_at_least("trainer.max_epochs", self.max_epochs, 1)
        check_at_least("trainer.max_steps", self.max_steps, 1, optional=True)
        check_at_least("trainer.patience", self.patience, 1, optional=True)
        check_at_least("trainer.patience_delta", self.patience_delta, 0.0)
        check_at_least("trainer.seed", self.seed, 0)
        check_positive("trainer.max_time", self.max_time, optional=True)
        check_positive("trainer.save_every", self.save_every)
        check_fraction("trainer.saving_share", self.saving_share)
        check_choice("trainer.non_finite", self.non_finite, ("stop", "skip"))


@dataclass(frozen=True, kw_only=True)
class TrainerConfig(RunConfig):
    """A run that learns by gradients."""

    learning_rate: float | str = 0.001
    """One value, or a list by epochs such as "0.001*3 0.0001" (three epochs, then the last value is kept)."""

    learning_rate_schedule: Literal["constant", "cosine", "exponential"] = "constant"
    """What is multiplied onto the learning rate over the epochs."""

    learning_rate_decay: float = 0.1
    """exponential: rate of decay per epoch, exp(-decay * epoch). cosine: the final fraction of the learning rate."""

    warmup_epochs: int = 0
    """Epochs over which the learning rate rises linearly from near zero."""

    optimizer: Literal["adamw", "adam", "radam", "sgd"] = "adamw"
    """Optimizer of torch.optim."""

    weight_decay: float = 0.01
    """Weight decay: decoupled for adamw, an L2 term for the others."""

    clip_gradient: float | None = None
    """Largest global norm of the gradient; null: no clipping, the norm is only logged."""

    accumulate_gradients: int = 1
    """Batches whose gradients are summed before a step."""

    precision: Literal["float32", "bf16"] = "float32"
    """bf16: automatic mixed precision where it is safe."""

    compile: bool = False
    """Compile the model with torch.compile."""

    def __post_init__(self) -> None:
        super().__post_init__()
        learning_rates_by_epoch(self.learning_rate)
        check_choice(
            "trainer.learning_rate_schedule", self.learning_rate_schedule, ("constant", "cosine", "exponential")
        )
        check_at_least("trainer.learning_rate_decay", self.learning_rate_decay, 0.0)
        check_at_least("trainer.warmup_epochs", self.warmup_epochs, 0)
        check_choice("trainer.optimizer", self.optimizer, ("adamw", "adam", "radam", "sgd"))
        check_at_least("trainer.weight_decay", self.weight_decay, 0.0)
        check_positive("trainer.clip_gradient", self.clip_gradient, optional=True)
        check_at_least("trainer.accumulate_gradients", self.accumulate_gradients, 1)
        check_choice("trainer.precision", self.precision, ("float32", "bf16"))


def learning_rates_by_epoch(text: float | str) -> list[float]:
    """Read "0.001*3 0.0001" as [0.001, 0.001, 0.001, 0.0001]; the last value holds for all later epochs.

    Raises
    ------
    ConfigurationError
        When a part is no positive number, or a repeat no whole number.
    """
    accepted = 'a positive number, or a list such as "0.001*3 0.0001"'
    rates: list[float] = []
    for part in str(text).split():
        value, _, repeat = part.partition("*")
        try:
            rate, count = float(value), int(repeat or 1)
        except ValueError:
            raise ConfigurationError("trainer.learning_rate", text, accepted) from None
        if not 0 < rate < float("inf") or count < 1:
            raise ConfigurationError("trainer.learning_rate", text, accepted)
        rates += [rate] * count
    if not rates:
        raise ConfigurationError("trainer.learning_rate", text, accepted)
    return rates
