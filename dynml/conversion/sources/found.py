"""Finds and checks all sources of a store before anything is written: files, shapes, channels, rates, events."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dynml.configuration import nearest_name
from dynml.conversion.bids.sources import participants_of_bids
from dynml.conversion.config import StoreConfig, TimeseriesGroupConfig
from dynml.conversion.sources.agreement import GroupSources, check_agreement, in_one_order
from dynml.conversion.sources.groups import group_sources
from dynml.conversion.sources.places import Place
from dynml.conversion.sources.table import SourceTable
from dynml.data_warnings import DataWarnings
from dynml.errors import ConfigurationError, DataError, first_of
from dynml.fits import Layout
from dynml.preparation import chain
from dynml.preparation.step import PreparationStep
from dynml.readers import Reader
from dynml.store.layout import natural_order
from dynml.store.participants import check_split, identities
from dynml.store.participants_table import SIMILAR, SubjectIdentity, similar_names


@dataclass(frozen=True, kw_only=True)
class SubjectSources:
    """What makes one subject."""

    identity: SubjectIdentity
    groups: dict[str, GroupSources]


def find_sources(
    ready_folder: Path,
    config: StoreConfig,
    subsets: dict[str, list[str]],
    warned: DataWarnings,
    table: SourceTable | None = None,
    known: Collection[str] = (),
) -> list[SubjectSources]:
    """Find and check all files of all subjects, reading headers only.

    Parameters
    ----------
    ready_folder : Path
        Holds one folder per subject; the table's folder where there is one.
    config : StoreConfig
    subsets : dict
        Subset name to its subjects.
    warned : DataWarnings
        Gathers what the user should know.
    table : SourceTable, optional
        Names the files, instead of the config.
    known : collection of str
        Subjects that no warning is given of where they are in no list.

    Returns
    -------
    list of SubjectSources
        Subject by subject in the order of the subsets.

    Raises
    ------
    DataError
        For a missing folder or file, a pattern that matches nothing, an array that cannot be used, or a difference
        between subjects in channels or rate; names the subject, the group and the field.
    """
    subjects = [subject for names in subsets.values() for subject in names]
    if table is None:
        _check_folders(ready_folder, subjects, config, warned, known)
    else:
        _check_rows(table, subjects, warned, known)
    steps = {group: steps_of(group, group_config) for group, group_config in config.groups.items()}
    identified = identify(ready_folder, config, subjects, warned, table)
    check_split(subsets, identified, config.split)
    for pair in similar_names(one.participant for one in identified.values()):
        warned.add(SIMILAR, pair)
    readers: dict[Hashable, Reader] = {}
    sources = [
        SubjectSources(
            identity=identified[subject],
            groups={
                group: group_sources(Place(config, group, ready_folder / subject, warned, readers, table))
                for group in config.groups
            },
        )
        for subject in subjects
    ]
    for group in config.groups:
        of_subjects = {one.identity.subject: one.groups[group] for one in sources}
        reorder = config.groups[group].match_channels
        of_subjects = in_one_order(group, of_subjects) if reorder else of_subjects
        sources = [_with_group(one, group, of_subjects[one.identity.subject]) for one in sources]
        becomes_one = any(step.name == "downsample" for step in steps[group])
        check_agreement(group, of_subjects, mixed_rates=config.allow_mixed_sampling_frequency or becomes_one)
        check_steps(group, of_subjects, steps[group])
    return sources


def identify(
    ready_folder: Path, config: StoreConfig, subjects: list[str], warned: DataWarnings, table: SourceTable | None = None
) -> dict[str, SubjectIdentity]:
    """Say whose each subject is, by the config, the table, or the participants.tsv of BIDS.

    Raises
    ------
    DataError
        When a subject is not described, or twice.
    """
    if table is not None and config.participants is None:
        return {subject: table.subjects[subject].identity for subject in subjects}
    if table is not None and table.describes_participants:
        raise DataError(
            f"Both 'participants' of the config and columns of {table.path} describe participants; keep one of them."
        )
    participants = config.participants or participants_of_bids(ready_folder, config, subjects, warned)
    return identities(subjects, participants, [config.folder.resolve(), ready_folder.resolve()], warned)


def subjects_of_folder(ready_folder: Path, config: StoreConfig) -> list[str]:
    """Names of the folders that a folder of subjects, or BIDS derivatives, holds, in natural order.

    Raises
    ------
    DataError
        When it does not exist or may not be read.
    """
    try:
        present = [entry.name for entry in ready_folder.iterdir() if entry.is_dir()]
    except FileNotFoundError as error:
        raise DataError(f"The folder of subjects {ready_folder} does not exist.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"The folder of subjects {ready_folder} cannot be read: {reason}.") from error
    if all(group.bids is not None for group in config.groups.values()):
        present = [name for name in present if name.startswith("sub-")]
    return sorted((name for name in present if not name.startswith(".")), key=natural_order)


def _with_group(sources: SubjectSources, group: str, own: GroupSources) -> SubjectSources:
    return dataclasses.replace(sources, groups={**sources.groups, group: own})


def _check_rows(table: SourceTable, subjects: list[str], warned: DataWarnings, known: Collection[str]) -> None:
    missing = [subject for subject in subjects if subject not in table.subjects]
    if missing:
        near = nearest_name(missing[0], table.subjects)
        raise DataError(f"{table.path} has no subject {missing[0]}{near if len(near) < 200 else ''}.")
    unlisted = [name for name in table.subjects if name not in {*subjects, *known}]
    if unlisted:
        named = first_of(unlisted)
        warned.add(f"{len(unlisted)} of the subjects in {table.path} are in no list and were left out", named)


def _check_folders(
    ready_folder: Path, subjects: list[str], config: StoreConfig, warned: DataWarnings, known: Collection[str]
) -> None:
    present = subjects_of_folder(ready_folder, config)
    missing = [subject for subject in subjects if subject not in set(present)]
    if missing:
        near = nearest_name(missing[0], present) if present else " (it is empty)"
        more = f" nor of {len(missing) - 1} more subjects" if len(missing) > 1 else ""
        raise DataError(
            f"{ready_folder} has no folder of subject {missing[0]}{more}{near if len(near) < 200 else ''}; lists of "
            "subjects hold one name per line."
        )
    unlisted = [name for name in present if name not in {*subjects, *known}]
    if unlisted:
        named = first_of(unlisted)
        warned.add(f"{len(unlisted)} of the folders in {ready_folder} are in no list and were left out", named)


def steps_of(group: str, config: TimeseriesGroupConfig) -> list[PreparationStep]:
    """Make a group's chain.

    Raises
    ------
    DynmlError
        For a step or parameter that is not accepted; names the group and the place.
    """
    try:
        return chain.chosen_steps(config.preparation, config.detrends_as_step)
    except ConfigurationError as error:
        raise ConfigurationError(f"{group}.{error.key}", error.found, error.accepted) from error
    except DataError as error:
        raise DataError(f"Group {group}: {error}") from error


def check_steps(group: str, sources: Mapping[str, GroupSources], steps: Sequence[PreparationStep]) -> None:
    """Check steps against each rate and set of channels, at the first subject that has them.

    Raises
    ------
    DataError
        Names the subject, the group and the step.
    """
    checked: set[Layout] = set()
    for subject, one in sources.items():
        layout = Layout(sampling_frequency=one.sampling_frequency, channel_names=one.channel_names)
        if layout not in checked:
            chain.layout_after(steps, layout, f"Subject {subject}, group {group}")
            checked.add(layout)
