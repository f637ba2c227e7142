"""A time-delay embedding of a dataset that is made when rows are read: its settings, its fit and its application.

Shapes: T samples, C channels of the store, n embeddings, P components.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dynml.dataset.config import DatasetConfig
from dynml.dataset.signal_source import SignalSource
from dynml.errors import CheckpointError, ConfigurationError, DataError
from dynml.fits import Layout
from dynml.preparation.fitted.fitted_step import Statistics
from dynml.preparation.fitted.pca import COMPONENTS, VARIANCES, EmbeddedPrincipalComponents, PrincipalComponents
from dynml.preparation.steps.channels import TimeDelayEmbedding
from dynml.recording import Recording
from dynml.store.missing.masked_rows import observed_stretches

_LONG_STRETCH = 1024
TENSORS = (COMPONENTS, VARIANCES)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """What is done to the stored channels when rows are read.

    Notes
    -----
    The same as the steps `time_delay_embedding` (without components), `time_delay_embedding_pca` or `pca` (one sample
    at a time) of a prepared store, but for the last rounding to float32.
    """

    n_embeddings: int
    """Samples side by side; 1 where channels are projected alone."""
    layout: Layout
    """Rate and channels of the store that it was made for."""
    whiten: bool = False
    """Components are divided by their standard deviation over the training subjects."""
    standardize: bool = False
    """Each component of each run is brought to mean 0 and standard deviation 1, by what a scaling says of the run."""
    components: NDArray[np.float64] | None = None
    """(n C, P), a window's earliest sample first; None: all C n columns are kept."""
    variances: NDArray[np.float64] | None = None
    """(P,)"""
    explained_variance: float | None = None
    fitted_to: str | None = None
    """Fingerprint of the training subjects of the fit."""
    _filters: dict[torch.device, Tensor] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def margin(self) -> int:
        """Samples that each segment loses at each end."""
        return self.n_embeddings // 2

    @property
    def is_projected(self) -> bool:
        """Whether components are made, of signals about their run's mean."""
        return self.components is not None

    @property
    def in_words(self) -> str:
        """What it is, for messages."""
        return "time-delay embedding" if self.n_embeddings > 1 else "projection onto principal components"

    @property
    def shortest_segment(self) -> int:
        """Samples that a segment must have to be kept."""
        return self.n_embeddings + 1

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of what comes out, as the steps of a prepared store name them."""
        if self.components is not None:
            return tuple(f"component_{number}" for number in range(self.components.shape[1]))
        return TimeDelayEmbedding(n_embeddings=self.n_embeddings).layout_after(self.layout).channel_names

    @property
    def n_channels(self) -> int:
        """How many channels come out."""
        return len(self.channel_names)

    def filters(self, device: torch.device) -> Tensor:
        """Weights of a window's samples, (n, C, P) float32, the earliest first."""
        assert self.components is not None
        assert self.variances is not None
        if device not in self._filters:
            scale = np.sqrt(self.variances) if self.whiten else 1.0
            weights = (self.components / scale).reshape(self.n_embeddings, len(self.layout.channel_names), -1)
            self._filters[device] = torch.from_numpy(weights.astype(np.float32)).to(device)
        return self._filters[device]

    def __getstate__(self) -> dict[str, Any]:
        # A worker process makes its own, on its own device.
        return {**self.__dict__, "_filters": {}}

    def apply(self, rows_TC: Tensor, scaling_2P: Tensor | None = None) -> Tensor:
        """Embed one stretch, (T, C) to (T - n + 1, P).

        Where it standardizes, `scaling` is what to subtract and to multiply by afterwards; see
        `EmbeddedSource.scaling`.
        """
        from dynml.ops.time_delay_embedding import embedded, projected

        if self.components is None:
            return embedded(rows_TC, self.n_embeddings)
        return _scaled(projected(rows_TC, self.filters(rows_TC.device)), scaling_2P)

    def apply_to_stretches(
        self, rows_TC: Tensor, lengths: NDArray[np.int64], scaling_S2P: Tensor | None = None
    ) -> Tensor:
        """Embed stretches that lie end to end, of so many rows each; what remains of them lies end to end again."""
        scalings = [None] * len(lengths) if scaling_S2P is None else scaling_S2P
        remaining = lengths - 2 * self.margin
        first, begin = np.cumsum(lengths) - lengths, np.cumsum(remaining) - remaining
        if len(lengths) == 1:
            return self.apply(rows_TC, scalings[0])
        if remaining.mean() < _LONG_STRETCH:
            # Many short ones as one: what reaches across their borders is worked out in vain and left out.
            numbers = np.arange(int(remaining.sum())) + np.repeat(first - begin, remaining)
            result = self.apply(rows_TC).index_select(0, torch.from_numpy(numbers).to(rows_TC.device))
            if scaling_S2P is None:
                return result
            owners = torch.from_numpy(np.repeat(np.arange(len(lengths)), remaining)).to(rows_TC.device)
            return result.sub_(scaling_S2P[owners, 0]).mul_(scaling_S2P[owners, 1])
        result = rows_TC.new_empty(int(remaining.sum()), self.n_channels)
        for row, n_rows, target, n_left, scaling in zip(first, lengths, begin, remaining, scalings):
            result[target : target + n_left] = self.apply(rows_TC[row : row + n_rows], scaling)
        return result

    def apply_to_windows(self, rows_BTC: Tensor, scaling_B2P: Tensor | None = None) -> Tensor:
        """Embed each of several windows, (B, T, C) to (B, T - n + 1, P)."""
        from dynml.ops.time_delay_embedding import embedded_windows, projected_windows

        if self.components is not None:
            return _scaled(projected_windows(rows_BTC, self.filters(rows_BTC.device)), scaling_B2P)
        return embedded_windows(rows_BTC, self.n_embeddings)

    def is_like(self, other: Embedding) -> bool:
        """Whether another one does the same, but for rounding."""
        plain, others_plain = (
            (one.n_embeddings, one.whiten, one.standardize, one.layout.channel_names, one.n_channels)
            for one in (self, other)
        )
        own, others = self.tensors(), other.tensors()
        if plain != others_plain or own.keys() != others.keys():
            return False
        return all(torch.allclose(own[name], others[name], rtol=1e-6, atol=1e-9) for name in own)

    def describe(self) -> dict[str, Any]:
        """Plain values for parameters.json; the fit itself is in `tensors`."""
        return {
            "n_embeddings": self.n_embeddings,
            "n_components": None if self.components is None else self.n_channels,
            "whiten": self.whiten,
            "explained_variance": self.explained_variance,
            "fitted_to": self.fitted_to,
            "channel_names": list(self.layout.channel_names),
            "sampling_frequency": self.layout.sampling_frequency,
            # Only where it is on: so it reads the same as in runs that were begun before it was there.
            **({"standardize": True} if self.standardize else {}),
        }

    def tensors(self) -> dict[str, Tensor]:
        """The fit, float64; empty without components."""
        if self.components is None or self.variances is None:
            return {}
        return {
            COMPONENTS: torch.from_numpy(self.components).clone(),
            VARIANCES: torch.from_numpy(self.variances).clone(),
        }

    @classmethod
    def from_saved(cls, described: dict[str, Any], tensors: dict[str, Tensor]) -> Embedding:
        """Inverse of `describe` and `tensors`.

        Raises
        ------
        CheckpointError
            When the fit is not there.
        """
        if described["n_components"] is not None and not set(TENSORS) <= tensors.keys():
            raise CheckpointError("The experiment lacks the principal components that its channels are projected onto.")
        arrays = {name: tensors[name].numpy() for name in TENSORS if name in tensors}
        layout = Layout(
            sampling_frequency=described["sampling_frequency"], channel_names=tuple(described["channel_names"])
        )
        return cls(
            n_embeddings=described["n_embeddings"],
            layout=layout,
            whiten=described["whiten"],
            standardize=described.get("standardize", False),
            explained_variance=described["explained_variance"],
            fitted_to=described["fitted_to"],
            **arrays,
        )

    def check_layout(self, layout: Layout, where: str, *, named: bool) -> None:
        """Refuse data that the fit has not been made for.

        Parameters
        ----------
        layout : Layout
            Of the data.
        where : str
            What they are, for the message.
        named : bool
            Whether names of channels and the rate are the data's own, rather than those of plain arrays.

        Raises
        ------
        DataError
            With what differs.
        """
        expected, what = self.layout, self.in_words
        found, wanted = len(layout.channel_names), len(expected.channel_names)
        if found != wanted:
            raise DataError(f"{where} has {found} channels, but the {what} was made for {wanted}.")
        if not named:
            return
        for name, other in zip(layout.channel_names, expected.channel_names):
            if name != other:
                raise DataError(f"{where} has channel {name} where the {what} was made for {other}.")
        if not np.isclose(layout.sampling_frequency, expected.sampling_frequency, rtol=1e-6):
            raise DataError(
                f"{where} has {layout.sampling_frequency:g} Hz, but the {what} was made at "
                f"{expected.sampling_frequency:g} Hz."
            )


def _scaled(rows: Tensor, scaling: Tensor | None) -> Tensor:
    """Subtract and multiply in place: (T, P) by (2, P), or windows (B, T, P) by (B, 2, P)."""
    return rows if scaling is None else rows.sub_(scaling[..., :1, :]).mul_(scaling[..., 1:, :])


def fit_embedding(
    source: SignalSource, group: str, layout: Layout, training: Sequence[str], config: DatasetConfig
) -> Embedding:
    """Make the embedding that a config asks for; its components are fitted on the training subjects, one at a time.

    Every process of a run reads all training subjects, so that all have the same components to the last bit, however
    many processes there are.

    Raises
    ------
    DataError
        When there are no training subjects, or fewer components than are asked for.
    """
    n_embeddings = 1 if config.n_embeddings is None else config.n_embeddings
    plain = Embedding(
        n_embeddings=n_embeddings,
        layout=layout,
        whiten=config.whiten,
        standardize=config.standardize_components,
    )
    if config.n_components is None:
        return plain
    step = PrincipalComponents(n_components=config.n_components, whiten=config.whiten)
    if n_embeddings > 1:
        step = EmbeddedPrincipalComponents(
            n_embeddings=n_embeddings, n_components=config.n_components, whiten=config.whiten
        )
    most = len(layout.channel_names) * n_embeddings
    if config.n_components > most:
        product = "n_embeddings x channels" if n_embeddings > 1 else "the number of channels"
        raise ConfigurationError("dataset.n_components", config.n_components, f"at most {product} ({most})")
    if not training:
        raise DataError("dataset.n_components is fitted to the training subjects, of which there are none.")

    def statistics(subject: str) -> tuple[str, Statistics]:
        return subject, step.statistics(long_recording(source, group, subject, plain.shortest_segment))

    fit = step.fitted(layout, map(statistics, training))
    return dataclasses.replace(
        plain,
        components=fit.arrays[COMPONENTS],
        variances=fit.arrays[VARIANCES],
        explained_variance=fit.values["explained_variance"],
        fitted_to=source.fingerprint(group, training),
    )


def long_recording(source: SignalSource, group: str, subject: str, shortest: int) -> Recording:
    """Read a subject with its stretches of at least `shortest` observed samples as segments.

    Raises
    ------
    DataError
        When there is none.
    """
    described = source.attributes(subject, group)
    stretches, segment = long_stretches(source, group, subject, shortest)
    samples = source.source_samples(subject, group)[segment]
    moved = (stretches[:, 0] - source.segments(subject, group)[segment, 0]) * described.source_step
    samples[:, 0] += np.floor(moved + 0.5).astype(np.int64)
    return Recording(
        signals=source.read(subject, group),
        sampling_frequency=described.sampling_frequency,
        channel_names=described.channel_names,
        segments=stretches,
        segment_runs=samples[:, 1],
        run_names=tuple(source.run_names(subject, group)),
        source_samples=samples,
        source_step=described.source_step,
        source_offset=described.source_offset,
    )


def long_stretches(
    source: SignalSource, group: str, subject: str, shortest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find stretches of at least `shortest` samples that lie in one segment and are all observed.

    Returns
    -------
    stretches : array, (n, 2)
    segment : array, (n,)
        That each lies in; where nothing is masked, stretches are segments.

    Raises
    ------
    DataError
        When there is none.
    """
    stretches, segment, without = _observed(source, group, subject)
    lengths = stretches[:, 1] - stretches[:, 0]
    kept = lengths >= shortest
    if not kept.any():
        raise DataError(
            f"Subject {subject}, group {group}: time-delay embedding needs a segment of at least {shortest} samples"
            f"{without}, but the longest has {lengths.max(initial=0)}."
        )
    return stretches[kept], segment[kept]


def longest_stretch(source: SignalSource, group: str, subject: str) -> int:
    """Samples of the longest stretch that lies in one segment and is all observed."""
    return int(np.diff(_observed(source, group, subject)[0]).max(initial=0))


def _observed(source: SignalSource, group: str, subject: str) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Stretches without masked rows, the segment that each lies in, and words on what they are without."""
    segments: NDArray[np.int64] = source.segments(subject, group)
    if not source.attributes(subject, group).n_masked:
        return segments, np.arange(len(segments)), ""
    return *observed_stretches(segments, source.masked_rows(subject, group)), " without masked ones"
