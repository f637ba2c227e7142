"""Settings of a run of a sequence model. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dynml.configuration import check_at_least
from dynml.errors import ConfigurationError
from dynml.training.config import TrainerConfig


@dataclass(frozen=True, kw_only=True)
class SequenceTrainerConfig(TrainerConfig):
    """Stochastic gradients, with the settings that transformers are usually trained with."""

    learning_rate: float | str = 0.0005
    """One value, or a list by epochs such as "0.001*3 0.0001" (three epochs, then the last value is kept)."""

    learning_rate_schedule: Literal["constant", "cosine", "linear", "exponential"] = "cosine"
    """What is multiplied onto the learning rate over the run."""

    learning_rate_decay: float = 0.01
    """exponential: rate of decay per epoch, exp(-decay * epoch). cosine, linear: the final fraction of the learning
    rate."""

    schedule_by: Literal["epoch", "step"] = "step"
    """Whether the schedule counts epochs or steps (training batches)."""

    warmup_steps: int = 50
    """Steps over which the learning rate rises linearly from near zero."""

    weight_decay: float = 0.1
    """Weight decay: decoupled for adamw, an L2 term for the others."""

    weight_decay_on: Literal["all", "matrices"] = "matrices"
    """What decays: all parameters, or matrices without embeddings, normalizations and biases."""

    clip_gradient: float | None = 1.0
    """Largest global norm of the gradient; null: no clipping, the norm is only logged."""

    freeze_embedder: bool = False
    """Keep the embedder of the model that the run starts from: its map from channels, its embedding of time, and its
    tokens."""

    freeze_unembedder: bool = False
    """Keep the map back to channels of the model that the run starts from."""

    generation_every: int | None = None
    """csm: after every so many epochs (and the last) the model runs on from the beginnings of validation windows, its
    predictions fed back, for forecast_samples; the error is logged beside those of baselines. null: only in the end."""

    generation_chooses: bool = False
    """The error of these runs chooses the best epoch, not the loss of the next sample."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("trainer.generation_every", self.generation_every, 1, optional=True)
        if self.generation_chooses and self.generation_every is None:
            accepted = "false unless trainer.generation_every says after how many epochs the model runs on"
            raise ConfigurationError("trainer.generation_chooses", True, accepted)
