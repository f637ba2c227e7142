"""The steps `pca` and `time_delay_embedding_pca`: principal components of all training subjects together.

Shapes: T samples, C channels, n embeddings, P components.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.errors import ConfigurationError, DataError
from dynml.fits import Fit, Layout
from dynml.preparation.fitted.components import check_number, principal_components
from dynml.preparation.fitted.fitted_step import FittedStep, Statistics
from dynml.preparation.fitted.lagged_products import embedded_second_moment, project
from dynml.preparation.standardization import means_of_runs, moments, moments_of_segments
from dynml.preparation.step import trimmed
from dynml.preparation.steps.smoothing import check_odd
from dynml.recording import Recording
from dynml.stretches import blocks_in_cache

MOMENT, COUNT = "second_moment", "n_samples"
COMPONENTS, VARIANCES = "components", "variances"
UNLIKE_SCALES = 1e6
ROWS_OF_A_BLOCK = 4096
ROUNDING = 4.0 * float(np.finfo(np.float32).eps)
"""A component with less than this share of the largest deviation is rounding of float32 recordings."""
EVEN_SCALES = 0.01
"""Components whose deviations are at least this share of the largest have five digits when projected in float32."""


@dataclass(frozen=True, kw_only=True)
class PrincipalComponents(FittedStep):
    """Project onto principal components of the training subjects' samples, each about its run's mean.

    Notes
    -----
    The covariance is the sum over subjects, runs and good samples of (x - mean of the run) (x - mean of the run)^T,
    divided by the number of samples: a sample counts the same in each subject, and offsets between runs count for
    nothing. Each run's mean is taken off when the components are applied as well. With `whiten`, components are
    divided by their standard deviation over the training subjects.
    """

    name: ClassVar[str] = "pca"
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    keeps_units: ClassVar[bool] = False

    n_components: int | None = None
    """Number of components to keep."""
    explained_variance: float | None = None
    """Instead of n_components: keep as few components as explain this fraction of the variance."""
    whiten: bool = False
    """Give all components the same variance."""

    def __post_init__(self) -> None:
        check_number(self.n_components, self.explained_variance)
        if not isinstance(self.whiten, bool):
            raise ConfigurationError("whiten", self.whiten, "true or false")

    @property
    def window(self) -> int:
        """Samples side by side, n."""
        return 1

    @property
    def depends_on_rate(self) -> bool:
        """Lags are counted in samples."""
        return self.window > 1

    def layout_after(self, layout: Layout) -> Layout:
        """Name the components; before the fit, a share of the variance stands for all there can be."""
        self.check_layout(layout)
        most = len(layout.channel_names) * self.window
        n_components = most if self.n_components is None else self.n_components
        if n_components > most:
            product = f" x {self.window} embeddings" if self.window > 1 else ""
            raise DataError(
                f"the step {self.name!r} has n_components {n_components}, but there are {len(layout.channel_names)} "
                f"channels{product}."
            )
        if self.fit is not None:
            n_components = len(self.fit.arrays[VARIANCES])
        return dataclasses.replace(layout, channel_names=_names(n_components))

    def origins(self, layout: Layout) -> list[int]:
        """No component is made from one channel: the first stands for all."""
        return [0] * len(self.layout_after(layout).channel_names)

    def shortest_segment(self, sampling_frequency: float) -> int:
        """As many samples as embeddings and one more, so that two are left."""
        return self.window + 1

    def statistics(self, recording: Recording) -> Statistics:
        """Second moment of one subject's windows, (nC, nC), the earliest sample first, and their number."""
        size = self.window * recording.n_channels
        moment, count = np.zeros((size, size)), 0
        means = means_of_runs(recording)
        for run in range(len(recording.run_names)):
            segments = recording.segments_of_run(run)
            for start, stop in segments.tolist():
                moment += embedded_second_moment(recording.signals[start:stop], self.window, means[run])
                count += stop - start - self.window + 1
        return {MOMENT: moment, COUNT: np.array(count)}

    def fitted(self, layout: Layout, statistics: Iterable[tuple[str, Statistics]]) -> Fit:
        """Sum the moments and take their eigenvectors."""
        size = self.window * len(layout.channel_names)
        moment, count = np.zeros((size, size)), 0
        deviations: dict[str, float] = {}
        for subject, one in statistics:
            moment += one[MOMENT]
            count += int(one[COUNT])
            deviations[subject] = float(np.sqrt(np.trace(one[MOMENT]) / (one[COUNT] * size)))
        _check_scales(deviations, self.name)
        components, variances, share = principal_components(moment / count, self.n_components, self.explained_variance)
        return Fit(
            layout=layout,
            subjects=tuple(deviations),
            arrays={COMPONENTS: components, VARIANCES: variances},
            values={"explained_variance": share, "n_samples": count},
        )

    def __call__(self, recording: Recording) -> Recording:
        """Project each segment by itself."""
        learnt, margin = self.learnt, self.window // 2
        components, deviations = learnt.arrays[COMPONENTS], np.sqrt(learnt.arrays[VARIANCES])
        weights = components / deviations if self.whiten else components
        filters = weights.reshape(self.window, recording.n_channels, -1)
        signals = np.empty((recording.n_samples, len(deviations)), dtype=_precision(deviations))
        for start, stop in _rows_between(recording.segments + np.array([margin, -margin]), recording.n_samples):
            signals[start:stop] = np.nan
        means = means_of_runs(recording)
        for run, name in enumerate(recording.run_names):
            segments = recording.segments_of_run(run)
            for start, stop in segments.tolist():
                project(recording.signals[start:stop], filters, signals[start + margin : stop - margin], means[run])
            scale = deviations if self.whiten else np.ones_like(deviations)
            if not _surely_varies(recording.signals, signals, segments, margin, scale):
                before = moments(recording, "per_run")[1][run]
                _check_variance(before, signals, segments + np.array([margin, -margin]), scale, name)
        result = trimmed(recording, signals, margin, _names(len(deviations)))
        return self.noted(result, explained_variance_found=learnt.values["explained_variance"])


@dataclass(frozen=True, kw_only=True)
class EmbeddedPrincipalComponents(PrincipalComponents):
    """Principal components of the time-delay embedded signals, which are not stored.

    Notes
    -----
    The same as `time_delay_embedding` and then `pca`, but for the mean, which is the run's and one for all lags. The
    second moment of the embedding is block Toeplitz but for the ends of segments, so that n lagged products make it.
    """

    name: ClassVar[str] = "time_delay_embedding_pca"
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "scipy")

    n_embeddings: int
    """Number of samples in the embedding, odd; half of them are lost at each end of each segment."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_odd("n_embeddings", self.n_embeddings)

    @property
    def window(self) -> int:
        """Samples side by side, n."""
        return self.n_embeddings


def _rows_between(segments: NDArray[np.int64], n_samples: int) -> list[tuple[int, int]]:
    """Rows [start, stop) that lie in no segment."""
    borders = [0, *segments.ravel().tolist(), n_samples]
    return list(zip(borders[::2], borders[1::2], strict=True))


def _precision(deviations_P: NDArray[np.float64]) -> np.dtype[Any]:
    """Type to project in: float32, as is stored in the end, unless rounding would be seen in the smallest component."""
    return np.dtype(np.float32 if deviations_P.min() >= EVEN_SCALES * deviations_P.max() else np.float64)


def _names(n_components: int) -> tuple[str, ...]:
    return tuple(f"component_{number}" for number in range(n_components))


def _surely_varies(
    before: NDArray[np.floating[Any]],
    after: NDArray[np.floating[Any]],
    segments: NDArray[np.int64],
    margin: int,
    scale_P: NDArray[np.float64],
) -> bool:
    """Say whether a part of a run shows that no component of it is rounding, which is nearly always so.

    The whole varies at least by what a part of it contributes, and no channel by more than its largest value.
    """
    largest = max(_largest(before, start, stop) for start, stop in segments.tolist())
    first, last = (segments[0] + np.array([margin, -margin])).tolist()
    part = np.array([[first, min(last, first + ROWS_OF_A_BLOCK)]])
    n_samples = (segments[:, 1] - segments[:, 0] - 2 * margin).sum()
    share = (part[0, 1] - part[0, 0]) / n_samples
    smallest = moments_of_segments(after, part)[1] * scale_P * np.sqrt(share)
    return bool((smallest > ROUNDING * largest).all())


def _largest(signals: NDArray[np.floating[Any]], start: int, stop: int) -> float:
    blocks = [block for _, block in blocks_in_cache(signals[start:stop])]
    return max(float(max(block.max(), -block.min())) for block in blocks)


def _check_variance(
    before_C: NDArray[np.float64],
    after: NDArray[np.floating[Any]],
    segments: NDArray[np.int64],
    scale_P: NDArray[np.float64],
    run: str,
) -> None:
    """Refuse a run in which a component is nothing but rounding, which standardization would blow up."""
    smallest = ROUNDING * before_C.max()
    constant = np.flatnonzero(moments_of_segments(after, segments)[1] * scale_P <= smallest)
    if len(constant):
        raise DataError(
            f"run {run} has no variance in component {constant[0]}: its signals have a lower rank than those of the "
            "training subjects; keep fewer components."
        )


def _check_scales(deviations: dict[str, float], step: str) -> None:
    smallest, largest = (choose(deviations, key=deviations.__getitem__) for choose in (min, max))
    if deviations[largest] > UNLIKE_SCALES * deviations[smallest]:
        raise DataError(
            f"the step {step!r} cannot be fitted to subjects of different units: the typical deviation is "
            f"{deviations[smallest]:.2g} in {smallest}, but {deviations[largest]:.2g} in {largest}; put the step "
            "'standardize' before it, or bring them to one unit."
        )
