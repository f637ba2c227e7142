"""Label atlases: an image of whole numbers, brought onto the grid of the recordings."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dynml.compressed import check_compressed, is_compressed, opened_to_its_end
from dynml.configuration import nearest_name
from dynml.errors import DataCorruptionError, DataError, in_one_line, shortened
from dynml.files import read_json
from dynml.host_memory import check_claimed_size
from dynml.readers.fmri.dipy_library import dipy_needed_for
from dynml.readers.guard import faults_as_errors
from dynml.reading_files import check_plain_file
from dynml.tables import read_table

BYTES_OF_VOXEL = 8
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Extraction:
    """How the voxels of one image become channels."""

    voxels: NDArray[np.bool_]
    """Voxels that count, (x, y, z)."""
    weights: Any
    """Weight of each of these V voxels in each channel, (C, V), an array or a sparse array."""


class Atlas(Protocol):
    """What turns a volume into one number per channel."""

    path: Path
    names: tuple[str, ...]
    """Names of the channels."""
    names_without_voxel: list[str]
    """Names that were given, but that the image has no voxel of."""

    def check(self, shape: Shape, affine: NDArray[np.float64], where: Where) -> None:
        """Refuse a grid or a mask in which a channel has no voxel."""
        ...

    def extraction(self, shape: Shape, affine: NDArray[np.float64], where: Where) -> Extraction:
        """Say how images on a grid are read."""
        ...


@dataclass(frozen=True)
class Where:
    """The voxels of an image that count, and whose they are, for messages."""

    image: Path
    mask: NDArray[np.bool_] | None = None
    """(x, y, z); None for all."""
    mask_name: str = ""

    def refuse(self, lost: list[str]) -> None:
        """Raise when channels have no voxel in the mask."""
        if lost:
            raise DataError(
                f"{self.image}: no voxel of {shortened(lost, 10)} lies within {self.mask_name}; use a wider mask, or "
                "name them in 'exclude_channels'."
            )


class LabelAtlas:
    """A label atlas and the names of its labels.

    Value 0 is background. Every other value that occurs in the image is a channel, in ascending order.

    Parameters
    ----------
    path : Path
        3D NIfTI image of whole numbers.
    labels : Path, list, dict or None
        Names: a mapping {value: name}; a list with one name a label in ascending order of value, or, when its first
        name is "Background", with the name of value v at position v; a `.json` file of either; a `.tsv` file with
        columns `index` and `name`. Without names, channels are called `label_<value>`.
    excluded : collection of str
        Names of labels that are to be no channels.

    Raises
    ------
    DataError
        When the image is no label atlas, a value has no name, or an excluded name does not occur.
    """

    def __init__(
        self,
        path: Path,
        labels: Path | list[str] | dict[str, str] | None = None,
        excluded: Collection[str] = (),
    ) -> None:
        self.path = path
        data, _ = load_volume(path, "The atlas")
        if not np.isfinite(data).all() or (data != np.rint(data)).any() or data.min() < 0:
            raise DataError(
                f"The atlas {path} holds values that are not labels: they must be whole numbers, 0 outside."
            )
        self.values: list[int] = [int(value) for value in np.unique(data) if value != 0]
        if not self.values:
            raise DataError(f"The atlas {path} holds no label: all of its voxels are 0.")
        names = _names_of_values(labels, self.values, path)
        unnamed = [str(value) for value in self.values if value not in names]
        if unnamed:
            raise DataError(f"The atlas {path} has labels without a name in atlas_labels: {', '.join(unnamed[:10])}.")
        self.names_without_voxel: list[str] = [names[value] for value in names if value not in {0, *self.values}]
        check_names([names[value] for value in self.values], excluded, f"labels of the atlas {path}")
        self.values = [value for value in self.values if names[value] not in excluded]
        self.names: tuple[str, ...] = tuple(names[value] for value in self.values)

    def check(self, shape: Shape, affine: NDArray[np.float64], where: Where) -> None:
        """Refuse a grid or a mask in which a label has no voxel.

        Raises
        ------
        DataError
            Names the labels.
        """
        self._within(shape, affine, where)

    def extraction(self, shape: Shape, affine: NDArray[np.float64], where: Where) -> Extraction:
        """Average the voxels of each label."""
        from scipy.sparse import csr_array

        labels = self._within(shape, affine, where)
        used = labels > 0
        rows = np.searchsorted(self.values, labels[used])
        counts = np.bincount(rows, minlength=len(self.values))
        size = (len(counts), len(rows))
        return Extraction(used, csr_array((1.0 / counts[rows], (rows, np.arange(len(rows)))), shape=size))

    def _within(self, shape: Shape, affine: NDArray[np.float64], where: Where) -> NDArray[np.int64]:
        labels = self.on_grid(shape, affine)
        if where.mask is None:
            return labels
        kept = np.where(where.mask, labels, 0)
        present = set(np.unique(kept).tolist())
        where.refuse([name for value, name in zip(self.values, self.names) if value not in present])
        return kept

    def on_grid(self, shape: Shape, affine: NDArray[np.float64]) -> NDArray[np.int64]:
        """Labels on another image's grid, nearest neighbour, (x, y, z).

        Raises
        ------
        DataError
            When a label has no voxel on that grid, or none has.
        """
        state = self.path.stat()
        labels, present = _labels_on_grid(
            self.path, state.st_mtime_ns, state.st_size, shape, np.asarray(affine, dtype=np.float64).tobytes()
        )
        if not present:
            raise DataError(
                f"The atlas {self.path} does not overlap the recordings: no label falls within their grid of "
                f"{_grid(shape)} voxels; are they in the same space?"
            )
        lost = [name for value, name in zip(self.values, self.names) if value not in present]
        if lost:
            raise DataError(
                f"The atlas {self.path} has labels without a voxel on the recordings' grid of {_grid(shape)}: "
                f"{shortened(lost, 10)}; use an atlas that lies within the images, or name them in 'exclude_channels'."
            )
        return labels if present == set(self.values) else np.where(np.isin(labels, self.values), labels, 0)


@functools.lru_cache(maxsize=2)
def _labels_on_grid(
    path: Path, modified: int, n_bytes: int, shape: Shape, affine_bytes: bytes
) -> tuple[NDArray[np.int64], frozenset[int]]:
    """Labels on a grid, and those that occur there.

    Few are kept: subjects often share a grid, but thousands with grids or atlases of their own must not fill memory.
    `modified` and `n_bytes` tell a file that was written anew from the one before.
    """
    data, own_affine = load_volume(path, "The atlas")
    affine = np.frombuffer(affine_bytes).reshape(4, 4)
    labels = resampled(data.astype(np.int64), own_affine, shape, affine)
    return labels, frozenset(np.unique(labels).tolist()) - {0}


def load_image(path: Path, what: str, *, to_its_end: bool = True) -> Any:
    """Open an image without reading its voxels.

    Parameters
    ----------
    path : Path
    what : str
        What it is, for messages.
    to_its_end : bool
        Read a compressed file to its end first, and compare its checksum; False where that is done with the voxels.

    Raises
    ------
    DataError
        When there is no such file, it is no image, or one of its volumes alone is more than memory holds.
    """
    import nibabel

    try:
        check_plain_file(path)
    except DataError as error:
        raise DataError(f"{what} {error}") from error
    try:
        if to_its_end:
            check_compressed(path)
        with faults_as_errors(path, what):
            image: Any = nibabel.load(path)  # type: ignore[attr-defined]
            shape = tuple(map(int, image.shape))
    except DataCorruptionError as error:
        reason = in_one_line(error.__cause__)
        raise DataCorruptionError(f"{what} {path} is not a readable NIfTI image: {reason}.") from error
    if min(shape, default=0) < 1:
        raise DataCorruptionError(f"{what} {path} has shape {shape}, and so no voxel.")
    check_claimed_size(path, BYTES_OF_VOXEL * math.prod(shape[:3]), "a volume")
    return image


@contextmanager
def whole_image(path: Path, what: str) -> Iterator[Any]:
    """Open an image, to read voxels in the block; a compressed one is read to its end thereafter.

    What was read must not be used before the block has ended, for only then has the checksum been compared.

    Raises
    ------
    DataError
        As `load_image`, and at the end `DataCorruptionError` for bytes that are not those once written.
    """
    image = load_image(path, what, to_its_end=False)
    if not is_compressed(path) or not hasattr(image, "from_stream"):
        check_compressed(path)
        check_has_all_voxels(image, path)
        yield image
        return
    with opened_to_its_end(path) as stream:
        yield type(image).from_stream(stream)


def check_has_all_voxels(image: Any, path: Path) -> None:
    """Refuse a file that is shorter than its header says, before anything is reserved for its voxels.

    Raises
    ------
    DataCorruptionError
        Names both sizes.
    """
    proxy = image.dataobj
    expected = int(getattr(proxy, "offset", 0)) + math.prod(image.shape) * image.get_data_dtype().itemsize
    if not is_compressed(path) and path.stat().st_size < expected:
        raise DataCorruptionError(f"{path} is truncated: it has {path.stat().st_size} bytes instead of {expected}.")


def load_volume(path: Path, what: str) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Read a 3D image, (x, y, z), and its affine; a fourth axis of length 1 is dropped.

    Raises
    ------
    DataError
        When the image has another shape, or cannot be read.
    """
    image = load_image(path, what)
    shape = image.shape[:-1] if len(image.shape) == 4 and image.shape[-1] == 1 else image.shape
    if len(shape) != 3:
        raise DataError(f"{what} {path} has shape {image.shape}, but must be a 3D image.")
    try:
        with faults_as_errors(path, what):
            return np.asanyarray(image.dataobj).reshape(shape), image.affine
    except DataCorruptionError as error:
        reason = in_one_line(error.__cause__)
        raise DataCorruptionError(f"{what} {path} cannot be read to its end: {reason}.") from error


def same_grid(
    shape: tuple[int, ...], affine: NDArray[np.float64], other_shape: tuple[int, ...], other_affine: NDArray[np.float64]
) -> bool:
    """Say whether two images' voxels coincide (to 1 % of a voxel)."""
    tolerance = 0.01 * np.abs(affine[:3, :3]).max()
    return tuple(shape) == tuple(other_shape) and bool(np.allclose(affine, other_affine, rtol=0, atol=tolerance))


def resampled(
    data: NDArray[np.int64],
    affine: NDArray[np.float64],
    shape: Shape,
    target_affine: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Bring an image of labels onto another grid, nearest neighbour; untouched where the grids coincide."""
    if same_grid(data.shape, affine, shape, target_affine):
        return data
    with dipy_needed_for("An atlas or a mask on another grid than the recordings'"):
        from dipy.align.imaffine import AffineMap

    mapping = AffineMap(
        np.eye(4),
        domain_grid_shape=shape,
        domain_grid2world=target_affine,
        codomain_grid_shape=data.shape,
        codomain_grid2world=affine,
    )
    return np.rint(mapping.transform(data.astype(np.float64), interpolation="nearest")).astype(np.int64)


def check_names(names: list[str], excluded: Collection[str], what: str) -> None:
    """Refuse a name that stands twice, or that is to be excluded and does not occur.

    Raises
    ------
    DataError
        Names it.
    """
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"Two {what} have the same name, {twice!r}.")
    unknown = next((name for name in excluded if name not in names), None)
    if unknown is not None:
        near = nearest_name(unknown, names)
        raise DataError(f"exclude_channels names {unknown!r}, which is none of the {what}{near[:300]}.")
    if set(names) <= set(excluded):
        raise DataError(f"exclude_channels names all of the {what}.")


def _names_of_values(
    labels: Path | list[str] | dict[str, str] | None, values: list[int], atlas: Path
) -> dict[int, str]:
    if labels is None:
        return {value: f"label_{value}" for value in values}
    if isinstance(labels, Path):
        labels = labels_from_file(labels)
    if isinstance(labels, dict):
        try:
            return {int(value): str(name) for value, name in labels.items()}
        except ValueError as error:
            raise DataError(f"atlas_labels of {atlas} must map whole numbers to names: {error}.") from error
    if labels and labels[0].lower() == "background":
        return dict(enumerate(labels))
    if len(labels) != len(values):
        raise DataError(f"atlas_labels lists {len(labels)} names, but the atlas {atlas} has {len(values)} labels.")
    return dict(zip(values, labels))


def labels_from_file(path: Path) -> list[str] | dict[str, str]:
    """Read names from a `.json` file (a list or a mapping), or a `.tsv` file with columns `index` and `name`."""
    if path.suffix.lower() == ".json":
        content = read_json(path)
        if isinstance(content, (list, dict)):
            return content
        raise DataError(f"{path} must hold a list of names or a mapping of values to names.")
    table = read_table(path)
    for column in ("index", "name"):
        if column not in table.columns:
            raise DataError(f"{path} has no column {column!r}; it has {', '.join(table.columns)}.")
    return dict(zip(table.columns["index"], table.columns["name"]))


def _grid(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
