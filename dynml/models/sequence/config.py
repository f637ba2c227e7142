"""Settings of the sequence models that learn from unlabelled recordings. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dynml.configuration import check_at_least, check_choice, check_fraction, check_positive
from dynml.errors import ConfigurationError

LOSSES = ("l1", "l2", "huber")
UNITS_PER_HEAD = 64
ROUNDING = 1e-6
"""Rows of the embedding of time are counted but for rounding: 300 s in rows of 0.2 s are 1,500."""


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    """What all sequence models have: an embedder, a backbone, an un-embedder, and a loss."""

    embedding_dim: int = 128
    """Numbers that each sample (or patch) is embedded in, d."""

    patch_length: int = 1
    """Samples of a token of the transformers. More than 1: all channels of so many samples in a row are embedded at
    once, hidden at once and predicted at once, as suits 100 Hz and more: 0.1 to 0.2 s."""

    channel_embedding: Literal["none", "name", "position"] = "none"
    """What a channel is known by. none: its place in the order. name, position: the model can go on with recordings of
    other channels: those whose names it knows, or whose places (of sensors, centres of parcels) the store keeps."""

    n_layers: int = 4
    """Layers of the backbone."""

    n_heads: int | None = None
    """Attention heads of each layer; null: one for each 64 numbers of the embedding."""

    feed_forward_factor: int = 4
    """Width of a layer's feed-forward part, in embedding_dim."""

    dropout: float = 0.1
    """Dropout of the embedder and of every layer."""

    activation: Literal["gelu_tanh", "gelu", "relu", "silu"] = "gelu_tanh"
    """Activation of the feed-forward part."""

    norm: Literal["pre", "post"] = "pre"
    """Layer normalization before each part of a layer (as GPT-2) or after it (as BERT)."""

    n_positions: int = 512
    """Most samples (or patches), and special tokens, of a window: each has a learnt embedding of its number in the
    window."""

    time_precision: float | None = None
    """Seconds of one row of the learnt embedding of time, so that recordings of several rates mix; null: half the
    smallest sampling interval in the store (half a patch)."""

    max_seconds: float | None = None
    """Seconds that the embedding of time covers; null: n_positions samples (patches) of the lowest rate in the
    store."""

    n_embedder_layers: int = 1
    """Layers from channels to the embedding."""

    n_unembedder_layers: int = 1
    """Layers from the backbone back to channels."""

    loss: Literal["l1", "l2", "huber"] = "l1"
    """What errors cost: their absolute value, their square, or Huber's mean of both."""

    huber_delta: float = 1.0
    """Error from which Huber's loss grows linearly."""

    linear_path: bool = True
    """Start from the best linear baseline, fitted to the training subset: learnt gates go from it to the nonlinear
    path's prediction, channel by channel. false: the nonlinear path alone."""

    linear_path_lags: int = 3
    """Samples before the predicted one that linear baselines look at."""

    activation_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, a third more time."""

    channel_names: list[str] | None = None
    """Settled from the data, unless channel_embedding is none: the channels of the training."""

    known_channels: list[str] | None = None
    """Settled from the data or the pre-trained model: the channels that it was first trained with."""

    channel_positions: list[list[float]] | None = None
    """Settled from the data, for channel_embedding position: where the channels lie, mm."""

    channel_space: str | None = None
    """Settled from the data, for channel_embedding position: the space of these places."""

    def __post_init__(self) -> None:
        for name in (
            "embedding_dim",
            "patch_length",
            "n_layers",
            "feed_forward_factor",
            "n_positions",
            "n_embedder_layers",
            "n_unembedder_layers",
            "linear_path_lags",
        ):
            check_at_least(f"model.{name}", getattr(self, name), 1)
        check_at_least("model.n_heads", self.n_heads, 1, optional=True)
        if self.embedding_dim % self.resolved_n_heads:
            raise ConfigurationError(
                "model.n_heads", self.n_heads, f"a divisor of embedding_dim ({self.embedding_dim})"
            )
        check_share("model.dropout", self.dropout)
        check_choice("model.channel_embedding", self.channel_embedding, ("none", "name", "position"))
        check_choice("model.activation", self.activation, ("gelu_tanh", "gelu", "relu", "silu"))
        check_choice("model.norm", self.norm, ("pre", "post"))
        check_choice("model.loss", self.loss, LOSSES)
        for name in ("time_precision", "max_seconds"):
            check_positive(f"model.{name}", getattr(self, name), optional=True)
        check_positive("model.huber_delta", self.huber_delta)

    @property
    def resolved_n_heads(self) -> int:
        """Heads in force."""
        return self.n_heads or max(1, self.embedding_dim // UNITS_PER_HEAD)

    @property
    def n_time_rows(self) -> int:
        """Rows of the embedding of time, once it is settled."""
        assert self.time_precision is not None
        assert self.max_seconds is not None
        return max(1, math.ceil(self.max_seconds / self.time_precision - ROUNDING))


def check_share(key: str, value: float) -> None:
    """Refuse what is not in [0, 1)."""
    if not 0 <= value < 1:
        raise ConfigurationError(key, value, "a number from 0 to below 1")


def refuse_patches(config: SequenceConfig, what: str) -> None:
    """Refuse tokens of several samples where each is asked for by itself."""
    if config.patch_length > 1:
        raise ConfigurationError("model.patch_length", config.patch_length, f"1 for {what}")


@dataclass(frozen=True, kw_only=True)
class CsmConfig(SequenceConfig):
    """Causal sequence model: every sample is predicted from those before it."""

    objective: Literal["all_positions", "single_mask"] = "all_positions"
    """all_positions: each sample of a window is a target. single_mask: one hidden sample a window, the last one that is
    shown, as in learning-from-brains; it learns from far fewer targets for the same work."""

    forecast_samples: int = 5
    """How far ahead the report's forecasts go: predictions are fed back, and each horizon is scored."""

    conditioning_channels: list[str] | None = None
    """Settled from the data: channels of the second group (dataset.conditioning_group), which are not predicted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("model.objective", self.objective, ("all_positions", "single_mask"))
        if self.objective == "single_mask":
            refuse_patches(self, "objective single_mask")
        check_at_least("model.forecast_samples", self.forecast_samples, 1)


@dataclass(frozen=True, kw_only=True)
class MaskedConfig(SequenceConfig):
    """What the two masked models share."""

    masking_rate: float = 0.2
    """Share of samples (or networks) that are hidden and predicted."""

    next_sequence: bool = False
    """Also tell whether the second part of a window follows on the first, or comes from another window of the same data
    set (of the same subject where the batch has one)."""

    next_sequence_weight: float = 1.0
    """Weight of that second loss."""

    min_gap: int = 1
    """next_sequence: fewest samples left out between the two parts. Above 1 every window needs room for max_gap."""

    max_gap: int = 4
    """next_sequence: most samples left out between the two parts; 0: none are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction("model.masking_rate", self.masking_rate)
        if self.masking_rate == 1:
            raise ConfigurationError("model.masking_rate", self.masking_rate, "below 1, so that something is shown")
        check_at_least("model.next_sequence_weight", self.next_sequence_weight, 0.0)
        check_at_least("model.min_gap", self.min_gap, 0)
        check_at_least("model.max_gap", self.max_gap, 0)
        if self.min_gap > max(self.max_gap, 1):
            raise ConfigurationError("model.min_gap", self.min_gap, f"at most model.max_gap ({self.max_gap})")
        if self.next_sequence:
            refuse_patches(self, "next_sequence")


@dataclass(frozen=True, kw_only=True)
class SequenceBertConfig(MaskedConfig):
    """Sequence-BERT: whole samples are hidden, and predicted from those on both sides."""


@dataclass(frozen=True, kw_only=True)
class NetworkBertConfig(MaskedConfig):
    """Network-BERT: some networks are hidden over the whole window, and predicted from the others."""

    masking_rate: float = 0.1
    """Share of samples (or networks) that are hidden and predicted."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(SequenceConfig):
    """Recurrent autoencoder: a window becomes one code of embedding_dim numbers, and a window again."""

    n_layers: int = 2
    """LSTM layers of the encoder, and of the decoder."""

    linear_path: bool = False
    """Always false: what went past the code would not be learnt by it."""

    teacher_forcing_ratio: float = 0.5
    """Share of training batches whose decoder is given the true samples before the one that it predicts, instead of its
    own predictions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_patches(self, "the autoencoder")
        if self.linear_path:
            raise ConfigurationError("model.linear_path", True, "false for the autoencoder, whose code is the only way")
        if not 0 <= self.teacher_forcing_ratio <= 1:
            raise ConfigurationError("model.teacher_forcing_ratio", self.teacher_forcing_ratio, "a number from 0 to 1")
