"""Settings of the decoding family. No torch here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, Literal

from dynml.configuration import check_at_least, check_choice, check_fraction
from dynml.errors import ConfigurationError
from dynml.models.sequence.config import (
    AutoencoderConfig,
    CsmConfig,
    NetworkBertConfig,
    SequenceBertConfig,
    SequenceConfig,
    check_share,
)
from dynml.models.sequence.trainer_config import SequenceTrainerConfig

LINEAR: Final = "linear"
CONFIGS_OF_BACKBONES: dict[str, type[SequenceConfig]] = {
    "csm": CsmConfig,
    "sequence_bert": SequenceBertConfig,
    "network_bert": NetworkBertConfig,
    "autoencoder": AutoencoderConfig,
}
BACKBONES = (LINEAR, *CONFIGS_OF_BACKBONES)

SIZES = (
    "embedding_dim",
    "patch_length",
    "n_layers",
    "n_heads",
    "feed_forward_factor",
    "activation",
    "norm",
    "n_positions",
    "time_precision",
    "max_seconds",
    "n_embedder_layers",
)
"""Settings that a pre-trained model brings along."""

FREE_SETTINGS = ("dropout", "activation_checkpointing")
"""Settings of a backbone that may differ from those of its pre-training."""


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """A backbone, and a head that tells the classes of trials from what the backbone makes of them."""

    backbone: Literal["linear", "csm", "sequence_bert", "network_bert", "autoencoder"] | None = None
    """What reads a trial. linear: a weighted mean over time, the same for all channels. Others: the models of these
    families, from scratch or (--pretrained) as one of their experiments left them. null: the family of --pretrained,
    or linear without it."""

    target: str | None = None
    """What is decoded: a label column of the events, several of 0 and 1 joined by commas, or a covariate of the
    subjects."""

    target_values: Literal["classes", "numbers", "labels"] = "classes"
    """What the target holds. classes: labels that are told apart, whatever they are. numbers: a quantity (a rating, a
    force, an age) that is predicted by least squares. labels: any number of labels at once (face;left), of which each
    has a probability of its own."""

    classes: list[str] | None = None
    """Labels that are told apart; trials of other labels (rest, say) are left out. null: all labels."""

    fine_tuning: Literal["full", "frozen", "linear_probe"] = "full"
    """What a pre-trained model goes on to learn. full: everything. frozen: a hidden layer and a linear head on a fixed
    backbone, with the class token. linear_probe: a linear head alone."""

    pooling: Literal["class_token", "mean"] | None = None
    """Transformers: what a trial is read from: a class token put after its last sample, or the mean state of its
    samples. null: the class token of a model whose pre-training has trained it (next_sequence), else the mean."""

    layer_learning_rate_decay: float = 1.0
    """The learning rate of each layer is that of the layer above times this, from the head down to the embedder."""

    class_weights: Literal["balanced"] | None = None
    """balanced: rare classes count more in the loss, so that all classes weigh the same. null: all trials do."""

    label_smoothing: float = 0.0
    """Share of each training target that is spread evenly over the classes."""

    head_dropout: float = 0.1
    """Dropout of what the linear head sees."""

    linear_rank: int | None = None
    """linear: weighted means over time that the head sees of every channel. null: as many as the parts of a trial (at
    most 8) whose means tell held-out training trials apart best; 1 without a linear answer."""

    linear_answer: Literal["best", "none"] = "best"
    """What the network's logits are added to. best: a linear answer from course, power, covariances or connectivity of
    the trial, chosen and fitted on training trials. none: nothing; the network learns from the classes' frequencies."""

    n_networks: int = 1
    """Networks whose logits are averaged. 1: it learns from all training trials. More: each starts anew and leaves out
    one of the (at most five) folds of the training trials in turn, so that 15 are three of each. Attention and hidden
    states by sample are those of the first."""

    embedder_from_pretrained: bool = True
    """Take over the pre-trained embedder; false: learn it anew, as is needed for another number of channels."""

    allow_overlap: bool = False
    """Go on although the pre-training saw participants or files of the testing subset; on the command line also
    --allow_overlap."""

    embedding_dim: int = SequenceConfig.embedding_dim
    """Numbers that each sample is embedded in. This and the next ones are settings of the backbone, if it is not the
    linear one, and come from the pre-trained model, if there is one."""

    patch_length: int = SequenceConfig.patch_length
    """Samples of a token of the transformers."""

    n_layers: int = SequenceConfig.n_layers
    """Layers of the backbone."""

    n_heads: int | None = SequenceConfig.n_heads
    """Attention heads of each layer; null: one for each 64 numbers of the embedding."""

    feed_forward_factor: int = SequenceConfig.feed_forward_factor
    """Width of a layer's feed-forward part, in embedding_dim."""

    dropout: float = SequenceConfig.dropout
    """Dropout of the embedder and of every layer."""

    activation: Literal["gelu_tanh", "gelu", "relu", "silu"] = SequenceConfig.activation
    """Activation of the feed-forward part."""

    norm: Literal["pre", "post"] = SequenceConfig.norm
    """Layer normalization before each part of a layer (as GPT-2) or after it (as BERT)."""

    n_positions: int = SequenceConfig.n_positions
    """Most samples, and special tokens, of a trial."""

    time_precision: float | None = SequenceConfig.time_precision
    """Seconds of one row of the learnt embedding of time; null: half the smallest sampling interval in the store."""

    max_seconds: float | None = SequenceConfig.max_seconds
    """Seconds that the embedding of time covers; null: n_positions samples of the lowest rate in the store."""

    n_embedder_layers: int = SequenceConfig.n_embedder_layers
    """Layers from channels to the embedding."""

    activation_checkpointing: bool = SequenceConfig.activation_checkpointing
    """Compute activations twice instead of keeping them: less memory, a third more time."""

    class_names: list[str] | None = None
    """Settled from the data: the classes that training trials have."""

    class_counts: list[int] | None = None
    """Settled from the data: training trials of each class."""

    n_training_trials: int | None = None
    """Settled from the data: training trials, where each may have several labels; else null."""

    value_moments: list[float] | None = None
    """Settled from the data: mean and standard deviation of the numbers of training trials; null for classes."""

    trial_length: int | None = None
    """Settled from the data: samples of the longest trial."""

    answer_bands: list[list[float]] | None = None
    """Settled from the data: frequency bands (Hz) of the linear answer; null without one."""

    backbone_settings: dict[str, Any] | None = None
    """Settled from the pre-trained model: all its settings."""

    pretraining_overlap: dict[str, Any] | None = None
    """Settled from the data: participants and files of the testing subset that the pre-training saw."""

    def __post_init__(self) -> None:
        check_choice("model.backbone", self.backbone, (None, *BACKBONES))
        check_choice("model.target_values", self.target_values, ("classes", "numbers", "labels"))
        check_choice("model.fine_tuning", self.fine_tuning, ("full", "frozen", "linear_probe"))
        check_choice("model.pooling", self.pooling, (None, "class_token", "mean"))
        check_choice("model.class_weights", self.class_weights, (None, "balanced"))
        check_choice("model.linear_answer", self.linear_answer, ("best", "none"))
        check_fraction("model.layer_learning_rate_decay", self.layer_learning_rate_decay)
        check_share("model.label_smoothing", self.label_smoothing)
        check_share("model.head_dropout", self.head_dropout)
        if self.linear_rank is not None:
            check_at_least("model.linear_rank", self.linear_rank, 1)
        check_at_least("model.n_networks", self.n_networks, 1)
        if self.n_networks > 1 and self.linear_answer == "none":
            accepted = "1 without a linear answer, whose folds they leave out"
            raise ConfigurationError("model.n_networks", self.n_networks, accepted)
        if self.target_values != "classes":
            without_effect = ("classes", "class_weights", "label_smoothing")
            self._refuse_without_effect(without_effect, f"target_values {self.target_values}")
        if self.backbone == LINEAR:
            self._refuse_without_effect((*SIZES, *FREE_SETTINGS, "layer_learning_rate_decay"))
        elif self.backbone is not None:
            if self.linear_rank != 1:  # of experiments whose default it was
                self._refuse_without_effect(("linear_rank",))
            self.backbone_config()
        if self.backbone in (LINEAR, "autoencoder") and self.pooling == "mean":
            accepted = f"absent: it has no effect on the backbone {self.backbone}"
            raise ConfigurationError("model.pooling", self.pooling, accepted)
        if self.fine_tuning == "linear_probe" and not self.embedder_from_pretrained:
            accepted = "true for a linear_probe, which learns no embedder (fine_tuning full or frozen does)"
            raise ConfigurationError("model.embedder_from_pretrained", False, accepted)

    def _refuse_without_effect(self, names: tuple[str, ...], where: str | None = None) -> None:
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in names:
            if getattr(self, name) != defaults[name]:
                accepted = f"absent: it has no effect on {where or f'the backbone {self.backbone}'}"
                raise ConfigurationError(f"model.{name}", getattr(self, name), accepted)

    @property
    def tells_numbers(self) -> bool:
        """Whether numbers are predicted, not classes."""
        return self.target_values == "numbers"

    @property
    def tells_labels(self) -> bool:
        """Whether each trial may have several labels."""
        return self.target_values == "labels"

    @property
    def n_classes(self) -> int:
        """Classes or labels, once they are settled; 1, the prediction, for numbers."""
        assert self.class_names is not None
        return 1 if self.tells_numbers else len(self.class_names)

    def backbone_config(self) -> Any:
        """Config of the backbone's own family; its predictions and losses are not needed here."""
        assert self.backbone is not None
        config_class = CONFIGS_OF_BACKBONES[self.backbone]
        settings = dict(self.backbone_settings or {}) | {name: getattr(self, name) for name in (*SIZES, *FREE_SETTINGS)}
        return config_class(**settings | {"linear_path": False})


@dataclass(frozen=True, kw_only=True)
class DecodingTrainerConfig(SequenceTrainerConfig):
    """Gradients of the cross-entropy (of labels: its mean over them), or of the squared error of numbers."""

    max_epochs: int | None = 50
    """Stop after this many epochs; null: as many as max_steps take."""

    learning_rate: float | str = 0.001
    """One value, or a list by epochs such as "0.001*3 0.0001" (three epochs, then the last value is kept)."""

    warmup_steps: int = 20
    """Steps over which the learning rate rises linearly from near zero."""

    monitor: Literal["cross_entropy", "accuracy"] = "cross_entropy"
    """What chooses the best epoch, and what patience looks at: the cross-entropy (of numbers: the squared error), or
    the accuracy, of validation trials (of training trials, if there are no others)."""

    baseline_trials: int = 4000
    """The baselines and the linear answer are fitted to at most this many training trials."""

    inner_folds: int = 2
    """How many of the (at most) five folds of the training trials the network is tried on, after training without
    them: they say how many epochs it learns and how much of it is added to the linear answer. Each costs a training. 0:
    monitor chooses the epoch, and all of it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.generation_every is not None:
            raise ConfigurationError("trainer.generation_every", self.generation_every, "null: for csm alone")
        for name in ("freeze_embedder", "freeze_unembedder"):
            if getattr(self, name):
                accepted = "false: of a decoder, model.fine_tuning says what goes on to learn"
                raise ConfigurationError(f"trainer.{name}", True, accepted)
        check_at_least("trainer.inner_folds", self.inner_folds, 0)
        check_choice("trainer.monitor", self.monitor, ("cross_entropy", "accuracy"))
        check_at_least("trainer.baseline_trials", self.baseline_trials, 2)


def settle(configs: dict[str, Any]) -> dict[str, Any]:
    """Check what can be checked without the data: there is a target, and it is not contradicted by the sampler.

    Raises
    ------
    ConfigurationError
        When there is no target, or the sampler cuts its trials by another column.
    """
    model, sampler = configs["model"], configs["sampler"]
    if model.target is None:
        accepted = "a label column of the events, or a covariate of the subjects"
        raise ConfigurationError("model.target", None, accepted)
    if sampler.trials not in (None, model.target):
        raise ConfigurationError("sampler.trials", sampler.trials, f"absent, or model.target ({model.target})")
    if model.target_values != "classes" and configs["trainer"].monitor == "accuracy":
        raise ConfigurationError("trainer.monitor", "accuracy", f"absent: {model.target_values} have no accuracy")
    if configs["loader"].collate != "padded":
        raise ConfigurationError("loader.collate", configs["loader"].collate, "padded for decoding")
    return configs
