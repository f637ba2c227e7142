"""Settings of the decoding family. No torch here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, Literal

from dynml.configuration import check_at_least, check_choice, check_fraction
from dynml.errors import ConfigurationError
from dynml.models.sequence.backbones.published.config import CONFIGS_OF_PUBLISHED
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
BACKBONES = (LINEAR, *CONFIGS_OF_BACKBONES, *CONFIGS_OF_PUBLISHED)

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
    """A backbone, and a head that decodes the classes of trials from its output."""

    backbone: (
        Literal["linear", "csm", "sequence_bert", "network_bert", "autoencoder", "cbramod", "cortex_mae"] | None
    ) = None
    """Model that encodes a trial. linear: a weighted mean over time, the same for all channels. cbramod, cortex_mae:
    imported weights, named by --pretrained. Others: the models of these families, from scratch or (--pretrained) from
    one of their experiments. null: the family of --pretrained, or linear without it."""

    target: str | None = None
    """What is decoded: a label column of the events, several of 0 and 1 joined by commas, or a covariate of the
    subjects."""

    target_values: Literal["classes", "numbers", "labels"] = "classes"
    """Kind of target. classes: one label per trial, whatever it is. numbers: a quantity (a rating, a force, an age),
    predicted by least squares. labels: any number of labels per trial (face;left), each with its own probability."""

    classes: list[str] | None = None
    """Labels to decode; trials with other labels (such as rest) are left out. null: all labels."""

    fine_tuning: Literal["full", "frozen", "linear_probe"] = "full"
    """Which part of a pre-trained model is trained. full: everything. frozen: a hidden layer and a linear head on a
    fixed backbone, with the class token. linear_probe: a linear head only."""

    pooling: Literal["class_token", "mean", "attention"] | None = None
    """Transformers: how a trial is summarized, by a class token after its last sample, by the mean state of its
    samples, or (attention) by their mean with weights from a learnt query. null: the class token of a model whose
    pre-training has trained it (next_sequence), else the mean."""

    layer_learning_rate_decay: float = 1.0
    """Factor of the learning rate from each layer to the one below it, from the head down to the embedder."""

    class_weights: Literal["balanced"] | None = None
    """balanced: weight the loss so that all classes count the same. null: all trials count the same."""

    label_smoothing: float = 0.0
    """Fraction of each training target that is spread evenly over the classes."""

    head_dropout: float = 0.1
    """Dropout of the input of the linear head."""

    linear_rank: int | None = None
    """linear: number of weighted means over time that the head sees of each channel. null: as many as the parts of a
    trial (at most 8) whose means predict held-out training trials best; 1 without a linear answer."""

    linear_answer: Literal["best", "none"] = "best"
    """Linear model to whose output the network's logits are added. best: the mean of those of the time course, power,
    covariances and connectivity of the trial, weighted by training trials. none: no such model; the network starts from
    the class frequencies."""

    n_networks: int = 1
    """Networks whose logits are averaged. 1: it learns from all training trials. More: each starts anew and leaves out
    one of the (at most five) folds of the training trials in turn, so that 15 are three of each. Attention and hidden
    states by sample are those of the first."""

    embedder_from_pretrained: bool = True
    """Use the pre-trained embedder; false: train a new one, as a different number of channels needs."""

    unlike_input: Literal["refuse", "convert"] = "refuse"
    """cbramod, cortex_mae: what to do with recordings at another rate, or with channels in another order, than those
    that the weights were trained on. convert: resample each trial, and reorder the channels."""

    allow_overlap: bool = False
    """Continue although the pre-training saw participants or files of the testing subset; on the command line also
    --allow_overlap."""

    embedding_dim: int = SequenceConfig.embedding_dim
    """Dimension of the embedding of each sample. This and the following settings belong to the backbone, unless it is
    linear, and come from the pre-trained model if there is one."""

    patch_length: int = SequenceConfig.patch_length
    """Samples per token of the transformers."""

    n_layers: int = SequenceConfig.n_layers
    """Layers of the backbone."""

    n_heads: int | None = SequenceConfig.n_heads
    """Attention heads per layer; null: one per 64 dimensions of the embedding."""

    feed_forward_factor: int = SequenceConfig.feed_forward_factor
    """Width of a layer's feed-forward part, as a multiple of embedding_dim."""

    dropout: float = SequenceConfig.dropout
    """Dropout of the embedder and of every layer."""

    activation: Literal["gelu_tanh", "gelu", "relu", "silu"] = SequenceConfig.activation
    """Activation of the feed-forward part."""

    norm: Literal["pre", "post"] = SequenceConfig.norm
    """Layer normalization before each part of a layer (as in GPT-2) or after it (as in BERT)."""

    n_positions: int = SequenceConfig.n_positions
    """Maximum number of samples and special tokens in a trial."""

    time_precision: float | None = SequenceConfig.time_precision
    """Resolution of the learnt time embedding in seconds; null: half the smallest sampling interval in the store."""

    max_seconds: float | None = SequenceConfig.max_seconds
    """Seconds that the time embedding covers; null: n_positions samples at the lowest sampling frequency in the
    store."""

    n_embedder_layers: int = SequenceConfig.n_embedder_layers
    """Layers from channels to the embedding."""

    activation_checkpointing: bool = SequenceConfig.activation_checkpointing
    """Recompute activations instead of storing them: less memory, about a third more time."""

    class_names: list[str] | None = None
    """Set from the data: the classes, or the labels, that training trials have."""

    class_counts: list[int] | None = None
    """Set from the data: training trials of each of them."""

    n_training_trials: int | None = None
    """Set from the data: number of training trials, where each may have several labels; else null."""

    value_moments: list[float] | None = None
    """Set from the data: mean and standard deviation of the numbers of training trials; null for classes."""

    trial_length: int | None = None
    """Set from the data: samples of the longest trial."""

    answer_bands: list[list[float]] | None = None
    """Set from the data: frequency bands (Hz) of the linear model; null without one."""

    answer_source_bands: list[list[float]] | None = None
    """Set from the data: frequency bands (Hz) in which the linear model reads sources of oscillations; null: none."""

    backbone_settings: dict[str, Any] | None = None
    """Set from the pre-trained model: all its settings."""

    state_model: dict[str, Any] | None = None
    """Set from the pre-trained model: family and settings of the one whose states the linear model reads."""

    pretraining_overlap: dict[str, Any] | None = None
    """Set from the data: participants and files of the testing subset that the pre-training saw."""

    def __post_init__(self) -> None:
        check_choice("model.backbone", self.backbone, (None, *BACKBONES))
        check_choice("model.target_values", self.target_values, ("classes", "numbers", "labels"))
        check_choice("model.fine_tuning", self.fine_tuning, ("full", "frozen", "linear_probe"))
        check_choice("model.pooling", self.pooling, (None, "class_token", "mean", "attention"))
        check_choice("model.class_weights", self.class_weights, (None, "balanced"))
        check_choice("model.unlike_input", self.unlike_input, ("refuse", "convert"))
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
        elif self.is_published:
            self._refuse_without_effect((*SIZES, "linear_rank"))
        elif self.backbone is not None:
            if self.linear_rank != 1:  # of experiments whose default it was
                self._refuse_without_effect(("linear_rank",))
            self.backbone_config()
        if self.backbone in (LINEAR, "autoencoder") and self.pooling in ("mean", "attention"):
            accepted = f"absent: it has no effect on the backbone {self.backbone}"
            raise ConfigurationError("model.pooling", self.pooling, accepted)
        if self.pooling == "class_token" and self.is_published and not self.backbone_config().has_class_token:
            raise ConfigurationError("model.pooling", self.pooling, f"mean: {self.backbone} has no such token")
        if self.pooling == "attention" and self.is_published:
            accepted = f"absent: the tokens of {self.backbone} are not those of samples"
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
    def is_published(self) -> bool:
        """Whether the backbone is a model that others have trained, imported."""
        return self.backbone in CONFIGS_OF_PUBLISHED

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
        if self.is_published:
            own = {name: getattr(self, name) for name in FREE_SETTINGS}
            return CONFIGS_OF_PUBLISHED[self.backbone](**(self.backbone_settings or {}) | own)
        config_class = CONFIGS_OF_BACKBONES[self.backbone]
        settings = dict(self.backbone_settings or {}) | {name: getattr(self, name) for name in (*SIZES, *FREE_SETTINGS)}
        return config_class(**settings | {"linear_path": False})


@dataclass(frozen=True, kw_only=True)
class DecodingTrainerConfig(SequenceTrainerConfig):
    """Training by gradients of the cross-entropy (labels: its mean over them), or of the squared error of numbers."""

    max_epochs: int | None = 50
    """Stop after this many epochs; null: as many as max_steps needs."""

    learning_rate: float | str = 0.001
    """One value, or values per epoch such as "0.001*3 0.0001". This is 0.001 for three epochs, then 0.0001 to the
    end."""

    warmup_steps: int = 20
    """Steps over which the learning rate rises linearly from near zero."""

    monitor: Literal["cross_entropy", "accuracy"] = "cross_entropy"
    """Value that chooses the best epoch and that patience monitors: the cross-entropy (of numbers: the squared error)
    or the accuracy of validation trials (of training trials if there are no others)."""

    head_epochs: int | None = None
    """Epochs in which the head of a pre-trained model learns alone, before all of it does (fine_tuning full): it then
    does not spoil what was learnt without labels. null: 10, but at most a fifth of the epochs."""

    baseline_trials: int = 4000
    """Maximum number of training trials to which the baselines and the linear model are fitted."""

    inner_folds: int = 2
    """Number of folds of the training trials (out of at most five) on which the network is tested after training
    without them. They determine the number of epochs, and how much of the network is added to the linear model. Each
    costs one training. 0: monitor chooses the epoch, and the network is added in full."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.generation_every is not None:
            raise ConfigurationError("trainer.generation_every", self.generation_every, "null: for csm alone")
        for name in ("freeze_embedder", "freeze_unembedder"):
            if getattr(self, name):
                accepted = "false: for a decoder, model.fine_tuning sets what is trained"
                raise ConfigurationError(f"trainer.{name}", True, accepted)
        check_at_least("trainer.inner_folds", self.inner_folds, 0)
        check_at_least("trainer.head_epochs", self.head_epochs, 0, optional=True)
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
