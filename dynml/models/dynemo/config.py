"""Settings of the DyNeMo family, under the names of its published tutorials. No torch here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from dynml.configuration import check_at_least, check_choice, check_fraction, check_positive
from dynml.errors import ConfigurationError
from dynml.training.config import TrainerConfig

CURVES = ("tanh", "linear", "cyclical")
NORMALIZATIONS = ("layer", "batch")
ACTIVATIONS = ("relu", "elu", "tanh", "gelu")


@dataclass(frozen=True, kw_only=True)
class DynemoConfig:
    """Dynamic network modes: Gaussian modes, mixed at every sample by coefficients that recurrent networks infer."""

    n_modes: int
    """Number of modes J. Start with 6 to 12 and see that the findings do not hang on it."""

    sequence_length: int = 200
    """Samples of a window that the networks see at once; it sets sampler.window_length."""

    learn_means: bool = True
    """Learn the modes' means; false: they stay zero (usual for time-delay embedded data)."""

    learn_covariances: bool = True
    """Learn the modes' covariances; false: they stay at what the start gave them."""

    covariance_type: Literal["full", "diagonal"] = "full"
    """Full covariances, or variances only."""

    covariances_epsilon: float = 1e-6
    """Added to the diagonal of learnt covariances."""

    covariance_prior_samples: float = 0.0
    """Strength of an inverse-Wishart prior around the data's covariance, in pseudo-samples for each mode. 0: none."""

    means_prior_samples: float = 0.0
    """Strength of a Gaussian prior around the data's mean, in pseudo-samples for each mode. 0: none."""

    inference_rnn: Literal["lstm", "gru"] = "lstm"
    """Recurrent network that infers the coefficients; it reads each window in both directions."""

    inference_n_layers: int = 1
    """Its layers."""

    inference_n_units: int = 64
    """Its units in each direction."""

    inference_normalization: Literal["layer", "batch"] | None = "layer"
    """Normalization after each of its layers."""

    inference_activation: Literal["relu", "elu", "tanh", "gelu"] | None = None
    """Activation after each of its layers."""

    inference_dropout: float = 0.0
    """Dropout of the signals and after each of its layers."""

    model_rnn: Literal["lstm", "gru"] = "lstm"
    """Recurrent network that predicts the coefficients from those before: the prior."""

    model_n_layers: int = 1
    """Its layers."""

    model_n_units: int = 64
    """Its units."""

    model_normalization: Literal["layer", "batch"] | None = "layer"
    """Normalization after each of its layers."""

    model_activation: Literal["relu", "elu", "tanh", "gelu"] | None = None
    """Activation after each of its layers."""

    model_dropout: float = 0.0
    """Dropout of the logits and after each of its layers."""

    learn_alpha_temperature: bool = True
    """Learn the temperature of the softmax that turns logits into coefficients."""

    initial_alpha_temperature: float = 1.0
    """The temperature, or where it starts."""

    do_kl_annealing: bool = True
    """Let the prior come in slowly; false: it counts in full from the beginning."""

    kl_annealing_curve: Literal["tanh", "linear", "cyclical"] = "tanh"
    """How the weight of the prior rises from 0 to 1; cyclical: tanh, several times."""

    kl_annealing_sharpness: float = 10.0
    """Steepness of tanh."""

    n_kl_annealing_epochs: int = 40
    """Epochs until the prior counts in full."""

    n_kl_annealing_cycles: int = 4
    """cyclical: how often the weight rises within these epochs."""

    def __post_init__(self) -> None:
        for name in (
            "n_modes",
            "sequence_length",
            "inference_n_layers",
            "inference_n_units",
            "model_n_layers",
            "model_n_units",
            "n_kl_annealing_epochs",
            "n_kl_annealing_cycles",
        ):
            check_at_least(f"model.{name}", getattr(self, name), 1)
        check_choice("model.covariance_type", self.covariance_type, ("full", "diagonal"))
        check_choice("model.kl_annealing_curve", self.kl_annealing_curve, CURVES)
        for network in ("inference", "model"):
            check_choice(f"model.{network}_rnn", getattr(self, f"{network}_rnn"), ("lstm", "gru"))
            check_choice(
                f"model.{network}_normalization", getattr(self, f"{network}_normalization"), (None, *NORMALIZATIONS)
            )
            check_choice(f"model.{network}_activation", getattr(self, f"{network}_activation"), (None, *ACTIVATIONS))
            dropout = getattr(self, f"{network}_dropout")
            if not 0 <= dropout < 1:
                raise ConfigurationError(f"model.{network}_dropout", dropout, "at least 0 and below 1")
        for name in ("covariances_epsilon", "covariance_prior_samples", "means_prior_samples"):
            check_at_least(f"model.{name}", getattr(self, name), 0.0)
        for name in ("initial_alpha_temperature", "kl_annealing_sharpness"):
            check_positive(f"model.{name}", getattr(self, name))

    @property
    def annealing_epochs(self) -> int:
        """Epochs in which the prior does not count in full; 0 without annealing."""
        return self.n_kl_annealing_epochs if self.do_kl_annealing else 0


@dataclass(frozen=True, kw_only=True)
class DynemoInitializationConfig:
    """Where training starts from; it decides which optimum is found."""

    method: Literal["unmixing", "hmm", "random_subset", "random"] = "unmixing"
    """unmixing: an HMM with `states_per_mode` states a mode, its states' covariances then explained as mixtures of the
    modes. hmm: the states of an HMM with as many states as modes. random_subset: random modes, trained a little on a
    part of the data, the best of `n_init`. random: random modes."""

    states_per_mode: int = 3
    """unmixing: states of the HMM for each mode."""

    n_init: int = 1
    """Number of starts. Several are trained for `n_epochs` each, and the one with the best bound is kept."""

    n_epochs: int = 5
    """Epochs that each of several starts is trained for."""

    take: float = 1.0
    """Share of the training windows that each of several starts is trained on."""

    max_samples: int = 50_000
    """The HMM sees at most this many samples."""

    from_experiment: str | None = None
    """Experiment (an HMM or a DyNeMo of as many states or modes) whose means and covariances training starts from;
    on the command line also --initialization.from."""

    def __post_init__(self) -> None:
        check_choice("initialization.method", self.method, ("unmixing", "hmm", "random_subset", "random"))
        for name in ("states_per_mode", "n_init", "n_epochs", "max_samples"):
            check_at_least(f"initialization.{name}", getattr(self, name), 1)
        check_fraction("initialization.take", self.take)
        if self.from_experiment is not None and self.n_init > 1:
            raise ConfigurationError("initialization.n_init", self.n_init, "1 when starting from an experiment")


@dataclass(frozen=True, kw_only=True)
class DynemoTrainerConfig(TrainerConfig):
    """Stochastic gradients of the bound on the likelihood."""

    max_epochs: int = 160
    """Most epochs."""

    learning_rate: float | str = 0.01
    """One value, or a list by epochs such as "0.01*30 0.001" (thirty epochs, then the last value is kept)."""

    learning_rate_schedule: Literal["constant", "cosine", "linear", "exponential"] = "cosine"
    """What is multiplied onto the learning rate after the prior has come in; until then it is constant."""

    learning_rate_decay: float = 0.01
    """exponential: rate of decay per epoch, exp(-decay * epoch). cosine: the final fraction of the learning rate."""

    optimizer: Literal["adamw", "adam", "radam", "sgd"] = "adam"
    """Optimizer of torch.optim."""

    weight_decay: float = 0.0
    """Weight decay: decoupled for adamw, an L2 term for the others."""

    clip_gradient: float | None = 0.3
    """Largest global norm of the gradient; null: no clipping, the norm is only logged."""

    n_draws: int = 10
    """Draws of the logits for each window when the bound is validated and reported."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("trainer.n_draws", self.n_draws, 1)
        if self.precision != "float32":
            raise ConfigurationError("trainer.precision", self.precision, "float32 for DyNeMo")
        if self.compile:
            raise ConfigurationError("trainer.compile", True, "false for DyNeMo: its loops are compiled already")
        if self.compile:
            raise ConfigurationError("trainer.compile", self.compile, "false for DyNeMo")


def settle_windows(configs: dict[str, Any]) -> dict[str, Any]:
    """Let the model's sequence_length be the sampler's window_length.

    Raises
    ------
    ConfigurationError
        When a window_length is given, too.
    """
    sampler, length = configs["sampler"], configs["model"].sequence_length
    if sampler.window_length is not None:
        raise ConfigurationError(
            "sampler.window_length", sampler.window_length, f"absent: model.sequence_length ({length}) sets it"
        )
    strategy = sampler.strategy or "random_windows"
    return configs | {"sampler": dataclasses.replace(sampler, window_length=length, strategy=strategy)}
