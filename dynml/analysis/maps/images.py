"""Values of channels as images: NIfTI through the atlas, CIFTI through its axes.

Shapes: K maps, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dynml.errors import DataError
from dynml.geometry.geometry import Geometry

EXTENSIONS = {
    "labels": ".nii.gz",
    "maps": ".nii.gz",
    "parcels": ".pscalar.nii",
    "grayordinates": ".dscalar.nii",
}
"""Of the image that values become, by the kind of geometry; sensors become none."""


def image_of(geometry: Geometry, values: ArrayLike, names: Sequence[str]) -> Any:
    """Make an image of values of channels.

    Parameters
    ----------
    geometry : Geometry
        Of labels, maps, parcels or grayordinates.
    values : array, (K, C)
    names : sequence of K str
        Of the maps; kept in CIFTI files.

    Returns
    -------
    nibabel image
        NIfTI: (x, y, z, K) float32 on the atlas' grid, 0 outside. Where maps overlap, a voxel has the mean of their
        values weighted by their weights there. CIFTI: K scalar maps; 0 in places of no channel.

    Raises
    ------
    DataError
        When the number of values is not that of the channels.
    """
    own = np.asarray(values, dtype=np.float64)
    if own.ndim != 2 or own.shape[1] != len(geometry.channel_names):
        raise DataError(
            f"There are values of {own.shape[-1]} channels, but the {geometry.kind} are of "
            f"{len(geometry.channel_names)}."
        )
    if geometry.kind in ("labels", "maps"):
        return _nifti(geometry, own)
    assert geometry.kind in ("parcels", "grayordinates"), geometry.kind
    return _cifti(geometry, own, names)


def _nifti(geometry: Geometry, values_KC: NDArray[np.float64]) -> Any:
    import nibabel

    volumes = _of_labels(geometry, values_KC) if geometry.kind == "labels" else _of_maps(geometry, values_KC)
    image = nibabel.Nifti1Image(volumes.astype(np.float32), geometry.arrays["affine"])
    image.header.set_xyzt_units("mm")
    if geometry.is_standard:
        image.header.set_sform(geometry.arrays["affine"], code="mni")
    return image


def _of_labels(geometry: Geometry, values_KC: NDArray[np.float64]) -> NDArray[np.float64]:
    labels, codes = geometry.arrays["image"].astype(np.int64), geometry.arrays["values"]
    order = np.argsort(codes)
    positions = np.searchsorted(codes[order], labels).clip(max=len(codes) - 1)
    inside = codes[order][positions] == labels
    with_background = values_KC[:, order][:, positions]
    return np.moveaxis(np.where(inside, with_background, 0.0), 0, -1)


def _of_maps(geometry: Geometry, values_KC: NDArray[np.float64]) -> NDArray[np.float64]:
    voxels, channels = geometry.arrays["voxels"], geometry.arrays["channels"]
    shape = tuple(int(size) for size in geometry.arrays["shape"])
    sizes = np.abs(geometry.arrays["weights"].astype(np.float64))
    n_voxels = int(np.prod(shape))
    total = np.bincount(voxels, sizes, n_voxels)
    sums = np.stack([np.bincount(voxels, sizes * own[channels], n_voxels) for own in values_KC], axis=-1)
    means = np.divide(sums, total[:, None], out=np.zeros_like(sums), where=total[:, None] > 0)
    return means.reshape(*shape, len(values_KC))


def volume_of(geometry: Geometry, values: ArrayLike) -> Any:
    """Put values of parcels or grayordinates of CIFTI where their voxels lie.

    Parameters
    ----------
    geometry : Geometry
        Of parcels or grayordinates.
    values : array, (C,)

    Returns
    -------
    nibabel image or None
        (x, y, z) float32, NaN in voxels of no channel; None where all lie on surfaces, whose meshes no store has.
    """
    import nibabel
    from nibabel.cifti2.cifti2_axes import ParcelsAxis

    own, axis, rows = np.asarray(values, dtype=np.float64), axis_of(geometry), geometry.arrays["rows"]
    if axis.volume_shape is None or axis.affine is None:
        return None
    if isinstance(axis, ParcelsAxis):
        voxels, row_of = joined_parcels([np.asarray(voxels).reshape(-1, 3) for voxels in axis.voxels], rows)
    else:
        voxels, row_of = np.asarray(axis.voxel)[axis.volume_mask], rows[axis.volume_mask]
    voxels, row_of = voxels[row_of >= 0], row_of[row_of >= 0]
    if not len(voxels):
        return None
    volume = np.full(axis.volume_shape, np.nan, dtype=np.float32)
    volume[tuple(voxels.T)] = own[row_of]
    return nibabel.Nifti1Image(volume, axis.affine)


def joined_parcels(members: Sequence[NDArray[Any]], rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Voxels or vertices of all parcels end to end, and the channel of each."""
    return np.concatenate(list(members)), np.repeat(rows, [len(own) for own in members])


def axis_of(geometry: Geometry) -> Any:
    """Axis of parcels or grayordinates, as its header has it."""
    from nibabel.cifti2.parse_cifti2 import Cifti2Parser

    parser: Any = Cifti2Parser()
    parser.parse(string=geometry.arrays["axis"].tobytes())
    return parser.header.get_axis(1)


def _cifti(geometry: Geometry, values_KC: NDArray[np.float64], names: Sequence[str]) -> Any:
    from nibabel.cifti2.cifti2 import Cifti2Image
    from nibabel.cifti2.cifti2_axes import ScalarAxis

    axis, rows = axis_of(geometry), geometry.arrays["rows"]
    if geometry.kind == "parcels":
        axis = axis[np.flatnonzero(rows >= 0)]
        data = values_KC[:, rows[rows >= 0]]
    else:
        data = np.where(rows >= 0, values_KC[:, rows.clip(min=0)], 0.0)
    return Cifti2Image(data.astype(np.float32), (ScalarAxis(list(names)), axis))
