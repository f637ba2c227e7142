"""Sizes of published models, and what their weights take for granted about signals. No torch here.

Nothing here is chosen by a user: sizes are read from the weights, and what is done to the signals of a store follows
from what they are and what the weights were trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dynml.configuration import check_at_least
from dynml.errors import ConfigurationError
from dynml.models.sequence.config import check_share


@dataclass(frozen=True, kw_only=True)
class PublishedConfig:
    """What all published models have."""

    title: ClassVar[str]
    """Name by which its authors call it."""

    licence: ClassVar[str]
    """What is known of the licence of its weights, as the end of a sentence."""

    patch_length: ClassVar[int]
    """Samples of a token."""

    sampling_frequency: ClassVar[float]
    """Hz of the signals that it was trained on."""

    standardization: ClassVar[str]
    """Of these signals."""

    resampling: ClassVar[Literal["polyphase", "linear"]]
    """How trials at other rates are brought to its own; see `resampling_matrix`."""

    has_class_token: ClassVar[bool]

    embedding_dim: int
    """Numbers of each token, d."""

    n_layers: int
    """Layers of the encoder."""

    n_heads: int
    """Attention heads of each layer."""

    n_hidden: int
    """Width of a layer's feed-forward part."""

    channel_names: list[str] | None = None
    """Channels of the training in their order; null: not known."""

    dropout: float = 0.1
    """Dropout of every layer while it learns."""

    activation_checkpointing: bool = False
    """Compute activations twice instead of keeping them."""

    input_scale: float = 1.0
    """Settled from the data: what their signals are multiplied by."""

    input_rate: float | None = None
    """Settled from the data: Hz of signals that are resampled, trial by trial; null: none are."""

    input_columns: list[int] | None = None
    """Settled from the data: number of each channel's column; null: they are in order."""

    def __post_init__(self) -> None:
        for name in ("embedding_dim", "n_layers", "n_heads", "n_hidden"):
            check_at_least(f"model.{name}", getattr(self, name), 1)
        if self.embedding_dim % self.n_heads:
            accepted = f"a divisor of the {self.embedding_dim} numbers of a token"
            raise ConfigurationError("model.n_heads", self.n_heads, accepted)
        check_share("model.dropout", self.dropout)

    def samples_read(self, n_samples: int) -> int:
        """Samples of a trial that are read, where the weights' rate is its own: whole patches, but at least one."""
        return max(self.patch_length, n_samples // self.patch_length * self.patch_length)


@dataclass(frozen=True, kw_only=True)
class CBraModConfig(PublishedConfig):
    """CBraMod: patches of one second of one channel of EEG."""

    title: ClassVar[str] = "CBraMod"
    licence: ClassVar[str] = (
        "the licence of its weights was not verified (that of its code is MIT): ask its authors before you pass on "
        "what was made from them"
    )
    patch_length: ClassVar[int] = 200
    sampling_frequency: ClassVar[float] = 200.0
    standardization: ClassVar[str] = "none"
    resampling: ClassVar[Literal["polyphase", "linear"]] = "polyphase"
    has_class_token: ClassVar[bool] = False

    embedding_dim: int = 200
    n_layers: int = 12
    n_heads: int = 8
    n_hidden: int = 800

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_heads % 2:
            accepted = "an even number: half of them go across channels, half across patches"
            raise ConfigurationError("model.n_heads", self.n_heads, accepted)


@dataclass(frozen=True, kw_only=True)
class CortexMaeConfig(PublishedConfig):
    """CortexMAE of parcels: patches of four seconds of one parcel of fMRI."""

    title: ClassVar[str] = "CortexMAE"
    licence: ClassVar[str] = (
        "its weights are licensed CC BY-NC 4.0: no commercial use, of what was made from them either, and its authors "
        "are to be named"
    )
    patch_length: ClassVar[int] = 4
    sampling_frequency: ClassVar[float] = 1.0
    standardization: ClassVar[str] = "per_run"
    resampling: ClassVar[Literal["polyphase", "linear"]] = "linear"
    has_class_token: ClassVar[bool] = True

    embedding_dim: int = 768
    n_layers: int = 12
    n_heads: int = 12
    n_hidden: int = 3072
    n_parcels: int = 400
    """Parcels, C."""

    n_times: int = 4
    """Patches of a clip."""

    clip: float = 3.0
    """Largest absolute value that is left as it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_parcels", "n_times"):
            check_at_least(f"model.{name}", getattr(self, name), 1)

    def samples_read(self, n_samples: int) -> int:
        """Samples of a trial that are read: whole clips, or all of a trial that is shorter than one."""
        of_clip = self.n_times * self.patch_length
        return n_samples if n_samples < of_clip else n_samples // of_clip * of_clip


CONFIGS_OF_PUBLISHED: dict[str, type[PublishedConfig]] = {"cbramod": CBraModConfig, "cortex_mae": CortexMaeConfig}
