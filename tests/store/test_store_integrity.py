"""Bytes that pass HDF5's checksums and yet are not those that were written."""

import errno
import hashlib
import os
import pickle
import shutil

import h5py
import numpy as np
import pytest
from h5py.h5i import get_name
from store_making import Study, noise

from dynml.dataset.config import DatasetConfig
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import DataCorruptionError, DataError, DynmlError
from dynml.store import file as store_file
from dynml.store import integrity
from dynml.store import reading as store_reading
from dynml.store import writing as store_writing
from dynml.store.extraction import extract
from dynml.store.file import LIBRARY_VERSIONS
from dynml.store.integrity import write_attribute, write_table
from dynml.store.reading import Store
from dynml.store.verification import faults_of_store

TABLES = ("segments", "segment_runs", "source_samples", "mean", "std", "run_names")
EVENTS = "onset\tduration\ttrial_type\n0.1\t0.2\tface\n0.4\t0.1\thouse\n"


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A store whose signals take several chunks."""
    monkeypatch.setattr(store_writing, "BYTES_PER_CHUNK", 4 * 4 * 50)
    runs = {f"sub-{name}": [noise(120, seed=number), noise(90, seed=10 + number)] for number, name in enumerate("abc")}
    study = Study(tmp_path, runs, events="events-*.tsv", preparation=[{"step": "pca", "n_components": 3}])
    for subject in runs:
        for run in range(2):
            (study.ready / subject / f"events-{run}.tsv").write_text(EVENTS)
    study.lists = {"training": ["sub-a", "sub-b"], "validation": ["sub-c"], "testing": []}
    study.create().close()
    return study


def test_verification_reads_each_small_table_of_a_subject_once(study, monkeypatch):
    read, known = [], integrity.read_unchecked
    for module in (integrity, store_reading):
        monkeypatch.setattr(module, "read_unchecked", lambda node: read.append(get_name(_id(node))) or known(node))
    assert faults_of_store(study.target) == []
    tables = [f"/subjects/sub-{subject}/signals/{name}".encode() for subject in "abc" for name in TABLES]
    assert [read.count(table) for table in tables] == [1] * len(tables)


def _id(node):
    return node if isinstance(node, h5py.h5d.DatasetID) else node.id


def test_a_store_that_the_disk_does_not_take_is_not_there(tmp_path, monkeypatch):
    def refused(path):
        raise OSError(errno.EIO, "Input/output error")

    study = Study(tmp_path, {"sub-a": [noise(120)]})
    monkeypatch.setattr(store_writing, "fsync", refused)
    with pytest.raises(DynmlError, match=r"store\.hdf5 could not be written: Input/output error"):
        study.create()
    assert not [path for path in tmp_path.iterdir() if "hdf5" in path.name and ".lock" not in path.name]


@pytest.mark.skipif(not hasattr(os, "fdatasync"), reason="the system sends no file to the disk so")
@pytest.mark.parametrize("is_refused", [False, True])
def test_a_store_goes_to_the_disk_while_it_is_written(is_refused, tmp_path, monkeypatch):
    sent = []

    def fdatasync(descriptor):
        sent.append(os.fstat(descriptor).st_size)
        if is_refused:
            raise OSError(errno.EIO, "Input/output error")

    study = Study(tmp_path, {f"sub-{name}": [noise(500)] for name in "abcd"})
    monkeypatch.setattr(store_file, "BYTES_SENT", 2**13)
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    if is_refused:
        with pytest.raises(DynmlError, match=r"store\.hdf5 could not be written: Input/output error"):
            study.create()
        assert not study.target.exists()
    else:
        study.create().close()
        assert sent
        assert sent[0] < study.target.stat().st_size


TEXTS = np.array(["é".encode(), b"b"], dtype=h5py.string_dtype("utf-8", 2))


@pytest.mark.parametrize(
    "table", [np.arange(6).reshape(3, 2), np.float64(0.5), np.zeros((0, 2)), np.ones((2, 3)).T, TEXTS, TEXTS[:1]]
)
def test_small_arrays_are_written_as_h5py_writes_them(table, tmp_path):
    table = np.asarray(table)
    digest = hashlib.sha256(table.tobytes()).hexdigest().encode()
    with h5py.File(tmp_path / "own.hdf5", "w", libver=LIBRARY_VERSIONS) as file:
        group = file.create_group("a/b")
        write_table(group, "table", table)
        write_attribute(group.id, "names", TEXTS)
    with h5py.File(tmp_path / "of_h5py.hdf5", "w", libver=LIBRARY_VERSIONS) as file:
        group = file.create_group("a/b")
        chunked = {"chunks": table.shape, "fletcher32": True} if table.ndim and table.size else {}
        dataset = group.create_dataset("table", data=table, **chunked)
        dataset.attrs["sha256"] = np.array(digest, dtype=h5py.string_dtype("utf-8", 64))
        group.attrs["names"] = TEXTS
    assert (tmp_path / "own.hdf5").read_bytes() == (tmp_path / "of_h5py.hdf5").read_bytes()


def chunk_of(path, name, number=0):
    with h5py.File(path) as file:
        chunk = file[name].id.get_chunk_info(number)
        return chunk.byte_offset, chunk.size


def overwrite(path, offset, content):
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(content)


def zero_chunk(path, name, number=0):
    offset, size = chunk_of(path, name, number)
    overwrite(path, offset, bytes(size))


def copy_chunk(path, name, source, target):
    (offset, size), (other, _) = chunk_of(path, name, source), chunk_of(path, name, target)
    overwrite(path, other, path.read_bytes()[offset : offset + size])


def loaded(path, residency="memory", *, verify=True, **settings):
    dataset = MultiSubjectDataset(path, residency, group="signals", config=DatasetConfig(**settings))
    dataset.load_data(verify=verify)
    return dataset


@pytest.mark.parametrize("damage", ["zeros", "another chunk"])
@pytest.mark.parametrize("settings", [{}, {"n_embeddings": 3}, {"n_embeddings": 3, "cache_embedded": True}])
def test_lost_and_exchanged_chunks_are_found_where_all_is_read(study, damage, settings):
    name = "subjects/sub-b/signals/data"
    if damage == "zeros":
        zero_chunk(study.target, name, 1)
    else:
        copy_chunk(study.target, name, 0, 2)
    residencies = ["memory"] if settings.get("cache_embedded") else ["memory", "lazy"]
    for residency in residencies:
        with pytest.raises(DataCorruptionError, match=r"store\.hdf5: .*sub-b, group signals.*SHA-256"):
            loaded(study.target, residency, **settings)
    assert any("sub-b" in fault and "SHA-256 differs" in fault for fault in faults_of_store(study.target))
    with Store(study.target) as store, pytest.raises(DataCorruptionError, match="sub-b"):
        extract(store, "sub-b", "signals", study.folder / "out.npy")
    assert not (study.folder / "out.npy").exists()


def test_a_lost_chunk_is_found_by_any_window_that_touches_it(study):
    zero_chunk(study.target, "subjects/sub-b/signals/data", 1)
    dataset = loaded(study.target, "lazy", verify=False)
    assert len(dataset.training_set.read(1, 0, 40)) == 40
    with pytest.raises(DataCorruptionError, match=r"sub-b, group signals are not those that were written"):
        dataset.training_set.read(1, 95, 110)


def test_zeros_that_were_written_are_read(tmp_path):
    signals = noise(200)
    signals[50:150] = 0.0
    study = Study(tmp_path, {"sub-a": [signals]}, standardization="none")
    with study.create() as store:
        np.testing.assert_array_equal(store.read("sub-a", "signals", 60, 80), 0.0)
    assert faults_of_store(study.target) == []


@pytest.mark.parametrize("name", [*TABLES, "events/onset", "events/duration", "events/labels/trial_type"])
def test_lost_tables_are_found(study, name):
    with h5py.File(study.target) as file:
        was_zero = not np.any(file[f"subjects/sub-a/signals/{name}"][:] != np.zeros(1))
    zero_chunk(study.target, f"subjects/sub-a/signals/{name}")
    faults = faults_of_store(study.target)
    assert was_zero == (not faults)
    assert was_zero or all("sub-a" in fault for fault in faults)
    if name == "segments":
        with pytest.raises(DataCorruptionError, match=r"segments of subject sub-a, group signals .*SHA-256"):
            loaded(study.target)
    if name == "events/onset":
        with Store(study.target) as store, pytest.raises(DataCorruptionError, match="events of subject sub-a"):
            store.events("sub-a", "signals")


def test_exchanged_lists_of_subjects_are_found(tmp_path):
    study = Study(tmp_path, {f"sub-{number}": [noise(50, seed=number)] for number in range(2)})
    study.lists = {"training": ["sub-0"], "validation": ["sub-1"], "testing": []}
    study.create().close()
    (first, size), (second, _) = (chunk_of(study.target, f"subsets/{name}") for name in ("training", "validation"))
    content = study.target.read_bytes()
    overwrite(study.target, first, content[second : second + size])
    overwrite(study.target, second, content[first : first + size])
    with Store(study.target) as store, pytest.raises(DataCorruptionError, match="list of training subjects"):
        store.subset("training")
    assert any("the subset validation is not what was written" in fault for fault in faults_of_store(study.target))


@pytest.mark.parametrize("name", ["components", "subjects"])
def test_a_lost_fit_is_found(study, name):
    zero_chunk(study.target, f"preparation/signals/00_pca/{name}")
    assert any("fit signals/00_pca" in fault for fault in faults_of_store(study.target))
    if name == "subjects":
        with pytest.raises(DataCorruptionError, match="SHA-256"):
            loaded(study.target)


def test_stores_of_earlier_versions_are_read(study):
    with h5py.File(study.target, "r+") as file:
        tables = []
        file.visititems(lambda _, node: tables.append(node) if isinstance(node, h5py.Dataset) else None)
        for table in tables:
            table.attrs.pop("sha256", None)
    assert faults_of_store(study.target) == []
    assert len(loaded(study.target).series) == 630


def other_store(study, folder):
    other = Study(folder, {subject: [noise(120, seed=50), noise(90, seed=51)] for subject in study.runs})
    other.config, other.lists = study.config, study.lists
    for subject in other.runs:
        for run in range(2):
            (other.ready / subject / f"events-{run}.tsv").write_text(EVENTS)
    other.create().close()
    return other.target


def test_a_store_that_is_replaced_is_noticed_by_the_next_process_that_opens_it(study, tmp_path):
    dataset = loaded(study.target, "lazy")
    expected = dataset.training_set.read(0, 10, 30)
    sent = pickle.dumps(dataset)
    kept = tmp_path / "kept.hdf5"
    shutil.copy(study.target, kept)
    os.replace(other_store(study, tmp_path / "other"), study.target)
    # The file that is open is still the old one; another process would open the new one.
    assert dataset.training_set.read(0, 10, 30).equal(expected)
    for _ in range(2):
        with pytest.raises(DataCorruptionError, match=r"store\.hdf5 was replaced or changed while it was in use"):
            pickle.loads(sent).training_set.read(0, 10, 30)
    os.replace(kept, study.target)
    assert pickle.loads(sent).training_set.read(0, 10, 30).equal(expected)


def test_a_store_that_is_written_to_is_noticed_by_who_has_it_open(study, tmp_path):
    dataset = loaded(study.target, "lazy")
    dataset.training_set.read(0, 10, 30)
    content = study.target.read_bytes()
    offset, size = chunk_of(study.target, "subjects/sub-b/signals/data", 1)
    other, _ = chunk_of(study.target, "subjects/sub-b/signals/data", 2)
    status = study.target.stat()
    overwrite(study.target, offset, content[other : other + size])
    os.utime(study.target, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(DataCorruptionError, match=r"was replaced or changed while it was in use.*sub-b"):
        dataset.training_set.read(0, 10, 30)
    with pytest.raises(DataError, match="was replaced or changed"):
        dataset.training_set.read(0, 10, 30)


def test_a_store_that_was_only_touched_goes_on(study):
    dataset = loaded(study.target, "lazy")
    expected = dataset.training_set.read(1, 40, 60)
    status = study.target.stat()
    os.utime(study.target, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    assert dataset.training_set.read(1, 40, 60).equal(expected)


def test_shares_of_the_subjects_have_the_faults_of_the_whole(study):
    for subject in ("sub-a", "sub-c"):
        copy_chunk(study.target, f"subjects/{subject}/signals/data", 1, 2)
    faults = faults_of_store(study.target)
    assert [fault.split(", group")[0].split()[-1] for fault in faults] == ["sub-a", "sub-c"]
    assert faults_of_store(study.target, each=map) == faults


def test_small_arrays_are_read_once_a_group_and_handed_out_as_copies(study, monkeypatch):
    read, names = Store.read_table, []

    def noted(self, node):
        names.append(get_name(node).decode())
        return read(self, node)

    monkeypatch.setattr(Store, "read_table", noted)
    with Store(study.target) as store:
        first = store.segments("sub-a", "signals")
        first[:] = -1
        np.testing.assert_array_equal(store.segments("sub-a", "signals"), [[0, 120], [120, 210]])
        assert len(names) == 1
        assert store.segments("sub-b", "signals")[0, 0] == store.segments("sub-a", "signals")[0, 0] == 0
    assert names == [f"/subjects/{subject}/signals/segments" for subject in ("sub-a", "sub-b", "sub-a")]
