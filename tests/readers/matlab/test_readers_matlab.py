import numpy as np
import pytest
import scipy.io
import scipy.sparse
from matlab_making import save_hdf5

from dynml.errors import DataCorruptionError, DataError
from dynml.readers.matlab.reader import MatlabReader

READER = MatlabReader()
SIGNALS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
TYPES = [np.float32, np.float64, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


def save_v6(path, **variables):
    scipy.io.savemat(path, variables)


def save_v7(path, **variables):
    scipy.io.savemat(path, variables, do_compression=True)


SAVERS = [save_v6, save_v7, save_hdf5]


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("dtype", TYPES)
def test_the_only_matrix_is_read_exactly(tmp_path, save, dtype):
    path = tmp_path / "räun-1.mat"
    array = (SIGNALS * 20 + 100).astype(dtype)
    save(path, rate=np.array([[250.0]]), times=np.arange(40.0)[None], X=array)
    signals = READER.read(path)
    assert signals.dtype == (np.float64 if array.dtype.itemsize > 4 or dtype in (np.int32, np.uint32) else np.float32)
    np.testing.assert_array_equal(signals, array)
    assert signals.flags["C_CONTIGUOUS"]
    assert (READER.describe(path).n_samples, READER.describe(path).n_channels) == (40, 3)


@pytest.mark.parametrize("save", SAVERS)
def test_channels_by_time_and_a_named_variable(tmp_path, save):
    path = tmp_path / "run.mat"
    save(path, raw=SIGNALS.T * 2, a_name_that_is_long_enough=SIGNALS.T)
    reader = MatlabReader(MatlabReader.Config(variable="a_name_that_is_long_enough", time_axis="last"))
    np.testing.assert_array_equal(reader.read(path), SIGNALS)
    assert (reader.describe(path).n_samples, reader.describe(path).n_channels) == (40, 3)


def test_files_of_machines_with_the_other_order_of_bytes(tmp_path):
    path = tmp_path / "run.mat"
    flags = np.array([6, 8, 7, 0], dtype=">u4").tobytes()
    shape = np.array([5, 8, 40, 3], dtype=">i4").tobytes()
    name = np.array([(1 << 16) | 1], dtype=">u4").tobytes() + b"x\0\0\0"
    numbers = np.array([7, SIGNALS.nbytes], dtype=">u4").tobytes() + SIGNALS.T.astype(">f4").tobytes()
    body = flags + shape + name + numbers
    content = (
        b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + np.array([14, len(body)], dtype=">u4").tobytes() + body
    )
    path.write_bytes(content)
    np.testing.assert_array_equal(READER.read(path), SIGNALS)
    assert (READER.describe(path).n_samples, READER.describe(path).n_channels) == (40, 3)


@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize(
    ("variables", "variable", "sentence"),
    [
        (
            {"a": SIGNALS, "b": SIGNALS},
            None,
            r"several arrays: a \(40 x 3 float32\), b \(40 x 3 float32\); name",
        ),
        ({"a": SIGNALS}, "signals", r"run\.mat holds no array 'signals'; it holds a \(40 x 3 float32\)\."),
        ({"a": {"x": SIGNALS}}, None, r"no two-dimensional array of real numbers; it holds a \(.*struct\)"),
        ({"a": {"x": SIGNALS}}, "a", r"a \(.*struct\) must be a .* real numbers; save the signals of a struct as"),
        ({"a": SIGNALS * 1j}, "a", r"a \(40 x 3 complex numbers.*\) must be a two-dimensional array of real numbers"),
        ({"a": SIGNALS > 0}, "a", r"a \(40 x 3 logical\) must be"),
        ({"a": np.ones((4, 3, 2))}, "a", r"a has shape \(4, 3, 2\), but must be two-dimensional"),
    ],
)
def test_other_variables_are_refused(tmp_path, save, variables, variable, sentence):
    save(tmp_path / "run.mat", **variables)
    reader = MatlabReader(MatlabReader.Config(variable=variable))
    for act in (reader.describe, reader.read):
        with pytest.raises(DataError, match=sentence):
            act(tmp_path / "run.mat")


@pytest.mark.parametrize("save", [save_v6, save_v7])
def test_text_cells_and_sparse_matrices_are_named(tmp_path, save):
    cell = np.empty((1, 2), dtype=object)
    cell[:] = [[SIGNALS, SIGNALS]]
    save(tmp_path / "run.mat", text="name", cells=cell, few=scipy.sparse.eye_array(4, format="csc"))
    with pytest.raises(DataError, match=r"holds text \(1 x 4 char\), cells \(1 x 2 cell\), few \(4 x 4 sparse\)"):
        READER.describe(tmp_path / "run.mat")


@pytest.mark.parametrize("save", SAVERS)
def test_a_truncated_file_is_named_before_anything_is_read(tmp_path, save):
    path = tmp_path / "run.mat"
    save(path, X=np.random.default_rng(0).normal(size=(2000, 4)))
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataCorruptionError, match=r"run\.mat is .*truncated"):
        READER.describe(path)


def test_changed_bytes_of_a_compressed_variable_are_seen(tmp_path):
    path = tmp_path / "run.mat"
    save_v7(path, X=np.random.default_rng(0).normal(size=(2000, 4)))
    content = bytearray(path.read_bytes())
    content[30000:30100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(DataCorruptionError, match=r"run\.mat holds a variable .* cannot be read: .*decompress"):
        READER.read(path)


@pytest.mark.parametrize("content", [b"", b"no matlab", bytes(200), b"x" * 4000])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "run.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"run\.mat is not a MATLAB file of version 5, 7 or 7\.3; save it"):
        READER.describe(tmp_path / "run.mat")


def test_a_file_of_version_4_is_refused(tmp_path):
    scipy.io.savemat(tmp_path / "run.mat", {"X": SIGNALS}, format="4")
    with pytest.raises(DataError, match="is not a MATLAB file of version 5"):
        READER.describe(tmp_path / "run.mat")


def test_faulty_headers_are_no_crash(tmp_path):
    save_v6(tmp_path / "run.mat", X=SIGNALS)
    content = (tmp_path / "run.mat").read_bytes()
    for position in range(128, 200):
        changed = bytearray(content)
        changed[position] ^= 0xFF
        (tmp_path / "run.mat").write_bytes(changed)
        try:
            READER.describe(tmp_path / "run.mat")
            READER.read(tmp_path / "run.mat")
        except DataError:
            pass
