"""Reads 4D NIfTI images through an atlas: labels, whose voxels are averaged, or maps, which are fitted."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataCorruptionError, DataError
from dynml.geometry.geometry import Geometry
from dynml.readers import FileDescription, ReaderInputs
from dynml.readers.fmri.atlas import (
    Atlas,
    Extraction,
    LabelAtlas,
    Where,
    check_has_all_voxels,
    load_image,
    load_volume,
    resampled,
    shortened,
    whole_image,
)
from dynml.readers.fmri.geometry import geometry_of_labels, geometry_of_maps
from dynml.readers.fmri.motion import Motion, check_grid, found_motion
from dynml.readers.fmri.probabilistic_atlas import ProbabilisticAtlas
from dynml.readers.guard import guarded, in_one_line

AUTOMATIC_MASK = "auto"
BYTES_PER_BLOCK = 256 * 1024**2
SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
PLAUSIBLE_SECONDS = (0.01, 60.0)


class NiftiReader:
    """Reads 4D images; the atlas is brought onto the grid of each.

    Parameters
    ----------
    inputs : ReaderInputs
        `atlas` is needed, 3D with labels or 4D with maps; `atlas_labels`, `mask`, `smoothing`, `motion_correction`
        and `exclude_channels` are optional.

    Raises
    ------
    DataError
        Without an atlas, or with one that cannot be used.
    """

    settings = frozenset({"atlas", "atlas_labels", "mask", "smoothing", "motion_correction", "exclude_channels"})

    def __init__(self, inputs: ReaderInputs) -> None:
        if inputs.atlas is None:
            raise DataError("NIfTI images need the key 'atlas': an image of labels, or of one map a channel.")
        shape = load_image(inputs.atlas, "The atlas").shape
        of_maps = len(shape) == 4 and shape[3] > 1
        kind = ProbabilisticAtlas if of_maps else LabelAtlas
        self.atlas: Atlas = kind(inputs.atlas, inputs.atlas_labels, inputs.exclude_channels)
        self.mask = inputs.mask
        self.smoothing = inputs.smoothing
        self.motion_correction = inputs.motion_correction
        self.motions: dict[Path, Motion] = {}
        """Of the runs that were read so far; found once for each."""

    def geometry(self, path: Path) -> Geometry:
        """Say where the channels lie, by the atlas on its own grid."""
        atlas = self.atlas
        if isinstance(atlas, ProbabilisticAtlas):
            return geometry_of_maps(atlas)
        assert isinstance(atlas, LabelAtlas), atlas
        return geometry_of_labels(atlas)

    def with_mask(self, mask: Path) -> NiftiReader:
        """Give a reader of the same atlas that uses the voxels of a mask."""
        other = copy.copy(self)
        other.mask = mask
        return other

    @guarded
    def describe(self, path: Path) -> FileDescription:
        """Read the header, and check that every channel has a voxel on the image's grid and in the mask.

        Raises
        ------
        DataError
            When the image is not 4D, its repetition time is implausible, or a label has no voxel.
        """
        image = _checked(load_image(path, "The image", to_its_end=False), path)
        check_has_all_voxels(image, path)
        seconds, remark = _repetition_time(image)
        remarks = [remark] if remark and seconds is not None else []
        if self.atlas.names_without_voxel:
            names = self.atlas.names_without_voxel
            remarks.append(f"atlas_labels names {len(names)} labels that {self.atlas.path.name} does not hold")
        if self.motion_correction is not None:
            check_grid(image.shape, path)
        if self.mask != AUTOMATIC_MASK:
            self.atlas.check(image.shape[:3], image.affine, self._where(image, path))
        return FileDescription(
            n_samples=image.shape[3],
            n_channels=len(self.atlas.names),
            channel_names=self.atlas.names,
            sampling_frequency=None if seconds is None else 1.0 / seconds,
            rate_fault=remark if seconds is None else "",
            remarks=tuple(remarks),
        )

    @guarded
    def read(self, path: Path) -> NDArray[np.float64]:
        """Read the channels, (T, C). A voxel that is NaN makes its channels NaN at that sample.

        Raises
        ------
        DataError
            When the voxels of a channel are 0 in all volumes, or the file is truncated.

        Notes
        -----
        The image is read in blocks of volumes, so that memory does not grow with its length.
        """
        with whole_image(path, "The image") as image:
            signals = self._signals(_checked(image, path), path)
        self._check_seen(signals, path)
        return signals

    def _signals(self, image: Any, path: Path) -> NDArray[np.float64]:
        self._find_motion(image, path)
        extraction = self.atlas.extraction(image.shape[:3], image.affine, self._where(image, path))
        signals = np.empty((image.shape[3], len(self.atlas.names)))
        for start, block in self._still_blocks(image, path):
            smoothed = block if self.smoothing is None else _smoothed(image, block, self.smoothing)
            signals[start : start + block.shape[3]] = _extracted(image, smoothed, extraction)
        return signals

    def _find_motion(self, image: Any, path: Path) -> None:
        if self.motion_correction is not None and path not in self.motions:
            self.motions[path] = found_motion(image, lambda: _blocks(image, path), self.motion_correction, path)

    def _still_blocks(self, image: Any, path: Path) -> Iterator[tuple[int, NDArray[Any]]]:
        """Blocks of volumes, without motion where that is asked for."""
        for start, block in _blocks(image, path):
            moved = path in self.motions
            yield start, self.motions[path].corrected(block, start, image.affine) if moved else block

    def _check_seen(self, signals: NDArray[np.float64], path: Path) -> None:
        unseen = np.flatnonzero(~signals.any(axis=0))
        if len(unseen):
            names = shortened([self.atlas.names[channel] for channel in unseen])
            raise DataError(
                f"{path}: all voxels of {names} are 0 in all volumes, as they are outside of the field of view; name "
                "them in 'exclude_channels', or leave the subject out."
            )

    def _where(self, image: Any, path: Path) -> Where:
        if self.mask is None:
            return Where(path)
        name = "the mask found by itself" if self.mask == AUTOMATIC_MASK else f"the mask {self.mask}"
        mask = self._mask_on_grid(image, path)
        if not mask.any():
            raise DataError(f"{path}: no voxel lies within {name}; are they in the same space?")
        return Where(path, mask, name)

    def _mask_on_grid(self, image: Any, path: Path) -> NDArray[np.bool_]:
        if self.mask == AUTOMATIC_MASK:
            return _brain_mask(image, self._still_blocks(image, path))
        assert self.mask is not None
        data, affine = load_volume(Path(self.mask), "The mask")
        return resampled((np.nan_to_num(data) > 0).astype(np.int64), affine, image.shape[:3], image.affine) > 0


def _checked(image: Any, path: Path) -> Any:
    if len(image.shape) != 4:
        raise DataError(f"{path} has shape {image.shape}, but must be a 4D image: x, y, z, time.")
    return image


def _extracted(image: Any, block: NDArray[Any], extraction: Extraction) -> NDArray[np.float64]:
    from nilearn.masking import apply_mask

    used = type(image)(extraction.voxels.astype(np.uint8), image.affine)
    # Not finite values must stay visible: nilearn would put zeros in their place.
    voxels_TV = apply_mask(type(image)(block, image.affine), used, dtype=block.dtype, ensure_finite=False)
    return np.asarray((extraction.weights @ voxels_TV.T).T)


def _smoothed(image: Any, block: NDArray[Any], width: float) -> NDArray[Any]:
    """Smooth by a Gaussian, full width at half maximum in mm; voxels that are not finite stay so and count as 0."""
    from nilearn.image import smooth_img

    finite = np.isfinite(block)
    whole = bool(finite.all())
    smooth = smooth_img(type(image)(block if whole else np.where(finite, block, 0), image.affine), width)
    smoothed = np.asarray(smooth.dataobj)
    return smoothed if whole else np.where(finite, smoothed, np.nan)


def _repetition_time(image: Any) -> tuple[float | None, str]:
    """Seconds between volumes, or None where the header is of no use, and what there is to say about it."""
    value = float(str(image.header.get_zooms()[3]))  # the shortest text of a float32: 0.72, not 0.7200000286
    unit = image.header.get_xyzt_units()[1]
    if unit not in {*SECONDS_PER_UNIT, "unknown"}:
        return None, f"its fourth axis is in {unit}"
    seconds = value * SECONDS_PER_UNIT.get(unit, 1.0)
    if not PLAUSIBLE_SECONDS[0] <= seconds <= PLAUSIBLE_SECONDS[1]:
        return None, f"its header has a repetition time of {seconds:g} s"
    if unit == "unknown":
        return seconds, f"its header has no unit of time, so that {value:g} was taken as seconds"
    return seconds, ""


def _blocks(image: Any, path: Path) -> Iterator[tuple[int, NDArray[Any]]]:
    """Give the first volume and the voxels of one block of volumes after another."""
    n_volumes = max(1, BYTES_PER_BLOCK // (8 * int(np.prod(image.shape[:3]))))
    for start in range(0, image.shape[3], n_volumes):
        try:
            block = np.asanyarray(image.dataobj[..., start : start + n_volumes])
        except Exception as error:
            raise DataCorruptionError(
                f"{path} cannot be read to its end, as if damaged or truncated: {in_one_line(error)}."
            ) from error
        yield start, block if block.dtype in (np.float32, np.float64) else block.astype(np.float64)


def _brain_mask(image: Any, blocks: Iterable[tuple[int, NDArray[Any]]]) -> NDArray[np.bool_]:
    from dipy.segment.mask import median_otsu

    # dipy's radius counts voxels: 3 of them suit 2 mm, and on coarse grids a wide median would eat the brain's rim.
    radius = int(np.clip(round(6.0 / float(np.mean(image.header.get_zooms()[:3]))), 1, 4))
    total = np.zeros(image.shape[:3])
    for _, block in blocks:
        total += np.nan_to_num(block, posinf=0.0, neginf=0.0).sum(axis=3, dtype=np.float64)
    _, mask = median_otsu(total / image.shape[3], median_radius=radius, numpass=1)
    return np.asarray(mask, dtype=bool)
