"""One store of several: links to the subjects of each, or copies of them; what is fitted and said of all, once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from dynml.conversion.creation import summary
from dynml.conversion.parts import part_note, parts_beside
from dynml.conversion.sources.units import check_units, stored_deviations
from dynml.errors import DataError
from dynml.locks.writing import writes_alone
from dynml.store import layout
from dynml.store.fits import read_fits
from dynml.store.joined.checks import digest_of_subjects
from dynml.store.joined.parts import PartFile, is_below
from dynml.store.participants import check_split
from dynml.store.participants_table import SubjectIdentity
from dynml.store.printing import warnings_of
from dynml.store.reading import Store
from dynml.store.writing import StoreWriter, check_target, new_store

SAME_RATE = 1e-6
SAME_FIT = 1e-4
"""Relative to the largest value: machines of other processors round otherwise."""


@writes_alone()
def join_stores(target: Path, parts: Sequence[Path] = (), *, copies: bool = False, overwrite: bool = False) -> str:
    """Make one store of several that were made by the same config, or that have no group in common.

    Parameters
    ----------
    target : Path
        The store to make.
    parts : sequence of Path
        Stores, in the order in which their subjects are to stand; by default the parts of the target that lie beside
        it, all of them, in the order of their numbers.
    copies : bool
        Copy the subjects, so that the parts are not needed any more. By default links lead to them, and they stay.
    overwrite : bool
        Replace an existing store, once the new one is complete.

    Returns
    -------
    str
        One line that says what was made.

    Raises
    ------
    DynmlError
        When parts are missing, damaged, alike in a subject, or unlike in config, channels, rates or fits; named.
    """
    check_target(target, overwrite)
    paths = list(parts) or parts_beside(target)
    with ExitStack() as opened:
        stores = [opened.enter_context(Store(path)) for path in paths]
        _check_alike(stores)
        first = stores[0]
        subsets = {name: [one for store in stores for one in store.subset(name)] for name in layout.SUBSET_NAMES}
        files = [_file_of(store, target, needs_link=not copies) for store in stores]
        with new_store(target, _config_of_all(stores), subsets, overwrite=overwrite) as writer:
            for store, file in zip(stores, files, strict=True):
                _take_subjects(writer, store, file, copies=copies)
                writer.note_warnings(warnings_of(store))
            for store in _of_each_make(stores):
                beside = (layout.PREPARATION_FITS, layout.GEOMETRY)
                writer.copy_beside(store, [f"{one}/{group}" for one in beside for group in sorted(_groups(store))])
            writer.note_shared_files(_shared_by_all(stores))
            drawn = first.file[layout.SUBSETS].attrs.get(layout.DRAWN)
            if drawn is not None:
                writer.note_draw(json.loads(drawn))
    made = "copied from" if copies else "linked to"
    return f"{summary(target, subsets)[:-1]}, {made} {len(stores)} files."


def _take_subjects(writer: StoreWriter, store: Store, file: PartFile, *, copies: bool) -> None:
    if copies:
        writer.copy_beside(store, [layout.subject_path(subject) for subject in store.subjects])
    else:
        writer.link_subjects(file, store.subjects)


def _file_of(store: Store, target: Path, *, needs_link: bool) -> PartFile:
    """Describe a part as the joined store is to know it again.

    Raises
    ------
    DataError
        When no link may lead to it.
    """
    real, folder = os.path.realpath(store.path), os.path.realpath(target.parent)
    file = Path(os.path.relpath(real, folder)).as_posix()
    if real == os.path.realpath(target):
        raise DataError(f"{store.path} is both a part and the store to make; give another OUT_HDF5.")
    if needs_link and not is_below(file):
        raise DataError(
            f"{store.path} lies outside of {folder}: links lead only to files in the joined store's folder or below; "
            "move it there, or give --copy."
        )
    if store.parts is not None:
        raise DataError(f"{store.path} is joined itself; join its parts instead.")
    return PartFile(
        file=file,
        n_bytes=store.path.stat().st_size,
        created=store.root_attributes().get(layout.CREATED, ""),
        n_subjects=len(store.subjects),
        digest=digest_of_subjects(store),
    )


def _check_alike(stores: Sequence[Store]) -> None:
    """Refuse stores that are not of one make, or not disjoint."""
    _check_one_division(stores)
    first = stores[0]
    for number, store in enumerate(stores[1:], start=1):
        like = next((one for one in stores[:number] if _groups(one) & _groups(store)), None)
        other = first if like is None else like
        of_one = set() if like is not None else _groups(first) | _groups(store)
        for key in sorted({*other.config, *store.config} - {layout.PARTICIPANTS} - of_one):
            if store.config.get(key) != other.config.get(key):
                raise DataError(f"{key} of the config is not the same in {store.path} as in {other.path}.")
        if like is not None:
            _check_same_layout(like, store)
            _check_same_fits(like, store)
    home: dict[str, Path] = {}
    identified: dict[str, SubjectIdentity] = {}
    for store in stores:
        for subject in store.subjects:
            if subject in home:
                raise DataError(f"Subject {subject} is in both {home[subject]} and {store.path}.")
            home[subject] = store.path
            identified[subject] = SubjectIdentity(subject=subject, participant=store.participant(subject))
    subsets = {name: [one for store in stores for one in store.subset(name)] for name in layout.SUBSET_NAMES}
    check_split(subsets, identified, first.split, "The joined store")
    for group, units in _scales_of_all(stores).items():
        check_units(units, group)


def _check_one_division(stores: Sequence[Store]) -> None:
    """Refuse parts of several divisions of subjects."""
    first, *others = [part_note(store) for store in stores]
    for store, note in zip(stores[1:], others):
        if first is not None and note is not None and note["subjects"] != first["subjects"]:
            raise DataError(
                f"{store.path} is a part of other lists of subjects than {stores[0].path}; make the parts anew by "
                "the same lists."
            )


def _check_same_layout(first: Store, store: Store) -> None:
    one, other = first.subjects[0], store.subjects[0]
    if first.groups(one) != store.groups(other):
        raise DataError(f"The groups of {store.path} are not those of {first.path}.")
    for group in first.groups(one):
        known, found = first.attributes(one, group), store.attributes(other, group)
        if known.channel_names != found.channel_names:
            raise DataError(
                f"Group {group}: the channels of {store.path} ({found.n_channels}) are not those of {first.path} "
                f"({known.n_channels})."
            )
        rates = known.sampling_frequency, found.sampling_frequency
        mixed = first.config.get(layout.ALLOW_MIXED_SAMPLING_FREQUENCY, False)
        if not mixed and abs(rates[0] - rates[1]) > SAME_RATE * rates[0]:
            raise DataError(
                f"Group {group}: the sampling frequency is {rates[1]:g} Hz in {store.path}, but {rates[0]:g} Hz in "
                f"{first.path}."
            )


def _check_same_fits(first: Store, store: Store) -> None:
    for group in first.groups(first.subjects[0]):
        known, found = read_fits(first, group), read_fits(store, group)
        same = known.keys() == found.keys()
        for name in known if same else ():
            one, other = known[name], found[name]
            same &= one.subjects == other.subjects and one.arrays.keys() == other.arrays.keys()
            same = same and all(_are_alike(one.arrays[key], other.arrays[key]) for key in one.arrays)
        if not same:
            raise DataError(
                f"Group {group}: what was fitted across subjects is not the same in {store.path} as in {first.path}; "
                "make both by the same lists, or one by the other's fits (dynml_apply_preparation.py)."
            )


def _are_alike(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    scale = np.abs(one).max(initial=0.0) if one.dtype.kind == "f" else 0.0
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=0.0, atol=SAME_FIT * scale))


def _config_of_all(stores: Sequence[Store]) -> dict[str, Any]:
    """The config of all, with the participants of all where they stand in it."""
    config = {key: value for store in reversed(_of_each_make(stores)) for key, value in store.config.items()}
    mappings = [found for store in stores if isinstance(found := store.config.get(layout.PARTICIPANTS), dict)]
    if len(mappings) == len(stores):
        config[layout.PARTICIPANTS] = {subject: whose for mapping in mappings for subject, whose in mapping.items()}
    return config


def _shared_by_all(stores: Sequence[Store]) -> layout.SharedFiles:
    files = {
        group: [store.shared_files.get(group, {}) for store in stores if group in _groups(store)]
        for one in _of_each_make(stores)
        for group in one.shared_files
    }
    return {
        group: kept
        for group, (first, *others) in files.items()
        if (kept := {key: file for key, file in first.items() if all(other.get(key) == file for other in others)})
    }


def _groups(store: Store) -> set[str]:
    return {group for subject in store.subjects[:1] for group in store.groups(subject)}


def _of_each_make(stores: Sequence[Store]) -> list[Store]:
    """The first store of each config: stores of other groups were made by another one."""
    found: list[Store] = []
    for store in stores:
        if not any(_groups(one) & _groups(store) for one in found):
            found.append(store)
    return found


def _scales_of_all(stores: Sequence[Store]) -> dict[str, dict[str, float]]:
    """Standard deviations of runs of each store, by group: the extremes, where a part says them, or some."""
    scales: dict[str, dict[str, float]] = {}
    for store in stores:
        note: Mapping[str, Any] = json.loads(store.root_attributes().get(layout.PART, "{}"))
        said = note.get("scales") or {group: stored_deviations(store, group) for group in sorted(_groups(store))}
        for group, units in said.items():
            scales.setdefault(group, {}).update(units)
    return scales
