"""Stores and HDF5 files of other programs on file systems without locks, and additions that meet."""

import contextlib
import errno
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from store_making import noise, two_subjects

from dynml.conversion import extension as store_extension
from dynml.conversion.extension import add_subjects
from dynml.errors import DataError, DataWarning
from dynml.locks import missing, writing
from dynml.readers.hdf5 import Hdf5Reader
from dynml.store.reading import Store
from dynml.store.verification import faults_of_store


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL], ids=lambda n: errno.errorcode[n])
def no_locks(request, monkeypatch):
    """HDF5 refuses to open what it cannot lock, as on NFS."""

    class File(h5py.File):
        def __init__(self, name, mode="r", *further, locking=None, **settings):
            if mode == "r" and locking is not False:
                words = f"Unable to synchronously open file (unable to lock file, errno = {request.param})"
                raise OSError(request.param, words)
            super().__init__(name, mode, *further, locking=locking, **settings)

    monkeypatch.setattr(h5py, "File", File)
    monkeypatch.setattr(missing, "_warned_of", set())


def test_a_store_is_read_where_there_are_no_locks_and_this_is_told_once(tmp_path, no_locks):
    study = two_subjects(tmp_path)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        study.create().close()
        for _ in range(2):
            with Store(study.target) as store:
                assert store.read("sub-a", "signals").shape == (180, 4)
        assert faults_of_store(study.target) == []
    assert [str(one.message).partition("(")[0] for one in told] == [f"The file system of {tmp_path} has no file locks "]
    assert told[0].category is DataWarning


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_files_of_other_programs_are_read_where_there_are_no_locks(tmp_path, no_locks):
    signals = noise(30)
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["signals"] = signals
    np.testing.assert_array_equal(Hdf5Reader().read(tmp_path / "run.h5"), signals)


def three_to_come(tmp_path):
    study = two_subjects(tmp_path)
    study.create().close()
    for name in ("sub-c", "sub-d"):
        (study.ready / name).mkdir()
        study.save(name, 0, noise(90, seed=len(name)))
        (tmp_path / f"{name}.txt").write_text(f"{name}\n")
    return study


@pytest.fixture
def meeting_additions(monkeypatch):
    """Two additions wait for each other before they extend the store."""
    monkeypatch.setattr(writing, "SECONDS_BETWEEN_TRIES", 0.01)
    both, extended_store = threading.Barrier(2), store_extension.extended_store

    def meeting(*arguments, **settings):
        # Without a lock both come here with the same old store in their hands.
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=1)
        return extended_store(*arguments, **settings)

    monkeypatch.setattr(store_extension, "extended_store", meeting)


@pytest.mark.usefixtures("meeting_additions")
@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_two_additions_at_once_both_arrive(tmp_path):
    study = three_to_come(tmp_path)

    def add(name):
        return add_subjects(study.ready, study.target, tmp_path / "config.json", {"testing": tmp_path / f"{name}.txt"})

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(add, ["sub-c", "sub-d"]))
    assert all(text.startswith("Added to") for text in results)
    with Store(study.target) as store:
        assert store.subjects == ["sub-a", "sub-b", "sub-c", "sub-d"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.usefixtures("meeting_additions")
@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_of_two_additions_of_one_subject_at_once_one_is_refused(tmp_path):
    study = three_to_come(tmp_path)

    def add(_):
        lists = {"testing": tmp_path / "sub-c.txt"}
        try:
            return add_subjects(study.ready, study.target, tmp_path / "config.json", lists)
        except DataError as error:
            return str(error)

    with ThreadPoolExecutor(2) as threads:
        added, refused = sorted(threads.map(add, range(2)), key=lambda text: "already" in text)
    assert added.startswith("Added to")
    assert "has these subjects already: sub-c" in refused
    assert faults_of_store(study.target) == []


def test_a_store_that_is_being_extended_is_not_replaced(tmp_path):
    study = two_subjects(tmp_path)
    study.create().close()
    before = study.target.read_bytes()

    def replace():
        with pytest.raises(
            DataError, match=f"store.hdf5 is being written to by another process .process {os.getpid()}"
        ):
            study.create(overwrite=True)

    with ThreadPoolExecutor(1) as threads, writing.writing_to(study.target):
        threads.submit(replace).result()
    assert study.target.read_bytes() == before
