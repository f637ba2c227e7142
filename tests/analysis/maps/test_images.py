import nibabel
import numpy as np
import pytest
from cifti_making import AFFINE, VOLUME, grayordinates, parcels

from dynml.analysis.maps.found import Found
from dynml.analysis.maps.images import image_of, volume_of
from dynml.cli.outputs.maps import draw
from dynml.errors import DataError
from dynml.geometry.geometry import Geometry
from dynml.readers.fmri.geometry import geometry_of_grayordinates, geometry_of_parcels


def labelled():
    image = np.zeros((4, 3, 2), dtype=np.uint16)
    image[0], image[3] = 300, 7
    arrays = {"image": image, "affine": AFFINE, "values": np.array([300, 7]), "positions": np.zeros((2, 3))}
    return Geometry(kind="labels", channel_names=("a", "b"), arrays=arrays)


def overlapping():
    weights = np.zeros((2, 4, 1, 1), dtype=np.float32)
    weights[0, :, 0, 0], weights[1, :, 0, 0] = [1.0, 0.5, 0.0, 0.0], [0.0, 0.25, 0.5, 0.0]
    channels, voxels = np.nonzero(weights.reshape(2, -1))
    arrays = {
        "voxels": voxels,
        "channels": channels.astype(np.int32),
        "weights": weights.reshape(2, -1)[channels, voxels],
        "shape": np.array([4, 1, 1]),
        "affine": AFFINE,
        "positions": np.zeros((2, 3)),
    }
    return Geometry(kind="maps", channel_names=("a", "b"), arrays=arrays)


def test_ones_are_one_inside_and_the_affine_is_kept():
    image = image_of(labelled(), np.ones((3, 2)), ["x", "y", "z"])
    data = image.get_fdata()
    assert data.shape == (4, 3, 2, 3)
    np.testing.assert_array_equal(data[..., 0], labelled().arrays["image"] > 0)
    np.testing.assert_array_equal(image.affine, AFFINE)
    assert image.get_data_dtype() == np.float32


def test_each_label_has_its_value():
    data = image_of(labelled(), np.array([[2.0, -1.0]]), ["x"]).get_fdata()[..., 0]
    assert set(np.unique(data[0])) == {2.0}
    assert set(np.unique(data[3])) == {-1.0}
    assert not data[1:3].any()


def test_overlaps_are_divided_by_the_sum_of_weights():
    data = image_of(overlapping(), np.array([[3.0, 9.0], [1.0, 1.0]]), ["x", "y"]).get_fdata()
    np.testing.assert_allclose(data[:, 0, 0, 0], [3.0, (0.5 * 3 + 0.25 * 9) / 0.75, 9.0, 0.0])
    np.testing.assert_allclose(data[:, 0, 0, 1], [1.0, 1.0, 1.0, 0.0])


@pytest.mark.parametrize("geometry", [labelled(), overlapping()])
def test_a_wrong_number_of_parcels_is_refused(geometry):
    with pytest.raises(DataError, match="3 channels, but the .* are of 2"):
        image_of(geometry, np.ones((1, 3)), ["x"])


def test_some_maps_alone_have_their_own_voxels():
    data = image_of(overlapping().of_channels(["b"]), np.array([[5.0]]), ["x"]).get_fdata()
    np.testing.assert_allclose(data[:, 0, 0, 0], [0.0, 5.0, 5.0, 0.0])


def test_parcels_become_a_scalar_file(tmp_path):
    geometry = geometry_of_parcels(parcels(["a", "b", "c"]), np.array([0, 2]), tmp_path / "x.ptseries.nii")
    made = image_of(geometry, np.array([[1.0, 2.0], [3.0, 4.0]]), ["State 1", "State 2"])
    nibabel.save(made, tmp_path / "m.pscalar.nii")
    image = nibabel.load(tmp_path / "m.pscalar.nii")
    assert image.header.get_axis(0).name.tolist() == ["State 1", "State 2"]
    assert image.header.get_axis(1).name.tolist() == ["a", "c"]
    np.testing.assert_array_equal(image.get_fdata(), [[1.0, 2.0], [3.0, 4.0]])
    swapped = image_of(geometry.of_channels(["c", "a"]), np.array([[2.0, 1.0]]), ["x"])
    np.testing.assert_array_equal(swapped.get_fdata(), [[1.0, 2.0]])


def test_grayordinates_become_a_scalar_file(tmp_path):
    axis = grayordinates()
    rows = np.full(len(axis), -1)
    rows[:5], rows[-2:] = 1, 0
    geometry = geometry_of_grayordinates(axis, rows, ("a", "b"), tmp_path / "x.dtseries.nii")
    nibabel.save(image_of(geometry, np.array([[1.5, 2.5]]), ["State 1"]), tmp_path / "m.dscalar.nii")
    image = nibabel.load(tmp_path / "m.dscalar.nii")
    assert image.header.get_axis(1) == axis
    np.testing.assert_array_equal(image.get_fdata()[0], np.select([rows == 1, rows == 0], [2.5, 1.5], 0.0))


def test_channels_in_voxels_have_a_volume_and_those_on_surfaces_none(tmp_path):
    axis = grayordinates()
    rows = np.full(len(axis), -1)
    rows[:5], rows[-2:] = 1, 0
    geometry = geometry_of_grayordinates(axis, rows, ("a", "b"), tmp_path / "x.dtseries.nii")
    volume = volume_of(geometry, [1.5, 2.5])
    expected = np.full(VOLUME, np.nan)
    for place in axis.voxel[-2:]:
        expected[tuple(place)] = 1.5
    np.testing.assert_array_equal(volume.get_fdata(), expected)
    np.testing.assert_array_equal(volume.affine, AFFINE)
    assert volume_of(geometry.of_channels(["b"]), [2.5]) is None
    on_surface = geometry_of_parcels(parcels(["a", "b"]), np.array([0, 1]), tmp_path / "x.ptseries.nii")
    assert volume_of(on_surface, [1.0, 2.0]) is None


def test_pictures_of_cifti_are_bars_and_the_voxels_on_the_glass_brain(tmp_path):
    axis = grayordinates()
    rows = np.full(len(axis), -1)
    rows[:5], rows[-2:] = 1, 0
    geometry = geometry_of_grayordinates(axis, rows, ("a", "b"), tmp_path / "x_space-fsLR_bold.dtseries.nii")
    values = np.array([[0.5, -1.0]])
    found = Found("mean", "model", "mean", "SD", values, values, ("a", "b"))
    pictures = list(draw(tmp_path, found, geometry, None, component="state", relative=True))
    assert [picture.kind for picture in pictures] == ["mean_volume", "mean"]
    assert "on the glass brain where channels lie in voxels" in pictures[0].alt
    assert all((tmp_path / picture.path).stat().st_size > 3000 for picture in pictures)
