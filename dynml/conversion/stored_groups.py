"""Which groups of a store new subjects have: all, or those of one of the stores that it was joined of."""

from __future__ import annotations

from collections.abc import Sequence

from dynml.configuration import nearest_name
from dynml.conversion.config import StoreConfig
from dynml.conversion.stored_preparation import StoredPreparation
from dynml.errors import DataError
from dynml.store.layout import TOP_LEVEL_KEYS, TYPE

OTHER_SOURCES = {
    "simulation": "a simulation (dynml_simulate_data.py)",
    "import": "tar files (dynml_import_webdataset.py)",
}
"""What a store was made of, by the section of its config that other scripts write."""


def of_config(stored: StoredPreparation, config: StoreConfig) -> StoredPreparation:
    """Give the preparation of the groups that a config has, by which subjects are to be added.

    Raises
    ------
    DataError
        When the store lacks a group, or no subject in it has just these.
    """
    check_is_of_recordings(stored)
    there, given = _groups(stored), list(config.groups)
    new = next((name for name in sorted(given) if name not in there), None)
    if new is not None:
        raise DataError(f"Group {new} is in the config only; the config must be that of {stored.path}.")
    if not stored.together:
        lacking = next((name for name in sorted(there) if name not in given), None)
        if lacking is not None:
            raise DataError(f"Group {lacking} is in {stored.path} only; the config must be that of the store.")
    elif frozenset(given) not in stored.together:
        raise DataError(
            f"{stored.path} has no subject with {_named(given)}, but subjects with {_in_words(stored)}: add the "
            "subjects of each by a config of these groups only."
        )
    return stored.of_groups(given)


def of_chosen(stored: StoredPreparation, groups: Sequence[str] | None) -> StoredPreparation:
    """Give the preparation of the groups that new subjects have.

    Parameters
    ----------
    stored : StoredPreparation
    groups : sequence of str or None
        None: all.

    Raises
    ------
    DataError
        When there is no such group, or none is chosen where no subject of the store has all.
    """
    check_is_of_recordings(stored)
    there = _groups(stored)
    for name in groups or ():
        if name not in there:
            raise DataError(f"{stored.path} has no group {name!r}{nearest_name(name, there)}.")
    if groups is None and stored.together and frozenset(there) not in stored.together:
        raise DataError(
            f"{stored.path} has no subject with {_named(there)}, but subjects with {_in_words(stored)}: say by "
            "--groups which of them the new subjects have."
        )
    return stored if groups is None else stored.of_groups(groups)


def check_is_of_recordings(stored: StoredPreparation) -> None:
    """Refuse a store whose config says of no group how its recordings are read.

    Raises
    ------
    DataError
        Says what it was made of instead.
    """
    sections = [name for name in stored.config if name not in TOP_LEVEL_KEYS]
    if any(isinstance(stored.config[name], dict) and TYPE in stored.config[name] for name in sections):
        return
    made_of = next((words for name, words in OTHER_SOURCES.items() if name in sections), "something else")
    raise DataError(
        f"{stored.path} was made of {made_of} and not of recordings by a config, so that it does not say how others "
        "are to be read and prepared; dynml_create_hdf5_dataset.py makes a store of recordings."
    )


def _groups(stored: StoredPreparation) -> list[str]:
    return [name for name in stored.config if name not in TOP_LEVEL_KEYS]


def _in_words(stored: StoredPreparation) -> str:
    return " and others with ".join(_named(sorted(groups)) for groups in stored.together)


def _named(groups: Sequence[str]) -> str:
    return f"group {groups[0]}" if len(groups) == 1 else f"all of the groups {', '.join(sorted(groups))}"
