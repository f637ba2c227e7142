"""Reads 4D NIfTI images through an atlas: labels, whose voxels are averaged, or maps, which are fitted."""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_instance, check_positive, config_from
from dynml.errors import DataCorruptionError, DataError, in_one_line, shortened
from dynml.geometry.geometry import Geometry
from dynml.readers.fmri.atlas import (
    Atlas,
    Extraction,
    LabelAtlas,
    Where,
    check_has_all_voxels,
    load_image,
    load_volume,
    resampled,
    whole_image,
)
from dynml.readers.fmri.dipy_library import dipy_needed_for
from dynml.readers.fmri.geometry import geometry_of_labels, geometry_of_maps
from dynml.readers.fmri.motion import (
    LARGE_MOTION,
    Motion,
    MotionCorrectionConfig,
    check_grid,
    found_motion,
    motion_note,
)
from dynml.readers.fmri.probabilistic_atlas import ProbabilisticAtlas
from dynml.readers.guard import guarded
from dynml.readers.reader import FileDescription, Reader, ReaderConfig

AUTOMATIC_MASK = "auto"
BYTES_PER_BLOCK = 256 * 1024**2
SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
PLAUSIBLE_SECONDS = (0.01, 60.0)
NO_PLACE = (
    "its header does not say where its voxels lie (no sform, no qform), so that the middle of the grid was taken for "
    "the origin: check that the atlas lies upon it"
)


@dataclass(frozen=True, kw_only=True)
class NiftiConfig(ReaderConfig):
    """Keys of NIfTI images."""

    files: ClassVar[tuple[str, ...]] = ("atlas", "atlas_labels", "mask")
    of_channels: ClassVar[tuple[str, ...]] = ("atlas", "mask")
    seen_otherwise: ClassVar[tuple[str, ...]] = ("atlas_labels", "motion_correction", "smoothing")

    atlas: str | Path | None = None
    """Needed: a 3D image of integer labels, 0 outside, whose voxels are averaged, or a 4D image of one map per channel.
    An atlas on another grid is resampled to that of the recordings."""

    atlas_labels: str | Path | list[str] | dict[str, str] | None = None
    """Names of the labels: a list, a mapping {"3": "name"}, a .json file of either, or a .tsv file with columns index
    and name."""

    mask: str | Path | None = None
    """3D image of the voxels to use, or "auto": the brain as dipy's median_otsu finds it in each run's mean image."""

    motion_correction: bool | dict[str, Any] = dataclasses.field(
        default=False, metadata={"settings": MotionCorrectionConfig}
    )
    """Correct the images for head motion before anything else: true, or a mapping of settings."""

    smoothing: float | None = None
    """Full width at half maximum, mm, of a Gaussian filter applied to the images before the atlas."""

    def __post_init__(self) -> None:
        for key in ("atlas", "mask"):
            check_instance(key, getattr(self, key), (str, Path, type(None)), "a path")
        accepted = "a path, a list or a mapping"
        check_instance("atlas_labels", self.atlas_labels, (str, Path, list, dict, type(None)), accepted)
        check_positive("smoothing", self.smoothing, optional=True)
        accepted = 'true, false, or a mapping such as {"reference": "mean"}'
        check_instance("motion_correction", self.motion_correction, (bool, dict), accepted)
        if isinstance(self.motion_correction, dict):
            config_from(MotionCorrectionConfig, self.motion_correction, "motion_correction")

    @property
    def motion(self) -> MotionCorrectionConfig | None:
        """How motion is taken out; None where it is not."""
        if self.motion_correction is False:
            return None
        return MotionCorrectionConfig(**({} if self.motion_correction is True else self.motion_correction))

    def located(self, find: Callable[[str, str], Path]) -> NiftiConfig:
        """Put paths in the place of the names of files; "auto" is none."""
        if self.mask != AUTOMATIC_MASK:
            return super().located(find)
        return dataclasses.replace(dataclasses.replace(self, mask=None).located(find), mask=AUTOMATIC_MASK)


class NiftiReader(Reader):
    """Reads 4D images; the atlas is brought onto the grid of each.

    Parameters
    ----------
    config : NiftiConfig
        `atlas` is needed.
    excluded : tuple of str
        Names of labels or maps to leave out.

    Raises
    ------
    DataError
        Without an atlas, or with one that cannot be used.
    """

    Config = NiftiConfig
    config: NiftiConfig
    leaves_channels_out = True
    settings_of_notes: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "motion_correction": ("reference", "level_iterations"),
        "smooth": ("full_width_mm",),
    }

    def __init__(self, config: ReaderConfig | None = None, excluded: tuple[str, ...] = ()) -> None:
        super().__init__(config, excluded)
        if self.config.atlas is None:
            raise DataError("NIfTI images need the key 'atlas': an image of labels, or of one map per channel.")
        atlas, labels = Path(self.config.atlas), self.config.atlas_labels
        assert not isinstance(labels, str)
        shape = load_image(atlas, "The atlas").shape
        of_maps = len(shape) == 4 and shape[3] > 1
        kind = ProbabilisticAtlas if of_maps else LabelAtlas
        self.atlas: Atlas = kind(atlas, labels, excluded)
        self.motion_correction = self.config.motion
        self.motions: dict[Path, Motion] = {}
        """Of the runs that were read so far; found once for each."""

    @property
    def lacks_mask(self) -> bool:
        """Whether the config names no mask."""
        return self.config.mask is None

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
        other.config = dataclasses.replace(self.config, mask=mask)
        return other

    @property
    def file_in_space(self) -> Path | None:
        """The atlas."""
        return self.atlas.path

    def note(self, path: Path, run: str) -> list[dict[str, Any]]:
        """Say that motion was taken out, with its figures, and that images were smoothed."""
        notes = []
        if self.motion_correction is not None:
            notes.append(motion_note(self.motion_correction, run, self.motions[path]))
        if self.config.smoothing is not None:
            versions = {"nilearn": importlib.metadata.version("nilearn")}
            notes.append({"step": "smooth", "full_width_mm": self.config.smoothing, "versions": versions})
        return notes

    def warning(self, path: Path) -> tuple[str, str] | None:
        """Tell of a head that moved far."""
        largest = self.motions[path].figures()["max_translation_mm"] if path in self.motions else 0.0
        if largest <= LARGE_MOTION:
            return None
        topic = f"Heads moved by more than {LARGE_MOTION:g} mm, which 'motion_correction' cannot wholly undo"
        return topic, f"{largest:.1f} mm"

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
        seconds, warning = _repetition_time(image)
        warned = [warning] if warning and seconds is not None else []
        if _has_no_place(image):
            warned.append(NO_PLACE)
        if self.atlas.names_without_voxel:
            names = self.atlas.names_without_voxel
            warned.append(f"atlas_labels names {len(names)} labels that {self.atlas.path.name} does not hold")
        if self.motion_correction is not None:
            check_grid(image.shape, path)
        if self.config.mask != AUTOMATIC_MASK:
            self.atlas.check(image.shape[:3], image.affine, self._where(image, path))
        return FileDescription(
            n_samples=image.shape[3],
            n_channels=len(self.atlas.names),
            channel_names=self.atlas.names,
            sampling_frequency=None if seconds is None else 1.0 / seconds,
            rate_fault=warning if seconds is None else "",
            warned=tuple(warned),
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
            smoothed = block if self.config.smoothing is None else _smoothed(image, block, self.config.smoothing)
            signals[start : start + block.shape[3]] = _extracted(smoothed, extraction)
        return signals

    def _find_motion(self, image: Any, path: Path) -> None:
        if self.motion_correction is not None and path not in self.motions:
            blocks = functools.partial(_float_blocks, image, path)
            self.motions[path] = found_motion(image, blocks, self.motion_correction, path)

    def _still_blocks(self, image: Any, path: Path) -> Iterator[tuple[int, NDArray[Any]]]:
        """Blocks of volumes, without motion where that is asked for, else in the type of the file."""
        if path not in self.motions:
            yield from _blocks(image, path)
            return
        for start, block in _float_blocks(image, path):
            yield start, self.motions[path].corrected(block, start, image.affine)

    def _check_seen(self, signals: NDArray[np.float64], path: Path) -> None:
        unseen = np.flatnonzero(~signals.any(axis=0))
        if len(unseen):
            names = shortened([self.atlas.names[channel] for channel in unseen], 10)
            raise DataError(
                f"{path}: all voxels of {names} are 0 in all volumes, as they are outside of the field of view; name "
                "them in 'exclude_channels', or leave the subject out."
            )

    def _where(self, image: Any, path: Path) -> Where:
        if self.config.mask is None:
            return Where(path)
        name = "the mask found by itself" if self.config.mask == AUTOMATIC_MASK else f"the mask {self.config.mask}"
        mask = self._mask_on_grid(image, path)
        if not mask.any():
            raise DataError(f"{path}: no voxel lies within {name}; are they in the same space?")
        return Where(path, mask, name)

    def _mask_on_grid(self, image: Any, path: Path) -> NDArray[np.bool_]:
        if self.config.mask == AUTOMATIC_MASK:
            return _brain_mask(image, self._still_blocks(image, path))
        assert self.config.mask is not None
        data, affine = load_volume(Path(self.config.mask), "The mask")
        return resampled((np.nan_to_num(data) > 0).astype(np.int64), affine, image.shape[:3], image.affine) > 0


def _checked(image: Any, path: Path) -> Any:
    if len(image.shape) != 4:
        raise DataError(f"{path} has shape {image.shape}, but must be a 4D image: x, y, z, time.")
    if image.get_data_dtype().kind not in "fiu":
        raise DataError(f"{path} holds values of type {image.get_data_dtype()}, but must hold real numbers.")
    return image


def _has_no_place(image: Any) -> bool:
    """Whether the header leaves open where voxels lie: nibabel then puts the middle of the grid at the origin."""
    codes = [image.header.get(name) for name in ("qform_code", "sform_code")]
    return all(code is not None and int(code) == 0 for code in codes)


def _extracted(block: NDArray[Any], extraction: Extraction) -> NDArray[np.float64]:
    """Channels of a block of volumes, (t, C); volume by volume, as they lie in memory."""
    from scipy.sparse import csr_array, issparse

    shape, weights = extraction.voxels.shape, extraction.weights
    volumes_VT = block.reshape(-1, block.shape[3], order="F")
    places = np.ravel_multi_index(np.nonzero(extraction.voxels), shape, order="F")
    if not issparse(weights):
        voxels_VT = np.empty((len(places), volumes_VT.shape[1]), dtype=_float_type(block))
        for volume in range(volumes_VT.shape[1]):
            voxels_VT[:, volume] = volumes_VT[places, volume]
        return np.asarray((weights @ voxels_VT).T)
    # Weights stay in their order, so that sums are the same to the last digit.
    size = weights.shape[0], len(volumes_VT)
    of_volumes = csr_array((weights.data, places[weights.indices], weights.indptr), shape=size)
    return np.stack([of_volumes @ volume.astype(np.float64) for volume in volumes_VT.T])


def _float_type(block: NDArray[Any]) -> Any:
    return block.dtype if block.dtype in (np.float32, np.float64) else np.float64


def _smoothed(image: Any, block: NDArray[Any], width: float) -> NDArray[Any]:
    """Smooth by a Gaussian, full width at half maximum in mm; voxels that are not finite stay so and count as 0."""
    from nilearn.image import smooth_img

    block = block.astype(_float_type(block), copy=False)
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
        yield start, block


def _float_blocks(image: Any, path: Path) -> Iterator[tuple[int, NDArray[Any]]]:
    """Blocks of volumes as float32 or float64."""
    for start, block in _blocks(image, path):
        yield start, block.astype(_float_type(block), copy=False)


def _brain_mask(image: Any, blocks: Iterable[tuple[int, NDArray[Any]]]) -> NDArray[np.bool_]:
    with dipy_needed_for('The mask "auto"'):
        from dipy.segment.mask import median_otsu

    # dipy's radius counts voxels: 3 of them suit 2 mm, and on coarse grids a wide median would eat the brain's rim.
    radius = int(np.clip(round(6.0 / float(np.mean(image.header.get_zooms()[:3]))), 1, 4))
    total = np.zeros(image.shape[:3])
    for _, block in blocks:
        total += np.nan_to_num(block, posinf=0.0, neginf=0.0).sum(axis=3, dtype=np.float64)
    _, mask = median_otsu(total / image.shape[3], median_radius=radius, numpass=1)
    return np.asarray(mask, dtype=bool)
