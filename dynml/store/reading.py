"""The store, opened for reading: descriptions cost no data, data come as slices, and every fault has a name."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dynml.configuration import nearest_name
from dynml.errors import DataCorruptionError, DataError
from dynml.recording import Events, GroupDescription, run_starts
from dynml.store import layout
from dynml.store.faults import faults_named
from dynml.store.file import check_is_store, described_group, json_of, opened_store, stored_events
from dynml.store.integrity import (
    UNLIKE,
    FileIdentity,
    RowsDigest,
    Table,
    has_row_of_zeros,
    identity_of,
    read_table,
    read_unchecked,
)
from dynml.store.joined.parts import Parts, parts_of, where_it_lies
from dynml.store.missing.masked_rows import masked_rows
from dynml.store.nodes import Nodes

BYTES_PER_READING = 2**26


class Store:
    """A store of many subjects' signals, opened read-only.

    The handle is opened when first needed and again in every other process, so that a store can be pickled and used
    on both sides of a fork. The subjects of a joined store lie in other files, its parts, each of which is opened as a
    store of its own when a subject in it is asked for.

    Parameters
    ----------
    path : str or Path
        The HDF5 file.
    check_digests : bool
        False: give what stands there, whether or not it is what was written, to one who looks for faults.

    Raises
    ------
    DataError
        When the file is missing, a folder, locked, no HDF5 file, not one of ours, or of a newer format; or one of its
        parts is not there.
    DataCorruptionError
        When it is truncated or lacks what every store has, or a part is another file than was joined.
    """

    def __init__(self, path: str | Path, *, check_digests: bool = True) -> None:
        self.path = Path(path)
        self._checks_digests = check_digests
        self._handle: h5py.File | None = None
        self._process: int | None = None
        self._subjects: list[str] | None = None
        self._descriptions: dict[tuple[str, str], GroupDescription] = {}
        self._nodes = Nodes(self)
        self._identity: FileIdentity | None = None
        self._digests: dict[tuple[str, str], RowsDigest] = {}
        self._sound: set[tuple[str, str]] = set()
        self.parts: Parts | None = None
        """The files that a joined store leads to; None where all subjects lie in the file itself."""
        with faults_named(self.path, "the top of the file"):
            try:
                check_is_store(self.path, self.file)
                self.parts = parts_of(self.path, self.file.attrs)
                if self.parts is not None:
                    self.parts.check_there()
            except DataError:
                self.close()
                raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_process": None, "_digests": {}}

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    def close(self) -> None:
        """Close the handle of this process; the next access opens it again."""
        if self._handle is not None and self._process == os.getpid():
            self._handle.close()
        self._handle = None
        self._nodes.forget()
        if self.parts is not None:
            self.parts.close()

    @property
    def file(self) -> h5py.File:
        """The HDF5 handle of this process.

        Raises
        ------
        DataCorruptionError
            When the file was replaced by another one, or written to, since it was first opened, and says other things.
        """
        # A handle that came through a fork shares its file position with the parent's: it must not be used.
        if self._handle is None or self._process != os.getpid():
            self._handle = opened_store(self.path)
            self._nodes.forget()
            self._process = os.getpid()
        identity = identity_of(self._handle)
        if identity != self._identity:
            before, self._identity = self._identity, identity
            if before is not None:
                self._compare_with(before)
                return self.file  # which was closed
        return self._handle

    def root_attributes(self) -> dict[str, str]:
        """Format, versions, date and config of the file, as text."""
        with faults_named(self.path, "the top of the file"):
            return {name: layout.text_of(value) for name, value in self.file.attrs.items()}

    @property
    def config(self) -> dict[str, Any]:
        """The config that the store was created with."""
        return json_of(self.path, self.file, layout.CONFIG, "the file")

    @property
    def shared_files(self) -> layout.SharedFiles:
        """Names and SHA-256 of each group's atlas and mask, where that is known."""
        if layout.SHARED_FILES not in self.file.attrs:
            return {}
        return json_of(self.path, self.file, layout.SHARED_FILES, "the file")

    @property
    def split(self) -> str:
        """What separates the subsets: "participants", or "runs" when a participant may stand in several."""
        return str(self.config.get(layout.SPLIT, "participants"))

    @property
    def subjects(self) -> list[str]:
        """All subjects, in natural order."""
        if self._subjects is None:
            with faults_named(self.path, "the list of subjects"):
                self._subjects = sorted(self.file[layout.SUBJECTS], key=layout.natural_order)
        return list(self._subjects)

    def subset(self, name: str) -> list[str]:
        """Subjects of the subset `training`, `validation` or `testing`, in the order of its list.

        Raises
        ------
        DataError
            For another name.
        """
        if name not in layout.SUBSET_NAMES:
            raise DataError(f"{name!r} is not a subset of {self.path}{nearest_name(name, layout.SUBSET_NAMES)}.")
        with faults_named(self.path, f"the list of {name} subjects"):
            return [layout.text_of(subject) for subject in self.read_table(self.file[layout.subset_path(name)])]

    def file_of(self, subject: str) -> Store:
        """The store of one file that a subject lies in: this one, or one of its parts.

        Raises
        ------
        DataError
            When the part is not there any more, or another file than was joined.
        """
        if self.parts is None:
            return self
        with faults_named(self.path, f"subject {subject}"):
            file = self.parts.file_of(self.file[layout.SUBJECTS], subject)
        return self if file is None else self.parts.opened(file, partial(Store, check_digests=self._checks_digests))

    @where_it_lies
    def node(self, subject: str, group: str) -> h5py.Group:
        """A subject's group as it stands in the file that it lies in.

        Raises
        ------
        DataError
            For an unknown subject or group, with the nearest name.
        """
        return self._nodes.group(subject, group)

    def read_table(self, node: Table) -> NDArray[Any]:
        """Read a small array of the file."""
        return read_table(node) if self._checks_digests else read_unchecked(node)

    @where_it_lies
    def groups(self, subject: str) -> list[str]:
        """Names of a subject's groups, sorted.

        Raises
        ------
        DataError
            For an unknown subject, with the nearest name.
        """
        with faults_named(self.path, f"subject {subject}"):
            return sorted(self._nodes.subject(subject))

    @where_it_lies
    def participant(self, subject: str) -> str:
        """Person that a subject's signals come from."""
        return layout.text_of(self._nodes.attributes(subject).get(layout.PARTICIPANT, subject))

    @where_it_lies
    def covariates(self, subject: str) -> dict[str, str]:
        """Give the data set and further columns of the participants' table, by name."""
        return {name: value for name, value in self._nodes.attributes(subject).items() if name != layout.PARTICIPANT}

    @where_it_lies
    def attributes(self, subject: str, group: str) -> GroupDescription:
        """Everything about a subject's group that is known without reading its signals.

        Raises
        ------
        DataError
            For an unknown subject or group, with the nearest name.
        DataCorruptionError
            When an attribute or dataset is missing.
        """
        if (subject, group) not in self._descriptions:
            node, where = self._nodes.group(subject, group), f"subject {subject}, group {group}"
            with faults_named(self.path, where):
                self._descriptions[subject, group] = described_group(self.path, node, where)
        return self._descriptions[subject, group]

    @where_it_lies
    def array(self, subject: str, group: str, name: str) -> NDArray[Any]:
        """Read a small array by its name, once while nothing of another group is asked for."""
        return self._nodes.array(subject, group, name)

    @where_it_lies
    def segments(self, subject: str, group: str) -> NDArray[np.int64]:
        """Good stretches [start, stop), (n_segments, 2)."""
        return self._nodes.array(subject, group, layout.SEGMENTS)

    @where_it_lies
    def segment_runs(self, subject: str, group: str) -> NDArray[np.int64]:
        """Index of each segment's run, (n_segments,)."""
        return self._nodes.array(subject, group, layout.SEGMENT_RUNS)

    @where_it_lies
    def run_names(self, subject: str, group: str) -> list[str]:
        """Names of the runs, in the order in which they are stored."""
        return [layout.text_of(name) for name in self._nodes.array(subject, group, layout.RUN_NAMES)]

    @where_it_lies
    def run_starts(self, subject: str, group: str) -> NDArray[np.int64]:
        """Row where each run starts, (n_runs,)."""
        return run_starts(
            self.segments(subject, group),
            self.segment_runs(subject, group),
            self.source_samples(subject, group),
            len(self.run_names(subject, group)),
            source_step=self.attributes(subject, group).source_step,
        )

    @where_it_lies
    def source_samples(self, subject: str, group: str) -> NDArray[np.int64]:
        """For each segment, the sample of the original run where it starts, and that run, (n_segments, 2)."""
        return self._nodes.array(subject, group, layout.SOURCE_SAMPLES)

    @where_it_lies
    def mean(self, subject: str, group: str) -> NDArray[np.float64]:
        """Read what standardization subtracted, (n_runs or 1, C)."""
        return self._nodes.array(subject, group, layout.MEAN)

    @where_it_lies
    def std(self, subject: str, group: str) -> NDArray[np.float64]:
        """Read what standardization divided by, (n_runs or 1, C)."""
        return self._nodes.array(subject, group, layout.STD)

    @where_it_lies
    def events(self, subject: str, group: str) -> Events | None:
        """Events of a subject's group, or None where none were given."""
        node = self._nodes.group(subject, group)
        with faults_named(self.path, f"the events of subject {subject}, group {group}"):
            return stored_events(node, self.read_table)

    @where_it_lies
    def read(self, subject: str, group: str, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Read stored rows [start, stop).

        Returns
        -------
        array, (n, C), float32

        Raises
        ------
        DataCorruptionError
            When a checksum does not match, or rows are zero that were not written so; names the file, subject and
            group.
        """
        rows = self._rows(subject, group, start, stop)
        if (digest := self._digests.get((subject, group))) is not None:
            first = start if start >= 0 else start + self.attributes(subject, group).n_samples
            self._take(digest, subject, group, up_to=first)
            digest.take(rows, first)
        elif self._checks_digests and (subject, group) not in self._sound and has_row_of_zeros(rows):
            # A lost chunk reads as zeros. Only the digest knows whether they were written, and it needs all rows.
            self.verify_signals(subject, group)
        return rows

    @where_it_lies
    @contextmanager
    def verifying(self, subject: str, group: str) -> Iterator[None]:
        """Compare the rows that are read in the block, in ascending order, with their SHA-256 when it ends well.

        Rows that were left out are read then.

        Raises
        ------
        DataCorruptionError
            When they are not those that were written; names the file, subject and group.
        """
        described = self.attributes(subject, group)
        digest = self._digests[subject, group] = RowsDigest()
        try:
            yield
            self._take(digest, subject, group, up_to=described.n_samples)
            if digest.finish(self.segments(subject, group)) != described.sha256:
                where = f"the signals of subject {subject}, group {group}"
                raise DataCorruptionError(f"{self.path}: {where} are not those that were written: {UNLIKE}.")
            self._sound.add((subject, group))
        finally:
            del self._digests[subject, group]
            digest.close()

    @where_it_lies
    def verify_signals(self, subject: str, group: str) -> None:
        """Read all rows of a subject's group and compare them with their SHA-256.

        Raises
        ------
        DataCorruptionError
            When they are not those that were written; names the file, subject and group.
        """
        with self.verifying(subject, group):
            pass

    @where_it_lies
    def masked_rows(self, subject: str, group: str) -> NDArray[np.bool_]:
        """Say of every row whether it is masked, (T,): within a segment, and NaN in all channels."""
        described, segments = self.attributes(subject, group), self.segments(subject, group)
        if not described.n_masked:
            return np.zeros(described.n_samples, dtype=bool)
        return masked_rows(partial(self.read, subject, group), segments, described.n_samples)

    def fingerprint(self, group: str, subjects: Iterable[str]) -> str:
        """SHA-256 over names, participants and data of some subjects, in the order given; reads no signals."""
        digest = hashlib.sha256()
        for subject in subjects:
            line = [subject, self.participant(subject), self.attributes(subject, group).sha256]
            digest.update(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        return digest.hexdigest()

    def _rows(self, subject: str, group: str, start: int, stop: int | None) -> NDArray[np.float32]:
        with faults_named(self.path, f"the signals of subject {subject}, group {group}"):
            rows: NDArray[np.float32] = self._nodes.signals(subject, group)[start:stop]
            return rows

    def _take(self, digest: RowsDigest, subject: str, group: str, *, up_to: int) -> None:
        """Read the rows that a digest has not seen."""
        step = max(1, BYTES_PER_READING // (4 * self.attributes(subject, group).n_channels))
        while digest.n_rows < up_to:
            start = digest.n_rows
            digest.take(self._rows(subject, group, start, min(start + step, up_to)), start)

    def _compare_with(self, before: FileIdentity) -> None:
        """Refuse a file that took the place of the one that was described, unless it holds the same data."""
        known, self._descriptions, self._sound, self._subjects = self._descriptions, {}, set(), None
        # What HDF5 keeps of a file that was written to is stale.
        self.close()
        try:
            for (subject, group), described in known.items():
                if self.attributes(subject, group) != described:
                    raise DataCorruptionError(f"subject {subject}, group {group} is another")
            for subject, group in known:
                self.verify_signals(subject, group)
        except DataError as error:
            self.close()
            self._identity, self._descriptions = before, known
            raise DataCorruptionError(
                f"{self.path} was replaced or changed while it was in use ({str(error).rstrip('.')}); start the run "
                "anew, or put the file back that it began with."
            ) from error
