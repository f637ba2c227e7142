"""A process that reads for another one: crashes become sentences, numbers stay the same, workers may use it."""

import os
import signal

import h5py
import numpy as np
import pytest

from dynml.conversion.subject_workers import SubjectWorkers
from dynml.errors import DataCorruptionError, DataError, DataWarning
from dynml.readers import FileDescription, reading_process
from dynml.readers.guard import guarded
from dynml.readers.hdf5 import Hdf5Reader
from dynml.reading_files import read_text, stated_encoding

READER = Hdf5Reader()


class CrashingReader:
    """Ends its process by a signal, exits, or says which process it runs in."""

    def __init__(self, what):
        self.what = what

    @guarded
    def describe(self, path):
        if isinstance(self.what, signal.Signals):
            os.kill(os.getpid(), self.what)
        if self.what == "exit":
            os._exit(3)
        if self.what == "text":
            read_text(path.with_name("a.txt"))
        if self.what == "fault":
            raise LookupError("odd\nbytes")
        print("a line that must not stand among the answers")
        return FileDescription(n_samples=os.getpid(), n_channels=1)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.random.default_rng(0).normal(size=(50, 3))
    return path


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (signal.SIGSEGV, r"crashed \(SIGSEGV\)"),
        (signal.SIGKILL, "was killed, perhaps for memory"),
        (signal.SIGXCPU, "went on for much longer"),
        ("exit", "ended, with status 3"),
    ],
)
def test_a_crash_is_a_sentence_and_the_next_file_is_read(path, what, words):
    with pytest.raises(DataCorruptionError, match=rf"a\.h5 could not be read, as if damaged: .*{words}"):
        CrashingReader(what).describe(path)
    assert READER.describe(path).n_samples == 50


def test_one_process_reads_all_files_and_it_is_another_one(path):
    first, second = (CrashingReader("").describe(path).n_samples for _ in range(2))
    assert first == second != os.getpid()


def test_faults_come_back_with_where_they_arose(path):
    with pytest.raises(DataCorruptionError, match=r"a\.h5 could not be read, .*: odd bytes \(LookupError\)") as caught:
        CrashingReader("fault").describe(path)
    assert "LookupError" in caught.value.__notes__[0]


def test_numbers_are_those_of_the_file(path, monkeypatch):
    with h5py.File(path) as file:
        expected = file["a"][:]
    found = READER.read(path)
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous
    assert found.flags.writeable
    monkeypatch.setattr(reading_process, "_is_child", True)
    np.testing.assert_array_equal(READER.read(path), found)


def test_relative_paths_are_those_of_this_process(path, monkeypatch):
    READER.describe(path)
    monkeypatch.chdir(path.parent)
    assert READER.describe(path.relative_to(path.parent)).n_samples == 50
    with pytest.raises(DataError, match=r"^b\.h5 does not exist"):
        READER.describe(path.relative_to(path.parent).with_name("b.h5"))


def test_encodings_go_there_and_back(path):
    path.with_name("a.txt").write_bytes("müde".encode("latin-1"))
    with pytest.warns(DataWarning, match=r"a\.txt is not UTF-8 and was read as cp1252"):
        CrashingReader("text").describe(path)
    with stated_encoding("ascii"), pytest.raises(DataError, match=r"a\.txt is not text in ascii"):
        CrashingReader("text").describe(path)


def crashed_and_read(path):
    try:
        CrashingReader(signal.SIGSEGV).describe(path)
    except DataCorruptionError as error:
        return str(error), READER.read(path)
    raise AssertionError("it did not crash")


def test_workers_have_one_of_their_own(path):
    with SubjectWorkers(2) as workers:
        for sentence, signals in workers.map(crashed_and_read, [path, path, path]):
            assert "crashed (SIGSEGV)" in sentence
            np.testing.assert_array_equal(signals, READER.read(path))
