import json
import sys

import nibabel
import numpy as np
import pytest
from store_making import Study, noise

from dynml.errors import ConfigurationError, DataCorruptionError, DataError, DataWarning
from dynml.readers.fmri.nifti import NiftiReader

SHAPE = (6, 5, 4)
AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])
VALUES = (2, 5, 7)


def write_image(path, data, affine=AFFINE, seconds=2.0, unit="sec"):
    image = nibabel.Nifti1Image(data, affine)
    if data.ndim == 4:
        image.header.set_zooms((3.0, 3.0, 3.0, seconds))
        image.header.set_xyzt_units("mm", unit)
    nibabel.save(image, path)
    return path


def atlas_data():
    atlas = np.zeros(SHAPE, dtype=np.int16)
    atlas[:2], atlas[2:4, :3], atlas[5] = VALUES
    return atlas


def bold_data(n_samples=30, seed=0):
    return np.random.default_rng(seed).normal(1000, 50, (*SHAPE, n_samples)).astype(np.float32)


@pytest.fixture
def atlas(tmp_path):
    return write_image(tmp_path / "atlas.nii.gz", atlas_data())


@pytest.fixture
def bold(tmp_path):
    return write_image(tmp_path / "bold.nii.gz", bold_data())


def means_by_numpy(data, labels):
    return np.stack([data[labels == value].astype(np.float64).mean(axis=0) for value in VALUES], axis=1)


def test_channels_are_the_means_of_labels(atlas, bold):
    reader = NiftiReader(NiftiReader.Config(atlas=atlas))
    description = reader.describe(bold)
    assert (description.n_samples, description.n_channels) == (30, 3)
    assert description.channel_names == ("label_2", "label_5", "label_7")
    assert description.sampling_frequency == pytest.approx(0.5)
    np.testing.assert_allclose(reader.read(bold), means_by_numpy(bold_data(), atlas_data()), rtol=1e-6)


def test_agrees_with_nilearn(atlas, bold):
    from nilearn.maskers import NiftiLabelsMasker

    expected = NiftiLabelsMasker(str(atlas), standardize=None).fit_transform(str(bold))
    np.testing.assert_allclose(NiftiReader(NiftiReader.Config(atlas=atlas)).read(bold), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("is_fortran", [True, False])
def test_volumes_of_any_type_and_layout_are_read_without_nilearn(tmp_path, atlas, dtype, is_fortran, monkeypatch):
    data = np.asarray(bold_data() / 8, dtype=dtype, order="F" if is_fortran else "C")
    path = write_image(tmp_path / "bold.nii", data)
    monkeypatch.setitem(sys.modules, "nilearn.masking", None)  # its import costs more than many an image
    signals = NiftiReader(NiftiReader.Config(atlas=atlas)).read(path)
    assert signals.dtype == np.float64
    np.testing.assert_allclose(signals, means_by_numpy(data, atlas_data()), rtol=1e-12)


def test_reading_in_blocks_changes_nothing(atlas, bold, monkeypatch):
    whole = NiftiReader(NiftiReader.Config(atlas=atlas)).read(bold)
    monkeypatch.setattr("dynml.readers.fmri.nifti.BYTES_PER_BLOCK", 8 * 120 * 7)
    np.testing.assert_array_equal(NiftiReader(NiftiReader.Config(atlas=atlas)).read(bold), whole)


def test_scaled_integers_are_unscaled(tmp_path, atlas):
    image = nibabel.Nifti1Image(np.zeros((*SHAPE, 3), dtype=np.int16), AFFINE)
    image.header.set_slope_inter(0.5, 100)
    raw = np.random.default_rng(0).integers(0, 900, (*SHAPE, 3)).astype(np.int16)
    image = nibabel.Nifti1Image(raw, AFFINE, image.header)
    image.header.set_slope_inter(0.5, 100)
    image.header.set_data_dtype(np.int16)
    path = tmp_path / "bold.nii"
    nibabel.save(image, path)
    data = np.asanyarray(nibabel.load(path).dataobj)
    np.testing.assert_allclose(
        NiftiReader(NiftiReader.Config(atlas=atlas)).read(path), means_by_numpy(data, atlas_data()), rtol=1e-6
    )


@pytest.mark.parametrize("dtype", ["c8", [("R", "u1"), ("G", "u1"), ("B", "u1")]])
def test_images_of_no_real_numbers_are_refused(tmp_path, atlas, dtype):
    image = write_image(tmp_path / "bold.nii", np.ones((*SHAPE, 4), dtype=dtype))
    with pytest.raises(DataError, match="must hold real numbers"):
        NiftiReader(NiftiReader.Config(atlas=atlas)).describe(image)


def test_an_image_without_a_place_in_space_is_remarked_on(tmp_path, atlas):
    path = write_image(tmp_path / "bold.nii", bold_data())
    image = nibabel.load(path)
    image.header["qform_code"] = image.header["sform_code"] = 0
    nibabel.save(nibabel.Nifti1Image(image.get_fdata(), None, image.header), path)
    atlas = write_image(tmp_path / "atlas.nii", atlas_data(), nibabel.load(path).affine)
    described = NiftiReader(NiftiReader.Config(atlas=atlas)).describe(path)
    assert any("does not say where its voxels lie" in one for one in described.warned)


def test_nan_stays_visible(tmp_path, atlas):
    data = bold_data()
    data[0, 0, 0, 4] = np.nan
    data[4, 4, 3, :] = np.nan  # background
    signals = NiftiReader(NiftiReader.Config(atlas=atlas)).read(write_image(tmp_path / "bold.nii", data))
    assert np.argwhere(np.isnan(signals)).tolist() == [[4, 0]]


@pytest.mark.parametrize(
    ("value", "unit", "seconds"), [(0.72, "sec", 0.72), (2500.0, "msec", 2.5), (720_000.0, "usec", 0.72)]
)
def test_units_of_time(tmp_path, atlas, value, unit, seconds):
    path = write_image(tmp_path / "bold.nii", bold_data(), seconds=value, unit=unit)
    assert NiftiReader(NiftiReader.Config(atlas=atlas)).describe(path).sampling_frequency == pytest.approx(
        1 / seconds, rel=1e-9
    )


def test_a_header_without_unit_is_taken_as_seconds_and_remarked_on(tmp_path, atlas):
    path = write_image(tmp_path / "bold.nii", bold_data(), seconds=2.5, unit="unknown")
    description = NiftiReader(NiftiReader.Config(atlas=atlas)).describe(path)
    assert description.sampling_frequency == pytest.approx(0.4)
    assert "2.5 was taken as seconds" in description.warned[0]


@pytest.mark.parametrize(
    ("value", "unit", "fault"),
    [
        (0.0, "sec", "0 s"),
        (2000.0, "sec", "2000 s"),
        (2000.0, "unknown", "2000 s"),
        (3.0, "hz", "fourth axis is in hz"),
    ],
)
def test_implausible_repetition_times_ask_for_one(tmp_path, value, unit, fault):
    study = nifti_study(tmp_path, seconds=value, unit=unit)
    with pytest.raises(DataError, match=rf"does not say its sampling frequency \(.*{fault}.*\); give"):
        study.create()
    study.config["signals"]["repetition_time"] = 2.0
    assert study.create().attributes("sub-a", "signals").sampling_frequency == 0.5


def nifti_study(folder, seconds=2.0, unit="sec", **settings):
    study = Study(folder, {"sub-a": [noise(5)], "sub-b": [noise(5)]}, files=["*.nii"], atlas="atlas.nii.gz", **settings)
    del study.config["signals"]["sampling_frequency"]
    write_image(folder / "atlas.nii.gz", atlas_data())
    for number, subject in enumerate(study.runs):
        write_image(study.ready / subject / "bold.nii", bold_data(seed=number), seconds=seconds, unit=unit)
    return study


def test_a_store_of_images(tmp_path):
    study = nifti_study(tmp_path, atlas_labels={"2": "left", "5": "right", "7": "middle"}, units="a.u.")
    store = study.create()
    description = store.attributes("sub-b", "signals")
    assert description.channel_names == ("left", "right", "middle")
    assert description.sampling_frequency == 0.5
    expected = means_by_numpy(bold_data(seed=1), atlas_data())
    expected = (expected - expected.mean(0)) / expected.std(0)
    np.testing.assert_allclose(store.read("sub-b", "signals"), expected, atol=1e-4)
    assert store.run_names("sub-b", "signals") == ["bold"]


def test_a_stated_repetition_time_overrides_the_header_with_a_warning(tmp_path):
    study = nifti_study(tmp_path, repetition_time=1.0)
    with pytest.warns(DataWarning, match=r"rate of 1 Hz overrides that of the files: 0\.5 Hz in sub-a/bold"):
        store = study.create()
    assert store.attributes("sub-a", "signals").sampling_frequency == 1.0


@pytest.mark.parametrize(
    ("key", "value", "other"), [("sampling_frequency", 2.0, "repetition_time"), ("repetition_time", 0.5, "sampling")]
)
def test_a_repetition_time_given_as_a_rate_is_refused(tmp_path, key, value, other):
    study = nifti_study(tmp_path)
    study.config["signals"][key] = value
    with pytest.raises(ConfigurationError, match=rf"signals\.{key} is {value}, .*given as '{other}"):
        study.create()


def test_different_repetition_times_are_refused_unless_allowed(tmp_path):
    study = nifti_study(tmp_path)
    write_image(study.ready / "sub-b" / "bold.nii", bold_data(), seconds=1.0)
    with pytest.raises(DataError, match=r"sub-b, .* the sampling frequency is 1 Hz, but 0\.5 Hz in sub-a"):
        study.create()
    study.config["allow_mixed_sampling_frequency"] = True
    store = study.create()
    assert store.attributes("sub-b", "signals").sampling_frequency == 1.0
    write_image(study.ready / "sub-b" / "bold2.nii", bold_data())
    with pytest.raises(DataError, match="0.5 Hz in run bold2, but 1 Hz in run bold"):
        study.create(overwrite=True)


def test_an_atlas_on_another_grid_is_brought_onto_the_images(tmp_path, bold):
    fine = np.repeat(np.repeat(np.repeat(atlas_data(), 3, 0), 3, 1), 3, 2)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = -1.0  # the middle one of three fine voxels lies on the coarse voxel
    path = write_image(tmp_path / "fine.nii.gz", fine, affine)
    signals = NiftiReader(NiftiReader.Config(atlas=path)).read(bold)
    np.testing.assert_allclose(signals, means_by_numpy(bold_data(), atlas_data()), rtol=1e-6)


def test_without_dipy_an_atlas_on_another_grid_says_what_to_install(tmp_path, bold, monkeypatch):
    fine = np.repeat(np.repeat(np.repeat(atlas_data(), 3, 0), 3, 1), 3, 2)
    atlas = write_image(tmp_path / "fine.nii.gz", fine, np.eye(4))
    monkeypatch.setitem(sys.modules, "dipy.align.imaffine", None)
    with pytest.raises(DataError, match=r'dipy, which is not installed; install it by: pip install "dynml\[fmri\]"'):
        NiftiReader(NiftiReader.Config(atlas=atlas)).read(bold)


def test_a_flipped_atlas_is_read_through_its_affine(tmp_path, bold):
    affine = AFFINE.copy()
    affine[0, 0], affine[0, 3] = -3.0, 3.0 * (SHAPE[0] - 1)
    path = write_image(tmp_path / "flipped.nii.gz", np.ascontiguousarray(atlas_data()[::-1]), affine)
    signals = NiftiReader(NiftiReader.Config(atlas=path)).read(bold)
    np.testing.assert_allclose(signals, means_by_numpy(bold_data(), atlas_data()), rtol=1e-6)


def test_an_atlas_elsewhere_does_not_overlap(tmp_path, bold):
    affine = AFFINE.copy()
    affine[:3, 3] = 500.0
    reader = NiftiReader(NiftiReader.Config(atlas=write_image(tmp_path / "far.nii.gz", atlas_data(), affine)))
    with pytest.raises(DataError, match=r"far\.nii\.gz does not overlap the recordings"):
        reader.describe(bold)


def test_a_label_outside_of_the_image_is_named(tmp_path, bold):
    affine = AFFINE.copy()
    affine[0, 3] = 6.0  # moves the last slices out of the image
    reader = NiftiReader(NiftiReader.Config(atlas=write_image(tmp_path / "near.nii.gz", atlas_data(), affine)))
    with pytest.raises(DataError, match="labels without a voxel on the recordings' grid of 6 x 5 x 4: label_7"):
        reader.describe(bold)


def test_a_mask_narrows_the_labels(tmp_path, atlas, bold):
    inside = np.ones(SHAPE, dtype=np.uint8)
    inside[0] = 0
    mask = write_image(tmp_path / "mask.nii.gz", inside)
    signals = NiftiReader(NiftiReader.Config(atlas=atlas, mask=mask)).read(bold)
    np.testing.assert_allclose(signals, means_by_numpy(bold_data(), np.where(inside, atlas_data(), 0)), rtol=1e-6)
    inside[:2] = 0
    write_image(mask, inside)
    with pytest.raises(DataError, match=r"no voxel of label_2 lies within the mask .*mask\.nii\.gz"):
        NiftiReader(NiftiReader.Config(atlas=atlas, mask=mask)).describe(bold)


def test_the_automatic_mask_finds_the_brain(tmp_path):
    grid = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"))
    ball = (np.square(grid - 9.5).sum(axis=0) < 49).astype(np.float32)
    generator = np.random.default_rng(0)
    data = (ball * 1000)[..., None] + generator.uniform(0, 100, (20, 20, 20, 10))
    halves = np.where(grid[0] < 10, 1, 2).astype(np.int16)
    atlas = write_image(tmp_path / "atlas.nii", halves)
    bold = write_image(tmp_path / "bold.nii", data.astype(np.float32))
    everywhere = NiftiReader(NiftiReader.Config(atlas=atlas)).read(bold)
    in_brain = NiftiReader(NiftiReader.Config(atlas=atlas, mask="auto")).read(bold)
    assert everywhere.mean() < 300
    assert in_brain.mean() > 900


def test_images_need_an_atlas(tmp_path):
    study = nifti_study(tmp_path)
    del study.config["signals"]["atlas"]
    with pytest.raises(DataError, match="Group signals: NIfTI images need the key 'atlas'"):
        study.create()


def test_a_volume_is_no_recording(tmp_path, atlas):
    path = write_image(tmp_path / "t1.nii.gz", bold_data()[..., 0])
    with pytest.raises(DataError, match=r"t1\.nii\.gz has shape \(6, 5, 4\), but must be a 4D image"):
        NiftiReader(NiftiReader.Config(atlas=atlas)).describe(path)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (np.zeros(SHAPE, dtype=np.int16), "holds no label"),
        (np.full(SHAPE, 0.5, dtype=np.float32), "values that are not labels"),
        (np.full(SHAPE, -1, dtype=np.int16), "values that are not labels"),
        (np.zeros((*SHAPE, 3), dtype=np.int16), "has maps without any weight: map_0, map_1, map_2"),
        (np.ones((*SHAPE, 3, 2), dtype=np.int16), "must be a 3D image"),
    ],
)
def test_other_images_are_no_atlas(tmp_path, data, sentence):
    path = write_image(tmp_path / "atlas.nii.gz", data)
    with pytest.raises(DataError, match=rf"The atlas .*atlas\.nii\.gz.* {sentence}"):
        NiftiReader(NiftiReader.Config(atlas=path))


def test_files_that_are_no_image_are_named(tmp_path, atlas, bold):
    (tmp_path / "text.nii.gz").write_text("no image")
    with pytest.raises(DataCorruptionError, match=r"The atlas .*text\.nii\.gz is not a readable NIfTI image"):
        NiftiReader(NiftiReader.Config(atlas=tmp_path / "text.nii.gz"))
    with pytest.raises(DataCorruptionError, match=r"The image .*text\.nii\.gz is not a readable"):
        NiftiReader(NiftiReader.Config(atlas=atlas)).describe(tmp_path / "text.nii.gz")
    with pytest.raises(DataError, match=r"absent\.nii does not exist"):
        NiftiReader(NiftiReader.Config(atlas=atlas)).describe(tmp_path / "absent.nii")
    bold.write_bytes(bold.read_bytes()[: bold.stat().st_size // 2])
    with pytest.raises(DataCorruptionError, match=r"bold\.nii\.gz cannot be read to its end"):
        NiftiReader(NiftiReader.Config(atlas=atlas)).read(bold)


def test_a_truncated_plain_image_is_named(tmp_path, atlas):
    path = write_image(tmp_path / "bold.nii", bold_data())
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataCorruptionError, match=r"bold\.nii is truncated: it has 13752 bytes instead of 14752"):
        NiftiReader(NiftiReader.Config(atlas=atlas)).read(path)


@pytest.mark.parametrize("kind", ["list", "background", "mapping", "json", "tsv"])
def test_names_of_labels(tmp_path, atlas, bold, kind):
    names = {"2": "left", "5": "right", "7": "middle"}
    labels = {
        "list": list(names.values()),
        "background": ["Background", "", "left", "", "", "right", "", "middle"],
        "mapping": names,
        "json": tmp_path / "labels.json",
        "tsv": tmp_path / "labels.tsv",
    }[kind]
    (tmp_path / "labels.json").write_text(json.dumps(names))
    (tmp_path / "labels.tsv").write_text("index\tname\tcolour\n7\tmiddle\tred\n2\tleft\tred\n5\tright\tred\n")
    reader = NiftiReader(NiftiReader.Config(atlas=atlas, atlas_labels=labels))
    assert reader.describe(bold).channel_names == ("left", "right", "middle")


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (["left", "right"], "lists 2 names, but the atlas .* has 3 labels"),
        ({"2": "left", "5": "right"}, "labels without a name in atlas_labels: 7"),
        ({"2": "left", "5": "left", "7": "right"}, "same name, 'left'"),
        ({"two": "left"}, "must map whole numbers to names"),
    ],
)
def test_faulty_names_of_labels(atlas, labels, sentence):
    with pytest.raises(DataError, match=sentence):
        NiftiReader(NiftiReader.Config(atlas=atlas, atlas_labels=labels))


def test_names_beyond_the_atlas_are_remarked_on(atlas, bold):
    labels = {"2": "left", "5": "right", "7": "middle", "9": "nowhere"}
    warned = NiftiReader(NiftiReader.Config(atlas=atlas, atlas_labels=labels)).describe(bold).warned
    assert warned == ("atlas_labels names 1 labels that atlas.nii.gz does not hold",)
