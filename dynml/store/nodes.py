"""Groups and arrays of an open store, found by name, checked once, and kept open while they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import h5py
from numpy.typing import NDArray

from dynml.configuration import nearest_name
from dynml.errors import DataCorruptionError, DataError
from dynml.store import layout
from dynml.store.faults import faults_named
from dynml.store.integrity import Table, opened_table
from dynml.store.own_storage import check_own_path, check_own_storage

MOST_OPENED = 64
"""Signals that stay open."""


class OpenFile(Protocol):
    """A store of one file."""

    path: Path

    @property
    def file(self) -> h5py.File:
        """The handle of this process; when it is a new one, the nodes `forget`."""

    @property
    def subjects(self) -> list[str]:
        """All subjects."""

    def read_table(self, node: Table) -> NDArray[Any]:
        """Read a small array."""


class Nodes:
    """What has been opened of a file.

    Parameters
    ----------
    store : OpenFile
    """

    def __init__(self, store: OpenFile) -> None:
        self._store = store
        self._own_storage: set[tuple[str, str]] = set()
        self.forget()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_signals": {}, "_asked": {}, "_asked_subject": {}, "_arrays": {}}

    def forget(self) -> None:
        """Forget what belongs to a handle that is closed."""
        self._signals: dict[tuple[str, str], h5py.Dataset] = {}
        self._asked: dict[tuple[str, str], h5py.Group] = {}
        self._asked_subject: dict[str, h5py.Group] = {}
        self._arrays: dict[str, NDArray[Any]] = {}

    def subject(self, subject: str) -> h5py.Group:
        """Open a subject.

        Raises
        ------
        DataError
            When there is none; with the nearest name.
        """
        own_file, path = self._store.file, self._store.path  # first: it forgets what a handle since closed had opened
        if subject in self._asked_subject:
            return self._asked_subject[subject]
        subjects = own_file[layout.SUBJECTS]
        if not layout.is_valid_name(subject) or subject not in subjects:
            raise DataError(f"{path} has no subject {subject!r}{nearest_name(subject, self._store.subjects)}.")
        check_own_path(path, subjects, subject)
        self._asked_subject = {subject: subjects[subject]}
        return self._asked_subject[subject]

    def attributes(self, subject: str) -> dict[str, str]:
        """Read the attributes of a subject, as text."""
        with faults_named(self._store.path, f"subject {subject}"):
            return {name: layout.text_of(value) for name, value in self.subject(subject).attrs.items()}

    def group(self, subject: str, group: str) -> h5py.Group:
        """Open a subject's group.

        Raises
        ------
        DataError
            When there is none; with the nearest name.
        """
        # To ask for the file comes first: it forgets what a handle since closed had opened.
        if self._store.file and (subject, group) in self._asked:
            # Most is asked of one subject after the other, several things of each.
            return self._asked[subject, group]
        path = self._store.path
        with faults_named(path, f"subject {subject}"):
            node = self.subject(subject)
            if not layout.is_valid_name(group) or group not in node:
                raise DataError(f"{path}: subject {subject} has no group {group!r}{nearest_name(group, node)}.")
            if (subject, group) not in self._own_storage:
                check_own_path(path, node, group)
            opened = node[group]
            if (subject, group) not in self._own_storage:
                check_own_storage(path, opened)
                self._own_storage.add((subject, group))
            self._asked, self._arrays = {(subject, group): opened}, {}
            return opened

    def signals(self, subject: str, group: str) -> h5py.Dataset:
        """Open the signals of a subject's group; random windows ask for them again and again."""
        own_file = self._store.file  # forgets what another process, or a handle since closed, had opened
        node = self._signals.get((subject, group))
        if node is None:
            node = self.group(subject, group)[layout.DATA]
            assert node.file == own_file
            if len(self._signals) == MOST_OPENED:
                del self._signals[next(iter(self._signals))]
            self._signals[subject, group] = node
        return node

    def array(self, subject: str, group: str, name: str) -> NDArray[Any]:
        """Read a small array of a subject's group, once while nothing of another group is asked for.

        Raises
        ------
        DataCorruptionError
            When it is not there, or cannot be read.
        """
        node, where = self.group(subject, group), f"subject {subject}, group {group}"
        if name not in self._arrays:
            if name not in node:
                raise DataCorruptionError(f"{self._store.path}: {where} lacks {name}.")
            with faults_named(self._store.path, f"{name} of {where}"):
                self._arrays[name] = self._store.read_table(opened_table(node, name))
        return self._arrays[name].copy()
