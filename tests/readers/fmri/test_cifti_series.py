"""CIFTI series written by nibabel: parcels, grayordinates, labels."""

import json

import nibabel
import numpy as np
import pytest
from cifti_making import N_VERTICES, grayordinates, keys_of, noise, parcels, write_labels, write_series

from dynml.conversion.creation import create_store
from dynml.errors import DataCorruptionError, DataError
from dynml.readers import reader_class
from dynml.readers.fmri.cifti import DenseSeriesReader, ParcelSeriesReader
from dynml.store.reading import Store


@pytest.fixture
def dense(tmp_path):
    axis = grayordinates()
    return write_series(tmp_path / "rest.dtseries.nii", noise(len(axis)), axis)


@pytest.fixture
def labels(tmp_path):
    axis = grayordinates()
    return write_labels(tmp_path / "parcels.dlabel.nii", keys_of(axis), axis)


def test_formats_are_told_from_plain_nifti(tmp_path):
    assert reader_class(tmp_path / "a.ptseries.nii") is ParcelSeriesReader
    assert reader_class(tmp_path / "a.dtseries.nii") is DenseSeriesReader
    assert reader_class(tmp_path / "a.nii").__name__ == "NiftiReader"


def test_parcels_are_channels_under_their_names(tmp_path):
    data = noise(3)
    path = write_series(tmp_path / "rest.ptseries.nii", data, parcels(["V1", "M1", "A1"]))
    description = ParcelSeriesReader().describe(path)
    assert description.channel_names == ("V1", "M1", "A1")
    assert description.sampling_frequency == 1.25
    np.testing.assert_array_equal(ParcelSeriesReader().read(path), data)
    narrowed = ParcelSeriesReader(ParcelSeriesReader.Config(), ("M1",))
    assert narrowed.describe(path).channel_names == ("V1", "A1")
    np.testing.assert_array_equal(narrowed.read(path), data[:, [0, 2]])


@pytest.mark.parametrize(("step", "exponent", "rate"), [(720, -3, 1 / 0.72), (0.72, 0, 1 / 0.72), (7.2, -1, 1 / 0.72)])
def test_repetition_times_in_milliseconds(tmp_path, step, exponent, rate):
    path = write_series(tmp_path / "a.ptseries.nii", noise(2), parcels(["a", "b"]), step, exponent=exponent)
    assert ParcelSeriesReader().describe(path).sampling_frequency == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize(
    ("step", "unit", "fault"), [(720, "SECOND", "720 s"), (0, "SECOND", "0 s"), (1, "HERTZ", "hertz")]
)
def test_implausible_steps_leave_the_rate_open(tmp_path, step, unit, fault):
    path = write_series(tmp_path / "a.ptseries.nii", noise(2), parcels(["a", "b"]), step, unit)
    description = ParcelSeriesReader().describe(path)
    assert description.sampling_frequency is None
    assert fault in description.rate_fault


def test_grayordinates_are_averaged_by_label(dense, labels):
    reader = DenseSeriesReader(DenseSeriesReader.Config(atlas=labels))
    assert reader.describe(dense).channel_names == ("visual", "motor", "thalamus")
    data, keys = noise(36).astype(np.float64), keys_of(grayordinates())
    expected = np.stack([data[:, keys == key].mean(axis=1) for key in (2, 5, 9)], axis=1)
    np.testing.assert_allclose(reader.read(dense), expected, rtol=1e-12)
    narrowed = DenseSeriesReader(DenseSeriesReader.Config(atlas=labels), ("motor",))
    assert narrowed.describe(dense).channel_names == ("visual", "thalamus")
    np.testing.assert_allclose(narrowed.read(dense), expected[:, [0, 2]], rtol=1e-12)


def test_reading_in_blocks_changes_nothing(dense, labels, monkeypatch):
    whole = DenseSeriesReader(DenseSeriesReader.Config(atlas=labels)).read(dense)
    monkeypatch.setattr("dynml.readers.fmri.cifti.BYTES_PER_BLOCK", 8 * 36 * 7)
    np.testing.assert_array_equal(DenseSeriesReader(DenseSeriesReader.Config(atlas=labels)).read(dense), whole)


def test_labels_are_matched_by_vertex_and_voxel_not_by_position(tmp_path, dense):
    """The label file has all vertices in another order, as one with the medial wall has; the series only some."""
    few = grayordinates(left=range(4, 25))
    order = np.random.default_rng(3).permutation(N_VERTICES)
    everything = grayordinates(left=order)
    vertex_key = np.where(np.arange(N_VERTICES) < 12, 5, 2)
    keys = np.concatenate([vertex_key[order], [9, 9, 9, 0, 9, 9]])
    atlas = write_labels(tmp_path / "whole.dlabel.nii", keys, everything)
    data = noise(len(few), seed=2)
    path = write_series(tmp_path / "few.dtseries.nii", data, few)
    expected_keys = np.concatenate([vertex_key[4:25], [9, 9, 9, 0, 9, 9]])
    expected = np.stack([data[:, expected_keys == key].astype(float).mean(axis=1) for key in (2, 5, 9)], axis=1)
    np.testing.assert_allclose(
        DenseSeriesReader(DenseSeriesReader.Config(atlas=atlas)).read(path), expected, rtol=1e-12
    )


def test_faults_of_dense_series(tmp_path, dense, labels):
    with pytest.raises(DataError, match=r"need the key 'atlas': a \.dlabel\.nii file"):
        DenseSeriesReader()
    with pytest.raises(DataError, match=r"rest\.dtseries\.nii is not a label file"):
        DenseSeriesReader(DenseSeriesReader.Config(atlas=dense))
    other = grayordinates(left=range(10), n_vertices=64)
    path = write_series(tmp_path / "other.dtseries.nii", noise(len(other)), other)
    with pytest.raises(DataError, match="are of different surfaces or grids"):
        DenseSeriesReader(DenseSeriesReader.Config(atlas=labels)).describe(path)
    few = grayordinates(left=range(10, 20))
    path = write_series(tmp_path / "few.dtseries.nii", noise(len(few)), few)
    with pytest.raises(DataError, match=r"labels without a grayordinate in .*few\.dtseries\.nii: motor"):
        DenseSeriesReader(DenseSeriesReader.Config(atlas=labels)).describe(path)
    data = noise(36)
    data[:, :8] = 0
    path = write_series(tmp_path / "cut.dtseries.nii", data, grayordinates())
    with pytest.raises(DataError, match="all grayordinates of motor are 0"):
        DenseSeriesReader(DenseSeriesReader.Config(atlas=labels)).read(path)
    with pytest.raises(DataError, match="has no name for label 9"):
        axis = grayordinates()
        bad = write_labels(tmp_path / "bad.dlabel.nii", keys_of(axis), axis, {0: "???", 2: "a", 5: "b"})
        DenseSeriesReader(DenseSeriesReader.Config(atlas=bad))


def test_labels_of_the_key_of_the_background_are_told_and_fractions_are_refused(tmp_path, dense):
    axis = grayordinates()
    keys = keys_of(axis)
    names = {0: "motor", 2: "visual", 9: "thalamus"}
    atlas = write_labels(tmp_path / "zero.dlabel.nii", np.where(keys == 5, 0, keys), axis, names)
    described = DenseSeriesReader(DenseSeriesReader.Config(atlas=atlas)).describe(dense)
    assert described.channel_names == ("visual", "thalamus")
    assert described.warned == ("zero.dlabel.nii gives 'motor' the key 0, which means no label: left out",)
    for key in (2.6, np.nan):
        atlas = write_labels(tmp_path / "odd.dlabel.nii", np.where(np.arange(len(keys)) == 0, key, keys), axis)
        with pytest.raises(DataError, match="holds values that are not labels"):
            DenseSeriesReader(DenseSeriesReader.Config(atlas=atlas))


def test_files_of_another_kind_are_named(tmp_path, dense, labels):
    path = tmp_path / "dense.ptseries.nii"
    path.write_bytes(dense.read_bytes())
    with pytest.raises(DataError, match=r"is not a series of parcels \(\.ptseries\.nii\): it has Series x BrainModel"):
        ParcelSeriesReader().describe(path)
    plain = tmp_path / "plain.ptseries.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4)), plain)
    with pytest.raises(DataError, match="it has no CIFTI axes"):
        ParcelSeriesReader().describe(plain)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataCorruptionError, match="not a readable|truncated"):
        DenseSeriesReader(DenseSeriesReader.Config(atlas=labels)).read(path)


def test_a_store_of_parcels(tmp_path):
    for seed, subject in enumerate(["sub-1", "sub-2"]):
        folder = tmp_path / "ready" / subject
        folder.mkdir(parents=True)
        write_series(folder / "rest.ptseries.nii", noise(3, seed), parcels(["V1", "M1", "A1"]), 720, exponent=-3)
    lists = {subset: tmp_path / f"{subset}.txt" for subset in ("training", "validation", "testing")}
    for path, names in zip(lists.values(), ("sub-1\n", "sub-2\n", "")):
        path.write_text(names)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"bold": {"type": "timeseries", "files": "*.ptseries.nii"}}))
    create_store(tmp_path / "ready", tmp_path / "store.hdf5", config, lists)
    with Store(tmp_path / "store.hdf5") as store:
        assert store.attributes("sub-1", "bold").channel_names == ("V1", "M1", "A1")
        assert store.attributes("sub-1", "bold").sampling_frequency == pytest.approx(1 / 0.72)
        assert store.run_names("sub-1", "bold") == ["rest"]
        data = noise(3, 1).astype(np.float64)
        np.testing.assert_allclose(store.read("sub-2", "bold"), (data - data.mean(0)) / data.std(0), atol=1e-5)
