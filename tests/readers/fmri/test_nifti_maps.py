"""Probabilistic atlases and smoothing of NIfTI images, against nilearn's maskers on a real run."""

import nibabel
import numpy as np
import pytest

from dynml.datasets.haxby import haxby2001_files
from dynml.errors import DataError
from dynml.readers.fmri.nifti import NiftiReader

FILES = haxby2001_files()
RUN = FILES.runs[0]
N_MAPS = 5


def gaussian_maps(shape, affine, n_maps=N_MAPS):
    """Overlapping blobs in the brain, in world coordinates."""
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    world = places @ affine[:3, :3].T + affine[:3, 3]
    brain = nibabel.load(FILES.masks["brain"])
    inside = np.argwhere(np.asarray(brain.dataobj) > 0) @ brain.affine[:3, :3].T + brain.affine[:3, 3]
    centres = inside[np.linspace(0, len(inside) - 1, n_maps).astype(int)]
    distance = np.square(world[..., None, :] - centres).sum(axis=-1)
    weights = np.exp(-distance / (2 * 30.0**2))
    return np.where(weights > 0.01, weights, 0).astype(np.float32)


def save(path, data, affine):
    nibabel.save(nibabel.Nifti1Image(data, affine), path)
    return path


@pytest.fixture
def bold():
    return nibabel.load(RUN)


@pytest.fixture
def maps(tmp_path, bold):
    return save(tmp_path / "maps.nii.gz", gaussian_maps(bold.shape[:3], bold.affine), bold.affine)


def by_nilearn(maps, **settings):
    from nilearn.maskers import NiftiMapsMasker

    return NiftiMapsMasker(str(maps), standardize=None, **settings).fit_transform(str(RUN))


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_channels_are_the_coefficients_of_the_maps_as_in_nilearn(maps):
    reader = NiftiReader(NiftiReader.Config(atlas=maps))
    assert reader.describe(RUN).channel_names == tuple(f"map_{number}" for number in range(N_MAPS))
    assert_close(reader.read(RUN), by_nilearn(maps))


def test_they_solve_the_least_squares_problem(maps, bold):
    weights = np.asarray(nibabel.load(maps).dataobj, dtype=np.float64).reshape(-1, N_MAPS)
    volumes = np.asarray(bold.dataobj, dtype=np.float64).reshape(-1, bold.shape[3])
    expected = np.linalg.lstsq(weights, volumes, rcond=None)[0].T
    assert_close(NiftiReader(NiftiReader.Config(atlas=maps)).read(RUN), expected)


def test_maps_on_another_grid_are_brought_onto_the_image_as_in_nilearn(tmp_path, bold):
    affine = bold.affine @ np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] += [4.0, -3.0, 5.0]
    shape = tuple(2 * size for size in bold.shape[:3])
    fine = save(tmp_path / "fine.nii.gz", gaussian_maps(shape, affine), affine)
    assert_close(NiftiReader(NiftiReader.Config(atlas=fine)).read(RUN), by_nilearn(fine))


def test_a_mask_narrows_the_maps_as_in_nilearn(maps):
    mask = FILES.masks["gray"]
    found = NiftiReader(NiftiReader.Config(atlas=maps, mask=mask)).read(RUN)
    assert_close(found, by_nilearn(maps, mask_img=str(mask)))
    assert np.abs(found - NiftiReader(NiftiReader.Config(atlas=maps)).read(RUN)).max() > 1


@pytest.mark.parametrize("kind", ["labels", "maps"])
def test_smoothing_is_that_of_nilearn(maps, kind):
    from nilearn.maskers import NiftiLabelsMasker

    if kind == "maps":
        atlas, expected = maps, by_nilearn(maps, smoothing_fwhm=30.0)
    else:
        atlas = FILES.atlas
        expected = NiftiLabelsMasker(str(atlas), standardize=None, smoothing_fwhm=30.0).fit_transform(str(RUN))
    found = NiftiReader(NiftiReader.Config(atlas=atlas, smoothing=30.0)).read(RUN)
    assert_close(found, expected)
    assert np.abs(found - NiftiReader(NiftiReader.Config(atlas=atlas)).read(RUN)).max() > 1


def test_smoothing_in_blocks_changes_nothing_and_keeps_missing_voxels_missing(tmp_path, bold, monkeypatch):
    data = np.asarray(bold.dataobj, dtype=np.float32).copy()
    labels = np.asarray(nibabel.load(FILES.atlas).dataobj)
    data[tuple(np.argwhere(labels == 3)[0])][7] = np.nan
    path = save(tmp_path / "bold.nii.gz", data, bold.affine)
    reader = NiftiReader(NiftiReader.Config(atlas=FILES.atlas, smoothing=20.0))
    whole = reader.read(path)
    assert np.argwhere(np.isnan(whole)).tolist() == [[7, 1]]
    monkeypatch.setattr("dynml.readers.fmri.nifti.BYTES_PER_BLOCK", 8 * data[..., 0].size * 9)
    np.testing.assert_array_equal(reader.read(path), whole)


@pytest.mark.parametrize("kind", ["list", "from 0", "from 1", "tsv"])
def test_names_of_maps(tmp_path, maps, kind):
    names = ["a", "b", "c", "d", "e"]
    (tmp_path / "names.tsv").write_text("index\tname\n" + "".join(f"{i}\t{name}\n" for i, name in enumerate(names, 1)))
    labels = {
        "list": names,
        "from 0": dict(zip("01234", names)),
        "from 1": dict(zip("12345", names)),
        "tsv": tmp_path / "names.tsv",
    }[kind]
    assert NiftiReader(NiftiReader.Config(atlas=maps, atlas_labels=labels)).describe(RUN).channel_names == tuple(names)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (["a", "b"], "atlas_labels has 2 names, but the atlas .* has 5 maps"),
        (["a", "b", "c", "d", "a"], "have the same name, 'a'"),
        (dict(zip("23456", "abcde")), "must number the maps from 0 or from 1"),
        (dict(zip("vwxyz", "abcde")), "must map whole numbers to names"),
    ],
)
def test_faulty_names_of_maps(maps, labels, sentence):
    with pytest.raises(DataError, match=sentence):
        NiftiReader(NiftiReader.Config(atlas=maps, atlas_labels=labels))


def test_excluded_maps_are_left_out_before_the_fit(tmp_path, maps, bold):
    weights = np.asarray(nibabel.load(maps).dataobj)
    few = save(tmp_path / "few.nii.gz", weights[..., [0, 2, 3]], bold.affine)
    found = NiftiReader(NiftiReader.Config(atlas=maps), ("map_1", "map_4"))
    assert found.describe(RUN).channel_names == ("map_0", "map_2", "map_3")
    assert_close(found.read(RUN), by_nilearn(few))


def test_excluded_labels_are_left_out():
    whole = NiftiReader(NiftiReader.Config(atlas=FILES.atlas))
    names = whole.describe(RUN).channel_names
    reader = NiftiReader(NiftiReader.Config(atlas=FILES.atlas), (names[0], names[5]))
    kept = [place for place in range(len(names)) if place not in (0, 5)]
    assert reader.describe(RUN).channel_names == tuple(names[place] for place in kept)
    np.testing.assert_array_equal(reader.read(RUN), whole.read(RUN)[:, kept])
    with pytest.raises(DataError, match="exclude_channels names 'label_99', which is none of the labels of the atlas"):
        NiftiReader(NiftiReader.Config(atlas=FILES.atlas), ("label_99",))
    with pytest.raises(DataError, match="exclude_channels names all of the labels"):
        NiftiReader(NiftiReader.Config(atlas=FILES.atlas), names)


def test_maps_that_do_not_fit_the_image(tmp_path, bold):
    weights = gaussian_maps(bold.shape[:3], bold.affine)
    far = bold.affine.copy()
    far[:3, 3] += 5000
    with pytest.raises(DataError, match=r"far\.nii\.gz does not overlap the recordings.* are they in the same space"):
        NiftiReader(NiftiReader.Config(atlas=save(tmp_path / "far.nii.gz", weights, far))).describe(RUN)
    twice = weights.copy()
    twice[..., 3] = 2 * weights[..., 1]
    reader = NiftiReader(NiftiReader.Config(atlas=save(tmp_path / "twice.nii.gz", twice, bold.affine)))
    with pytest.raises(DataError, match="are combinations of each other"):
        reader.read(RUN)
    empty = weights.copy()
    empty[..., 2] = 0
    with pytest.raises(DataError, match="maps without any weight: map_2"):
        NiftiReader(NiftiReader.Config(atlas=save(tmp_path / "empty.nii.gz", empty, bold.affine)))


def test_masks_that_do_not_fit_are_named(tmp_path, maps, bold):
    far = bold.affine.copy()
    far[:3, 3] += 5000
    mask = save(tmp_path / "far_mask.nii.gz", np.ones(bold.shape[:3], dtype=np.uint8), far)
    for atlas in (maps, FILES.atlas):
        with pytest.raises(DataError, match=r"no voxel lies within the mask .*far_mask\.nii\.gz; are they in the same"):
            NiftiReader(NiftiReader.Config(atlas=atlas, mask=mask)).describe(RUN)
    weights = np.asarray(nibabel.load(maps).dataobj)
    without = save(tmp_path / "mask.nii.gz", (weights[..., 3] == 0).astype(np.uint8), bold.affine)
    with pytest.raises(DataError, match=r"no voxel of map_3 lies within the mask .*; use a wider mask"):
        NiftiReader(NiftiReader.Config(atlas=maps, mask=without)).describe(RUN)


def test_parcels_outside_of_the_field_of_view_are_named(tmp_path, bold):
    labels = np.asarray(nibabel.load(FILES.atlas).dataobj)
    data = np.where((labels == 3)[..., None], 0, np.asarray(bold.dataobj))
    path = save(tmp_path / "cut.nii.gz", data.astype(np.float32), bold.affine)
    with pytest.raises(DataError, match=r"cut\.nii\.gz: all voxels of label_3 are 0 in all volumes, .* field of view"):
        NiftiReader(NiftiReader.Config(atlas=FILES.atlas)).read(path)
    assert NiftiReader(NiftiReader.Config(atlas=FILES.atlas), ("label_3",)).read(path).any(axis=0).all()
