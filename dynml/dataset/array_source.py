"""Arrays in memory that a dataset reads as it reads a store.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.configuration import check_choice, check_positive
from dynml.data_warnings import DataWarnings
from dynml.errors import DataError, first_of
from dynml.preparation import checks
from dynml.preparation.bad_stretches import BAD_STRETCHES, without_bad_stretches
from dynml.preparation.standardization import moments, standardized
from dynml.recording import Events, GroupDescription, Recording, masked_as_nan, recording_of_runs
from dynml.store.integrity import sha256_of_signals
from dynml.store.layout import SUBSET_NAMES
from dynml.store.missing.gaps import joined_over_gaps
from dynml.store.missing.masked_rows import count_masked, masked_rows
from dynml.stretches import MISSING, good_stretches, source_samples_of_stretches, split_at_gaps

Series = ArrayLike | Recording | Sequence[ArrayLike | Recording] | Mapping[str, ArrayLike | Recording]
"""One array (T, C), one Recording, several of these, or several by name."""

GROUP = "signals"

FAR_OFFSET, FAR_SCALE = 0.5, 2.0
"""Means beyond so many standard deviations from 0, or standard deviations beyond this factor from 1, are warned of."""


class ArraySource:
    """Checked and standardized arrays under the names that a store's subjects would have.

    Parameters
    ----------
    subsets : mapping
        `Series` of each of training, validation and testing.
    sampling_frequency : float
        Hz, of plain arrays.
    standardization : {"none", "per_subject", "per_run"}, optional
        Default: none, and a warning where the arrays are far from standard.
    missing : {"error", "segment", "mask"}
        What to do with samples that are not finite; segment: cut them out; mask: keep and mask them.
    bad_stretches : {"tell", "cut", "error"}
        What to do with dropouts, held values, clipping and isolated spikes.
    channel_names : sequence of str, optional
    participants : mapping
        Subject to participant, where they differ.

    Raises
    ------
    DataError
        For arrays that cannot be used, or do not go together.
    """

    path = None
    group = GROUP
    split = "participants"

    def __init__(
        self,
        subsets: Mapping[str, Series],
        *,
        sampling_frequency: float,
        standardization: str | None,
        missing: str,
        channel_names: Sequence[str] | None,
        participants: Mapping[str, str],
        bad_stretches: str = "tell",
    ) -> None:
        check_positive("sampling_frequency", sampling_frequency)
        if standardization is not None:
            check_choice("standardization", standardization, ("none", "per_subject", "per_run"))
        check_choice("missing", missing, MISSING)
        check_choice("bad_stretches", bad_stretches, BAD_STRETCHES)
        self._recordings: dict[str, Recording] = {}
        self._descriptions: dict[str, GroupDescription] = {}
        self._subsets: dict[str, list[str]] = {}
        warned = DataWarnings()
        for subset in SUBSET_NAMES:
            named = _named(subset, subsets[subset])
            self._subsets[subset] = list(named)
            for name, series in named.items():
                if name in self._recordings:
                    raise DataError(f"The array {name} is in two subsets, {self._subset_of(name)} and {subset}.")
                recording = _as_recording(series, name, sampling_frequency, missing, channel_names)
                recording = without_bad_stretches(recording, bad_stretches, f"The array {name}", warned)
                self._add(name, recording, standardization or "none", warned, masks=missing == "mask")
                if standardization is None:
                    warn_of_on_scale(recording, name, warned)
        self._participants = {name: participants.get(name, name) for name in self._recordings}
        for name in participants:
            if name not in self._recordings:
                raise DataError(
                    f"participants names {name!r}, which is none of the arrays ({first_of(list(self._recordings))})."
                )
        self._check_participants()
        warned.tell()

    @property
    def subjects(self) -> list[str]:
        """Names of all arrays."""
        return list(self._recordings)

    def subset(self, name: str) -> list[str]:
        """Names of a subset's arrays."""
        return list(self._subsets[name])

    def groups(self, subject: str) -> list[str]:
        """Names of a subject's groups: there is one."""
        return [GROUP]

    def participant(self, subject: str) -> str:
        """Person that an array comes from."""
        return self._participants[subject]

    def attributes(self, subject: str, group: str) -> GroupDescription:
        """Describe an array as a store would."""
        return self._descriptions[subject]

    def segments(self, subject: str, group: str) -> NDArray[np.int64]:
        """Good stretches [start, stop), (n_segments, 2)."""
        return self._recordings[subject].segments

    def source_samples(self, subject: str, group: str) -> NDArray[np.int64]:
        """For each segment, the sample of its run where it starts, and that run, (n_segments, 2)."""
        return self._recordings[subject].source_samples

    def run_names(self, subject: str, group: str) -> list[str]:
        """List the names of the runs, in stored order."""
        return list(self._recordings[subject].run_names)

    def events(self, subject: str, group: str) -> Events | None:
        """Events of a Recording."""
        return self._recordings[subject].events

    def read(self, subject: str, group: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Rows [start, stop), (n, C)."""
        return self._recordings[subject].signals[start:stop]

    def verifying(self, subject: str, group: str) -> AbstractContextManager[None]:
        """Do nothing: arrays in memory are what they are."""
        return nullcontext()

    def masked_rows(self, subject: str, group: str) -> NDArray[np.bool_]:
        """Say of every row whether it is masked, (T,)."""
        recording = self._recordings[subject]
        if not self._descriptions[subject].n_masked:
            return np.zeros(recording.n_samples, dtype=bool)
        signals = recording.signals
        return masked_rows(lambda start, stop: signals[start:stop], recording.segments, recording.n_samples)

    def fingerprint(self, group: str, subjects: Iterable[str]) -> str:
        """SHA-256 over names, participants and data, made as a store makes it."""
        digest = hashlib.sha256()
        for subject in subjects:
            line = [subject, self._participants[subject], self._descriptions[subject].sha256]
            digest.update(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        return digest.hexdigest()

    def share_rows(self, subject: str, signals: NDArray[np.float32]) -> None:
        """Give up an array's own memory for equal rows that stand elsewhere."""
        assert signals.shape == self._recordings[subject].signals.shape
        self._recordings[subject] = dataclasses.replace(self._recordings[subject], signals=signals)

    def _add(self, name: str, recording: Recording, standardization: str, warned: DataWarnings, *, masks: bool) -> None:
        self._check_agreement(name, recording)
        if standardization == "none":
            recording = checks.in_own_units(recording, f"The array {name}")
        checks.check_not_constant(recording, f"The array {name}")
        checks.warn_of_lost_digits(recording, standardization, name, "Arrays are held", warned)
        recording = standardized(recording, standardization)
        rank = checks.rank_of(checks.correlations(recording))
        if rank < recording.n_channels:
            topic = "Signals are rank-deficient, so that full covariances need a prior or PCA to their rank"
            warned.add(topic, f"{name}: rank {rank} of {recording.n_channels}")
        if masks:
            recording = joined_over_gaps(recording, f"The array {name}", warned)
        self._recordings[name] = recording
        self._descriptions[name] = GroupDescription(
            n_samples=recording.n_samples,
            n_channels=recording.n_channels,
            sampling_frequency=recording.sampling_frequency,
            channel_names=recording.channel_names,
            units=recording.units,
            rank=rank,
            sha256=sha256_of_signals([recording.signals], recording.segments),
            sources=recording.sources,
            preparation=recording.preparation,
            source_step=recording.source_step,
            source_offset=recording.source_offset,
            n_masked=count_masked(recording.signals, recording.segments) if masks else 0,
        )

    def _check_agreement(self, name: str, recording: Recording) -> None:
        if not self._recordings:
            return
        first_name, first = next(iter(self._recordings.items()))
        if recording.n_channels != first.n_channels:
            raise DataError(
                f"The array {name} has {recording.n_channels} channels, but {first_name} has {first.n_channels}."
            )
        if recording.channel_names != first.channel_names:
            raise DataError(f"The channels of {name} have other names, or another order, than those of {first_name}.")
        if recording.sampling_frequency != first.sampling_frequency:
            raise DataError(
                f"{name} has a sampling frequency of {recording.sampling_frequency:g} Hz, but {first_name} has "
                f"{first.sampling_frequency:g} Hz."
            )

    def _check_participants(self) -> None:
        home: dict[str, str] = {}
        for subset, names in self._subsets.items():
            for name in names:
                participant = self._participants[name]
                if home.setdefault(participant, subset) != subset:
                    raise DataError(
                        f"Participant {participant} is in two subsets, {home[participant]} and {subset}; a score would "
                        "then not be about new people."
                    )

    def _subset_of(self, name: str) -> str:
        return next(subset for subset, names in self._subsets.items() if name in names)


def warn_of_on_scale(recording: Recording, name: str, warned: DataWarnings) -> None:
    """Say of an array that is taken as it is that the scripts would have standardized it, if that matters."""
    mean, std = moments(recording, "per_run")
    offsets, scales = np.abs(mean) / std, np.maximum(std, 1 / std)
    if offsets.max() <= FAR_OFFSET and scales.max() <= FAR_SCALE:
        return
    worst = np.unravel_index(int(np.argmax(np.maximum(offsets / FAR_OFFSET, scales / FAR_SCALE))), mean.shape)
    topic = (
        "The arrays are used as they are and are not standardized, while stores are by default; standardization="
        '"per_run" gives the numbers of the scripts, "none" takes the arrays as they are without this warning'
    )
    channel = recording.channel_names[worst[1]]
    warned.add(topic, f"{name}: channel {channel} has mean {mean[worst]:.3g} and standard deviation {std[worst]:.3g}")


def _named(subset: str, series: Series) -> dict[str, Any]:
    """Arrays by name, whatever they came in."""
    if isinstance(series, Mapping):
        return dict(series)
    if series is None or isinstance(series, (int, float)):
        raise DataError(
            f"The {subset} data are {series!r}, but must be an array (time x channels) or a list of arrays."
        )
    alone = isinstance(series, Recording) or hasattr(series, "__array__")
    listed = [series] if alone else list(series)  # type: ignore[arg-type]
    return {f"{subset}-{index}": item for index, item in enumerate(listed)}


def _as_recording(
    series: Any, name: str, sampling_frequency: float, missing: str, channel_names: Sequence[str] | None
) -> Recording:
    if isinstance(series, Recording):
        if missing != "error":
            return _without_missing(series, f"The array {name}")
        for start, stop in series.segments.tolist():
            checks.check_finite(series.signals[start:stop], series.channel_names, f"{name}, segment from {start}")
        return series
    signals, where = _as_floats(series, name), f"The array {name}"
    n_samples, n_channels = signals.shape
    checks.check_size(n_samples, n_channels, where)
    if channel_names is None:
        checks.check_not_transposed(n_samples, n_channels, where)
        channel_names = [f"channel_{index}" for index in range(n_channels)]
    elif len(channel_names) != n_channels:
        raise DataError(f"{where} has {n_channels} channels, but {len(channel_names)} names are given.")
    elif len(set(channel_names)) < n_channels:
        raise DataError(f"{where}: channel_names names a channel twice.")
    if missing == "error":
        checks.check_finite(signals, tuple(channel_names), where)
    stretches = good_stretches(signals)
    stretches = stretches[stretches[:, 1] - stretches[:, 0] > 1]
    if not len(stretches):
        raise DataError(f"{where} has no two neighbouring samples that are finite in all channels.")
    return recording_of_runs(
        [signals],
        sampling_frequency=float(sampling_frequency),
        channel_names=channel_names,
        run_names=[name],
        stretches=[stretches],
    )


def _without_missing(recording: Recording, where: str) -> Recording:
    """Cut missing samples out of a recording's segments, and say which of its gaps are nothing but missing samples."""
    stretches, segment = split_at_gaps(recording.signals, recording.segments)
    lacking = np.setdiff1d(np.arange(len(recording.run_names)), recording.segment_runs[segment])
    if len(lacking):
        raise DataError(
            f"{where}, run {recording.run_names[lacking[0]]} has no two neighbouring samples that are finite in all "
            "channels."
        )
    parts = recording.segment_parts
    if parts is None:
        gaps = zip(recording.segments[:-1, 1].tolist(), recording.segments[1:, 0].tolist())
        holds_finite = [
            start == stop or np.isfinite(recording.signals[start:stop]).all(axis=1).any() for start, stop in gaps
        ]
        parts = np.cumsum([False, *holds_finite])
    return dataclasses.replace(
        recording,
        segments=stretches,
        segment_runs=recording.segment_runs[segment],
        source_samples=source_samples_of_stretches(
            recording.source_samples, recording.segments, stretches, segment, recording.source_step
        ),
        segment_parts=parts[segment],
    )


def _as_floats(series: Any, name: str) -> NDArray[np.floating[Any]]:
    array = np.asarray(masked_as_nan(series.detach() if hasattr(series, "detach") else series))
    if array.dtype.kind == "U" and not array.ndim:
        raise DataError(
            f"{series!r} is not an array; files go into a store first: MultiSubjectDataset(path of the store)."
        )
    if array.ndim != 2:
        raise DataError(
            f"The array {name} has the shape {array.shape}, but must be time x channels; several arrays are given as a "
            "list."
        )
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.kind not in "fiub":
        raise DataError(f"The array {name} has the type {array.dtype}, but must hold real numbers.")
    return array.astype(np.float64)
