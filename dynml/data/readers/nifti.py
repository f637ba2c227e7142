"""Reads 4D NIfTI images through a label atlas: the mean of each label's voxels is a channel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dynml.data.readers import FileDescription, ReaderInputs
from dynml.data.readers.atlas import LabelAtlas, load_image, load_volume, resampled
from dynml.errors import DataCorruptionError, DataError

AUTOMATIC_MASK = "auto"
BYTES_PER_BLOCK = 256 * 1024**2
SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
PLAUSIBLE_SECONDS = (0.01, 60.0)


class NiftiReader:
    """Reads 4D images; the atlas is brought onto the grid of each.

    Parameters
    ----------
    inputs : ReaderInputs
        `atlas` is needed; `atlas_labels` and `mask` are optional.

    Raises
    ------
    DataError
        Without an atlas, or with one that cannot be used.
    """

    settings = frozenset({"atlas", "atlas_labels", "mask"})

    def __init__(self, inputs: ReaderInputs) -> None:
        if inputs.atlas is None:
            raise DataError("NIfTI images need the key 'atlas': an image of whole-number labels.")
        self.atlas = LabelAtlas(inputs.atlas, inputs.atlas_labels)
        self.mask = inputs.mask

    def describe(self, path: Path) -> FileDescription:
        """Read the header, and check that every label has a voxel on the image's grid and in the mask.

        Raises
        ------
        DataError
            When the image is not 4D, its repetition time is implausible, or a label has no voxel.
        """
        image = _load_4d(path)
        seconds, remark = _repetition_time(image)
        remarks = [remark] if remark and seconds is not None else []
        if self.atlas.names_without_voxel:
            names = self.atlas.names_without_voxel
            remarks.append(f"atlas_labels names {len(names)} labels that {self.atlas.path.name} does not hold")
        if self.mask != AUTOMATIC_MASK:
            self._labels_used(image, path)
        return FileDescription(
            n_samples=image.shape[3],
            n_channels=len(self.atlas.values),
            channel_names=self.atlas.names,
            sampling_frequency=None if seconds is None else 1.0 / seconds,
            rate_fault=remark if seconds is None else "",
            remarks=tuple(remarks),
        )

    def read(self, path: Path) -> NDArray[np.float64]:
        """Average the voxels of each label, (T, C). A voxel that is NaN makes its label NaN at that sample.

        Notes
        -----
        The image is read in blocks of volumes, so that memory does not grow with its length.
        """
        from nilearn.masking import apply_mask
        from scipy.sparse import csr_array

        image = _load_4d(path, keep_file_open=True)
        labels = self._labels_used(image, path)
        values = labels[labels > 0]
        rows = np.searchsorted(self.atlas.values, values)
        counts = np.bincount(rows, minlength=len(self.atlas.values))
        averaging = csr_array((1.0 / counts[rows], (rows, np.arange(len(rows)))), shape=(len(counts), len(rows)))
        used = type(image)((labels > 0).astype(np.uint8), image.affine)
        signals = np.empty((image.shape[3], len(counts)))
        for start, block in _blocks(image, path):
            # Not finite values must stay visible: nilearn would put zeros in their place.
            voxels_TV = apply_mask(type(image)(block, image.affine), used, dtype=block.dtype, ensure_finite=False)
            signals[start : start + block.shape[3]] = (averaging @ voxels_TV.T).T
        return signals

    def _labels_used(self, image: Any, path: Path) -> NDArray[np.int64]:
        labels = self.atlas.on_grid(image.shape[:3], image.affine)
        if self.mask is None:
            return labels
        kept = np.where(self._mask_on_grid(image, path), labels, 0)
        present = set(np.unique(kept).tolist())
        lost = [name for value, name in zip(self.atlas.values, self.atlas.names) if value not in present]
        if lost:
            mask = "the mask found by itself" if self.mask == AUTOMATIC_MASK else f"the mask {self.mask}"
            raise DataError(
                f"{path}: no voxel of {', '.join(lost[:10])}{f' and {len(lost) - 10} more' if len(lost) > 10 else ''} "
                f"lies within {mask}; use a wider mask, or an atlas without these labels."
            )
        return kept

    def _mask_on_grid(self, image: Any, path: Path) -> NDArray[np.bool_]:
        if self.mask == AUTOMATIC_MASK:
            return _brain_mask(image, path)
        assert self.mask is not None
        data, affine = load_volume(Path(self.mask), "The mask")
        return resampled((np.nan_to_num(data) > 0).astype(np.int64), affine, image.shape[:3], image.affine) > 0


def _load_4d(path: Path, **settings: Any) -> Any:
    image = load_image(path, "The image", **settings)
    if len(image.shape) != 4:
        raise DataError(f"{path} has shape {image.shape}, but must be a 4D image: x, y, z, time.")
    return image


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
        except (OSError, EOFError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise DataCorruptionError(f"{path} cannot be read to its end, as if truncated: {reason}.") from error
        yield start, block if block.dtype in (np.float32, np.float64) else block.astype(np.float64)


def _brain_mask(image: Any, path: Path) -> NDArray[np.bool_]:
    from dipy.segment.mask import median_otsu

    # dipy's radius counts voxels: 3 of them suit 2 mm, and on coarse grids a wide median would eat the brain's rim.
    radius = int(np.clip(round(6.0 / float(np.mean(image.header.get_zooms()[:3]))), 1, 4))
    total = np.zeros(image.shape[:3])
    for _, block in _blocks(image, path):
        total += np.nan_to_num(block, posinf=0.0, neginf=0.0).sum(axis=3, dtype=np.float64)
    _, mask = median_otsu(total / image.shape[3], median_radius=radius, numpass=1)
    return np.asarray(mask, dtype=bool)
