"""Settings of the loader: how spans become tensors, and how they are augmented. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dynml.configuration import check_at_least, check_choice
from dynml.errors import ConfigurationError
from dynml.ops.augmentation.amounts import Augmentation


@dataclass(frozen=True, kw_only=True)
class BatchLoaderConfig(Augmentation):
    """How batches are loaded. Augmentation is applied in training only, and off by default."""

    collate: Literal["padded", "packed"] = "padded"
    """padded: signals (B, T, C) and a mask (B, T). packed: spans concatenated, signals (n, C), and the start of
    each."""

    residency: Literal["auto", "device", "memory", "lazy"] = "auto"
    """Where the data are kept: on the device, in memory, or in the file (lazy); auto: the fastest that fits."""

    n_workers: int = 0
    """Processes that read ahead from the file, for lazy data only. Batches are the same with any number."""

    labels: tuple[str, ...] = ()
    """Columns of the events whose label is given for every sample."""

    def __post_init__(self) -> None:
        check_choice("loader.collate", self.collate, ("padded", "packed"))
        check_choice("loader.residency", self.residency, ("auto", "device", "memory", "lazy"))
        check_at_least("loader.noise", self.noise, 0.0)
        for name in ("n_workers", "time_jitter", "time_masking", "channel_masking"):
            check_at_least(f"loader.{name}", getattr(self, name), 0)
        for name in ("sign_flip", "channel_dropout", "amplitude_jitter"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1:
                raise ConfigurationError(f"loader.{name}", value, "a number from 0 to below 1")
        if isinstance(self.labels, str):
            raise ConfigurationError("loader.labels", self.labels, "a list of names of columns")
