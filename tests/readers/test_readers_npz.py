import io
import zipfile

import numpy as np
import pytest

from dynml.errors import DataCorruptionError, DataError
from dynml.readers.npz import NpzReader

READER = NpzReader()
SIGNALS = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)


class _Trap:
    def __reduce__(self):
        return exec, ("raise SystemError('executed')",)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_only_matrix_is_read_exactly(tmp_path, save):
    path = tmp_path / "run.npz"
    save(path, rate=250.0, times=np.arange(30.0), signals=SIGNALS)
    signals = READER.read(path)
    assert signals.dtype == np.float32
    np.testing.assert_array_equal(signals, SIGNALS)
    assert (READER.describe(path).n_samples, READER.describe(path).n_channels) == (30, 3)


def test_a_named_array_is_read_among_others(tmp_path):
    path = tmp_path / "run.npz"
    np.savez(path, raw=SIGNALS + 1, clean=SIGNALS.astype(np.float64))
    signals = NpzReader(NpzReader.Config(variable="clean")).read(path)
    assert signals.dtype == np.float64
    np.testing.assert_array_equal(signals, SIGNALS)


def test_time_may_be_the_last_axis(tmp_path):
    path = tmp_path / "run.npz"
    np.savez(path, SIGNALS.T)
    reader = NpzReader(NpzReader.Config(time_axis="last"))
    np.testing.assert_array_equal(reader.read(path), SIGNALS)
    assert reader.read(path).flags["C_CONTIGUOUS"]
    assert (reader.describe(path).n_samples, reader.describe(path).n_channels) == (30, 3)


def test_a_single_channel_is_found_beside_scalars(tmp_path):
    np.savez(tmp_path / "run.npz", rate=np.array([[250.0]]), signal=SIGNALS[:, :1])
    np.testing.assert_array_equal(READER.read(tmp_path / "run.npz"), SIGNALS[:, :1])


def test_float16_is_remarked_on(tmp_path):
    np.savez(tmp_path / "run.npz", SIGNALS.astype(np.float16))
    assert "float16" in READER.describe(tmp_path / "run.npz").warned[0]


@pytest.mark.parametrize(
    ("arrays", "variable", "sentence"),
    [
        (
            {"a": SIGNALS, "b": SIGNALS},
            None,
            r"several arrays: a \(30 x 3 float32\), b .*name the one to read by ",
        ),
        ({"a": SIGNALS}, "b", r"run\.npz holds no array 'b'; it holds a \(30 x 3 float32\)\."),
        ({"a": SIGNALS[0]}, None, r"no two-dimensional array of real numbers; it holds a \(3 float32\)"),
        ({"a": SIGNALS[0]}, "a", r"a has shape \(3,\), but must be two-dimensional"),
        ({"a": SIGNALS * 1j}, None, r"it holds a \(30 x 3 complex numbers, complex64\)"),
        ({"a": SIGNALS > 0}, "a", r"a \(30 x 3 true and false\) must be a two-dimensional array of real numbers"),
        ({"a": np.array([["x"]])}, None, r"it holds a \(1 x 1 text\)"),
        ({"a": np.array([[_Trap()]], dtype=object)}, "a", "Python objects, which are never loaded"),
        ({"a": np.array([[_Trap()]], dtype=object)}, None, "Python objects, which are never loaded"),
        ({}, None, "archive without arrays"),
    ],
)
def test_other_archives_are_refused(tmp_path, arrays, variable, sentence):
    np.savez(tmp_path / "run.npz", **arrays)
    reader = NpzReader(NpzReader.Config(variable=variable))
    for act in (reader.describe, reader.read):
        with pytest.raises(DataError, match=sentence):
            act(tmp_path / "run.npz")


def test_a_pickle_beside_the_signals_is_left_alone(tmp_path):
    np.savez(tmp_path / "run.npz", info=np.array([[_Trap()]], dtype=object), signals=SIGNALS)
    np.testing.assert_array_equal(READER.read(tmp_path / "run.npz"), SIGNALS)
    with pytest.raises(DataError, match="allow_pickle=False"):
        READER.load(tmp_path / "run.npz", "info")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "run.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"run\.npz is not a readable \.npz file"):
        READER.describe(tmp_path / "run.npz")


def test_a_cut_archive_and_a_cut_array_are_named(tmp_path):
    path = tmp_path / "run.npz"
    np.savez(path, SIGNALS)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataCorruptionError, match=r"run\.npz is not a readable"):
        READER.describe(path)
    stream = io.BytesIO()
    np.save(stream, SIGNALS)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", stream.getvalue()[:-4])
    with pytest.raises(DataCorruptionError, match="a is truncated: it holds 356 bytes instead of 360"):
        READER.describe(path)


def test_a_changed_byte_is_seen_when_the_array_is_read(tmp_path):
    path = tmp_path / "run.npz"
    np.savez(path, SIGNALS)
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataCorruptionError, match="CRC"):
        READER.read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"run\.npz does not exist"):
        READER.describe(tmp_path / "run.npz")
