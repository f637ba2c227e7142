"""Values of CIFTI channels on the vertices of the cortex, and the meshes that say where these vertices lie.

Shapes: C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.analysis.maps.images import axis_of, joined_parcels
from dynml.errors import DataCorruptionError, DataError
from dynml.geometry.geometry import Geometry
from dynml.readers.guard import faults_as_errors

HEMISPHERES = {"left": "CIFTI_STRUCTURE_CORTEX_LEFT", "right": "CIFTI_STRUCTURE_CORTEX_RIGHT"}
"""Names of the two halves of the cortex in CIFTI-2."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """One half of the cortex as triangles."""

    path: Path
    coordinates: NDArray[np.float64]
    """(vertices, 3), mm."""
    triangles: NDArray[np.int64]
    """(triangles, 3), numbers of vertices."""


def read_meshes(left: Path, right: Path) -> dict[str, Mesh]:
    """Read the two halves of a cortex from GIFTI files (.surf.gii).

    Raises
    ------
    DataError
        When a file is missing, damaged, no GIFTI surface, or says that it is of the other half.
    """
    return {"left": _read_mesh(Path(left), "left"), "right": _read_mesh(Path(right), "right")}


def has_vertices(geometry: Geometry) -> bool:
    """Whether some channels lie on vertices of the cortex."""
    if geometry.kind not in ("parcels", "grayordinates"):
        return False
    return bool(values_on_vertices(geometry, np.zeros(len(geometry.channel_names))))


def values_on_vertices(geometry: Geometry, values: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Put values of parcels or grayordinates of CIFTI on the vertices of the cortex.

    Parameters
    ----------
    geometry : Geometry
        Of parcels or grayordinates.
    values : array, (C,)

    Returns
    -------
    dict
        "left" and "right", where channels lie on them: (vertices,), NaN on vertices of no channel.
    """
    from nibabel.cifti2.cifti2_axes import ParcelsAxis

    own, axis, rows = np.asarray(values, dtype=np.float64), axis_of(geometry), geometry.arrays["rows"]
    found = {}
    for hemisphere, structure in HEMISPHERES.items():
        if structure not in axis.nvertices:
            continue
        if isinstance(axis, ParcelsAxis):
            of_parcels = [np.asarray(members.get(structure, ()), dtype=np.int64) for members in axis.vertices]
            vertices, row_of = joined_parcels(of_parcels, rows)
        else:
            inside = axis.name == structure
            vertices, row_of = np.asarray(axis.vertex)[inside], rows[inside]
        on_mesh = np.full(axis.nvertices[structure], np.nan)
        on_mesh[vertices[row_of >= 0]] = own[row_of[row_of >= 0]]
        if np.isfinite(on_mesh).any():
            found[hemisphere] = on_mesh
    return found


def check_meshes(meshes: dict[str, Mesh], geometry: Geometry) -> None:
    """Refuse meshes with another number of vertices than the channels' cortex has.

    Raises
    ------
    DataError
        Naming the file and both numbers.
    """
    numbers = axis_of(geometry).nvertices
    for hemisphere, structure in HEMISPHERES.items():
        mesh = meshes[hemisphere]
        if structure in numbers and numbers[structure] != len(mesh.coordinates):
            raise DataError(
                f"The mesh {mesh.path} has {len(mesh.coordinates):,} vertices, but the channels lie on a {hemisphere} "
                f"cortex of {numbers[structure]:,}; give the mesh that the CIFTI files were made for."
            )


def _read_mesh(path: Path, hemisphere: str) -> Mesh:
    import nibabel

    if not path.is_file():
        raise DataError(f"The mesh {path} does not exist.")
    with faults_as_errors(path, "The mesh"):
        points, triangles = _arrays(nibabel.load(path), path)
        coordinates, faces = np.asarray(points.data, dtype=np.float64), np.asarray(triangles.data, dtype=np.int64)
    said = str(points.meta.get("AnatomicalStructurePrimary", "")).lower()
    other = "right" if hemisphere == "left" else "left"
    if said == f"cortex{other}":
        raise DataError(f"The mesh {path} is of the {other} half of the cortex, but was given for the {hemisphere}.")
    are_whole = coordinates.ndim == faces.ndim == 2 and coordinates.shape[1] == faces.shape[1] == 3 and faces.size
    if not are_whole or faces.min() < 0 or faces.max() >= len(coordinates) or not np.isfinite(coordinates).all():
        raise DataCorruptionError(f"The mesh {path} has triangles of vertices that it does not have.")
    return Mesh(path=path, coordinates=coordinates, triangles=faces)


def _arrays(image: Any, path: Path) -> tuple[Any, Any]:
    """Points and triangles of a GIFTI image."""
    from nibabel.gifti.gifti import GiftiImage

    if isinstance(image, GiftiImage):
        points = image.get_arrays_from_intent("NIFTI_INTENT_POINTSET")
        triangles = image.get_arrays_from_intent("NIFTI_INTENT_TRIANGLE")
        if points and triangles:
            return points[0], triangles[0]
    raise DataError(f"The mesh {path} is not a GIFTI surface with points and triangles (.surf.gii).")
