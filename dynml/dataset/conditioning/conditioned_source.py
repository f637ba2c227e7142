"""A source whose rows hold the channels of a second group behind those of the first one.

Shapes: n rows, C channels of the first group, J columns behind them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.data_warnings import DataWarnings
from dynml.dataset.conditioning.clocks import Clock, clock_of, paired_runs, rows_beside
from dynml.dataset.signal_source import SignalSource, SourceOfAnother, common_channels
from dynml.errors import ConfigurationError, DataError
from dynml.recording import GroupDescription

OBSERVED = "observed"
_ROWS_AT_ONCE = 2**18


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditioning:
    """Which group conditions a model, and how."""

    group: str

    lead: int = 0
    """Samples of the first group by which it is moved ahead."""

    marks_missing: bool | None = None
    """Whether a further column says where there is a value: 1, or 0 where there is none. None: it does where anything
    is missing."""

    @classmethod
    def of_described(cls, described: Mapping[str, Any] | None) -> Conditioning | None:
        """What a training has noted of it (`MultiSubjectDataset.describe`); None: it had none."""
        if described is None:
            return None
        return cls(group=described["group"], lead=described["lead"], marks_missing=described["marks_missing"])


class ConditionedSource(SourceOfAnother):
    """Gives what another source gives, and behind its channels those of a second group at the same time.

    The value beside a row is the mean of what was measured in the second group since the row before, or else the last
    value, if it is not older than one interval of that group. So nothing is looked at that comes after a row. Where
    there is no value, or it is masked, it is 0.

    Parameters
    ----------
    base : SignalSource
    group : str
        The first group.
    subjects : sequence of str
        Those that will be read.
    conditioning : Conditioning

    Attributes
    ----------
    conditioning : Conditioning
        Settled.
    conditioning_names : tuple of str
        Names of the J columns.

    Raises
    ------
    ConfigurationError
        When it is the first group.
    DataError
        When a subject has no such group, other channels than the others, or no sample at the same time as the first.

    Warns
    -----
    DataWarning
        With the number of rows that have no value.
    """

    def __init__(self, base: SignalSource, group: str, subjects: Sequence[str], conditioning: Conditioning) -> None:
        super().__init__(base)
        self._second, self._lead = conditioning.group, conditioning.lead
        _check_group(base, group, subjects, self._second)
        names = common_channels(base, self._second, subjects)
        self._clocks: dict[str, tuple[Clock, Clock]] = {}
        self._runs: dict[str, dict[str, str]] = {}
        self._masked: dict[str, NDArray[np.bool_]] = {}
        n_missing = {subject: self._n_missing(subject, group) for subject in subjects}
        is_lacking = any(n_missing.values())
        marks = is_lacking if conditioning.marks_missing is None else conditioning.marks_missing
        self.conditioning = dataclasses.replace(conditioning, marks_missing=marks)
        marked = (OBSERVED,) if marks else ()
        self.conditioning_names = tuple(f"{self._second}:{name}" for name in (*names, *marked))
        self._tell(n_missing)

    def attributes(self, subject: str, group: str) -> GroupDescription:
        """Describe a subject's group with the channels of both."""
        described, names = self.base.attributes(subject, group), self.conditioning_names
        return dataclasses.replace(
            described,
            n_channels=described.n_channels + len(names),
            channel_names=(*described.channel_names, *names),
            rank=described.rank + len(names),
        )

    def segments(self, subject: str, group: str) -> NDArray[np.int64]:
        """Give the good stretches [start, stop) of the first group, (n_segments, 2)."""
        return self.base.segments(subject, group)

    def source_samples(self, subject: str, group: str) -> NDArray[np.int64]:
        """Give the sample of its run where each segment starts, and that run, (n_segments, 2)."""
        return self.base.source_samples(subject, group)

    def masked_rows(self, subject: str, group: str) -> NDArray[np.bool_]:
        """Say of every row whether it is masked in the first group, (T,)."""
        return self.base.masked_rows(subject, group)

    @contextmanager
    def verifying(self, subject: str, group: str) -> Iterator[None]:
        """Compare the rows of both groups with their digests."""
        with self.base.verifying(subject, self._second):
            pass
        with self.base.verifying(subject, group):
            yield

    def fingerprint(self, group: str, subjects: Iterable[str]) -> str:
        """SHA-256 over names, participants and data of some subjects in both groups."""
        listed, settled = list(subjects), self.conditioning
        both = [self.base.fingerprint(one, listed) for one in (group, self._second)]
        line = [*both, self._second, settled.lead, settled.marks_missing]
        return hashlib.sha256(json.dumps(line).encode()).hexdigest()

    def read(self, subject: str, group: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Read rows [start, stop), (n, C + J): in the first group NaN where they are masked."""
        stop = self.base.attributes(subject, group).n_samples if stop is None else stop
        rows = self.base.read(subject, group, start, stop)
        return np.concatenate([rows, self._beside(subject, group, start, stop)], axis=1, dtype=np.float32)

    def _beside(self, subject: str, group: str, start: int, stop: int) -> NDArray[np.float32]:
        """Values beside rows, and the mark, (n, J)."""
        laid = self._laid(subject, group, start, stop)
        values = np.zeros((stop - start, len(self.conditioning_names)), dtype=np.float32)
        known = np.flatnonzero(self._is_known(subject, laid))
        if len(known):
            laid = laid[known]
            first, last = int(laid[:, 0].min()), int(laid[:, 1].max())
            read = self.base.read(subject, self._second, first, last)
            values[known, : read.shape[1]] = _means(read, laid - first)
            if self.conditioning.marks_missing:
                values[known, -1] = 1.0
        return values

    def _laid(self, subject: str, group: str, start: int, stop: int) -> NDArray[np.int64]:
        """Rows of the second group that belong to rows of the first, (n, 2)."""
        if subject not in self._clocks:
            self._clocks[subject] = clock_of(self.base, subject, group), clock_of(self.base, subject, self._second)
            self._runs[subject] = paired_runs(self.base, subject, group, self._second)
            if self.base.attributes(subject, self._second).n_masked:
                self._masked[subject] = self.base.masked_rows(subject, self._second)
        return rows_beside(*self._clocks[subject], self._runs[subject], start, stop, self._lead)

    def _is_known(self, subject: str, laid: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether there is a value that is not masked, (n,)."""
        is_known: NDArray[np.bool_] = laid[:, 1] > laid[:, 0]
        if subject in self._masked:
            observed = np.concatenate([[0], np.cumsum(~self._masked[subject])])
            is_known &= observed[laid[:, 1]] > observed[laid[:, 0]]
        return is_known

    def _n_missing(self, subject: str, group: str) -> int:
        """Rows in segments that have no value.

        Raises
        ------
        DataError
            When none has one.
        """
        n_rows, n_missing = 0, 0
        for begin, end in self.base.segments(subject, group).tolist():
            for start in range(begin, end, _ROWS_AT_ONCE):
                stop = min(start + _ROWS_AT_ONCE, end)
                n_missing += int((~self._is_known(subject, self._laid(subject, group, start, stop))).sum())
            n_rows += end - begin
        if n_missing == n_rows:
            raise DataError(
                f"Subject {subject}: group {self._second} has no sample at the time of any sample of group {group}, so "
                "that dataset.conditioning_group cannot be used (both groups of a run are taken to begin at one time)."
            )
        return n_missing

    def _tell(self, n_missing: Mapping[str, int]) -> None:
        warned, second = DataWarnings(), self._second
        how = "are 0 there, which the model was not trained to tell from a value"
        if self.conditioning.marks_missing:
            how = f"are 0 there, and told from others by the channel {second}:{OBSERVED}"
        for subject, n_rows in n_missing.items():
            if n_rows:
                warned.add(f"Samples without a value in the conditioning group {second} {how}", f"{subject}: {n_rows}")
        warned.tell()


def _means(rows: NDArray[np.float32], laid: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of the observed ones of rows [first, stop) for every pair of `laid`, (n, C); each has one."""
    observed = np.isfinite(rows[:, 0])
    if (laid[:, 1] - laid[:, 0] == 1).all():
        return rows[laid[:, 0]].astype(np.float64)
    # Sums of each stretch by itself, so that they do not depend on what is read with it.
    counted = np.column_stack([np.where(observed[:, None], rows, 0.0), observed]).astype(np.float64)
    sums = np.add.reduceat(np.vstack([counted, np.zeros_like(counted[:1])]), laid.ravel(), axis=0)[::2]
    means: NDArray[np.float64] = sums[:, :-1] / sums[:, -1:]
    return means


def _check_group(source: SignalSource, group: str, subjects: Sequence[str], second: str) -> None:
    if second == group:
        accepted = "another group than the one that the model learns from"
        raise ConfigurationError("dataset.conditioning_group", second, accepted)
    for subject in subjects:
        groups = source.groups(subject)
        if second not in groups:
            raise DataError(
                f"{source.path or 'The arrays'}: subject {subject} has no group {second!r} to condition the model by "
                f"(its groups: {', '.join(groups)})."
            )
