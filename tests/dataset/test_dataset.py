"""The dataset over a store: the same rows wherever they live, damage found before training."""

import multiprocessing
import pickle
import shutil

import h5py
import numpy as np
import pytest
import torch

from dynml import host_memory
from dynml.dataset import residency
from dynml.dataset.dataset import DatasetConfig, MultiSubjectDataset
from dynml.errors import ConfigurationError, DataCorruptionError, DataError
from dynml.preparation.standardization import standardized
from dynml.recording import Events, recording_of_runs
from dynml.store.participants import SubjectIdentity
from dynml.store.writing import new_store

N_CHANNELS = 3
RUNS = {"sub-a": [70, 33], "sub-b": [50], "sub-c": [41, 9], "sub-d": [25]}
SUBSETS = {"training": ["sub-a", "sub-b"], "validation": ["sub-c"], "testing": ["sub-d"]}
STRETCHES = {"sub-a": [[[0, 30], [35, 70]], [[0, 33]]]}


def events_of(subject):
    """Blocks whose labels are numbered otherwise in every subject: each has its own names, sorted."""
    names = {"sub-a": ("face", "house"), "sub-b": ("cat", "house"), "sub-c": ("face",)}.get(subject)
    if names is None:
        return None
    onset = np.array([5, 20], dtype=np.int64)
    codes = np.array([0, len(names) - 1], dtype=np.int64)
    return Events(onset=onset, duration=np.array([10, 4]), labels={"condition": codes}, names={"condition": names})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "store.hdf5"
    rng = np.random.default_rng(0)
    with new_store(path, {}, SUBSETS) as writer:
        for subject, lengths in RUNS.items():
            writer.add_subject(SubjectIdentity(subject=subject, participant=subject))
            for group, n_channels in (("signals", N_CHANNELS), ("other", 2)):
                recording = recording_of_runs(
                    [rng.normal(size=(n, n_channels)).astype(np.float32) for n in lengths],
                    sampling_frequency=4.0,
                    stretches=[np.array(run) for run in STRETCHES[subject]] if subject in STRETCHES else None,
                    events=events_of(subject),
                )
                writer.add_group(subject, group, standardized(recording, "none"), n_channels)
    return path


def stored_rows(path, subject, group="signals"):
    with h5py.File(path) as file:
        return file[f"subjects/{subject}/{group}/data"][:]


def loaded(path, residency_, **settings):
    dataset = MultiSubjectDataset(path, residency_, group="signals", **settings)
    dataset.load_data()
    return dataset


@pytest.mark.parametrize("residency_", ["memory", "lazy", "device", "auto"])
def test_rows_are_those_of_the_file(store, residency_):
    dataset = loaded(store, residency_)
    for name, subjects in SUBSETS.items():
        subset = dataset.subset(name)
        assert (subset.name, subset.subjects, subset.participants) == (name, subjects, subjects)
        for index, subject in enumerate(subjects):
            expected = torch.from_numpy(stored_rows(store, subject))
            n = len(expected)
            assert torch.equal(subset.read(index, 0, n), expected)
            assert torch.equal(subset.read(index, 7, 19), expected[7:19])
            slicer = subset.slicer(index, 4, n)
            assert slicer.shape == (n - 4, N_CHANNELS)
            assert slicer.dtype == torch.float32
            assert torch.equal(slicer[2:9], expected[6:13])
            assert torch.equal(slicer[:], expected[4:])
            assert slicer[5:3].shape == (0, N_CHANNELS)


def test_resident_rows_are_views_of_one_tensor_end_to_end(store):
    dataset = loaded(store, "memory")
    everything = np.concatenate([stored_rows(store, subject) for subject in RUNS])
    assert torch.equal(dataset.series, torch.from_numpy(everything))
    piece = dataset.validation_set.read(0, 3, 8)
    assert piece.untyped_storage().data_ptr() == dataset.series.untyped_storage().data_ptr()
    assert dataset.validation_set.row_offsets.tolist() == [153]
    assert loaded(store, "lazy").series is None


def test_segments_samples_and_times(store):
    subset = loaded(store, "memory").training_set
    table = subset.segments
    assert list(zip(table.subject, table.segment, table.start, table.stop)) == [
        (0, 0, 0, 30),
        (0, 1, 35, 70),
        (0, 2, 70, 103),
        (1, 0, 0, 50),
    ]
    assert (subset.n_subjects, subset.n_samples, subset.n_rows) == (2, 148, 153)
    # The second stretch starts 35 samples into its run, the third at the start of another run; 4 samples per second.
    subject, segment, row = np.array([0, 0, 0, 1]), np.array([0, 1, 2, 0]), np.array([3, 36, 74, 50])
    np.testing.assert_array_equal(subset.seconds_of_rows(subject, segment, row), [0.75, 9.0, 1.0, 12.5])


def test_metadata_are_known_before_anything_is_read(store):
    dataset = MultiSubjectDataset(store, group="signals")
    assert (dataset.n_channels, dataset.channel_names) == (3, ("channel_0", "channel_1", "channel_2"))
    assert (dataset.sampling_frequency, dataset.group, dataset.split) == (4.0, "signals", "participants")
    with pytest.raises(DataError, match="load_data"):
        dataset.training_set.read(0, 0, 5)


def test_labels_have_one_numbering_over_all_subjects(store):
    dataset = loaded(store, "lazy")
    assert dataset.label_names("condition") == ("cat", "face", "house")

    def expected(n, first, second):
        labels = np.full(n, -1)
        labels[5:15], labels[20:24] = first, second
        return labels

    training = dataset.training_set
    np.testing.assert_array_equal(training.labels(0, 0, 103, "condition"), expected(103, 1, 2))
    np.testing.assert_array_equal(training.labels(1, 3, 22, "condition"), expected(50, 0, 2)[3:22])
    np.testing.assert_array_equal(dataset.validation_set.labels(0, 0, 50, "condition"), expected(50, 1, 1))
    np.testing.assert_array_equal(dataset.testing_set.labels(0, 0, 25, "condition"), np.full(25, -1))
    with pytest.raises(DataError, match=r"'conditoin' \(did you mean 'condition'\?\)"):
        dataset.label_names("conditoin")


def test_a_group_must_be_named_where_there_are_several(store):
    with pytest.raises(DataError, match="the groups other, signals: say which"):
        MultiSubjectDataset(store)
    with pytest.raises(DataError, match="signals"):
        MultiSubjectDataset(store, group="signal")


@pytest.mark.parametrize("residency_", ["memory", "lazy"])
def test_a_flipped_bit_is_found_when_data_are_loaded(store, tmp_path, residency_):
    damaged = tmp_path / "damaged.hdf5"
    shutil.copy(store, damaged)
    with h5py.File(damaged) as file:
        offset = file["subjects/sub-c/signals/data"].id.get_chunk_info(0).byte_offset
    with damaged.open("r+b") as stream:
        stream.seek(offset + 17)
        byte = stream.read(1)[0]
        stream.seek(offset + 17)
        stream.write(bytes([byte ^ 4]))
    dataset = MultiSubjectDataset(damaged, residency_, group="signals")
    with pytest.raises(DataCorruptionError, match=r"damaged\.hdf5.*subject sub-c, group signals"):
        dataset.load_data()


def test_fingerprints_follow_data_and_subsets(store, tmp_path):
    first = MultiSubjectDataset(store, "lazy", group="signals")
    assert first.fingerprint == MultiSubjectDataset(store, "memory", group="signals").fingerprint
    assert first.fingerprint != MultiSubjectDataset(store, group="other").fingerprint
    redrawn_ones = [
        MultiSubjectDataset(store, group="signals", config=DatasetConfig(folds=3, fold=fold)) for fold in range(3)
    ]
    redrawn = next(one for one in redrawn_ones if one.validation_set.subjects != ["sub-c"])
    assert first.fingerprint != redrawn.fingerprint
    assert first.fingerprints["testing"] == redrawn.fingerprints["testing"]
    description = redrawn.describe()
    assert description["fingerprint"] == redrawn.fingerprint
    assert description["redrawn"] is True
    assert description["subsets"]["validation"]["subjects"] == redrawn.validation_set.subjects
    assert first.describe()["redrawn"] is False
    assert first.describe()["subsets"]["training"]["n_samples"] == 148


def test_a_lazy_dataset_travels_to_other_processes(store):
    dataset = loaded(store, "lazy")
    expected = torch.from_numpy(stored_rows(store, "sub-b"))[3:9].tolist()
    dataset.training_set.read(1, 0, 1)
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(_read_some, [dataset, dataset]) == [expected, expected]
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.training_set.read(1, 3, 9).tolist() == expected


def _read_some(dataset):
    return dataset.training_set.read(1, 3, 9).tolist()


def test_a_pickled_resident_dataset_leaves_its_rows_behind(store):
    dataset = loaded(store, "memory")
    copy = pickle.loads(pickle.dumps(dataset))
    with pytest.raises(DataError, match="load_data"):
        copy.training_set.read(0, 0, 1)
    copy.load_data()
    assert torch.equal(copy.series, dataset.series)


def test_loading_twice_reads_once(store):
    dataset = loaded(store, "memory")
    series = dataset.series
    dataset.load_data()
    assert dataset.series is series


class TestResidency:
    cpu = torch.device("cpu")

    def test_auto_keeps_in_memory_what_takes_less_than_half_of_it(self, monkeypatch):
        monkeypatch.setattr(host_memory, "available_host_memory", lambda: 1000)
        chosen, reason = residency.choose_residency("auto", 499, self.cpu)
        assert chosen == "memory"
        assert "less than half" in reason
        assert residency.choose_residency("auto", 500, self.cpu)[0] == "lazy"

    def test_auto_prefers_the_accelerator(self, monkeypatch):
        cuda = torch.device("cuda:0")
        monkeypatch.setattr(host_memory, "available_host_memory", lambda: 1000)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (400, 800))
        assert residency.choose_residency("auto", 199, cuda)[0] == "device"
        assert residency.choose_residency("auto", 200, cuda)[0] == "memory"
        assert residency.choose_residency("auto", 600, cuda)[0] == "lazy"

    def test_auto_reads_from_the_file_when_nothing_is_known(self, monkeypatch):
        monkeypatch.setattr(host_memory, "available_host_memory", lambda: None)
        chosen, reason = residency.choose_residency("auto", 1, self.cpu)
        assert chosen == "lazy"
        assert "does not say" in reason

    def test_what_is_asked_for_is_done(self):
        assert residency.choose_residency("lazy", 1, self.cpu)[0] == "lazy"
        assert residency.choose_residency("memory", 10**18, self.cpu)[0] == "memory"
        chosen, reason = residency.choose_residency("device", 1, self.cpu)
        assert chosen == "memory"
        assert "CPU" in reason
        with pytest.raises(ConfigurationError, match="lazy"):
            residency.choose_residency("lasy", 1, self.cpu)

    def test_available_memory_is_read_from_the_system(self, tmp_path):
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/meminfo").write_text("MemTotal: 100 kB\nMemAvailable:   64 kB\n")
        assert host_memory.available_host_memory(tmp_path) == 64 * 1024
        group = tmp_path / "sys/fs/cgroup"
        group.mkdir(parents=True)
        (group / "memory.max").write_text("max\n")
        (group / "memory.current").write_text("1000\n")
        assert host_memory.available_host_memory(tmp_path) == 64 * 1024
        (group / "memory.max").write_text("5000\n")
        assert host_memory.available_host_memory(tmp_path) == 4000
        (group / "memory.stat").write_text("anon 400\ninactive_file 600\n")
        assert host_memory.available_host_memory(tmp_path) == 4600

    def test_elsewhere_half_of_the_physical_memory_counts(self, tmp_path, monkeypatch):
        monkeypatch.setattr(host_memory.os, "sysconf", {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}.__getitem__)
        assert host_memory.available_host_memory(tmp_path) == 5 * 4096

    def test_memory_that_does_not_hold_the_series_is_told(self, store, monkeypatch):
        def refuse(*_, **__):
            raise RuntimeError("not enough memory")

        dataset = MultiSubjectDataset(store, "memory", group="signals")
        monkeypatch.setattr(torch, "empty", refuse)
        with pytest.raises(DataError, match="use residency lazy"):
            dataset.load_data()
