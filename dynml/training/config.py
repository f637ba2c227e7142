"""Settings of a run: how long, where, how it is saved, and (for gradient families) how it learns. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dynml.configuration import check_at_least, check_choice, check_fraction, check_positive
from dynml.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every trainer needs to know, however its family learns."""

    max_epochs: int | None = 100
    """Stop after this many epochs; null: as many as max_steps needs."""

    max_steps: int | None = None
    """Stop after this many training batches, if necessary in the middle of an epoch."""

    patience: int | None = None
    """Stop after this many epochs without improvement of the monitored value; null: never."""

    patience_delta: float = 1e-6
    """Minimum decrease of the monitored value that counts as an improvement."""

    seed: int = 1234
    """Random seed of the run. It determines initialization, order of batches, augmentation and dropout."""

    device: str = "auto"
    """cpu, cuda, cuda:1, xpu ...; auto: an accelerator if torch finds one, else the CPU."""

    max_time: float | None = None
    """Stop after this many minutes with a checkpoint, so that the run can be resumed (time limits of clusters)."""

    save_every: float = 10.0
    """Minutes between checkpoints within a long epoch."""

    saving_share: float = 0.01
    """Maximum fraction of the time spent on checkpoints at the end of epochs: very short epochs are not all saved. The
    first, the last and an interrupted one always are. 1: save every epoch."""

    non_finite: Literal["stop", "skip"] = "stop"
    """What to do about a NaN or infinite loss. stop: end before the step; skip: leave out the batch and count it."""

    other_preparation: Literal["refuse", "allow"] = "refuse"
    """What to do if an experiment given for its weights or modes was trained on data prepared differently. refuse: stop
    and list every difference; allow: continue with a warning."""

    deterministic: bool = False
    """Use deterministic algorithms of torch (slower on a GPU; on a CPU runs repeat exactly anyway)."""

    progress: bool = True
    """Show progress bars."""

    profile: bool = False
    """Profile some training batches with torch.profiler: logs/trace.json, and a table of the time spent."""

    def __post_init__(self) -> None:
        check_at_least("trainer.max_epochs", self.max_epochs, 1, optional=self.max_steps is not None)
        check_at_least("trainer.max_steps", self.max_steps, 1, optional=True)
        check_at_least("trainer.patience", self.patience, 1, optional=True)
        check_at_least("trainer.patience_delta", self.patience_delta, 0.0)
        check_at_least("trainer.seed", self.seed, 0)
        check_positive("trainer.max_time", self.max_time, optional=True)
        check_positive("trainer.save_every", self.save_every)
        check_fraction("trainer.saving_share", self.saving_share)
        check_choice("trainer.non_finite", self.non_finite, ("stop", "skip"))
        check_choice("trainer.other_preparation", self.other_preparation, ("refuse", "allow"))


@dataclass(frozen=True, kw_only=True)
class TrainerConfig(RunConfig):
    """A run that is trained by gradients."""

    learning_rate: float | str = 0.001
    """One value, or values per epoch such as "0.001*3 0.0001". This is 0.001 for three epochs, then 0.0001 to the
    end."""

    learning_rate_schedule: Literal["constant", "cosine", "linear", "exponential"] = "constant"
    """Schedule of the learning rate over the run."""

    learning_rate_decay: float = 0.1
    """exponential: rate of decay per epoch, exp(-decay * epoch). cosine, linear: the final fraction of the learning
    rate."""

    schedule_by: Literal["epoch", "step"] = "epoch"
    """Update the learning rate at the start of each epoch, or before each step (training batch). The schedule spans the
    length that the run had when it was first started."""

    warmup_epochs: int = 0
    """Epochs over which the learning rate rises linearly from near zero."""

    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly from near zero; needs schedule_by step."""

    optimizer: Literal["adamw", "adam", "radam", "sgd"] = "adamw"
    """Optimizer of torch.optim."""

    weight_decay: float = 0.01
    """Weight decay: decoupled for adamw, an L2 term for the others."""

    weight_decay_on: Literal["all", "matrices"] = "all"
    """Parameters that decay. all: all of them; matrices: those with two or more dimensions, except embeddings and
    normalizations."""

    adam_beta_1: float = 0.9
    """adamw, adam, radam: decay rate of the running mean of the gradient."""

    adam_beta_2: float = 0.999
    """adamw, adam, radam: decay rate of the running mean of the squared gradient."""

    adam_epsilon: float = 1e-8
    """adamw, adam, radam: value added to the denominator for numerical stability."""

    clip_gradient: float | None = None
    """Maximum norm of the gradient over all parameters; null: no clipping, the norm is only logged."""

    accumulate_gradients: int = 1
    """Number of batches whose gradients are summed before a step."""

    precision: Literal["float32", "bf16"] = "float32"
    """bf16: automatic mixed precision where it is safe; LSTMs in float32 on a CPU that has no kernel for them."""

    compile: bool = False
    """Compile the model with torch.compile."""

    weight_averaging: float | None = None
    """Decay of an exponential moving average of the weights (such as 0.999). The average is validated, saved as best
    model and reported; training continues with the weights themselves. null: none."""

    non_finite_check_every: int | None = None
    """Number of batches between checks that losses and gradients are finite. Above 1, a faulty step is skipped on the
    device, without waiting for it. null: 1 on a CPU, 50 on a GPU."""

    def __post_init__(self) -> None:
        super().__post_init__()
        learning_rates_by_epoch(self.learning_rate)
        check_choice(
            "trainer.learning_rate_schedule",
            self.learning_rate_schedule,
            ("constant", "cosine", "linear", "exponential"),
        )
        check_at_least("trainer.learning_rate_decay", self.learning_rate_decay, 0.0)
        self._check_warmup()
        check_choice("trainer.optimizer", self.optimizer, ("adamw", "adam", "radam", "sgd"))
        check_at_least("trainer.weight_decay", self.weight_decay, 0.0)
        check_choice("trainer.weight_decay_on", self.weight_decay_on, ("all", "matrices"))
        self._check_adam()
        check_positive("trainer.clip_gradient", self.clip_gradient, optional=True)
        check_at_least("trainer.accumulate_gradients", self.accumulate_gradients, 1)
        check_choice("trainer.precision", self.precision, ("float32", "bf16"))
        if self.weight_averaging is not None:
            _check_between_0_and_1("trainer.weight_averaging", self.weight_averaging)
        check_at_least("trainer.non_finite_check_every", self.non_finite_check_every, 1, optional=True)
        if self.optimizer == "radam" and (self.non_finite_check_every or 1) > 1:
            raise ConfigurationError("trainer.non_finite_check_every", self.non_finite_check_every, "1 for radam")

    def _check_warmup(self) -> None:
        check_choice("trainer.schedule_by", self.schedule_by, ("epoch", "step"))
        check_at_least("trainer.warmup_epochs", self.warmup_epochs, 0)
        check_at_least("trainer.warmup_steps", self.warmup_steps, 0)
        if self.warmup_steps and self.warmup_epochs:
            accepted = f"0, because trainer.warmup_epochs is {self.warmup_epochs}: give one of them"
            raise ConfigurationError("trainer.warmup_steps", self.warmup_steps, accepted)
        if self.warmup_steps and self.schedule_by == "epoch":
            raise ConfigurationError("trainer.warmup_steps", self.warmup_steps, "0, or trainer.schedule_by step")

    def _check_adam(self) -> None:
        _check_between_0_and_1("trainer.adam_beta_1", self.adam_beta_1)
        _check_between_0_and_1("trainer.adam_beta_2", self.adam_beta_2)
        check_positive("trainer.adam_epsilon", self.adam_epsilon)
        if self.optimizer != "sgd":
            return
        for name in ("adam_beta_1", "adam_beta_2", "adam_epsilon"):
            value, default = getattr(self, name), getattr(TrainerConfig, name)
            if value != default:
                raise ConfigurationError(f"trainer.{name}", value, f"its default ({default}): sgd does not use it")


def _check_between_0_and_1(key: str, value: float) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1:
        raise ConfigurationError(key, value, "a number of at least 0 and below 1")


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
