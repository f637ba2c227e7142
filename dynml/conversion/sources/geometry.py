"""Finds where the channels of each group lie, by the first subject's first file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from dynml.conversion.sources.agreement import GroupSources
from dynml.conversion.sources.found import SubjectSources
from dynml.data_warnings import DataWarnings
from dynml.errors import DataError
from dynml.geometry.geometry import SPACE, STANDARD, Geometry
from dynml.readers.fmri.geometry import space_in_name


def geometries_of(
    all_sources: Sequence[SubjectSources], groups: Iterable[str], warned: DataWarnings
) -> dict[str, Geometry]:
    """Say for each group, where its format tells it, what is needed to draw its channels on a brain.

    Parameters
    ----------
    all_sources : sequence of SubjectSources
    groups : iterable of str
    warned : DataWarnings
        Warned where a file could not say it: the store is of use without.
    """
    found = {}
    for group in groups:
        for one in all_sources[:1]:
            try:
                geometry = _geometry(one.groups[group])
            except DataError as error:
                warned.add(f"Group {group}: where its channels lie is not kept, for pictures", str(error).rstrip("."))
                continue
            if geometry is not None:
                found[group] = geometry
    return found


def _geometry(sources: GroupSources) -> Geometry | None:
    file = sources.files[0]
    geometry = file.reader.geometry(file.path)
    if geometry is None:
        return None
    names = file.description.channel_names
    geometry = None if names is None else geometry.of_channels(names)
    if geometry is None:
        return None
    space = space_in_name(file.path)
    if not geometry.is_standard and geometry.kind != "sensors" and space.get(STANDARD):
        # An atlas often says of itself no more than that it was aligned; the recordings were brought to its space.
        geometry = dataclasses.replace(geometry, values={**geometry.values, SPACE: space[SPACE], STANDARD: True})
    order = range(len(geometry.channel_names)) if sources.order is None else sources.order
    return geometry.taken(order).named(sources.channel_names)
