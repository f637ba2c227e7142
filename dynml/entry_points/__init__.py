"""What other packages add by entry points: families, readers of recordings, preparation steps.

In: the name of a group (`dynml.readers`) and of an entry. Out: what the entry names, imported when it is asked for.
"""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from importlib.metadata import EntryPoint
from typing import Any

from dynml.errors import DataError


def names_of_group(group: str, package: str | None = None) -> list[str]:
    """Names that installed packages give in a group, sorted; nothing is imported.

    Parameters
    ----------
    group : str
    package : str, optional
        Only those that stand in the package that is imported by this name.
    """
    points = _points(group, tuple(sys.path))
    return sorted({point.name for point in points if package in (None, point.module.partition(".")[0])})


def loaded_entry(group: str, name: str) -> Any:
    """Import what an entry names.

    Raises
    ------
    DataError
        When there is none, when two packages give the name, or when it cannot be imported; names the packages.
    """
    points = [point for point in _points(group, tuple(sys.path)) if point.name == name]
    if not points:
        raise DataError(f"No installed package has an entry point {name!r} of {group}.")
    if len({point.value for point in points}) > 1:
        packages = " and ".join(sorted(package_of(point) for point in points))
        raise DataError(f"The packages {packages} both have an entry point {name!r} of {group}: uninstall one of them.")
    try:
        return points[0].load()
    except Exception as error:  # whatever another package's code raises as it is imported
        told = " ".join(str(error).split()).rstrip(".") or "no message"
        raise DataError(
            f"The package {package_of(points[0])} cannot be used: its entry point {name!r} of {group}, "
            f"{points[0].value}, could not be imported: {told} ({type(error).__name__})."
        ) from error


def unusable_entry(group: str, name: str, found: object, accepted: str) -> DataError:
    """Make the sentence for an entry that names something else than the group needs."""
    package = next(package_of(point) for point in _points(group, tuple(sys.path)) if point.name == name)
    return DataError(
        f"The package {package} cannot be used: its entry point {name!r} of {group} names {found!r}, but must name "
        f"{accepted}."
    )


def package_of(point: EntryPoint) -> str:
    """Name of the package that has an entry point."""
    return point.dist.name if point.dist is not None else point.value.partition(":")[0]


@functools.cache
def _points(group: str, folders: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    # Looking through all installed packages takes long, and readers are looked up for every file.
    del folders
    return tuple(importlib.metadata.entry_points(group=group))
