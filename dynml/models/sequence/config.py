"""Settings of the sequence models that learn from unlabelled recordings. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dynml.configuration import check_at_least, check_choice, check_fraction, check_positive
from dynml.errors import ConfigurationError

LOSSES = ("l1", "l2", "huber")
UNITS_PER_HEAD = 64
SHORTEST_SPECTRUM = 4
ROUNDING = 1e-6
"""Rows of the embedding of time are counted but for rounding: 300 s in rows of 0.2 s are 1,500."""


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    """What all sequence models have: an embedder, a backbone, an un-embedder, and a loss."""

    embedding_dim: int = 128
    """Dimension d of the embedding of each sample (or patch)."""

    patch_length: int = 1
    """Samples per token of the transformers. Above 1, all channels of this number of consecutive samples are embedded,
    masked and predicted together, which suits sampling frequencies of 100 Hz and more: patches of 0.1 to 0.2 s."""

    channel_embedding: Literal["none", "name", "position"] = "none"
    """How a channel is identified. none: by its index. name, position: by its name, or by its position in the store (of
    a sensor or the centre of a parcel); the model can then be applied to other channels of known name, or with
    positions."""

    n_layers: int = 4
    """Layers of the backbone."""

    n_heads: int | None = None
    """Attention heads per layer; null: one per 64 dimensions of the embedding."""

    feed_forward_factor: int = 4
    """Width of a layer's feed-forward part, as a multiple of embedding_dim."""

    dropout: float = 0.1
    """Dropout of the embedder and of every layer."""

    activation: Literal["gelu_tanh", "gelu", "relu", "silu"] = "gelu_tanh"
    """Activation of the feed-forward part."""

    norm: Literal["pre", "post"] = "pre"
    """Layer normalization before each part of a layer (as in GPT-2) or after it (as in BERT)."""

    n_positions: int = 512
    """Maximum number of samples (or patches) and special tokens in a window; each position has a learnt embedding."""

    time_precision: float | None = None
    """Resolution of the learnt time embedding in seconds, which allows recordings of different sampling frequencies;
    null: half the smallest sampling interval in the store (half a patch)."""

    max_seconds: float | None = None
    """Seconds that the time embedding covers; null: n_positions samples (patches) at the lowest sampling frequency in
    the store."""

    n_embedder_layers: int = 1
    """Layers from channels to the embedding."""

    n_unembedder_layers: int = 1
    """Layers from the backbone back to channels."""

    loss: Literal["l1", "l2", "huber"] = "l1"
    """Loss of a prediction error: its absolute value, its square, or Huber's loss."""

    huber_delta: float = 1.0
    """Error above which Huber's loss grows linearly."""

    linear_path: bool = True
    """Start from the best linear baseline, fitted to the training subset; learnt gates move each channel from it
    towards the nonlinear prediction. false: the nonlinear path only."""

    linear_path_lags: int = 3
    """Number of preceding samples that linear baselines use."""

    activation_checkpointing: bool = False
    """Recompute activations instead of storing them: less memory, about a third more time."""

    channel_names: list[str] | None = None
    """Set from the data, unless channel_embedding is none: the channels of the training data."""

    known_channels: list[str] | None = None
    """Set from the data or the pre-trained model: the channels with which it was first trained."""

    channel_positions: list[list[float]] | None = None
    """Set from the data, for channel_embedding position: positions of the channels, mm."""

    montages: list[list[int]] | None = None
    """Set from the data, where recordings have different channels: numbers of the channels of each montage."""

    channel_space: str | None = None
    """Set from the data, for channel_embedding position: the space of these positions."""

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
class SpectralConfig(SequenceConfig):
    """Settings of models whose targets may include spectra of patches."""

    signal_weight: float = 1.0
    """Weight of the loss of signals beside those of other targets; 0: signals are no target, and are predicted by the
    linear path alone."""

    spectral_weight: float | None = None
    """Weight of the loss of spectra (log amplitudes, nepers) of masked or next patches; null: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("model.spectral_weight", self.spectral_weight, optional=True)
        check_at_least("model.signal_weight", self.signal_weight, 0.0)
        if self.spectral_weight is not None and self.patch_length < SHORTEST_SPECTRUM:
            accepted = f"null for patches of fewer than {SHORTEST_SPECTRUM} samples (model.patch_length)"
            raise ConfigurationError("model.spectral_weight", self.spectral_weight, accepted)
        self._check_other_targets()

    @property
    def weights_of_other_targets(self) -> dict[str, float]:
        """Settings that ask for other targets than signals, and their values."""
        names = ("spectral_weight", "latent_weight")
        return {name: getattr(self, name) for name in names if getattr(self, name, None) is not None}

    def _check_other_targets(self) -> None:
        for name, value in self.weights_of_other_targets.items():
            if self.channel_embedding != "none":
                accepted = f"null where model.channel_embedding is {self.channel_embedding}"
                raise ConfigurationError(f"model.{name}", value, accepted)
            if getattr(self, "next_sequence", False):
                raise ConfigurationError(f"model.{name}", value, "null with model.next_sequence")
        if self.signal_weight == 0 and not self.weights_of_other_targets:
            raise ConfigurationError("model.signal_weight", 0, "above 0 where there is no other target")
        if self.signal_weight == 0 and not self.linear_path:
            accepted = "above 0 without model.linear_path, since nothing would predict signals"
            raise ConfigurationError("model.signal_weight", 0, accepted)


@dataclass(frozen=True, kw_only=True)
class CsmConfig(SpectralConfig):
    """Causal sequence model: every sample is predicted from the preceding ones."""

    objective: Literal["all_positions", "single_mask"] = "all_positions"
    """all_positions: each sample of a window is a target. single_mask: one masked sample per window, the last one
    shown, as in learning-from-brains; it learns from far fewer targets for the same computation."""

    forecast_samples: int = 5
    """Horizon of the report's forecasts in samples; predictions are fed back, and each step is scored."""

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
    """Fraction of samples (or networks) that are masked and predicted."""

    next_sequence: bool = False
    """Also classify whether the second part of a window follows the first, or comes from another window of the same
    data set (of the same subject where the batch has one)."""

    next_sequence_weight: float = 1.0
    """Weight of the loss of next_sequence."""

    min_gap: int = 1
    """next_sequence: minimum number of samples left out between the two parts. Above 1, every window needs room for
    max_gap."""

    max_gap: int = 4
    """next_sequence: maximum number of samples left out between the two parts; 0: none."""

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
class SequenceBertConfig(MaskedConfig, SpectralConfig):
    """Sequence-BERT: whole samples are masked, and predicted from those on both sides."""

    latent_weight: float | None = None
    """Weight of the loss of latent prediction: hidden states of masked tokens are predicted as a teacher has them that
    sees all tokens and is a moving average of the model; null: none."""

    teacher_decay: float = 0.996
    """latent_weight: weight of the teacher's own weights in the moving average, once many steps were made."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("model.latent_weight", self.latent_weight, optional=True)
        check_share("model.teacher_decay", self.teacher_decay)


@dataclass(frozen=True, kw_only=True)
class NetworkBertConfig(MaskedConfig):
    """Network-BERT: some networks are masked over the whole window, and predicted from the others."""

    masking_rate: float = 0.1
    """Fraction of samples (or networks) that are masked and predicted."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(SequenceConfig):
    """Recurrent autoencoder: a window is encoded in one vector of embedding_dim numbers, and decoded again."""

    n_layers: int = 2
    """LSTM layers of the encoder, and of the decoder."""

    linear_path: bool = False
    """Always false: information that bypasses the code would not be learnt by it."""

    teacher_forcing_ratio: float = 0.5
    """Fraction of training batches in which the decoder is given the true preceding samples instead of its own
    predictions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_patches(self, "the autoencoder")
        if self.linear_path:
            raise ConfigurationError("model.linear_path", True, "false for the autoencoder, whose code is the only way")
        if not 0 <= self.teacher_forcing_ratio <= 1:
            raise ConfigurationError("model.teacher_forcing_ratio", self.teacher_forcing_ratio, "a number from 0 to 1")
