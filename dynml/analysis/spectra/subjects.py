"""Every subject's alpha under a trained model, beside the signals whose spectra are wanted.

Shapes: T samples, K states or modes.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dynml.analysis.signal_units import signal_units
from dynml.analysis.spectra.alignment import aligned_spans
from dynml.analysis.spectra.estimation import WeightedSignals, weighted_signals
from dynml.analysis.state_statistics import visit_lengths
from dynml.dataset.conditioning.clocks import Clock, clock_of
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.dataset.signal_source import SignalSource
from dynml.errors import DataError
from dynml.files import write_array
from dynml.models.experiment import Experiment
from dynml.models.inferred import inferred_subjects

SAME_RATE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Visits:
    """How long each state lasts in one subject."""

    n_visits: NDArray[np.float64]
    """(K,)"""
    n_samples: NDArray[np.float64]
    """Samples of which it is the most probable state, (K,)."""

    def mean_seconds(self, sampling_frequency: float) -> NDArray[np.float64]:
        """Mean visit in seconds, (K,); NaN for a state without one."""
        known = self.n_visits > 0
        return np.divide(
            self.n_samples, self.n_visits * sampling_frequency, out=np.full(len(known), np.nan), where=known
        )


@dataclass(frozen=True, kw_only=True)
class Signals:
    """Where the signals are whose spectra are wanted."""

    source: SignalSource
    group: str
    channel_names: tuple[str, ...]
    units: str
    """SD where they are standardized."""
    sampling_frequency: float
    """Hz, of all subjects."""


def signals_beside(dataset: MultiSubjectDataset, source: SignalSource | None, group: str | None) -> Signals:
    """Find the signals: those of the group that is named, or those that the model was given, before an embedding.

    Parameters
    ----------
    dataset : MultiSubjectDataset
        What the model is given.
    source : SignalSource, optional
        Another store; default: the same.
    group : str, optional
        Default: the group that the model is given.

    Raises
    ------
    DataError
        When a subject has no such group there, or channels or rates differ between subjects.
    """
    source, group = source or dataset.stored_source, group or dataset.group
    first = source.attributes(dataset.subjects[0], group)
    for subject in dataset.subjects[1:]:
        other = source.attributes(subject, group)
        if other.channel_names != first.channel_names:
            raise DataError(
                f"Group {group} has other channels in subject {subject} than in {dataset.subjects[0]}; spectra need "
                "the same in all."
            )
        if abs(other.sampling_frequency - first.sampling_frequency) > SAME_RATE * first.sampling_frequency:
            raise DataError(
                f"Group {group} has {other.sampling_frequency:g} Hz in subject {subject} and "
                f"{first.sampling_frequency:g} Hz in {dataset.subjects[0]}; spectra need one rate: choose subjects by "
                "--subset."
            )
    return Signals(
        source=source,
        group=group,
        channel_names=first.channel_names,
        units=signal_units(first),
        sampling_frequency=first.sampling_frequency,
    )


class InferredBeside:
    """Subjects' alpha, kept in files until it is needed, and the signals that it is laid over."""

    def __init__(self, dataset: MultiSubjectDataset, signals: Signals, folder: Path) -> None:
        self._dataset, self._signals, self._folder = dataset, signals, folder
        self.visits: dict[str, Visits] = {}
        self._clocks: dict[str, Clock] = {}

    @property
    def subjects(self) -> list[str]:
        """Names, in the order in which they were inferred."""
        return list(self.visits)

    def infer(self, experiment: Experiment, subsets: Sequence[str]) -> None:
        """Infer the subjects of some subsets, keep their alpha and count visits."""
        for name in subsets:
            for result in inferred_subjects(experiment.family, experiment.model, self._dataset.subset(name)):
                lengths = visit_lengths(result.alpha, result.segments, whole_visits=False)
                self.visits[result.subject] = Visits(
                    n_visits=np.array([len(own) for own in lengths], dtype=np.float64),
                    n_samples=np.array([own.sum() for own in lengths], dtype=np.float64),
                )
                write_array(self._path(result.subject, "alpha"), result.alpha)
                if result.observed is not None:
                    write_array(self._path(result.subject, "observed"), result.observed)

    def weighted(self, subject: str) -> WeightedSignals:
        """Read a subject's signals and lay its alpha over them.

        Raises
        ------
        DataError
            When no sample is in both.
        """
        signals = self._signals
        first = clock_of(self._dataset.signal_source, subject, self._dataset.group)
        second = clock_of(signals.source, subject, signals.group)
        spans = aligned_spans(first, second, subject)
        alpha = np.load(self._path(subject, "alpha"), mmap_mode="r")
        observed_file = self._path(subject, "observed")
        observed = np.load(observed_file) if observed_file.exists() else None
        with signals.source.verifying(subject, signals.group):
            rows = signals.source.read(subject, signals.group)
        return weighted_signals(alpha, observed, rows, spans)

    def alpha(self, subject: str) -> NDArray[np.float32]:
        """Alpha of a subject, without rows that are NaN, (n, K)."""
        alpha = np.load(self._path(subject, "alpha"), mmap_mode="r")
        return np.asarray(alpha[np.isfinite(alpha).all(axis=1)])

    def _path(self, subject: str, what: str) -> Path:
        number = self.subjects.index(subject)
        return self._folder / f"{number}_{what}.npy"


@contextlib.contextmanager
def inferred_beside(
    experiment: Experiment, dataset: MultiSubjectDataset, signals: Signals, subsets: Sequence[str], folder: Path
) -> Iterator[InferredBeside]:
    """Infer all subjects; their alpha lies in a folder of its own for the length of the block.

    Raises
    ------
    DataError
        When there is no subject.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".alpha-") as temporary:
        subjects = InferredBeside(dataset, signals, Path(temporary))
        subjects.infer(experiment, subsets)
        if not subjects.subjects:
            raise DataError(f"The subsets {', '.join(subsets)} of the store hold no subject.")
        yield subjects
