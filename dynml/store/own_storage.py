"""HDF5 files can lead into other files, by links, external storage and virtual datasets; none of these is followed.

A file that someone sends would otherwise read whatever it names on the disk of whoever opens it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from dynml.errors import DataError
from dynml.host_memory import check_claimed_size

DEEPEST = 8
"""Groups within groups that are looked through; hard links can make circles."""


def check_own_path(path: Path, file: Any, name: str) -> None:
    """Refuse a name that a link leads from into another file.

    Parameters
    ----------
    path : Path
        For messages.
    file : h5py.Group
    name : str
        Path within it; what is not there passes.

    Raises
    ------
    DataError
        Names the link and the other file.
    """
    import h5py

    parts = name.split("/")
    for path_in_file in ("/".join(parts[:number]) for number in range(1, len(parts) + 1)):
        link = file.get(path_in_file, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise DataError(
                f"{path}: {path_in_file} is a link into {link.filename}; links out of a file are not followed."
            )
        if not isinstance(link, h5py.HardLink):
            return


def own_dataset(path: Path, file: Any, name: str) -> Any:
    """Open a dataset to read it whole, when its values stand in the file itself and memory holds them.

    Raises
    ------
    DataError
        When they would be read from another file, or are too many.
    """
    check_own_path(path, file, name)
    dataset = file[name]
    _check_own_values(path, dataset)
    if dataset.shape is not None:
        check_claimed_size(path, dataset.nbytes, f"the dataset {name}")
        if dataset.chunks is not None:
            n_bytes_of_chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
            check_claimed_size(path, n_bytes_of_chunk, f"a chunk of the dataset {name}")
    return dataset


def check_own_storage(path: Path, group: Any, depth: int = 0) -> None:
    """Refuse a group that holds, at any depth, what stands in another file.

    Raises
    ------
    DataError
        Names it and the other file.
    """
    from h5py import h5d, h5g, h5l, h5o

    # By h5py's low-level calls, a fifth of the time: this is asked of every subject of a store that is opened.
    for name in group.id:
        if group.id.links.get_info(name).type != h5l.TYPE_HARD:
            check_own_path(path, group, name.decode(errors="surrogateescape"))
            continue
        item = h5o.open(group.id, name)
        if isinstance(item, h5d.DatasetID):
            if _may_lie_outside(item):
                _check_own_values(path, group[name])
        elif isinstance(item, h5g.GroupID) and depth < DEEPEST:
            check_own_storage(path, group[name], depth + 1)


def _may_lie_outside(dataset: Any) -> bool:
    from h5py import h5d

    created = dataset.get_create_plist()
    return bool(created.get_external_count()) or created.get_layout() == h5d.VIRTUAL


def _check_own_values(path: Path, dataset: Any) -> None:
    outside = [entry[0] for entry in dataset.external or []]
    if dataset.is_virtual:
        outside += [source.file_name for source in dataset.virtual_sources() if source.file_name != "."]
    if outside:
        raise DataError(
            f"{path}: the values of {dataset.name} stand in another file, {outside[0]}, and external storage is not "
            "followed; copy them into one file."
        )
