"""Rigid motion of the head between the volumes of a run: found by dipy, and taken out.

Shapes: T volumes; X, Y, Z voxels.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dynml.configuration import check_choice
from dynml.errors import ConfigurationError, DataError
from dynml.readers.fmri.dipy_library import dipy_needed_for

HEAD_RADIUS = 50.0
"""mm; a rotation counts as the way that a point at this distance goes."""
LARGE_MOTION = 3.0
"""mm."""
LARGEST_ROTATION = 45.0
"""Degrees; no head in a scanner turns so far."""
FEWEST_VOXELS = 8
N_BINS = 32
SHARE_OF_VOXELS = 0.25
ENOUGH_VOXELS = 10_000
SIGMAS = (3.0, 1.0, 0.0)
FACTORS = (4, 2, 1)
MOST_LEVELS = len(FACTORS)
Blocks = Iterable[tuple[int, NDArray[Any]]]


@dataclass(frozen=True, kw_only=True)
class MotionCorrectionConfig:
    """The key `motion_correction` of a group of NIfTI images."""

    reference: Literal["middle", "mean"] = "middle"
    """Reference volume: the middle volume of the run, or the mean of all."""

    level_iterations: list[int] = dataclasses.field(default_factory=lambda: [100, 50, 20])
    """Maximum number of iterations at a quarter, a half and the full resolution; with fewer numbers, the coarse levels
    are left out."""

    def __post_init__(self) -> None:
        check_choice("motion_correction.reference", self.reference, ["middle", "mean"])
        numbers = self.level_iterations
        if not isinstance(numbers, list) or not 1 <= len(numbers) <= MOST_LEVELS or not all(map(_is_count, numbers)):
            accepted = f"a list of 1 to {MOST_LEVELS} whole numbers above 0, such as [100, 50, 20]"
            raise ConfigurationError("motion_correction.level_iterations", numbers, accepted)


@dataclass(frozen=True, eq=False)
class Motion:
    """Where the head is in each volume of a run."""

    affines: NDArray[np.float64]
    """(T, 4, 4), mm to mm: from a point in the reference to the same point of the head in the volume."""
    centre: NDArray[np.float64]
    """Centre of the image's grid, (3,), mm."""

    @property
    def parameters(self) -> NDArray[np.float64]:
        """Translation of the centre (mm) and rotation about it (rotation vector, degrees) of each volume, (T, 6)."""
        from scipy.spatial.transform import Rotation

        rotations = Rotation.from_matrix(self.affines[:, :3, :3]).as_rotvec(degrees=True)
        translations = self.affines[:, :3, :3] @ self.centre + self.affines[:, :3, 3] - self.centre
        return np.concatenate([translations, rotations], axis=1)

    def figures(self) -> dict[str, float]:
        """Sum the motion up.

        Notes
        -----
        Framewise displacement is that of Power et al. 2012 (NeuroImage 59, "Spurious but systematic correlations in
        functional connectivity MRI networks arise from subject motion"): the sum of the absolute changes of all six
        parameters from volume to volume, rotations as arcs of a 50 mm sphere.
        """
        parameters = self.parameters
        steps = np.abs(np.diff(parameters, axis=0))
        displacement = steps[:, :3].sum(axis=1) + HEAD_RADIUS * np.deg2rad(steps[:, 3:]).sum(axis=1)
        return {
            "max_translation_mm": float(np.linalg.norm(parameters[:, :3], axis=1).max()),
            "max_rotation_degrees": float(np.linalg.norm(parameters[:, 3:], axis=1).max()),
            "mean_framewise_displacement_mm": float(displacement.mean()) if len(displacement) else 0.0,
        }

    def corrected(self, block: NDArray[Any], start: int, affine: NDArray[np.float64]) -> NDArray[Any]:
        """Bring volumes (X, Y, Z, n), the first of which is number `start`, onto the reference.

        Notes
        -----
        Linear interpolation; voxels from beyond the edge take the edge's value. One that is NaN stays NaN, and makes
        its neighbours so.
        """
        from scipy.ndimage import affine_transform

        result = np.empty_like(block)
        for number in range(block.shape[3]):
            to_volume = np.linalg.inv(affine) @ self.affines[start + number] @ affine
            if np.allclose(to_volume, np.eye(4), rtol=0, atol=1e-12):
                result[..., number] = block[..., number]
                continue
            affine_transform(
                block[..., number],
                to_volume[:3, :3],
                to_volume[:3, 3],
                output=result[..., number],
                order=1,
                mode="nearest",
            )
        return result


def check_grid(shape: tuple[int, ...], path: Path) -> None:
    """Refuse images that are too small to be registered.

    Raises
    ------
    DataError
        Names the file and its shape.
    """
    if min(shape[:3]) < FEWEST_VOXELS:
        raise DataError(
            f"{path} has shape {shape}, but 'motion_correction' needs at least {FEWEST_VOXELS} voxels along each axis."
        )


def found_motion(image: Any, blocks: Callable[[], Blocks], config: MotionCorrectionConfig, path: Path) -> Motion:
    """Register each volume of a run to its reference, each from where the one before it was found.

    Parameters
    ----------
    image : nibabel image
        4D.
    blocks : callable
        Gives the number of the first volume and the voxels (X, Y, Z, n) of one block after another, anew at each call.
    config : MotionCorrectionConfig
    path : Path
        For messages.

    Raises
    ------
    DataError
        When a volume is the same everywhere, or could not be registered.

    Notes
    -----
    Mutual information, maximised over rigid transforms (`dipy.align`), of a quarter of the voxels at random positions:
    that is faster than all of them, and exacter, for voxels that fall onto voxels again favour motions of none.
    """
    n_volumes, affine = image.shape[3], np.asarray(image.affine, dtype=np.float64)
    middle = n_volumes // 2 if config.reference == "middle" else None
    reference = _reference(blocks(), middle, n_volumes)
    affines = np.empty((n_volumes, 4, 4))
    centre = (affine @ np.append((np.array(image.shape[:3]) - 1) / 2, 1.0))[:3]
    # About the centre, and in units of the head's radius, rotations and translations weigh alike for the optimizer.
    to_unit = np.diag([1 / HEAD_RADIUS] * 3 + [1.0])
    to_unit[:3, 3] = -centre / HEAD_RADIUS
    latest = np.eye(4)
    for start, block in blocks():
        for number in range(start, start + block.shape[3]):
            volume = _plain(block[..., number - start])
            if volume.min() == volume.max():
                raise DataError(f"{path}: volume {number} is the same everywhere, so that its motion cannot be found.")
            latest = np.eye(4) if number == middle else _registered(reference, volume, to_unit @ affine, latest, config)
            affines[number] = np.linalg.inv(to_unit) @ latest @ to_unit
    motion = Motion(affines, centre)
    _check_plausible(motion, path)
    return motion


def motion_note(config: MotionCorrectionConfig, run: str, motion: Motion) -> dict[str, Any]:
    """What the store keeps of a run: settings, and a row of figures."""
    return {
        "step": "motion_correction",
        **dataclasses.asdict(config),
        "runs": {run: {key: round(value, 4) for key, value in motion.figures().items()}},
        "versions": {library: _version(library) for library in ("dipy", "scipy")},
    }


def _reference(blocks: Blocks, middle: int | None, n_volumes: int) -> NDArray[np.float64]:
    total: NDArray[np.float64] | None = None
    for start, block in blocks:
        if middle is None:
            part = np.nan_to_num(block, posinf=0.0, neginf=0.0).sum(axis=3, dtype=np.float64) / n_volumes
            total = part if total is None else total + part
        elif start <= middle < start + block.shape[3]:
            return _plain(block[..., middle - start])
    assert total is not None
    return total


def _check_plausible(motion: Motion, path: Path) -> None:
    rotations = np.linalg.norm(motion.parameters[:, 3:], axis=1)
    worst = int(rotations.argmax())
    if rotations[worst] > LARGEST_ROTATION:
        raise DataError(
            f"{path}: volume {worst} could not be registered, for it came out turned by {rotations[worst]:.0f} "
            "degrees; leave the run out, or give more 'level_iterations'."
        )


def _plain(volume: NDArray[Any]) -> NDArray[np.float64]:
    return np.ascontiguousarray(np.nan_to_num(volume, posinf=0.0, neginf=0.0), dtype=np.float64)


def _registered(
    reference: NDArray[np.float64],
    volume: NDArray[np.float64],
    affine: NDArray[np.float64],
    start: NDArray[np.float64],
    config: MotionCorrectionConfig,
) -> NDArray[np.float64]:
    with dipy_needed_for("Motion correction"):
        from dipy.align.imaffine import AffineRegistration, MutualInformationMetric
        from dipy.align.transforms import RigidTransform3D

    n_levels = len(config.level_iterations)
    share = min(1.0, max(SHARE_OF_VOXELS, ENOUGH_VOXELS / volume.size))
    registration = AffineRegistration(
        metric=MutualInformationMetric(nbins=N_BINS, sampling_proportion=share),
        level_iters=list(config.level_iterations),
        sigmas=list(SIGMAS[-n_levels:]),
        factors=list(FACTORS[-n_levels:]),
        verbosity=0,
    )
    found = registration.optimize(
        reference,
        volume,
        RigidTransform3D(),
        None,
        static_grid2world=affine,
        moving_grid2world=affine,
        starting_affine=start,
    )
    return np.asarray(found.affine, dtype=np.float64)


@functools.cache
def _version(library: str) -> str:
    return importlib.metadata.version(library)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
