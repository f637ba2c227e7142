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
    """One value, or values per epoch such as "0.001*3 0.0001". This is 0.001 for three epochs, then 0.0001 to the
    end."""

    learning_rate_schedule: Literal["constant", "cosine", "linear", "exponential"] = "cosine"
    """Schedule of the learning rate over the run."""

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
    """Parameters that decay. all: all of them; matrices: those with two or more dimensions, except embeddings and
    normalizations."""

    clip_gradient: float | None = 1.0
    """Maximum norm of the gradient over all parameters; null: no clipping, the norm is only logged."""

    freeze_embedder: bool = False
    """Do not train the embedder of the pre-trained model: its map from channels, its time embedding and its tokens."""

    freeze_unembedder: bool = False
    """Do not train the pre-trained model's map back to channels."""

    generation_every: int | None = None
    """csm: after this many epochs (and after the last) the model generates forecast_samples from the beginnings of
    validation windows by feeding its predictions back; the error is logged beside those of baselines. null: only at the
    end."""

    generation_chooses: bool = False
    """Choose the best epoch by the error of generation_every instead of the loss of the next sample."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("trainer.generation_every", self.generation_every, 1, optional=True)
        if self.generation_chooses and self.generation_every is None:
            accepted = "false unless trainer.generation_every says after how many epochs the model runs on"
            raise ConfigurationError("trainer.generation_chooses", True, accepted)
