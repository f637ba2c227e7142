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
    """Dynamic network modes (DyNeMo): Gaussian modes, mixed at every sample by inferred coefficients."""

    n_modes: int
    """Number of modes J. Start with 6 to 12, and check that the findings do not depend on it."""

    sequence_length: int = 200
    """Samples of a window given to the recurrent networks; sets sampler.window_length."""

    learn_means: bool = True
    """Learn the modes' means; false: they stay zero (usual for time-delay embedded data)."""

    learn_covariances: bool = True
    """Learn the modes' covariances; false: they keep their initial values."""

    covariance_type: Literal["full", "diagonal"] = "full"
    """Full covariances, or variances only."""

    covariances_epsilon: float = 1e-6
    """Value added to the diagonal of learnt covariances."""

    covariance_prior_samples: float = 0.0
    """Strength of an inverse-Wishart prior around the covariance of all data, in pseudo-samples per mode. 0: no
    prior."""

    means_prior_samples: float = 0.0
    """Strength of a Gaussian prior around the mean of all data, in pseudo-samples per mode. 0: no prior."""

    inference_rnn: Literal["lstm", "gru"] = "lstm"
    """Recurrent network that infers the coefficients (the inference network); it reads each window in both
    directions."""

    inference_n_layers: int = 1
    """Number of layers of the inference network."""

    inference_n_units: int = 64
    """Number of units of the inference network in each direction."""

    inference_normalization: Literal["layer", "batch"] | None = "layer"
    """Normalization after each layer of the inference network."""

    inference_activation: Literal["relu", "elu", "tanh", "gelu"] | None = None
    """Activation after each layer of the inference network."""

    inference_dropout: float = 0.0
    """Dropout of the signals and after each layer of the inference network."""

    model_rnn: Literal["lstm", "gru"] = "lstm"
    """Recurrent network that predicts the coefficients from the preceding ones (the prior)."""

    model_n_layers: int = 1
    """Number of layers of the prior's network."""

    model_n_units: int = 64
    """Number of units of the prior's network."""

    model_normalization: Literal["layer", "batch"] | None = "layer"
    """Normalization after each layer of the prior's network."""

    model_activation: Literal["relu", "elu", "tanh", "gelu"] | None = None
    """Activation after each layer of the prior's network."""

    model_dropout: float = 0.0
    """Dropout of the logits and after each layer of the prior's network."""

    learn_alpha_temperature: bool = True
    """Learn the temperature of the softmax that turns logits into coefficients."""

    initial_alpha_temperature: float = 1.0
    """Initial temperature of the softmax, or its fixed value."""

    do_kl_annealing: bool = True
    """Increase the weight of the prior (the KL term) gradually; false: full weight from the beginning."""

    kl_annealing_curve: Literal["tanh", "linear", "cyclical"] = "tanh"
    """How the weight of the KL term rises from 0 to 1; cyclical: tanh, several times."""

    kl_annealing_sharpness: float = 10.0
    """Steepness of the tanh curve."""

    n_kl_annealing_epochs: int = 40
    """Epochs until the KL term has full weight."""

    n_kl_annealing_cycles: int = 4
    """cyclical: number of times that the weight rises within these epochs."""

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
    """Initialization; it decides which optimum is found."""

    method: Literal["unmixing", "hmm", "random_subset", "random"] = "unmixing"
    """unmixing: an HMM with `states_per_mode` states per mode, whose covariances are then explained as mixtures of the
    modes. hmm: the states of an HMM with as many states as modes. random_subset: random modes, trained briefly on a
    part of the data, the best of `n_init`. random: random modes."""

    states_per_mode: int = 3
    """unmixing: states of the HMM per mode."""

    n_init: int = 1
    """Number of starts. If several, each is trained for `n_epochs`, and the one with the best bound is kept."""

    n_epochs: int = 5
    """Epochs of training per start, if there are several."""

    take: float = 1.0
    """Fraction of the training windows used for each start, if there are several."""

    max_samples: int = 50_000
    """Maximum number of samples used for the HMM."""

    from_experiment: str | None = None
    """Experiment (an HMM or DyNeMo with as many states or modes) whose means and covariances are the initial ones; on
    the command line also --initialization.from."""

    def __post_init__(self) -> None:
        check_choice("initialization.method", self.method, ("unmixing", "hmm", "random_subset", "random"))
        for name in ("states_per_mode", "n_init", "n_epochs", "max_samples"):
            check_at_least(f"initialization.{name}", getattr(self, name), 1)
        check_fraction("initialization.take", self.take)
        if self.from_experiment is not None and self.n_init > 1:
            raise ConfigurationError("initialization.n_init", self.n_init, "1 when starting from an experiment")


@dataclass(frozen=True, kw_only=True)
class DynemoTrainerConfig(TrainerConfig):
    """Training by stochastic gradients of the evidence lower bound."""

    max_epochs: int = 160
    """Maximum number of epochs."""

    learning_rate: float | str = 0.01
    """One value, or values per epoch such as "0.01*30 0.001". This is 0.01 for thirty epochs, then 0.001 to the end."""

    learning_rate_schedule: Literal["constant", "cosine", "linear", "exponential"] = "cosine"
    """Schedule of the learning rate after the KL annealing; until then it is constant."""

    learning_rate_decay: float = 0.01
    """exponential: rate of decay per epoch, exp(-decay * epoch). cosine: the final fraction of the learning rate."""

    optimizer: Literal["adamw", "adam", "radam", "sgd"] = "adam"
    """Optimizer of torch.optim."""

    weight_decay: float = 0.0
    """Weight decay: decoupled for adamw, an L2 term for the others."""

    clip_gradient: float | None = 0.3
    """Maximum norm of the gradient over all parameters; null: no clipping, the norm is only logged."""

    n_draws: int = 10
    """Number of draws of the logits per window when the bound is validated and reported."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("trainer.n_draws", self.n_draws, 1)
        if self.precision != "float32":
            raise ConfigurationError("trainer.precision", self.precision, "float32 for DyNeMo")
        if self.compile:
            raise ConfigurationError("trainer.compile", True, "false for DyNeMo: its loops are compiled already")


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
