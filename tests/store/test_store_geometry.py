"""Where channels lie, as a store keeps it: against the files that it was read from."""

import json

import cifti_making
import h5py
import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import cifti2_axes as axes
from store_making import two_subjects

from dynml.conversion.creation import create_store
from dynml.conversion.extension import add_subjects, apply_preparation
from dynml.errors import DataCorruptionError
from dynml.geometry.geometry import Geometry
from dynml.store.geometry.stored import geometry_in_words, read_geometry
from dynml.store.printing import architecture_lines
from dynml.store.reading import Store
from dynml.store.verification import faults_of_store

AFFINE = np.array([[-3.0, 0, 0, 12], [0, 3, 0, -9], [0, 0, 3, -6], [0, 0, 0, 1]])


def write(path, data, affine=AFFINE, code=4):
    image = nibabel.Nifti1Image(data, affine)
    image.header.set_sform(affine, code=code)
    if data.ndim == 4:
        image.header.set_xyzt_units("mm", "sec")
        image.header["pixdim"][4] = 2.0
    nibabel.save(image, path)


def labels():
    image = np.zeros((8, 6, 5), dtype=np.int16)
    image[0:2, 1:3, 1:3] = 7  # the larger piece of a label in two hemispheres
    image[7, 1, 1] = 7
    image[4:6, 3:5, 2:4] = 300
    return image


def nifti_study(folder, atlas, subjects=("sub-a", "sub-b"), name="run.nii.gz", code=4, **settings):
    atlas_code = code
    (folder / "ready").mkdir(parents=True)
    write(folder / "atlas.nii.gz", atlas, code=atlas_code)
    for number, subject in enumerate(subjects):
        (folder / "ready" / subject).mkdir()
        data = np.random.default_rng(number).normal(100, 5, (8, 6, 5, 30)).astype(np.float32)
        write(folder / "ready" / subject / name, data, code=1)
    config = {"bold": {"type": "timeseries", "files": [name], "atlas": "atlas.nii.gz", **settings}}
    (folder / "config.json").write_text(json.dumps(config))
    return made(folder, subjects[:1])


def made(folder, subjects, target="store.hdf5"):
    (folder / "list.txt").write_text("".join(f"{subject}\n" for subject in subjects))
    create_store(folder / "ready", folder / target, folder / "config.json", {"training": folder / "list.txt"})
    return folder / target


@pytest.mark.filterwarnings("ignore:.*in no list")
def test_a_label_atlas_is_kept_without_its_file(tmp_path):
    path = nifti_study(tmp_path, labels())
    (tmp_path / "atlas.nii.gz").unlink()
    geometry = read_geometry(Store(path), "bold")
    assert (geometry.kind, geometry.channel_names) == ("labels", ("label_7", "label_300"))
    np.testing.assert_array_equal(geometry.arrays["image"], labels())
    np.testing.assert_array_equal(geometry.arrays["affine"], AFFINE)
    assert geometry.arrays["values"].tolist() == [7, 300]
    # Voxel centres of the larger pieces, by hand: (0.5, 1.5, 1.5) and (4.5, 3.5, 2.5).
    np.testing.assert_allclose(geometry.positions, [[10.5, -4.5, -1.5], [-1.5, 1.5, 1.5]])
    assert geometry.is_standard
    assert geometry.values["space"] == "MNI152"
    assert faults_of_store(path) == []
    assert any("geometry: labels of atlas.nii.gz, with their centres (space: MNI152)" in line for line in printed(path))


def printed(path):
    with Store(path) as store:
        return list(architecture_lines(store))


@pytest.mark.filterwarnings("ignore:.*in no list")
@pytest.mark.parametrize(("name", "standard"), [("run.nii.gz", False), ("x_space-MNI152Lin_bold.nii.gz", True)])
def test_a_space_is_standard_where_the_header_or_a_name_says_so(tmp_path, name, standard):
    geometry = read_geometry(Store(nifti_study(tmp_path, labels(), name=name, code=1)), "bold")
    assert geometry.is_standard is standard


@pytest.mark.filterwarnings("ignore:.*in no list")
def test_excluded_labels_are_not_kept(tmp_path):
    path = nifti_study(tmp_path, labels(), exclude_channels=["label_7"])
    geometry = read_geometry(Store(path), "bold")
    assert geometry.channel_names == ("label_300",)
    assert set(np.unique(geometry.arrays["image"])) == {0, 300}


@pytest.mark.filterwarnings("ignore:.*in no list")
def test_maps_are_kept_with_their_weights(tmp_path):
    maps = np.zeros((8, 6, 5, 2), dtype=np.float32)
    maps[0:3, 1, 1, 0] = [0.2, 1.0, 0.2]
    maps[2:5, 1, 1, 1] = [0.4, 0.8, 0.4]
    geometry = read_geometry(Store(nifti_study(tmp_path, maps)), "bold")
    dense = np.zeros((8 * 6 * 5, 2), dtype=np.float32)
    dense[geometry.arrays["voxels"], geometry.arrays["channels"]] = geometry.arrays["weights"]
    np.testing.assert_array_equal(dense.reshape(8, 6, 5, 2), maps)
    np.testing.assert_allclose(geometry.positions[0], AFFINE[:3] @ [1, 1, 1, 1])


@pytest.mark.filterwarnings("ignore:.*in no list")
def test_added_and_new_stores_have_it_too(tmp_path):
    path = nifti_study(tmp_path, labels())
    (tmp_path / "more.txt").write_text("sub-b\n")
    add_subjects(tmp_path / "ready", path, tmp_path / "config.json", {"testing": tmp_path / "more.txt"})
    apply_preparation(path, tmp_path / "ready", tmp_path / "other.hdf5", subjects_list=tmp_path / "more.txt")
    for store in (path, tmp_path / "other.hdf5"):
        assert read_geometry(Store(store), "bold").channel_names == ("label_7", "label_300")
        assert faults_of_store(store) == []


def test_arrays_have_none(tmp_path):
    store = two_subjects(tmp_path).create()
    assert read_geometry(store, "signals") is None
    assert geometry_in_words(store, "signals") is None


def cifti_study(folder, axis, name, **settings):
    (folder / "ready" / "sub-a").mkdir(parents=True)
    cifti_making.write_series(folder / "ready" / "sub-a" / name, cifti_making.noise(len(axis)), axis)
    config = {"bold": {"type": "timeseries", "files": [name], **settings}}
    (folder / "config.json").write_text(json.dumps(config))
    return made(folder, ["sub-a"])


def axis_of(geometry):
    from nibabel.cifti2.parse_cifti2 import Cifti2Parser

    parser = Cifti2Parser()
    parser.parse(string=geometry.arrays["axis"].tobytes())
    return parser.header.get_axis(1)


def test_axes_of_cifti_are_kept(tmp_path):
    parcels = cifti_making.parcels(["a", "b", "c"])
    geometry = read_geometry(Store(cifti_study(tmp_path / "p", parcels, "x.ptseries.nii")), "bold")
    assert axis_of(geometry) == parcels
    assert geometry.arrays["rows"].tolist() == [0, 1, 2]
    assert not geometry.has_positions

    dense = cifti_making.grayordinates()
    (tmp_path / "d").mkdir()
    keys = cifti_making.keys_of(dense)
    cifti_making.write_labels(tmp_path / "d" / "atlas.dlabel.nii", keys, dense)
    path = cifti_study(tmp_path / "d", dense, "x.dtseries.nii", atlas="atlas.dlabel.nii")
    geometry = read_geometry(Store(path), "bold")
    assert axis_of(geometry) == dense
    assert isinstance(axis_of(geometry), axes.BrainModelAxis)
    expected = np.select([keys == 2, keys == 5, keys == 9], [0, 1, 2], -1)
    assert geometry.arrays["rows"].tolist() == expected.tolist()
    members = np.flatnonzero(keys == 9)
    centre = (cifti_making.AFFINE @ [*dense.voxel[members].mean(axis=0), 1])[:3]
    np.testing.assert_allclose(geometry.positions[2], centre)


def test_sensors_are_kept_in_the_order_of_the_channels(tmp_path):
    mne = pytest.importorskip("mne")
    names = ["Cz", "Fz", "Oz", "Pz"]
    info = mne.create_info(names, 100.0, "eeg").set_montage("standard_1020")
    (tmp_path / "ready" / "sub-a").mkdir(parents=True)
    raw = mne.io.RawArray(np.random.default_rng(0).normal(size=(4, 300)) * 1e-6, info, verbose="ERROR")
    raw.save(tmp_path / "ready" / "sub-a" / "a_raw.fif", verbose="ERROR")
    config = {"eeg": {"type": "timeseries", "files": ["a_raw.fif"], "picks": ["Oz", "Cz"], "channel_names": ["o", "c"]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    geometry = read_geometry(Store(made(tmp_path, ["sub-a"])), "eeg")
    assert (geometry.kind, geometry.channel_names) == ("sensors", ("o", "c"))
    expected = [info["chs"][names.index(name)]["loc"][:3] * 1000 for name in ("Oz", "Cz")]
    np.testing.assert_allclose(geometry.positions, expected, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*in no list")
def test_a_changed_array_is_found(tmp_path):
    import h5py

    path = nifti_study(tmp_path, labels())
    with h5py.File(path, "r+") as file:
        file["geometry/bold/positions"][0, 0] += 1.0
    (fault,) = faults_of_store(path)
    assert "geometry/bold/positions" in fault
    with pytest.raises(DataCorruptionError, match="geometry/bold"):
        read_geometry(Store(path), "bold")


def test_some_channels_in_another_order():
    geometry = Geometry(
        kind="labels",
        channel_names=("a", "b", "c"),
        arrays={"positions": np.arange(9.0).reshape(3, 3), "values": np.array([4, 5, 6])},
    )
    other = geometry.of_channels(["c", "a"])
    assert other.arrays["values"].tolist() == [6, 4]
    assert other.positions[0].tolist() == [6.0, 7.0, 8.0]
    assert geometry.of_channels(["c", "x"]) is None


@pytest.mark.filterwarnings("ignore:.*in no list")
def test_a_store_without_centres_is_drawn_without_them_and_one_without_its_atlas_is_told(tmp_path):
    path = nifti_study(tmp_path, labels())
    with h5py.File(path, "a") as file:
        del file["geometry/bold/positions"]
    with Store(path) as store:
        geometry = read_geometry(store, "bold")
        assert geometry.positions.shape == (2, 3)
        assert not geometry.has_positions
    with h5py.File(path, "a") as file:
        del file["geometry/bold/image"]
    with (
        Store(path) as store,
        pytest.raises(DataCorruptionError, match="bold cannot be read: it has no image, which labels are drawn by"),
    ):
        read_geometry(store, "bold")
