"""Reads CIFTI series: parcels (`.ptseries.nii`), and grayordinates (`.dtseries.nii`) through a label file.

Shapes: T samples, C channels, G grayordinates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_instance
from dynml.errors import DataCorruptionError, DataError, in_one_line, shortened
from dynml.geometry.geometry import Geometry
from dynml.readers.fmri.atlas import check_has_all_voxels, check_names, load_image
from dynml.readers.fmri.geometry import geometry_of_grayordinates, geometry_of_parcels
from dynml.readers.fmri.nifti import PLAUSIBLE_SECONDS
from dynml.readers.guard import faults_as_errors, guarded
from dynml.readers.reader import FileDescription, Reader, ReaderConfig

BYTES_PER_BLOCK = 256 * 1024**2
NO_LABELS = (
    "",
    "0",
    "none",
    "background",
    "unknown",
    "unassigned",
    "unlabeled",
    "unlabelled",
    "medial wall",
    "medial_wall",
)


class ParcelSeriesReader(Reader):
    """Reads `.ptseries.nii`: the parcels are the channels, under their own names."""

    leaves_channels_out = True

    @guarded
    def describe(self, path: Path) -> FileDescription:
        """Read the axes from the header.

        Raises
        ------
        DataError
            When the file is no series of parcels.
        """
        from nibabel.cifti2.cifti2_axes import ParcelsAxis

        image, names = _load(path, "a series of parcels (.ptseries.nii)", ParcelsAxis)
        chosen = self._chosen(names.name.tolist(), path)
        return _description(image, tuple(names.name[chosen].tolist()))

    @guarded
    def read(self, path: Path) -> NDArray[np.float64]:
        """Read the series, (T, C)."""
        from nibabel.cifti2.cifti2_axes import ParcelsAxis

        image, names = _load(path, "a series of parcels (.ptseries.nii)", ParcelsAxis)
        chosen = self._chosen(names.name.tolist(), path)
        return np.concatenate([block[:, chosen] for _, block in _blocks(image, path)])

    @guarded
    def geometry(self, path: Path) -> Geometry:
        """Say where the parcels lie, by the axis."""
        from nibabel.cifti2.cifti2_axes import ParcelsAxis

        _, axis = _load(path, "a series of parcels (.ptseries.nii)", ParcelsAxis)
        return geometry_of_parcels(axis, self._chosen(axis.name.tolist(), path), path)

    def _chosen(self, names: list[str], path: Path) -> NDArray[np.int64]:
        check_names(names, self.excluded, f"parcels of {path}")
        return np.array([position for position, name in enumerate(names) if name not in self.excluded])


@dataclass(frozen=True, kw_only=True)
class DenseSeriesConfig(ReaderConfig):
    """Keys of dense CIFTI series."""

    files: ClassVar[tuple[str, ...]] = ("atlas",)
    of_channels: ClassVar[tuple[str, ...]] = ("atlas",)

    atlas: str | Path | None = None
    """Needed: a label file (.dlabel.nii), whose labels' grayordinates are averaged."""

    def __post_init__(self) -> None:
        check_instance("atlas", self.atlas, (str, Path, type(None)), "a path")


class DenseSeriesReader(Reader):
    """Reads `.dtseries.nii`: the mean of the grayordinates of each label of a `.dlabel.nii` file is a channel.

    Parameters
    ----------
    config : DenseSeriesConfig
        `atlas` is needed.
    excluded : tuple of str
        Names of labels to leave out.

    Raises
    ------
    DataError
        Without an atlas, or with one that is no label file.
    """

    Config = DenseSeriesConfig
    config: DenseSeriesConfig
    leaves_channels_out = True

    def __init__(self, config: ReaderConfig | None = None, excluded: tuple[str, ...] = ()) -> None:
        super().__init__(config, excluded)
        if self.config.atlas is None:
            raise DataError(
                "dense CIFTI series (.dtseries.nii) need the key 'atlas': a .dlabel.nii file, by which grayordinates "
                "are averaged; or convert them to .ptseries.nii by wb_command -cifti-parcellate."
            )
        self.atlas = _GrayordinateAtlas(Path(self.config.atlas), excluded)

    @guarded
    def describe(self, path: Path) -> FileDescription:
        """Read the axes from the header, and check that every label has a grayordinate of the series.

        Raises
        ------
        DataError
            When the file is no dense series, or a label has no grayordinate in it.
        """
        from nibabel.cifti2.cifti2_axes import BrainModelAxis

        image, grayordinates = _load(path, "a dense series (.dtseries.nii)", BrainModelAxis)
        self.atlas.rows(grayordinates, path)
        description = _description(image, self.atlas.names)
        if not self.atlas.left_out:
            return description
        warning = f"{self.atlas.path.name} gives {self.atlas.left_out!r} the key 0, which means no label: left out"
        return dataclasses.replace(description, warned=(warning,))

    @guarded
    def read(self, path: Path) -> NDArray[np.float64]:
        """Average the grayordinates of each label, (T, C); one that is NaN makes its label NaN at that sample.

        Raises
        ------
        DataError
            When the grayordinates of a label are 0 in the whole series.
        """
        from nibabel.cifti2.cifti2_axes import BrainModelAxis
        from scipy.sparse import csr_array

        image, grayordinates = _load(path, "a dense series (.dtseries.nii)", BrainModelAxis)
        rows_G = self.atlas.rows(grayordinates, path)
        used = np.flatnonzero(rows_G >= 0)
        counts = np.bincount(rows_G[used], minlength=len(self.atlas.names))
        shape = (len(counts), len(used))
        averaging = csr_array((1.0 / counts[rows_G[used]], (rows_G[used], np.arange(len(used)))), shape=shape)
        signals = np.empty((image.shape[0], len(counts)))
        for start, block in _blocks(image, path):
            signals[start : start + len(block)] = (averaging @ block[:, used].T).T
        unseen = [name for name, values in zip(self.atlas.names, signals.T) if not values.any()]
        if unseen:
            raise DataError(
                f"{path}: all grayordinates of {shortened(unseen, 10)} are 0 in the whole series; name them in "
                "'exclude_channels', or leave the subject out."
            )
        return signals

    @guarded
    def geometry(self, path: Path) -> Geometry:
        """Say where the labels lie, by the grayordinates of the series."""
        from nibabel.cifti2.cifti2_axes import BrainModelAxis

        _, grayordinates = _load(path, "a dense series (.dtseries.nii)", BrainModelAxis)
        return geometry_of_grayordinates(grayordinates, self.atlas.rows(grayordinates, path), self.atlas.names, path)


class _GrayordinateAtlas:
    """Labels of grayordinates, ascending by their key; key 0 is background."""

    def __init__(self, path: Path, excluded: tuple[str, ...]) -> None:
        self.path = path
        with faults_as_errors(path, "The atlas"):
            self.keys_G, self.grayordinates, table = _labels(path)
        name_of_none = table[0][0] if 0 in table and (self.keys_G == 0).any() else ""
        self.left_out = "" if name_of_none.casefold().strip(" ?_-") in NO_LABELS else name_of_none
        """Name of a label that has the key of the background."""
        keys = [int(key) for key in np.unique(self.keys_G) if key != 0]
        unnamed = [str(key) for key in keys if key not in table]
        if unnamed or not keys:
            fault = f"has no name for label {unnamed[0]}" if unnamed else "holds no label"
            raise DataError(f"The atlas {path} {fault}.")
        names = [table[key][0] for key in keys]
        check_names(names, excluded, f"labels of the atlas {path}")
        chosen = [position for position, name in enumerate(names) if name not in excluded]
        self.names = tuple(names[position] for position in chosen)
        self.keys = np.array([keys[position] for position in chosen])

    def rows(self, grayordinates: Any, path: Path) -> NDArray[np.int64]:
        """Channel of each grayordinate of a series, (G,); -1 where it has no label."""
        keys_G = _keys_on(self, grayordinates)
        if keys_G is None:
            raise DataError(
                f"{path} and the atlas {self.path} are of different surfaces or grids; use an atlas in the space and "
                "of the density of the series."
            )
        lost = [name for key, name in zip(self.keys, self.names) if key not in set(np.unique(keys_G).tolist())]
        if lost:
            raise DataError(
                f"The atlas {self.path} has labels without a grayordinate in {path}: {shortened(lost, 10)}; name them "
                "in 'exclude_channels'."
            )
        rows_G = np.searchsorted(self.keys, keys_G).clip(max=len(self.keys) - 1)
        return np.where(self.keys[rows_G] == keys_G, rows_G, -1)


def _labels(path: Path) -> tuple[NDArray[np.int64], Any, Any]:
    """Key of each grayordinate, (G,), the axis of grayordinates, and the table of keys."""
    from nibabel.cifti2.cifti2_axes import BrainModelAxis, LabelAxis

    image = load_image(path, "The atlas")
    axes = _axes(image)
    if len(axes) != 2 or not isinstance(axes[0], LabelAxis) or not isinstance(axes[1], BrainModelAxis):
        raise DataError(f"The atlas {path} is not a label file (.dlabel.nii), which dense series need.")
    if len(axes[0]) != 1:
        raise DataError(f"The atlas {path} holds {len(axes[0])} label maps, but must hold one.")
    check_has_all_voxels(image, path)
    keys = np.asarray(image.dataobj)[0]
    if not np.isfinite(keys).all() or (keys != np.rint(keys)).any():
        raise DataError(f"The atlas {path} holds values that are not labels: they must be whole numbers.")
    return keys.astype(np.int64), axes[1], axes[0].label[0]


def _keys_on(atlas: _GrayordinateAtlas, grayordinates: Any) -> NDArray[np.int64] | None:
    """Label of each grayordinate of a series, (G,), 0 for none; None when surfaces or grids differ."""
    if grayordinates == atlas.grayordinates:
        return atlas.keys_G
    own = {name: (part, model) for name, part, model in atlas.grayordinates.iter_structures()}
    keys_G = np.zeros(len(grayordinates), dtype=np.int64)
    for name, part, model in grayordinates.iter_structures():
        if name not in own:
            continue
        own_part, own_model = own[name]
        if (name in model.nvertices) != (name in own_model.nvertices):
            return None
        if name in model.nvertices:
            if model.nvertices[name] != own_model.nvertices[name]:
                return None
            positions, own_positions = model.vertex, own_model.vertex
        else:
            if model.volume_shape != own_model.volume_shape or not np.allclose(model.affine, own_model.affine):
                return None
            positions = np.ravel_multi_index(model.voxel.T, model.volume_shape)
            own_positions = np.ravel_multi_index(own_model.voxel.T, model.volume_shape)
        order = np.argsort(own_positions)
        found = np.searchsorted(own_positions[order], positions).clip(max=len(order) - 1)
        matched = own_positions[order][found] == positions
        keys_G[part] = np.where(matched, atlas.keys_G[own_part][order][found], 0)
    return keys_G


def _load(path: Path, what: str, kind: type) -> tuple[Any, Any]:
    """Open a series, and give its second axis."""
    from nibabel.cifti2.cifti2_axes import SeriesAxis

    image = load_image(path, "The series")
    check_has_all_voxels(image, path)
    axes = _axes(image)
    if len(axes) != 2 or not isinstance(axes[0], SeriesAxis) or not isinstance(axes[1], kind):
        found = " x ".join(type(axis).__name__.removesuffix("Axis") for axis in axes) or "no CIFTI axes"
        raise DataError(f"{path} is not {what}: it has {found}.")
    return image, axes[1]


def _axes(image: Any) -> list[Any]:
    from nibabel.cifti2.cifti2 import Cifti2Image

    if not isinstance(image, Cifti2Image):
        return []
    return [image.header.get_axis(position) for position in range(len(image.shape))]


def _description(image: Any, names: tuple[str, ...]) -> FileDescription:
    rate, fault = _sampling_frequency(image)
    return FileDescription(
        n_samples=image.shape[0],
        n_channels=len(names),
        channel_names=names,
        sampling_frequency=rate,
        rate_fault=fault,
    )


def _sampling_frequency(image: Any) -> tuple[float | None, str]:
    """Hz, or None and why; nibabel has applied the header's power of ten, by which milliseconds are written."""
    series = image.header.get_axis(0)
    if series.unit != "SECOND":
        return None, f"its series is in {series.unit.lower()}"
    seconds = float(f"{series.step:.9g}")
    if not PLAUSIBLE_SECONDS[0] <= seconds <= PLAUSIBLE_SECONDS[1]:
        return None, f"its header has a repetition time of {seconds:g} s"
    return 1.0 / seconds, ""


def _blocks(image: Any, path: Path) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Give the first row and the values of one block of rows after another."""
    n_rows = max(1, BYTES_PER_BLOCK // (8 * image.shape[1]))
    for start in range(0, image.shape[0], n_rows):
        try:
            yield start, np.asarray(image.dataobj[start : start + n_rows], dtype=np.float64)
        except Exception as error:
            raise DataCorruptionError(
                f"{path} cannot be read to its end, as if damaged or truncated: {in_one_line(error)}."
            ) from error
