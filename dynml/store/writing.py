"""Writes stores: under a temporary name beside the target, verified, then renamed, so that they are whole or absent."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataCorruptionError, DataError
from dynml.files import ODD_BYTES, fsync, replacing, strict_json, sweep_partial
from dynml.geometry.geometry import Geometry
from dynml.locks.writing import writing_to
from dynml.reading_files import is_folder, is_there
from dynml.recording import Events, Recording
from dynml.store import layout, verification
from dynml.store.chunks.rows import Checksums, write_rows
from dynml.store.file import FaultKeepingFile, is_replaceable, new_hdf5_file
from dynml.store.fits import PARAMETERS, STEP, VALUES, StoredFit
from dynml.store.geometry.stored import KIND
from dynml.store.geometry.stored import VALUES as VALUES_OF_GEOMETRY
from dynml.store.integrity import rows_digest, sha256_of_table, write_attribute, write_table
from dynml.store.joined.parts import PartFile, described_parts
from dynml.store.missing.masked_rows import count_masked
from dynml.store.participants_table import SubjectIdentity
from dynml.store.reading import Store
from dynml.version import __version__

BYTES_PER_CHUNK = 1024**2
EXTENSIONS = (".hdf5", ".h5")
MOST_WARNINGS, LONGEST_WARNING = 50, 600
"""What an attribute of HDF5, which holds 64 KB, has room for."""


class StoreWriter:
    """Fills a new store, one subject's group after another; made by `new_store`."""

    def __init__(self, file: h5py.File, disk: FaultKeepingFile) -> None:
        self._file = file
        self._disk = disk
        self._parts: list[PartFile] = []
        self.written: dict[str, dict[str, Checksums]] = {}
        """Subject to group to the checksums of its signals."""

    @property
    def file(self) -> h5py.File:
        """The file under way, for what stands beside the subjects (a simulation's truth)."""
        return self._file

    def add_subject(self, identity: SubjectIdentity) -> None:
        """Make a subject's HDF5 group, with its participant and covariates."""
        if not layout.is_valid_name(identity.subject):
            raise DataError(f"{identity.subject!r} cannot be the name of a subject.")
        node = self._file.create_group(layout.subject_path(identity.subject))
        for name, value in {layout.PARTICIPANT: identity.participant, **identity.covariates}.items():
            write_attribute(node.id, name, _text(value))

    def add_group(self, subject: str, group: str, recording: Recording, rank: int) -> None:
        """Write one subject's prepared signals as a group.

        Parameters
        ----------
        subject, group : str
        recording : Recording
            Standardized, so that `mean` and `std` are known. Rows of its segments that are NaN in all channels are
            masked samples.
        rank : int
            Numerical rank of its good samples.
        """
        assert recording.mean is not None, "a recording is standardized (by 'none' at least) before it is stored"
        assert recording.std is not None, "a recording is standardized (by 'none' at least) before it is stored"
        node = self._file.create_group(layout.subject_path(subject, group))
        signals = np.ascontiguousarray(recording.signals, dtype=np.float32)
        segments = np.ascontiguousarray(recording.segments, dtype=np.int64)
        n_rows = max(1, min(recording.n_samples, BYTES_PER_CHUNK // (4 * recording.n_channels)))
        with rows_digest() as digest:
            digest.take(signals, 0)
            self.written.setdefault(subject, {})[group] = write_rows(node, layout.DATA, signals, n_rows)
            sha256 = digest.finish(segments)
        _add_array(node, layout.SEGMENTS, segments)
        _add_array(node, layout.SEGMENT_RUNS, recording.segment_runs.astype(np.int64))
        _add_array(node, layout.SOURCE_SAMPLES, recording.source_samples.astype(np.int64))
        _add_array(node, layout.MEAN, recording.mean)
        _add_array(node, layout.STD, recording.std)
        _add_array(node, layout.RUN_NAMES, _texts(recording.run_names))
        attributes = {
            layout.TYPE: _text(layout.GROUP_TYPE),
            layout.SAMPLING_FREQUENCY: float(recording.sampling_frequency),
            layout.UNITS: _text(recording.units),
            layout.CHANNEL_NAMES: _texts(recording.channel_names),
            layout.RANK: rank,
            layout.SOURCES: _json([source.as_dictionary() for source in recording.sources]),
            layout.PREPARATION: _json(recording.preparation),
            layout.SHA256: _text(sha256),
        }
        n_masked = count_masked(signals, segments)
        if n_masked:
            attributes[layout.N_MASKED] = n_masked
        if recording.source_step != 1.0:
            attributes[layout.SOURCE_STEP] = float(recording.source_step)
        if recording.source_offset != 0.0:
            attributes[layout.SOURCE_OFFSET] = float(recording.source_offset)
        for name, value in attributes.items():
            write_attribute(node.id, name, np.asarray(value))
        if recording.events is not None:
            _add_events(node.create_group(layout.EVENTS), recording.events)
        self._disk.check()

    def add_fits(self, group: str, fits: Mapping[str, StoredFit]) -> None:
        """Write what was fitted across subjects, by its name in the file."""
        for name, stored in fits.items():
            fit = stored.fit
            node = self._file.create_group(f"{layout.PREPARATION_FITS}/{group}/{name}")
            _add_array(node, layout.SUBJECTS, _texts(fit.subjects))
            _add_array(node, layout.CHANNEL_NAMES, _texts(fit.layout.channel_names))
            for key, array in fit.arrays.items():
                _add_array(node, key, array)
            node.attrs[STEP] = _text(stored.step)
            node.attrs[PARAMETERS] = _json(stored.parameters)
            node.attrs[VALUES] = _json(fit.values)
            node.attrs[layout.SAMPLING_FREQUENCY] = float(fit.layout.sampling_frequency)
        self._disk.check()

    def note_shared_files(self, files: layout.SharedFiles) -> None:
        """Say what was in the atlas and the mask of each group."""
        if files:
            self._file.attrs[layout.SHARED_FILES] = _json(files)

    def note_warnings(self, sentences: Sequence[str]) -> None:
        """Keep the warnings about the subjects beside them: no more than fits into an attribute."""
        before = json.loads(self._file.attrs.get(layout.WARNINGS, "[]"))
        kept = list(dict.fromkeys([*before, *sentences]))[:MOST_WARNINGS]
        if kept:
            self._file.attrs[layout.WARNINGS] = _json([one[:LONGEST_WARNING] for one in kept])

    def add_geometries(self, geometries: Mapping[str, Geometry]) -> None:
        """Write where the channels of groups lie."""
        for group, geometry in geometries.items():
            node = self._file.create_group(f"{layout.GEOMETRY}/{group}")
            _add_array(node, layout.CHANNEL_NAMES, _texts(geometry.channel_names))
            for name, array in geometry.arrays.items():
                # Images of labels are 0 nearly everywhere.
                _add_array(node, name, array, compression="gzip")
            node.attrs[KIND] = _text(geometry.kind)
            node.attrs[VALUES_OF_GEOMETRY] = _json(geometry.values)
        self._disk.check()

    def note_draw(self, draw: Mapping[str, Any]) -> None:
        """Say how the subsets were drawn."""
        self._file[layout.SUBSETS].attrs[layout.DRAWN] = _json(draw)

    def note_part(self, note: Mapping[str, Any]) -> None:
        """Say which part of which subjects the store holds."""
        self._file.attrs[layout.PART] = _json(note)

    def link_subjects(self, part: PartFile, subjects: Sequence[str]) -> None:
        """Let links lead to subjects of a part, which is noted."""
        for subject in subjects:
            self._file[layout.subject_path(subject)] = h5py.ExternalLink(part.file, f"/{layout.subject_path(subject)}")
        self._parts.append(part)
        self._file.attrs[layout.PARTS] = _json(described_parts(self._parts))
        self._disk.check()

    def copy_beside(self, store: Store, names: Sequence[str]) -> None:
        """Copy what stands in another store, by its path, subjects among it."""
        for name in names:
            if name in store.file:
                store.file.copy(name, self._file.require_group(name.rpartition("/")[0] or "/"))
        self._disk.check()


@contextlib.contextmanager
def new_store(
    target: Path,
    config: Mapping[str, Any],
    subsets: Mapping[str, list[str]],
    *,
    overwrite: bool = False,
    each: verification.ShareMapper | None = None,
) -> Iterator[StoreWriter]:
    """Open a store for writing; it appears under its name when the block has ended well and the store was verified.

    Parameters
    ----------
    target : Path
        The store; `.hdf5` or `.h5`.
    config : mapping
        What it was made from, plain values; kept in the file.
    subsets : mapping
        Subset name to subjects; a subset that is not named is empty.
    overwrite : bool
        Replace an existing store, at the very end.
    each : callable, optional
        What verifies it on several processes, see `faults_of_store`.

    Raises
    ------
    DataError
        When the target exists already, cannot be one, is being written to by another process, or does not verify.
    DynmlError
        When the disk is full or the folder cannot be written to; an old store stays as it was.
    """
    check_target(target, overwrite)
    with writing_to(target), replacing(target) as temporary:
        check_target(target, overwrite)  # again: another process may have made it while this one asked for the lock
        sweep_partial(target)
        with new_hdf5_file(temporary) as (file, disk):
            file.attrs[layout.FORMAT] = _text(layout.FORMAT_NAME)
            file.attrs[layout.FORMAT_VERSION_KEY] = layout.FORMAT_VERSION
            file.attrs[layout.DYNML_VERSION] = _text(__version__)
            file.attrs[layout.CREATED] = _text(_now())
            file.attrs[layout.CONFIG] = _json(config)
            file.create_group(layout.SUBJECTS)
            for subset in layout.SUBSET_NAMES:
                _add_array(file, layout.subset_path(subset), _texts(subsets.get(subset, [])))
            writer = StoreWriter(file, disk)
            yield writer
        with ThreadPoolExecutor(max_workers=1) as helper:
            # Beside the check, so that little is left to wait for when the file is renamed.
            on_disk = helper.submit(fsync, temporary)
            _check_sound(temporary, target, each, writer.written)
            on_disk.result()


@contextlib.contextmanager
def extended_store(
    target: Path,
    subsets: Mapping[str, list[str]],
    config: Mapping[str, Any],
    *,
    each: verification.ShareMapper | None = None,
) -> Iterator[StoreWriter]:
    """Copy a store and open the copy for writing; it takes the place of the old one when it was verified.

    Parameters
    ----------
    target : Path
        The store.
    subsets : mapping
        Subjects to add to each subset; they must be written in the block.
    config : mapping
        What the store is said to be made from.
    each : callable, optional
        What verifies it on several processes, see `faults_of_store`.

    Raises
    ------
    DataError
        When the copy does not verify.
    DynmlError
        When the disk is full or the folder cannot be written to; the old store stays as it was.
    """
    with writing_to(target, wait=True), replacing(target) as temporary:
        sweep_partial(target)
        with new_hdf5_file(temporary) as (file, disk):
            with Store(target) as old:
                _copy_all(old, file, target)
                members = {name: [*old.subset(name), *subsets.get(name, [])] for name in layout.SUBSET_NAMES}
            for subset, subjects in members.items():
                del file[layout.subset_path(subset)]
                _add_array(file, layout.subset_path(subset), _texts(subjects))
            file.attrs[layout.CONFIG] = _json(config)
            earlier = json.loads(file.attrs[layout.EXTENDED]) if layout.EXTENDED in file.attrs else []
            added = [subject for subjects in subsets.values() for subject in subjects]
            note = {"date": _now(), layout.DYNML_VERSION: __version__, layout.SUBJECTS: added}
            file.attrs[layout.EXTENDED] = _json([*earlier, note])
            disk.check()
            writer = StoreWriter(file, disk)
            yield writer
        _check_sound(temporary, target, each, writer.written)


def _copy_all(old: Store, file: h5py.File, target: Path) -> None:
    try:
        for name in old.file:
            old.file.copy(name, file)
        for name, value in old.file.attrs.items():
            file.attrs[name] = _text(value) if isinstance(value, str) else value
    except (OSError, RuntimeError, KeyError) as error:
        raise DataCorruptionError(f"{target} could not be copied: {error}.") from error


def _check_sound(
    temporary: Path,
    target: Path,
    each: verification.ShareMapper | None = None,
    written: verification.Written | None = None,
) -> None:
    faults = verification.faults_of_store(temporary, each, written)
    if faults:
        raise DataError(f"{target} was not written, because its copy did not verify: {faults[0]}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_target(target: Path, overwrite: bool) -> None:
    """Refuse a store's path that exists (unless `overwrite`), is a folder, has no folder, or another extension.

    Raises
    ------
    DataError
        Says what is in the way.
    """
    if target.suffix.lower() not in EXTENSIONS:
        raise DataError(f"{target} must end in {' or '.join(EXTENSIONS)}.")
    if is_folder(target):
        raise DataError(f"{target} is a folder, but must be the path of a file.")
    if not is_folder(target.parent):
        raise DataError(f"{target} cannot be written: the folder {target.parent} does not exist.")
    if is_there(target) and not overwrite:
        raise DataError(f"{target} exists already; use -f to replace it.")
    if is_there(target) and not is_replaceable(target):
        raise DataError(
            f"{target} is not a store that dynml made, so that -f does not replace it; move it, or give another name."
        )


def _add_array(node: h5py.Group, name: str, array: np.ndarray[Any, Any], **options: str) -> None:
    """Write a small array under a checksum and a digest; paths, other letters and options take h5py's slower calls."""
    if name.isascii() and "/" not in name and not options:
        write_table(node, name, array)
        return
    chunked: dict[str, Any] = {"chunks": array.shape, "fletcher32": True, **options} if array.size else {}
    dataset = node.create_dataset(name, data=array, **chunked)
    dataset.attrs[layout.SHA256] = _text(sha256_of_table(array))


def _add_events(node: h5py.Group, events: Events) -> None:
    _add_array(node, layout.ONSET, events.onset)
    _add_array(node, layout.DURATION, events.duration)
    if events.exact_onset is not None and (events.exact_onset != events.onset).any():
        _add_array(node, layout.EXACT_ONSET, events.exact_onset)
    labels = node.create_group(layout.LABELS)
    for column, codes in events.labels.items():
        _add_array(labels, column, codes)
        labels[column].attrs[layout.NAMES] = _texts(events.names[column])


def _text(text: str) -> NDArray[Any]:
    return _texts([text]).reshape(())


def _texts(texts: Sequence[str]) -> NDArray[Any]:
    """Texts of fixed length, UTF-8: they lie where HDF5 keeps checksums.

    Texts of variable length do not: one flipped bit in their heap can send HDF5 into an endless loop.
    """
    encoded = [text.encode(errors=ODD_BYTES) for text in texts]
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max([1, *map(len, encoded)])))


def _json(value: Any) -> NDArray[Any]:
    return _text(json.dumps(strict_json(value), ensure_ascii=False, allow_nan=False))
