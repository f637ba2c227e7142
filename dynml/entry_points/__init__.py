"""What other packages add by entry points: families, readers, preparation steps.

In: the name of a group (`dynml.readers`) and of an entry. Out: what the entry names,
imported when it is asked for.
"""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from importlib.metadata import EntryPoint
from typing import Any

from dynml.errors import DataError, in_one_line


def names_of_group(group: str, package: str | None = None) -> list[str]:
    """Names that installed packages give in a group, sorted; nothing is imported.

    Parameters
    ----------
    group : str
    package : str, optional
        Only those that stand in the package that is imported by this name.
    """
    points = _points(group, tuple(sys.path))
    packages = {point.name: point.module.partition(".")[0] for point in points}
    return sorted(name for name in packages if package in (None, packages[name]))


def loaded_entry(group: str, name: str) -> Any:
    """Import what an entry names.

    Raises
    ------
    DataError
        When there is none, when two packages give the name, or when it cannot be
        imported; names the packages.
    """
    points = [point for point in _points(group, tuple(sys.path)) if point.name == name]
    what = f"an entry point {name!r} of {group}"
    if not points:
        raise DataError(f"No installed package has {what}.")
    if len({point.value for point in points}) > 1:
        packages = " and ".join(sorted(package_of(point) for point in points))
        advice = "uninstall one of them"
        raise DataError(f"The packages {packages} both have {what}: {advice}.")
    try:
        return points[0].load()
    except Exception as error:  # whatever another package raises as it is imported
        raise DataError(
            f"The package {package_of(points[0])} cannot be used: its entry point "
            f"{name!r} of {group}, {points[0].value}, could not be imported: "
            f"{in_one_line(error)} ({type(error).__name__})."
        ) from error


def unusable_entry(group: str, name: str, found: object, accepted: str) -> DataError:
    """Make the sentence for an entry that names something the group cannot use."""
    points = _points(group, tuple(sys.path))
    package = next(package_of(point) for point in points if point.name == name)
    return DataError(
        f"The package {package} cannot be used: its entry point {name!r} of {group} "
        f"names {found!r}, but must name {accepted}."
    )


def package_of(point: EntryPoint) -> str:
    """Name of the package that has an entry point."""
    if point.dist is None:
        return point.value.partition(":")[0]
    return point.dist.name


def release_of(group: str, name: str) -> str | None:
    """Name and version of the package that has an entry; None where no package has it, or it says none."""
    for point in _points(group, tuple(sys.path)):
        if point.name == name and point.dist is not None:
            return f"{point.dist.name} {point.dist.version}"
    return None


@functools.cache
def _points(group: str, folders: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    # Looking through all packages takes long, and readers are looked up for each file.
    del folders
    return tuple(importlib.metadata.entry_points(group=group))
