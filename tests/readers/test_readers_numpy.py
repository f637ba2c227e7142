import numpy as np
import pytest

from dynml.errors import DataCorruptionError, DataError
from dynml.readers import extension_of, reader_class
from dynml.readers.numpy_array import NumpyReader

READER = NumpyReader()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.uint8, np.int64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_are_read_exactly(tmp_path, dtype, order):
    array = np.asarray(np.random.default_rng(0).integers(0, 200, (30, 3)), dtype=dtype, order=order)
    path = tmp_path / "run.npy"
    np.save(path, array)
    signals = READER.read(path)
    np.testing.assert_array_equal(signals, array.astype(np.float64))
    assert signals.flags["C_CONTIGUOUS"]
    assert signals.dtype in (np.float32, np.float64)
    description = READER.describe(path)
    assert (description.n_samples, description.n_channels) == (30, 3)
    assert description.sampling_frequency is None


def test_large_integers_are_not_rounded(tmp_path):
    array = np.array([[2**24 + 1, 3], [5, 7]], dtype=np.int32)
    np.save(tmp_path / "run.npy", array)
    np.testing.assert_array_equal(READER.read(tmp_path / "run.npy"), array)


def test_float16_is_remarked_on(tmp_path):
    np.save(tmp_path / "run.npy", np.ones((5, 2), dtype=np.float16))
    assert "float16" in READER.describe(tmp_path / "run.npy").warned[0]


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros(5), r"has shape \(5,\), but must be two-dimensional"),
        (np.zeros((5, 2, 2)), r"has shape \(5, 2, 2\)"),
        (np.zeros((5, 2), dtype=complex), "complex128, but must hold real numbers"),
        (np.array([["a", "b"]]), "must hold real numbers"),
        (np.array([[None, 1]], dtype=object), "Python objects"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, sentence):
    np.save(tmp_path / "run.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=sentence):
        READER.describe(tmp_path / "run.npy")


class _Trap:
    def __reduce__(self):
        return exec, ("raise SystemError('executed')",)


def test_a_pickle_in_disguise_is_never_executed(tmp_path):
    np.save(tmp_path / "run.npy", np.array([[_Trap()]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="never loaded"):
        READER.describe(tmp_path / "run.npy")


@pytest.mark.parametrize("n_samples", [20, 5000])
def test_a_truncated_file_is_named(tmp_path, n_samples):
    path = tmp_path / "run.npy"
    np.save(path, np.ones((n_samples, 4)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataCorruptionError, match=r"run\.npy is truncated"):
        READER.describe(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is not an array", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00\x05\x00abcde"]
)
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "run.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"run\.npy"):
        READER.describe(tmp_path / "run.npy")


def test_an_archive_is_refused(tmp_path):
    np.savez(tmp_path / "run.npz", a=np.ones((4, 2)))
    (tmp_path / "run.npz").rename(tmp_path / "run.npy")
    with pytest.raises(DataError, match="is not a .npy file"):
        READER.describe(tmp_path / "run.npy")


def test_readers_are_found_by_the_longest_extension(tmp_path):
    assert reader_class(tmp_path / "a.npy") is NumpyReader
    assert extension_of(tmp_path / "run-1.b.NII.GZ") == ".nii.gz"
    with pytest.raises(DataError, match=r"run\.json has a format that cannot be read; there are readers of \.npy"):
        extension_of(tmp_path / "run.json")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("L.func.gii", r"a GIFTI file, of one hemisphere; .* -left-metric LEFT\.func\.gii .* \.dlabel\.nii"),
        ("a.EEG", r"BrainVision file; name its \.vhdr file"),
        ("a.fdt", r"EEGLAB file; name its \.set"),
        ("a.gdf", r"mne\.io\.read_raw"),
        ("a.mgz", "save it as NIfTI"),
        ("a.xlsx", r"save it as \.tsv"),
        ("a.pkl", "could run code"),
    ],
)
def test_what_a_file_is_and_what_to_do_is_said_of_known_formats(tmp_path, name, said):
    with pytest.raises(DataError, match=rf"{name} cannot be read, since it is .*{said}"):
        extension_of(tmp_path / name)
