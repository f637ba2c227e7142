"""What a store keeps of an atlas or of CIFTI axes, so that values of channels can be drawn without the files.

Shapes: C channels, G grayordinates.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.geometry.geometry import POSITIONS, SPACE, STANDARD, Geometry
from dynml.readers.fmri.atlas import LabelAtlas, load_image, load_volume
from dynml.readers.fmri.probabilistic_atlas import ProbabilisticAtlas

SPACE_OF_CODE = {1: "scanner", 2: "aligned", 3: "Talairach", 4: "MNI152"}
"""What the codes of a NIfTI header say of its coordinates."""
SPACE_ENTITY = re.compile(r"(?:space|tpl)-([A-Za-z0-9]+)")
STANDARD_SPACE = re.compile(r"MNI|ICBM|Talairach|fsaverage|fsLR", re.IGNORECASE)
HALF = 0.5


def geometry_of_labels(atlas: LabelAtlas) -> Geometry:
    """Keep the atlas on its own grid, with the centre of the largest connected piece of each label."""
    data, affine = load_volume(atlas.path, "The atlas")
    image = np.where(np.isin(data, atlas.values), data, 0).astype(np.int64)
    compact = image.astype(np.min_scalar_type(int(image.max())))
    arrays = {
        "image": compact,
        "affine": np.asarray(affine, dtype=np.float64),
        "values": np.asarray(atlas.values, dtype=np.int64),
        POSITIONS: _centres_of_labels(image, atlas.values, affine),
    }
    return Geometry(kind="labels", channel_names=atlas.names, arrays=arrays, values=_space(atlas.path))


def geometry_of_maps(atlas: ProbabilisticAtlas) -> Geometry:
    """Keep the weights that are not 0, and the centre of the largest piece of each map above half its maximum."""
    maps, shape, affine = atlas.maps()
    parts = []
    positions = np.full((len(atlas.names), 3), np.nan)
    for channel, weights in enumerate(maps):
        voxels = np.flatnonzero(weights)
        parts.append((voxels, np.full(len(voxels), channel, dtype=np.int32), weights.ravel()[voxels]))
        positions[channel] = _centre(weights >= HALF * weights.max(), affine, (0, 0, 0))
    arrays = {
        "voxels": np.concatenate([voxels for voxels, _, _ in parts]).astype(np.int64),
        "channels": np.concatenate([channels for _, channels, _ in parts]),
        "weights": np.concatenate([weights for _, _, weights in parts]).astype(np.float32),
        "shape": np.asarray(shape, dtype=np.int64),
        "affine": np.asarray(affine, dtype=np.float64),
        POSITIONS: positions,
    }
    return Geometry(kind="maps", channel_names=atlas.names, arrays=arrays, values=_space(atlas.path))


def geometry_of_parcels(axis: Any, chosen: NDArray[np.int64], path: Path) -> Geometry:
    """Keep an axis of parcels; those of voxels alone have a centre, and vertices need a surface to have one."""
    positions = np.full((len(chosen), 3), np.nan)
    for row, parcel in enumerate(chosen.tolist()):
        voxels = np.asarray(axis.voxels[parcel])
        if len(voxels) and not axis.vertices[parcel]:
            positions[row] = _to_mm(voxels.mean(axis=0), axis.affine)
    rows = np.full(len(axis), -1, dtype=np.int32)
    rows[chosen] = np.arange(len(chosen))
    names = tuple(str(axis.name[parcel]) for parcel in chosen)
    arrays: dict[str, NDArray[Any]] = {"axis": _bytes_of_axis(axis), "rows": rows, POSITIONS: positions}
    return Geometry(kind="parcels", channel_names=names, arrays=arrays, values=_space_of_cifti(path))


def geometry_of_grayordinates(axis: Any, rows_G: NDArray[np.int64], names: tuple[str, ...], path: Path) -> Geometry:
    """Keep the brain models of an atlas of grayordinates, and the channel of each, (G,), -1 for none."""
    positions = np.full((len(names), 3), np.nan)
    on_surface = np.asarray(axis.surface_mask)
    for row in range(len(names)):
        members = np.flatnonzero(rows_G == row)
        if len(members) and not on_surface[members].any():
            positions[row] = _to_mm(np.asarray(axis.voxel)[members].mean(axis=0), axis.affine)
    arrays: dict[str, NDArray[Any]] = {
        "axis": _bytes_of_axis(axis),
        "rows": rows_G.astype(np.int32),
        POSITIONS: positions,
    }
    return Geometry(kind="grayordinates", channel_names=names, arrays=arrays, values=_space_of_cifti(path))


def _bytes_of_axis(axis: Any) -> NDArray[np.uint8]:
    from nibabel.cifti2.cifti2 import Cifti2Header
    from nibabel.cifti2.cifti2_axes import ScalarAxis

    header = Cifti2Header.from_axes((ScalarAxis(["map"]), axis))
    return np.frombuffer(header.to_xml(), dtype=np.uint8)


def _centres_of_labels(image: NDArray[np.int64], values: list[int], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import find_objects

    # Labels may be large numbers with gaps: boxes are found of their positions.
    positions = np.searchsorted(values, image) + 1
    boxes = find_objects(np.where(image > 0, positions, 0))
    centres = np.full((len(values), 3), np.nan)
    for row, box in enumerate(boxes):
        if box is not None:
            corner = tuple(part.start for part in box)
            centres[row] = _centre(image[box] == values[row], affine, corner)
    return centres


def _centre(inside: NDArray[np.bool_], affine: NDArray[np.float64], corner: tuple[int, ...]) -> NDArray[np.float64]:
    """Centre of the largest connected piece, mm: a parcel of both hemispheres would have its centre in neither."""
    from scipy.ndimage import center_of_mass, label

    pieces, n_pieces = label(inside)
    largest = 1 + int(np.argmax(np.bincount(pieces.ravel(), minlength=n_pieces + 1)[1:]))
    voxel = np.array(center_of_mass(pieces == largest)) + np.array(corner)
    return _to_mm(voxel, affine)


def _to_mm(voxel: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    moved: NDArray[np.float64] = affine[:3, :3] @ voxel + affine[:3, 3]
    return moved


def space_in_name(path: Path) -> dict[str, Any]:
    """Space by the entity in a file's name, and whether it is a standard one; empty without such an entity."""
    found = SPACE_ENTITY.search(path.name)
    return {SPACE: found[1], STANDARD: bool(STANDARD_SPACE.search(found[1]))} if found else {}


def _space(path: Path) -> dict[str, Any]:
    """Space of an image by the entity in its name, else by the codes of its header."""
    header = load_image(path, "The atlas", to_its_end=False).header
    codes = [int(header[name]) for name in ("sform_code", "qform_code") if name in header]
    space = SPACE_OF_CODE.get(next((code for code in codes if code), 0), "unknown")
    by_header = {SPACE: space, STANDARD: bool(STANDARD_SPACE.search(space))}
    return {"file": path.name, **by_header, **space_in_name(path)}


def _space_of_cifti(path: Path) -> dict[str, Any]:
    return {"file": path.name, SPACE: "unknown", STANDARD: False, **space_in_name(path)}
