"""New subjects for an existing store, and new stores of new subjects that are prepared as an existing one was."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dynml.configuration import check_choice
from dynml.conversion.config import OF_TABLES, StoreConfig, read_subject_list, store_config_from
from dynml.conversion.creation import summary, without_folder, write_subjects
from dynml.conversion.inputs import chosen_subsets, folder_of, read_inputs, subjects_of
from dynml.conversion.order import in_order_of_store
from dynml.conversion.sources.found import SubjectSources, check_steps, find_sources, steps_of
from dynml.conversion.sources.geometry import geometries_of
from dynml.conversion.sources.shared_files import check_same_files, shared_files
from dynml.conversion.sources.table import SourceTable, is_table, read_source_table
from dynml.conversion.sources.units import stored_deviations
from dynml.conversion.stored_groups import of_chosen, of_config
from dynml.conversion.stored_preparation import StoredPreparation, read_preparation
from dynml.conversion.subject_workers import SubjectWorkers
from dynml.data_warnings import DataWarnings
from dynml.errors import ConfigurationError, DataError, DynmlError, shortened
from dynml.fits import Layout
from dynml.locks.writing import writes_alone
from dynml.preparation import chain
from dynml.preparation.fitted.stored_fits import fits_of
from dynml.preparation.step import PreparationStep
from dynml.reading_files import is_folder, is_there
from dynml.store.layout import PARTICIPANTS, PREPARATION_FITS, SUBSET_NAMES, TOP_LEVEL_KEYS, SharedFiles
from dynml.store.participants import check_split
from dynml.store.participants_table import SubjectIdentity, names_of_one
from dynml.store.reading import Store
from dynml.store.subsets import Subsets, check_fit_saw_no_held_out
from dynml.store.writing import check_target, extended_store, new_store

SAME_RATE = 1e-6
Chains = dict[str, list[PreparationStep]]


@writes_alone(wait=True)
def add_subjects(
    source: Path,
    target: Path,
    config_file: Path,
    lists: Mapping[str, Path] | None = None,
    *,
    n_jobs: int = 1,
    progress: bool = False,
) -> str:
    """Add subjects to a store, prepared by the fits that it holds.

    Parameters
    ----------
    source : Path
        Folder or table of the new subjects.
    target : Path
        The store. A copy is extended and takes its place when it was verified. Where another process is writing to it,
        this one waits, so that several may be asked to add to one store at once.
    config_file : Path
        Says the same as the one that the store was made by; `participants` may differ. Of a store that was joined of
        others with groups of their own, the same as that of one of these.
    lists : mapping, optional
        Subset name to a text file of the subjects to add; left out where a table has a column `subset`.
    n_jobs : int
        Processes.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    str
        One line that says what was added.

    Raises
    ------
    DynmlError
        When the configs differ, a subject is there already, a participant would stand in two subsets, channels or
        rates are not those of the store, or for any fault of the files; named. The store is then as it was.
    """
    workers, warned = SubjectWorkers(n_jobs), DataWarnings()
    with warned.of_encodings(), Store(target) as store:
        stored = StoredPreparation.of_store(store)
        config, table = read_inputs(source, config_file)
        stored = of_config(stored, config)
        _check_same_config(stored, config, table)
        subsets = chosen_subsets(source, config, table, lists or {}, None)
        _check_new(store, subsets)
        all_sources = find_sources(folder_of(source, table), config, subsets, warned, table, store.subjects)
        _shared_files(stored, source, config, all_sources, table)
        _check_participants(store, subsets, all_sources)
        all_sources = _in_order_of_store(stored, config, all_sources)
        chains = _chains_of(stored, config, all_sources)
        content = _with_participants(store.config, config.content)
        known = {group: stored_deviations(store, group) for group in config.groups}
    with workers, extended_store(target, subsets, content, each=workers.each) as writer:
        write_subjects(writer, all_sources, config, chains, workers, warned, known=known, progress=progress)
        writer.note_warnings(without_folder(warned, source))
    if any(fits_of(steps) for steps in chains.values()) and subsets["training"]:
        warned.add("The stored fits were applied, not made anew: they have not seen the added training subjects")
    warned.tell()
    return "Added to " + summary(target, subsets)


@writes_alone()
def apply_preparation(
    prepared: Path,
    source: Path,
    target: Path,
    *,
    groups: Sequence[str] | None = None,
    files: Sequence[str] | None = None,
    config_folder: Path | None = None,
    participants: str | None = None,
    subjects_list: Path | None = None,
    subset: str | None = None,
    n_jobs: int = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> str:
    """Make a store of new subjects, prepared exactly as those of another store were, by the fits that it holds.

    Parameters
    ----------
    prepared : Path
        The other store, or the folder of an exported model; it is only read.
    source : Path
        Folder or table of the new subjects.
    target : Path
        The store to make.
    groups : sequence of str, optional
        Groups that the new subjects have; all of the other store by default.
    files : sequence of str, optional
        Patterns of the new subjects' files, instead of those of the config.
    config_folder : Path, optional
        Where relative paths of the config (an atlas, say) start; by default the folder that `prepared` lies in.
    participants : str, optional
        A `.tsv` file that describes the new subjects; by default each is a participant.
    subjects_list : Path, optional
        Text file of the subjects to take; all by default.
    subset : {"training", "validation", "testing"}, optional
        Where they go, unless a table says so; "testing" by default.
    n_jobs, overwrite, progress
        As for `create_store`.

    Returns
    -------
    str
        One line that says what was made.

    Raises
    ------
    DynmlError
        For any fault of the files, or when the new signals are not like those of the other store; named.
    """
    check_target(target, overwrite)
    if is_there(target) and os.path.samefile(prepared, target):
        raise DataError(f"{target} is the store whose preparation is to be applied; give another OUT_HDF5.")
    workers, warned = SubjectWorkers(n_jobs), DataWarnings()
    with warned.of_encodings():
        stored = of_chosen(read_preparation(prepared), groups)
        folder = prepared.parent if config_folder is None else config_folder
        config = _config_for_others(stored, folder, participants, files, of_table=is_table(source))
        table = read_source_table(source, list(config.groups)) if is_table(source) else None
        subsets = _subsets_of_others(source, config, table, subjects_list, subset)
        all_sources = find_sources(folder_of(source, table), config, subsets, warned, table)
        shared = _shared_files(stored, source, config, all_sources, table)
        _check_not_seen(stored, config, subsets, all_sources)
        all_sources = _in_order_of_store(stored, config, all_sources)
        chains = _chains_of(stored, config, all_sources)
    with workers, new_store(target, config.content, subsets, overwrite=overwrite, each=workers.each) as writer:
        writer.note_shared_files(shared)
        write_subjects(writer, all_sources, config, chains, workers, warned, progress=progress)
        for group, steps in chains.items():
            writer.add_fits(group, fits_of(steps))
        writer.add_geometries(geometries_of(all_sources, config.groups, warned))
        writer.note_warnings(without_folder(warned, source))
    warned.tell()
    return summary(target, subsets)


def _stored_config(
    store: StoredPreparation, content: dict[str, Any], folder: Path, *, needs_files: bool
) -> StoreConfig:
    """Check the config of a store as that of another would be."""
    try:
        return store_config_from(content, folder, f"the config in {store.path}", needs_files=needs_files)
    except DynmlError as error:
        raise DataError(
            f"{store.path} was not made of a folder or table of recordings that more could be added to: {error}"
        ) from error


def _of_table(content: dict[str, Any]) -> bool:
    groups = [value for key, value in content.items() if key not in TOP_LEVEL_KEYS and isinstance(value, dict)]
    return not any("files" in group or "bids" in group for group in groups)


def _check_same_config(store: StoredPreparation, config: StoreConfig, table: SourceTable | None) -> None:
    stored = _stored_config(store, store.config, config.folder, needs_files=not _of_table(store.config))
    differences = [
        (f"{group}.{key}", value, stored.groups[group].keys.get(key))
        for group, group_config in config.groups.items()
        for key, value in group_config.keys.items()
        if not (key in OF_TABLES and (table is not None or _of_table(store.config)))
    ]
    for key in ("split", "allow_mixed_sampling_frequency"):
        differences.append((key, getattr(config, key), getattr(stored, key)))
    different = [(key, new, old) for key, new, old in differences if new != old]
    if different:
        key, new, old = different[0]
        more = f" (and {', '.join(name for name, *_ in different[1:])})" if len(different) > 1 else ""
        raise DataError(
            f"{key} is {new!r} in the config, but {old!r} in that of {store.path}{more}; subjects are added by the "
            "same config only."
        )


def _shared_files(
    store: StoredPreparation,
    source: Path,
    config: StoreConfig,
    sources: Sequence[SubjectSources],
    table: SourceTable | None,
) -> SharedFiles:
    """What the new subjects are read by, which must be what the store's were."""
    subjects = [one.identity.subject for one in sources]
    found = shared_files(folder_of(source, table), config, subjects, table)
    check_same_files(store.shared_files, found, store.path)
    return found


def _check_new(store: Store, subsets: Mapping[str, Sequence[str]]) -> None:
    there = set(store.subjects)
    again = [subject for subjects in subsets.values() for subject in subjects if subject in there]
    if again:
        raise DataError(f"{store.path} has these subjects already: {shortened(again)}; list those that are new only.")


def _check_participants(store: Store, subsets: Mapping[str, list[str]], sources: Sequence[SubjectSources]) -> None:
    known = {name: SubjectIdentity(subject=name, participant=store.participant(name)) for name in store.subjects}
    alike = names_of_one(one.participant for one in known.values())
    if alike:
        raise DataError(
            f"{store.path} names one participant in two ways, {' and '.join(alike[0])}, as older versions allowed: "
            "give each one name (the key participants of its config) and make it anew before subjects are added."
        )
    known |= {one.identity.subject: one.identity for one in sources}
    together = {name: [*store.subset(name), *subsets.get(name, [])] for name in SUBSET_NAMES}
    check_split(together, known, store.split, f"{store.path} with the subjects to add")


def _in_order_of_store(
    store: StoredPreparation, config: StoreConfig, sources: Sequence[SubjectSources]
) -> list[SubjectSources]:
    """Bring channels into the store's order where the config matches them by their names."""
    chains = {
        group: store.bound(group, steps_of(group, group_config))
        for group, group_config in config.groups.items()
        if group_config.match_channels
    }
    names = {group: store.layouts[group].channel_names for group in chains}
    ordered = []
    for one in sources:
        where = f"Subject {one.identity.subject}, group"
        groups = {
            group: in_order_of_store(one.groups[group], steps, names[group], f"{where} {group}")
            for group, steps in chains.items()
        }
        ordered.append(dataclasses.replace(one, groups={**one.groups, **groups}))
    return ordered


def _chains_of(store: StoredPreparation, config: StoreConfig, sources: Sequence[SubjectSources]) -> Chains:
    """Chains with the store's fits, checked against the new subjects and against what the store holds."""
    chains: Chains = {}
    for group, group_config in config.groups.items():
        steps = store.bound(group, steps_of(group, group_config))
        of_subjects = {one.identity.subject: one.groups[group] for one in sources}
        check_steps(group, of_subjects, steps)
        stored = store.layouts[group]
        for subject, one in of_subjects.items():
            where = f"Subject {subject}, group {group}"
            found = Layout(sampling_frequency=one.sampling_frequency, channel_names=one.channel_names)
            after = chain.layout_after(steps, found, where)
            _check_like_stored(store, after, stored.channel_names, stored.sampling_frequency, where, config)
        chains[group] = steps
    return chains


def _check_like_stored(
    store: StoredPreparation,
    found: Layout,
    channel_names: tuple[str, ...],
    rate: float,
    where: str,
    config: StoreConfig,
) -> None:
    if len(found.channel_names) != len(channel_names):
        raise DataError(
            f"{where}: the number of channels is {len(found.channel_names)}, but {len(channel_names)} in {store.path}."
        )
    for position, (name, stored) in enumerate(zip(found.channel_names, channel_names)):
        if name != stored:
            raise DataError(f"{where}: channel {position} is {name!r}, but {stored!r} in {store.path}.")
    if not config.allow_mixed_sampling_frequency and abs(found.sampling_frequency - rate) > SAME_RATE * rate:
        raise DataError(
            f"{where}: the sampling frequency is {found.sampling_frequency:g} Hz, but {rate:g} Hz in {store.path}."
        )


def _with_participants(stored: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """The store's config, with the participants that were added."""
    old, new = stored.get(PARTICIPANTS), added.get(PARTICIPANTS)
    if new is None:
        return stored
    return {**stored, PARTICIPANTS: {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new}


def _config_for_others(
    store: StoredPreparation, folder: Path, participants: str | None, files: Sequence[str] | None, *, of_table: bool
) -> StoreConfig:
    content = {key: value for key, value in store.config.items() if key != PARTICIPANTS}
    if of_table:
        content = {key: value if key in TOP_LEVEL_KEYS else _without_files(value) for key, value in content.items()}
    if files is not None:
        content = _with_files(content, list(files), of_table=of_table)
    nameless = [key for key in content if key not in TOP_LEVEL_KEYS and not {"files", "bids"} & {*content[key]}]
    if nameless and not of_table and is_folder(store.path):
        raise DataError(
            f"{store.path} does not say which files of a subject to read: give their patterns by --files, or a table."
        )
    if participants is not None:
        content[PARTICIPANTS] = str(Path(participants).resolve())
    return _stored_config(store, content, folder, needs_files=not of_table)


def _with_files(content: dict[str, Any], files: list[str], *, of_table: bool) -> dict[str, Any]:
    groups = [key for key in content if key not in TOP_LEVEL_KEYS]
    if of_table or len(groups) != 1:
        why = "a table names the files" if of_table else f"there are several groups ({', '.join(groups)})"
        raise ConfigurationError("files", files, f"left out where {why}")
    return {**content, groups[0]: {**_without_files(content[groups[0]]), "files": files}}


def _without_files(group: Any) -> Any:
    if not isinstance(group, dict):
        return group
    return {key: value for key, value in group.items() if key not in OF_TABLES}


def _subsets_of_others(
    source: Path, config: StoreConfig, table: SourceTable | None, subjects_list: Path | None, subset: str | None
) -> dict[str, list[str]]:
    if subset is not None:
        check_choice("subset", subset, SUBSET_NAMES)
    if table is not None and table.has_subsets:
        if subset is not None or subjects_list is not None:
            raise DataError(f"{table.path} has a column 'subset'; leave --subset and --subjects out.")
        return table.subsets
    chosen = subjects_of(source, config, table) if subjects_list is None else read_subject_list(subjects_list)
    if not chosen:
        raise DataError(f"{subjects_list or source} names no subject.")
    subsets: dict[str, list[str]] = {name: [] for name in SUBSET_NAMES}
    subsets[subset or "testing"] = chosen
    return subsets


def _check_not_seen(
    store: StoredPreparation, config: StoreConfig, subsets: dict[str, list[str]], sources: Sequence[SubjectSources]
) -> None:
    """Refuse to hold out someone whom a fit of the store has seen."""
    participants = store.participants | {one.identity.subject: one.identity.participant for one in sources}
    for group in config.groups:
        where = f"{PREPARATION_FITS}/{group} of {store.path}"
        check_fit_saw_no_held_out(Subsets(subsets, config.split), participants, store.seen_by_fits(group), where)
