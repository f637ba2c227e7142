"""Motion correction on a phantom that was moved by known amounts, through the formula that it was made by."""

import copy
import json
from importlib.metadata import version

import nibabel
import numpy as np
import pytest

from dynml.conversion.config import TimeseriesGroupConfig, store_config_from
from dynml.conversion.creation import create_store
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.readers.fmri.motion import Motion, MotionCorrectionConfig, found_motion
from dynml.readers.fmri.nifti import NiftiConfig, NiftiReader
from dynml.store.reading import Store

SHAPE, ZOOM = (24, 26, 20), 4.0
AFFINE = np.diag([-ZOOM, ZOOM, ZOOM, 1.0])
AFFINE[:3, 3] = [70.0, -40.0, 12.0]
CENTRE = (AFFINE @ [11.5, 12.5, 9.5, 1.0])[:3]
TRUE_SHIFTS = np.array([[0.0, 0, 0], [1.5, 0, 0], [1.5, -2.4, 0.8], [0, 0, 0], [0.4, 3.9, -1.0], [-5.0, 1.0, 1.0]])
TRUE_TURNS = np.array([[0.0, 0, 0], [0, 0, 0], [0, 2.0, 0], [0, 0, 0], [-1.5, 0, 2.5], [0, 0, 0]])
"""mm, and degrees as a rotation vector, of six volumes; the fourth is the reference."""


def turn(degrees):
    """Rodrigues' formula."""
    angle = np.deg2rad(np.linalg.norm(degrees))
    if angle == 0:
        return np.eye(3)
    x, y, z = np.deg2rad(degrees) / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def head(places):
    """Brightness at places in mm about the centre: an ellipsoid with blobs in it, smooth everywhere."""
    generator = np.random.default_rng(5)
    outside = np.linalg.norm(places / [33.0, 40.0, 28.0], axis=-1)
    brightness = 500.0 / (1.0 + np.exp((outside - 1.0) * 15))
    for place, height in zip(generator.uniform(-22, 22, (25, 3)), generator.uniform(-250, 350, 25)):
        brightness = brightness + height * np.exp(-np.square(places - place).sum(axis=-1) / (2 * 7.0**2))
    return brightness


def moved_head(shift, degrees):
    """The head turned about the grid's centre and shifted, at every voxel."""
    voxels = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    places = voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3] - CENTRE
    return head((places - shift) @ turn(degrees))


@pytest.fixture(scope="module")
def volumes():
    noise = np.random.default_rng(1).normal(0, 4, (*SHAPE, len(TRUE_SHIFTS)))
    moved = [moved_head(shift, degrees) for shift, degrees in zip(TRUE_SHIFTS, TRUE_TURNS)]
    return (np.stack(moved, axis=-1) + noise).astype(np.float32)


def save(path, data):
    image = nibabel.Nifti1Image(data, AFFINE)
    if data.ndim == 4:
        image.header.set_zooms((ZOOM, ZOOM, ZOOM, 2.0))
        image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    return path


@pytest.fixture
def atlas(tmp_path):
    """Thin parcels, whose means motion changes much."""
    labels = np.zeros(SHAPE, dtype=np.int16)
    labels[6:9, 6:20, 6:14], labels[14:17, 8:11, 5:15], labels[11:13, 14:18, 9:12] = 1, 2, 3
    return save(tmp_path / "atlas.nii.gz", labels)


@pytest.fixture(scope="module")
def read(volumes, tmp_path_factory):
    """A reader that has read the run, with what it gave."""
    folder = tmp_path_factory.mktemp("read")
    labels = np.ones(SHAPE, dtype=np.int16)
    labels[12:] = 2
    path = save(folder / "bold.nii.gz", volumes)
    reader = NiftiReader(NiftiReader.Config(atlas=save(folder / "atlas.nii.gz", labels), motion_correction=True))
    reader.describe(path)
    return reader, path, reader.read(path)


def test_known_shifts_and_turns_are_found(read):
    reader, path, _ = read
    motion = reader.motions[path]
    np.testing.assert_allclose(motion.affines[3], np.eye(4), atol=1e-12)
    found = motion.parameters
    # Within a twentieth of a voxel, and a third of a degree.
    assert np.linalg.norm(found[:, :3] - TRUE_SHIFTS, axis=1).max() < 0.05 * ZOOM
    assert np.abs(found[:, 3:] - TRUE_TURNS).max() < 0.33


def test_volumes_become_the_reference(volumes, read):
    reader, path, signals = read
    still = reader.motions[path].corrected(volumes, 0, AFFINE)
    np.testing.assert_allclose(signals[:, 0], still[:12].mean(axis=(0, 1, 2), dtype=float), rtol=1e-5)
    np.testing.assert_allclose(signals[:, 1], still[12:].mean(axis=(0, 1, 2), dtype=float), rtol=1e-5)
    inner = (slice(4, -4),) * 3
    truth = moved_head(np.zeros(3), np.zeros(3))[inner]
    np.testing.assert_array_equal(still[..., 3], volumes[..., 3])
    for number in (1, 2, 4, 5):
        before, after = (np.abs(data[inner][..., number] - truth).mean() for data in (volumes, still))
        assert after < 0.35 * before
    # A block that starts later is brought back by its own volumes' motion.
    np.testing.assert_array_equal(reader.motions[path].corrected(volumes[..., 4:], 4, AFFINE), still[..., 4:])


def test_figures_of_a_motion_that_is_known():
    affines = np.stack([np.eye(4)] * 3)
    centre = np.array([10.0, -20.0, 5.0])
    for affine, shift, degrees in ((affines[1], [3.0, -4, 0], [0, 0, 0]), (affines[2], [0.0, 0, 1], [0, 0, 2.0])):
        affine[:3, :3] = turn(np.array(degrees))
        affine[:3, 3] = centre + shift - turn(np.array(degrees)) @ centre
    motion = Motion(affines, centre)
    np.testing.assert_allclose(
        motion.parameters, [[0, 0, 0, 0, 0, 0], [3, -4, 0, 0, 0, 0], [0, 0, 1, 0, 0, 2]], atol=1e-12
    )
    arc = 50 * np.deg2rad(2.0)
    expected = {"max_translation_mm": 5.0, "max_rotation_degrees": 2.0}
    expected["mean_framewise_displacement_mm"] = (7.0 + (3 + 4 + 1 + arc)) / 2
    assert motion.figures() == pytest.approx(expected)


def test_the_mean_as_reference_and_fewer_levels(volumes):
    image = nibabel.Nifti1Image(volumes[..., :4], AFFINE)
    config = MotionCorrectionConfig(reference="mean", level_iterations=[30])

    def blocks():
        yield 0, volumes[..., :1]
        yield 1, volumes[..., 1:4]

    found = found_motion(image, blocks, config, "bold.nii")
    again = found_motion(image, blocks, config, "bold.nii")
    np.testing.assert_array_equal(found.affines, again.affines)
    # Relative to each other, for the mean itself lies somewhere between.
    relative = found.parameters[:, :3] - found.parameters[3, :3]
    assert np.linalg.norm(relative - TRUE_SHIFTS[:4], axis=1).max() < 0.25 * ZOOM


def test_a_store_keeps_the_figures_and_warns_of_large_motion(read, volumes, atlas, tmp_path):
    folder = tmp_path / "ready" / "s1"
    folder.mkdir(parents=True)
    save(folder / "bold.nii.gz", volumes)
    group = {"type": "timeseries", "files": "bold.nii.gz", "atlas": str(atlas), "smoothing": 5}
    group["motion_correction"] = {"level_iterations": [30]}
    (tmp_path / "config.json").write_text(json.dumps({"bold": group}))
    (tmp_path / "all.txt").write_text("s1\n")
    with pytest.warns(DataWarning, match=r"moved by more than 3 mm, .*: Subject s1, group bold, run bold: 5\.\d mm"):
        create_store(
            tmp_path / "ready", tmp_path / "s.hdf5", tmp_path / "config.json", {"training": tmp_path / "all.txt"}
        )
    with Store(tmp_path / "s.hdf5") as store:
        first, second = store.attributes("s1", "bold").preparation[:2]
    assert (first["step"], first["reference"], second["step"]) == ("motion_correction", "middle", "smooth")
    assert first["level_iterations"] == [30]
    assert first["versions"] == {"dipy": version("dipy"), "scipy": version("scipy")}
    figures = first["runs"]["bold"]
    assert figures["max_translation_mm"] == pytest.approx(np.linalg.norm(TRUE_SHIFTS[5]), abs=0.2 * ZOOM)
    assert figures["max_rotation_degrees"] == pytest.approx(np.linalg.norm(TRUE_TURNS[4]), abs=0.5)


def test_motion_is_found_once_and_shared_by_masked_readers(read, volumes, tmp_path):
    reader, path, signals = read
    mask = save(tmp_path / "mask.nii.gz", np.ones(SHAPE, dtype=np.uint8))
    before = reader.motions[path]
    masked = copy.copy(reader).with_mask(mask)
    np.testing.assert_array_equal(masked.read(path), signals)
    assert masked.motions[path] is before


def test_missing_voxels_stay_missing(read, volumes):
    reader, path, _ = read
    holed = volumes.copy()
    holed[10, 10, 10, 1] = np.nan
    still = reader.motions[path].corrected(holed, 0, AFFINE)
    assert 1 <= np.isnan(still[..., 1]).sum() <= 27
    assert not np.isnan(np.delete(still, 1, axis=3)).any()


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("yes", "motion_correction"),
        ({"reference": "first"}, "motion_correction.reference"),
        ({"level_iterations": []}, "motion_correction.level_iterations"),
        ({"level_iterations": [10, 10, 10, 10]}, "motion_correction.level_iterations"),
        ({"level_iterations": [0]}, "motion_correction.level_iterations"),
        ({"levels": [10]}, "motion_correction.levels"),
    ],
)
def test_settings_that_are_not_accepted(value, key):
    group = {"type": "timeseries", "files": ["a.nii"], "motion_correction": value}
    with pytest.raises(ConfigurationError) as caught:
        store_config_from({"bold": group}, None)
    assert caught.value.key == f"bold.{key}"


def test_where_it_is_refused(atlas, tmp_path, volumes):
    reader = NiftiReader(NiftiReader.Config(atlas=atlas, motion_correction=True))
    with pytest.raises(DataError, match=r"has shape \(24, 26, 20\), but must be a 4D image"):
        reader.describe(save(tmp_path / "one.nii", volumes[..., 0]))
    with pytest.raises(DataError, match="needs at least 8 voxels along each axis"):
        reader.describe(save(tmp_path / "thin.nii", volumes[:, :, :7]))
    blank = volumes.copy()
    blank[..., 2] = 7.0
    with pytest.raises(DataError, match="volume 2 is the same everywhere"):
        reader.read(save(tmp_path / "blank.nii", blank))
    with pytest.raises(ConfigurationError, match="xcp_d"):
        TimeseriesGroupConfig(type="timeseries", bids={"pipeline": "xcp_d"}, of_formats={"motion_correction": True})
    assert NiftiConfig(motion_correction={}).motion is not None
    folder = tmp_path / "ready" / "s1"
    folder.mkdir(parents=True)
    np.save(folder / "a.npy", np.zeros((50, 2)))
    group = {"type": "timeseries", "files": "a.npy", "sampling_frequency": 1, "motion_correction": True}
    (tmp_path / "config.json").write_text(json.dumps({"bold": group}))
    (tmp_path / "all.txt").write_text("s1\n")
    with pytest.raises(ConfigurationError, match=r"bold.motion_correction.*left out for files like a.npy"):
        create_store(
            tmp_path / "ready", tmp_path / "s.hdf5", tmp_path / "config.json", {"training": tmp_path / "all.txt"}
        )
