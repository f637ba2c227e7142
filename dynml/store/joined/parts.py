"""Which files a joined store leads to, for which subjects, and whether they are the ones that it was joined of.

A link of HDF5 leads from each subject of a joined store to the same subject of a part. dynml follows such links itself,
and only those into files that the store names as its parts, in its own folder or below.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, cast

import h5py

from dynml.errors import DataCorruptionError, DataError
from dynml.reading_files import is_file
from dynml.store import layout

MOST_OPENED = 64
"""Parts whose files stay open."""
Method = TypeVar("Method", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class PartFile:
    """One file that subjects of a joined store lie in."""

    file: str
    """Path relative to the joined store's folder, with "/"; in that folder or below."""
    n_bytes: int
    created: str
    """Date of the part, as it states it."""
    n_subjects: int
    digest: str
    """SHA-256 over its subjects, their participants and the SHA-256 of their data."""


class Parts:
    """The parts of one joined store.

    Parameters
    ----------
    store : Path
        The joined store.
    parts : sequence of PartFile
    """

    def __init__(self, store: Path, parts: Sequence[PartFile]) -> None:
        self._store = store
        # A link may lead to the store from elsewhere.
        self._folder = Path(os.path.realpath(store)).parent
        self.by_file = {part.file: part for part in parts}
        """Each part by its relative path."""
        self._file_of: dict[str, str | None] = {}
        self._opened: dict[str, Any] = {}

    def path(self, file: str) -> Path:
        """Where a part lies now."""
        return self._folder / file

    def check_there(self) -> None:
        """Refuse to begin when a part is missing, or cannot be the file that was joined.

        Raises
        ------
        DataError
            Names the first that is missing, and says how many others are.
        """
        missing = [file for file in self.by_file if not is_file(self.path(file))]
        if missing:
            more = f", nor are {len(missing) - 1} more" if len(missing) > 1 else ""
            raise DataError(
                f"{self._store} is joined of {len(self.by_file)} parts, of which {self.path(missing[0])} "
                f"({self.by_file[missing[0]].n_subjects} subjects) is not there{more}; put it back under that name, or "
                "make it and join the parts anew."
            )
        for file, part in self.by_file.items():
            n_bytes = self.path(file).stat().st_size
            if n_bytes != part.n_bytes:
                raise self._changed(file, f"it has {n_bytes} bytes instead of {part.n_bytes}")

    def opened(self, file: str, open_store: Callable[[Path], Any]) -> Any:
        """Give a part as a store of its own, opened once.

        Parameters
        ----------
        file : str
            Relative path of the part.
        open_store : callable
            Opens the store at a path.

        Raises
        ------
        DataError
            When it is not there any more, or joined of parts itself.
        DataCorruptionError
            When it says of itself other things than when it was joined.
        """
        store = self._opened.pop(file, None)
        if store is None:
            store = open_store(self.path(file))
            self._check_same(file, store)
        self._opened[file] = store
        if len(self._opened) > MOST_OPENED:
            # It keeps what it knows, and opens its file again when it is asked.
            list(self._opened.values())[-MOST_OPENED - 1].close()
        return store

    def close(self) -> None:
        """Close the files of all parts; the next access opens them again."""
        for store in self._opened.values():
            store.close()

    def _check_same(self, file: str, store: Any) -> None:
        part = self.by_file[file]
        if store.parts is not None:
            raise DataError(f"{self._store}: its part {store.path} is joined itself; join its parts instead.")
        created, n_subjects = store.root_attributes().get(layout.CREATED, ""), len(store.file[layout.SUBJECTS])
        if created != part.created:
            raise self._changed(file, f"it was made at {created}, not at {part.created}")
        if n_subjects != part.n_subjects:
            raise self._changed(file, f"it has {n_subjects} subjects instead of {part.n_subjects}")

    def file_of(self, subjects: h5py.Group, subject: str) -> str | None:
        """Relative path of the part that a subject lies in, or None where no link leads to one.

        Parameters
        ----------
        subjects : h5py.Group
            The joined store's own.
        subject : str
        """
        if subject not in self._file_of:
            self._file_of[subject] = self._linked_file(subjects, subject)
        return self._file_of[subject]

    def _linked_file(self, subjects: h5py.Group, subject: str) -> str | None:
        link = subjects.get(subject, getlink=True) if layout.is_valid_name(subject) else None
        if not isinstance(link, h5py.ExternalLink) or link.filename not in self.by_file:
            return None
        return link.filename if link.path.strip("/") == layout.subject_path(subject) else None

    def _changed(self, file: str, how: str) -> DataCorruptionError:
        return DataCorruptionError(
            f"{self._store}: its part {self.path(file)} is not the file that was joined ({how}); put that one back, or "
            "join the parts anew."
        )


def parts_of(store: Path, attributes: Mapping[str, Any]) -> Parts | None:
    """What an open store says of its parts; None where all its subjects lie in the file itself.

    Raises
    ------
    DataCorruptionError
        When it cannot be understood, or a part would lie outside of the store's folder.
    """
    if layout.PARTS not in attributes:
        return None
    text = attributes[layout.PARTS]
    try:
        parts = [PartFile(**entry) for entry in json.loads(text.decode() if isinstance(text, bytes) else str(text))]
    except (json.JSONDecodeError, TypeError) as error:
        raise DataCorruptionError(f"{store}: the attribute {layout.PARTS!r} cannot be understood.") from error
    for part in parts:
        if not is_below(part.file):
            raise DataCorruptionError(
                f"{store}: its part {part.file!r} would lie outside of the store's folder, where no link is followed."
            )
    return Parts(store, parts)


def is_below(file: str) -> bool:
    """Whether a relative path stays in the folder that it starts in."""
    path = PurePosixPath(file)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in file


def described_parts(parts: Sequence[PartFile]) -> list[dict[str, Any]]:
    """Plain values of parts, for JSON."""
    return [asdict(part) for part in parts]


def where_it_lies(method: Method) -> Method:
    """Let what a store is asked of a subject be answered by the file that it lies in, which may be a part."""

    @functools.wraps(method)
    def of_file(store: Any, subject: str, *values: Any, **settings: Any) -> Any:
        return method(store.file_of(subject), subject, *values, **settings)

    return cast(Method, of_file)
