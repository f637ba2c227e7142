import h5py
import numpy as np
import pytest

from dynml.errors import DataCorruptionError, DataError
from dynml.readers.hdf5 import Hdf5Reader

READER = Hdf5Reader()
SIGNALS = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


def saved(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return path


def test_the_only_matrix_of_the_whole_file_is_read_exactly(tmp_path):
    path = saved(tmp_path / "run.h5", recording__signals=SIGNALS, recording__rate=250.0, times=np.arange(50.0))
    assert READER.read(path).dtype == np.float32
    np.testing.assert_array_equal(READER.read(path), SIGNALS)
    assert (READER.describe(path).n_samples, READER.describe(path).n_channels) == (50, 3)


@pytest.mark.parametrize("variable", ["recording/signals", "/recording/signals"])
def test_a_dataset_is_named_by_its_path(tmp_path, variable):
    path = saved(tmp_path / "run.hdf5", recording__signals=SIGNALS.T.astype(np.float64), other=SIGNALS)
    reader = Hdf5Reader(Hdf5Reader.Config(variable=variable, time_axis="last"))
    np.testing.assert_array_equal(reader.read(path), SIGNALS)
    assert (reader.describe(path).n_samples, reader.describe(path).n_channels) == (50, 3)


def test_compressed_chunks_are_read(tmp_path):
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file.create_dataset("x", data=SIGNALS, compression="gzip", shuffle=True, fletcher32=True)
    np.testing.assert_array_equal(READER.read(tmp_path / "run.h5"), SIGNALS)


@pytest.mark.parametrize(
    ("datasets", "variable", "sentence"),
    [
        ({"a": SIGNALS, "b__c": SIGNALS}, None, r"several arrays: a \(50 x 3 float32\), b/c \(50 x 3 float32\); name"),
        ({"a": SIGNALS}, "b/c", r"run\.h5 holds no array 'b/c'; it holds a \(50 x 3 float32\)"),
        ({"b__a": SIGNALS}, "b", r"holds no array 'b'; it holds b/a"),
        ({"a": SIGNALS * 1j}, None, "it holds a .*complex numbers"),
        ({"a": [["x", "y"]]}, None, r"it holds a \(1 x 2 text\)"),
        ({"a": SIGNALS[:, 0]}, "a", r"a has shape \(50,\), but must be two-dimensional"),
        ({"a": np.ones((2, 2), dtype=[("x", "f4")])}, "a", r"a \(2 x 2 records\) must be"),
        ({"a": h5py.Empty("f4")}, None, r"it holds a \(empty\)"),
        ({}, None, "it holds nothing"),
    ],
)
def test_other_files_are_refused(tmp_path, datasets, variable, sentence):
    path = saved(tmp_path / "run.h5", **datasets)
    reader = Hdf5Reader(Hdf5Reader.Config(variable=variable))
    for act in (reader.describe, reader.read):
        with pytest.raises(DataError, match=sentence):
            act(path)


def test_a_store_is_no_recording(tmp_path):
    path = saved(tmp_path / "run.hdf5", a=SIGNALS)
    with h5py.File(path, "a") as file:
        file.attrs["format"] = np.bytes_("dynml")
    with pytest.raises(DataError, match=r"run\.hdf5 is a store of dynml already"):
        READER.describe(path)


def test_faulty_bytes_are_named(tmp_path):
    path = tmp_path / "run.h5"
    path.write_bytes(b"no such thing")
    with pytest.raises(DataError, match=r"run\.h5 is not a readable HDF5 file"):
        READER.describe(path)
    saved(path, a=np.ones((1000, 4)))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataCorruptionError, match="truncated"):
        READER.describe(path)
    with pytest.raises(DataError, match=r"none\.h5 does not exist"):
        READER.describe(tmp_path / "none.h5")


def test_rows_that_cannot_be_decoded_are_found_before_anything_is_written(tmp_path):
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("a", data=SIGNALS, chunks=(50, 3), fletcher32=True)
        position = dataset.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[position + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataCorruptionError, match=r"run\.h5 is not a readable HDF5 file: .*filter"):
        READER.describe(path)
