"""The steps `select_channels` and `time_delay_embedding`, which change what the columns are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dynml.configuration import nearest_name
from dynml.errors import ConfigurationError, DataError
from dynml.fits import Layout
from dynml.preparation.step import PreparationStep, Signals, per_segment_trimmed
from dynml.preparation.steps.smoothing import check_odd
from dynml.recording import Recording


@dataclass(frozen=True, kw_only=True)
class SelectChannels(PreparationStep):
    """Keep the channels that are named, in the order in which they are named, or all but those that are named."""

    name: ClassVar[str] = "select_channels"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    channels: list[str] | None = None
    """Names of the channels to keep."""
    exclude: list[str] | None = None
    """Names of the channels to exclude, instead of `channels`."""

    def __post_init__(self) -> None:
        if (self.channels is None) == (self.exclude is None):
            found = None if self.channels is None else self.channels
            accepted = "given, or exclude" if found is None else "left out where exclude is given"
            raise ConfigurationError("channels", found, accepted)
        key, names = ("exclude", self.exclude) if self.channels is None else ("channels", self.channels)
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ConfigurationError(key, names, "a list of at least one channel's name")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigurationError(key, names, f"a list without repetitions ({twice!r} is repeated)")

    def layout_after(self, layout: Layout) -> Layout:
        """Refuse names that are no channel's, and a choice that leaves none."""
        for name in self.channels or self.exclude or []:
            if name not in layout.channel_names:
                near = nearest_name(name, layout.channel_names)
                hint = near if len(near) < 200 else f" (there are {len(layout.channel_names)} channels)"
                raise DataError(f"the step {self.name!r} names a channel {name!r}, which is not there{hint}.")
        kept = tuple(layout.channel_names[index] for index in self.origins(layout))
        if not kept:
            raise DataError(f"the step {self.name!r} leaves no channel.")
        return dataclasses.replace(layout, channel_names=kept)

    def origins(self, layout: Layout) -> list[int]:
        """Index of each kept channel."""
        if self.channels is not None:
            return [layout.channel_names.index(name) for name in self.channels]
        left_out = set(self.exclude or [])
        return [index for index, name in enumerate(layout.channel_names) if name not in left_out]

    def __call__(self, recording: Recording) -> Recording:
        """Take the columns."""
        layout = Layout(sampling_frequency=recording.sampling_frequency, channel_names=recording.channel_names)
        kept = self.origins(layout)
        names = tuple(recording.channel_names[index] for index in kept)
        return self.noted(dataclasses.replace(recording, signals=recording.signals[:, kept], channel_names=names))


@dataclass(frozen=True, kw_only=True)
class TimeDelayEmbedding(PreparationStep):
    """Put each channel's neighbouring samples beside it, as channels `channel_0@+3`, .., `channel_0@-3`.

    Notes
    -----
    Channel-major, from the latest sample to the earliest: with n embeddings, column c n + e of row t holds channel c at
    t + (n - 1) / 2 - e. The columns' names say the lag: `Cz@+7` is Cz seven samples later.
    """

    name: ClassVar[str] = "time_delay_embedding"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    n_embeddings: int
    """Number of samples in the embedding, odd; half of them are lost at each end of each segment."""

    def __post_init__(self) -> None:
        check_odd("n_embeddings", self.n_embeddings)

    def layout_after(self, layout: Layout) -> Layout:
        """Name the embedded channels."""
        return dataclasses.replace(layout, channel_names=self._names(layout.channel_names))

    def origins(self, layout: Layout) -> list[int]:
        """Each channel n times."""
        return [index for index in range(len(layout.channel_names)) for _ in range(self.n_embeddings)]

    def shortest_segment(self, sampling_frequency: float) -> int:
        """As many samples as embeddings and one more, so that two are left."""
        return self.n_embeddings + 1

    def __call__(self, recording: Recording) -> Recording:
        """Embed each segment by itself."""
        names = self._names(recording.channel_names)
        return self.noted(per_segment_trimmed(recording, self._embedded, self.n_embeddings // 2, names))

    def _names(self, channel_names: tuple[str, ...]) -> tuple[str, ...]:
        middle = self.n_embeddings // 2
        return tuple(f"{name}@{middle - lag:+d}" for name in channel_names for lag in range(self.n_embeddings))

    def _embedded(self, signals: Signals) -> Signals:
        # The view is (T', C, n) with the earliest sample first.
        windows = np.lib.stride_tricks.sliding_window_view(signals, self.n_embeddings, axis=0)[:, :, ::-1]
        return windows.reshape(len(windows), -1)
