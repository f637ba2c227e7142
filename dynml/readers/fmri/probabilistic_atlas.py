"""Probabilistic atlases: an image of overlapping maps, one per channel, fitted to each volume by least squares."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError, shortened
from dynml.readers.fmri.atlas import (
    Extraction,
    Shape,
    Where,
    check_names,
    labels_from_file,
    load_image,
    same_grid,
    whole_image,
)
from dynml.readers.guard import faults_as_errors

RELATIVE_RANK = 1e-7


class ProbabilisticAtlas:
    """Maps of weights, (x, y, z, C); channel c of a volume is its coefficient in the least-squares fit by all maps.

    Parameters
    ----------
    path : Path
        4D NIfTI image.
    labels : Path, list, dict or None
        Names of the maps in their order: a list, or a mapping from numbers that count from 0 or 1; a `.json` file of
        either; a `.tsv` file with columns `index` and `name`. Without names, channels are called `map_0` and so on.
    excluded : collection of str
        Names of maps that are to be no channels. They are left out before the fit.

    Raises
    ------
    DataError
        When a map holds no weight, or the names do not fit.

    Notes
    -----
    As nilearn's `NiftiMapsMasker`: maps are brought onto the image's grid by linear interpolation, and the volume is
    fitted by all maps together (`nilearn.regions.img_to_signals_maps`).
    """

    def __init__(
        self,
        path: Path,
        labels: Path | list[str] | dict[str, str] | None = None,
        excluded: Collection[str] = (),
    ) -> None:
        self.path = path
        with whole_image(path, "The atlas") as image:
            n_maps = image.shape[3]
            names = _names_of_maps(labels, n_maps, path)
            check_names(names, excluded, f"maps of the atlas {path}")
            self._chosen = [number for number in range(n_maps) if names[number] not in excluded]
            empty = [names[number] for number in self._chosen if not _map(image, number, path).any()]
        self.names: tuple[str, ...] = tuple(names[number] for number in self._chosen)
        self.names_without_voxel: list[str] = []
        if empty:
            raise DataError(f"The atlas {path} has maps without any weight: {shortened(empty, 10)}.")

    def maps(self) -> tuple[Iterator[NDArray[np.float64]], Shape, NDArray[np.float64]]:
        """Give the maps of the channels, (x, y, z) each, one after another, with their shape and affine."""
        image = load_image(self.path, "The atlas")
        maps = (_map(image, number, self.path) for number in self._chosen)
        return maps, image.shape[:3], np.asarray(image.affine, dtype=np.float64)

    def check(self, shape: Shape, affine: NDArray[np.float64], where: Where) -> None:
        """Refuse a grid or a mask in which a map has no weight.

        Raises
        ------
        DataError
            Names the maps.
        """
        self._within(shape, affine, where)

    def extraction(self, shape: Shape, affine: NDArray[np.float64], where: Where) -> Extraction:
        """Fit all maps together by least squares.

        Raises
        ------
        DataError
            When one map is a combination of others on this grid.
        """
        from scipy.linalg import qr, solve_triangular

        maps_VC, used = self._within(shape, affine, where)
        q_VC, r_CC = qr(maps_VC, mode="economic")
        diagonal = np.abs(np.diag(r_CC))
        if len(r_CC) < len(self.names) or diagonal.min() <= RELATIVE_RANK * diagonal.max():
            raise DataError(
                f"{where.image}: the maps of the atlas {self.path} are combinations of each other on its "
                f"{len(maps_VC)} voxels, first {self.names[min(int(diagonal.argmin()), len(self.names) - 1)]}; use an "
                "atlas of fewer maps, or name some in 'exclude_channels'."
            )
        return Extraction(used, solve_triangular(r_CC, q_VC.T))

    def _within(
        self, shape: Shape, affine: NDArray[np.float64], where: Where
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Weights of the voxels that have any, (V, C), and these voxels, (x, y, z)."""
        state = self.path.stat()
        maps_VC, used = _maps_on_grid(
            self.path, state.st_mtime_ns, state.st_size, shape, np.asarray(affine, dtype=np.float64).tobytes()
        )
        maps_VC = maps_VC if len(self._chosen) == maps_VC.shape[1] else maps_VC[:, self._chosen]
        lost = [name for name, weights in zip(self.names, maps_VC.T) if not weights.any()]
        if len(lost) == len(self.names):
            raise DataError(
                f"The atlas {self.path} does not overlap the recordings: no map falls within their grid of "
                f"{' x '.join(map(str, shape))} voxels; are they in the same space?"
            )
        if lost:
            raise DataError(
                f"The atlas {self.path} has maps without a voxel on the recordings' grid of "
                f"{' x '.join(map(str, shape))}: {shortened(lost, 10)}; name them in 'exclude_channels'."
            )
        if where.mask is None:
            return maps_VC, used
        kept = where.mask[used]
        maps_VC = maps_VC[kept]
        where.refuse([name for name, weights in zip(self.names, maps_VC.T) if not weights.any()])
        return maps_VC, used & where.mask


@functools.lru_cache(maxsize=1)
def _maps_on_grid(
    path: Path, modified: int, n_bytes: int, shape: Shape, affine_bytes: bytes
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Weights on a grid, of the voxels that any map has; `modified` and `n_bytes` tell a file written anew."""
    affine = np.frombuffer(affine_bytes).reshape(4, 4)
    with whole_image(path, "The atlas") as image:
        return _maps_of(image, path, shape, affine)


def _maps_of(
    image: Any, path: Path, shape: Shape, affine: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    same = same_grid(image.shape[:3], image.affine, shape, affine)
    used = np.zeros(shape, dtype=bool)
    parts = []
    for number in range(image.shape[3]):
        weights = _map(image, number, path)
        weights = weights if same else _resampled(image, weights, shape, affine)
        voxels = weights != 0
        used |= voxels
        # Maps are 0 nearly everywhere: all of them on the whole grid would take gigabytes.
        parts.append((np.flatnonzero(voxels), weights[voxels]))
    row_of_voxel = np.cumsum(used.ravel()) - 1
    maps_VC = np.zeros((int(used.sum()), image.shape[3]))
    for number, (positions, values) in enumerate(parts):
        maps_VC[row_of_voxel[positions], number] = values
    return maps_VC, used


def _map(image: Any, number: int, path: Path) -> NDArray[np.float64]:
    with faults_as_errors(path, "The atlas"):
        weights = np.asarray(image.dataobj[..., number], dtype=np.float64)
    return np.nan_to_num(weights, posinf=0.0, neginf=0.0)


def _resampled(
    image: Any, weights: NDArray[np.float64], shape: Shape, affine: NDArray[np.float64]
) -> NDArray[np.float64]:
    from nilearn.image import resample_img
    from nilearn.image.resampling import BoundingBoxError

    own = type(image)(weights, image.affine)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Resampling binary images", category=UserWarning)
            moved = resample_img(own, affine, shape, interpolation="linear", copy_header=True)
    except BoundingBoxError:
        return np.zeros(shape)
    return np.asarray(moved.dataobj)


def _names_of_maps(labels: Path | list[str] | dict[str, str] | None, n_maps: int, path: Path) -> list[str]:
    if labels is None:
        return [f"map_{number}" for number in range(n_maps)]
    if isinstance(labels, Path):
        labels = labels_from_file(labels)
    if len(labels) != n_maps:
        raise DataError(f"atlas_labels has {len(labels)} names, but the atlas {path} has {n_maps} maps.")
    if isinstance(labels, list):
        return labels
    try:
        numbered = {int(number): str(name) for number, name in labels.items()}
    except ValueError as error:
        raise DataError(f"atlas_labels of {path} must map whole numbers to names: {error}.") from error
    first = min(numbered)
    if first not in (0, 1) or sorted(numbered) != list(range(first, first + n_maps)):
        raise DataError(f"atlas_labels of {path} must number the maps from 0 or from 1.")
    return [numbered[number] for number in range(first, first + n_maps)]
