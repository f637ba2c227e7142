"""Values of CIFTI channels on vertices of the cortex, and what meshes may be."""

import cifti_making
import numpy as np
import pytest
from matplotlib import colormaps
from nibabel.cifti2 import cifti2_axes as axes
from nibabel.gifti.gifti import GiftiDataArray, GiftiImage

from dynml.analysis.maps.found import Found
from dynml.analysis.maps.vertices import check_meshes, has_vertices, read_meshes, values_on_vertices
from dynml.cli.outputs.maps import draw
from dynml.errors import DataError
from dynml.plotting.brain.surfaces import plot_on_meshes
from dynml.readers.fmri.geometry import geometry_of_grayordinates, geometry_of_parcels

N_VERTICES = cifti_making.N_VERTICES


def write_mesh(path, n_vertices=N_VERTICES, half="CortexLeft", last=None):
    points = np.random.default_rng(0).normal(size=(n_vertices, 3)).astype(np.float32)
    triangles = np.stack([np.arange(n_vertices - 2) + shift for shift in range(3)], axis=1).astype(np.int32)
    if last is not None:
        triangles[-1, -1] = last
    about = {"AnatomicalStructurePrimary": half}
    arrays = [
        GiftiDataArray(points, "NIFTI_INTENT_POINTSET", meta=about),
        GiftiDataArray(triangles, "NIFTI_INTENT_TRIANGLE"),
    ]
    GiftiImage(darrays=arrays).to_filename(path)
    return path


def both_halves():
    """Every other vertex of two halves, and some voxels."""
    left = cifti_making.grayordinates(left=range(0, N_VERTICES, 2))
    return left + axes.BrainModelAxis.from_surface(np.array([3, 5]), N_VERTICES + 1, name="CortexRight")


def geometry_of(tmp_path, axis):
    """Each grayordinate a channel, in reverse order."""
    names = tuple(f"channel-{row}" for row in range(len(axis)))
    return geometry_of_grayordinates(axis, np.arange(len(axis))[::-1], names, tmp_path / "x.dtseries.nii")


@pytest.fixture
def meshes(tmp_path):
    left = write_mesh(tmp_path / "left.surf.gii")
    return left, write_mesh(tmp_path / "right.surf.gii", N_VERTICES + 1, "CortexRight")


def test_each_grayordinate_stands_on_its_vertex(tmp_path):
    axis = both_halves()
    geometry = geometry_of(tmp_path, axis)
    values = np.arange(len(axis)) + 100.0
    expected = {"left": np.full(N_VERTICES, np.nan), "right": np.full(N_VERTICES + 1, np.nan)}
    for row, (kind, own, name) in enumerate(axis):
        if kind == "CIFTI_MODEL_TYPE_SURFACE":
            expected["left" if name.endswith("LEFT") else "right"][own] = values[len(axis) - 1 - row]
    found = values_on_vertices(geometry, values)
    assert found.keys() == expected.keys()
    for half, own in expected.items():
        np.testing.assert_array_equal(found[half], own)


def test_chosen_parcels_in_another_order(tmp_path):
    axis, file = cifti_making.parcels(["one", "two", "three"]), tmp_path / "x.ptseries.nii"
    geometry = geometry_of_parcels(axis, np.arange(3), file).of_channels(["three", "one"])
    found = values_on_vertices(geometry, [7.0, 8.0])
    expected = np.full(N_VERTICES, np.nan)
    expected[[2, 0]] = 7.0, 8.0
    assert found.keys() == {"left"}
    np.testing.assert_array_equal(found["left"], expected)


def test_voxels_alone_have_no_vertices(tmp_path):
    geometry = geometry_of(tmp_path, cifti_making.grayordinates()[N_VERTICES:])
    assert not has_vertices(geometry)


def test_meshes_that_fit_are_read(tmp_path, meshes):
    found = read_meshes(*meshes)
    assert [len(found[half].coordinates) for half in ("left", "right")] == [N_VERTICES, N_VERTICES + 1]
    check_meshes(found, geometry_of(tmp_path, both_halves()))


def test_a_mesh_of_another_number_of_vertices(tmp_path, meshes):
    other = write_mesh(tmp_path / "other.surf.gii", 12)
    with pytest.raises(DataError, match=r"other\.surf\.gii has 12 vertices, but .* left cortex of 30;"):
        check_meshes(read_meshes(other, meshes[1]), geometry_of(tmp_path, both_halves()))


def test_halves_in_the_wrong_order(meshes):
    with pytest.raises(DataError, match="is of the right half of the cortex, but was given for the left"):
        read_meshes(meshes[1], meshes[0])


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: path, "does not exist"),
        (lambda path: path.write_bytes(b"<GIFTI"), "could not be read, as if damaged"),
        (lambda path: GiftiImage().to_filename(path), "is not a GIFTI surface"),
        (lambda path: write_mesh(path, last=N_VERTICES), "triangles of vertices that it does not have"),
    ],
)
def test_a_file_that_is_no_mesh(tmp_path, meshes, make, found):
    path = tmp_path / "bad.surf.gii"
    make(path)
    with pytest.raises(DataError, match=found):
        read_meshes(path, meshes[1])


def test_the_cortex_is_drawn_on_the_meshes_in_the_colours_of_its_values(tmp_path, meshes):
    geometry = geometry_of(tmp_path, cifti_making.grayordinates()[:N_VERTICES])
    values = np.full(len(geometry.channel_names), 1.0)
    found = Found("mean", "model", "mean", "SD", values[None], values[None], geometry.channel_names)
    read = read_meshes(*meshes)
    pictures = list(draw(tmp_path, found, geometry, None, component="state", relative=True, meshes=read))
    assert [picture.kind for picture in pictures] == ["mean_surface", "mean"]
    assert "on the surface of the cortex where channels lie there" in pictures[0].alt
    figure = plot_on_meshes(values, geometry, read, limits=(-1, 1), label="Mean (SD)", title="State 1")
    (surface,) = figure.axes[0].collections
    red = np.asarray(colormaps["RdBu_r"](1.0))[:3]
    assert any(np.allclose(colour[:3], red, atol=0.02) for colour in surface.get_facecolor())
    words = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert {"State 1", "Mean (SD)", "left, lateral", "left, medial"} <= set(words)
