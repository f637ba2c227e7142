"""Eight hundred subjects: everything stays in proportion to their number."""

import h5py
import numpy as np
import pytest
import torch

from dynml.batches.loader import BatchLoader
from dynml.batches.sampler import BatchSampler
from dynml.dataset.dataset import DatasetConfig, MultiSubjectDataset
from dynml.store import layout
from dynml.store.integrity import sha256_of_signals

N_SUBJECTS, N_SAMPLES, N_CHANNELS = 800, 25, 3


@pytest.fixture(scope="module")
def large_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "store.hdf5"
    names = [f"sub-{i:04d}" for i in range(N_SUBJECTS)]
    subsets = {"training": names[:640], "validation": names[640:720], "testing": names[720:]}
    base = np.random.default_rng(0).normal(size=(N_SAMPLES, N_CHANNELS)).astype(np.float32)
    small = {
        layout.SEGMENTS: np.array([[0, N_SAMPLES]]),
        layout.SEGMENT_RUNS: np.zeros(1, np.int64),
        layout.MEAN: np.zeros((1, N_CHANNELS)),
        layout.STD: np.ones((1, N_CHANNELS)),
        layout.SOURCE_SAMPLES: np.zeros((1, 2), np.int64),
        layout.RUN_NAMES: np.array([b"run"]),
    }
    attributes = {
        layout.TYPE: layout.GROUP_TYPE,
        layout.SAMPLING_FREQUENCY: 1.0,
        layout.UNITS: "arbitrary",
        layout.CHANNEL_NAMES: [f"channel_{i}" for i in range(N_CHANNELS)],
        layout.RANK: N_CHANNELS,
        layout.SOURCES: "[]",
        layout.PREPARATION: "[]",
    }
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs.update({layout.FORMAT: layout.FORMAT_NAME, layout.FORMAT_VERSION_KEY: 1, layout.CONFIG: "{}"})
        for subset, members in subsets.items():
            file.create_dataset(layout.subset_path(subset), data=members, dtype=h5py.string_dtype())
        for number, name in enumerate(names):
            group = file.create_group(layout.subject_path(name, "signals"))
            group.parent.attrs[layout.PARTICIPANT] = f"p{number // 2}"
            group[layout.DATA] = base + number
            digest = sha256_of_signals([base + number], small[layout.SEGMENTS])
            group.attrs.update({**attributes, layout.SHA256: digest})
            for key, array in small.items():
                group[key] = array
    return path


def test_an_epoch_over_all_subjects(large_store):
    dataset = MultiSubjectDataset(large_store, "memory")
    dataset.load_data()
    sampler = BatchSampler(dataset, window_length=10, batch_size_training=64, nb_subjects_per_batch=8, cycles=2)
    loader = BatchLoader(dataset)
    seen = torch.zeros(640, dtype=torch.int64)
    for batch in loader.iterate(sampler, 0):
        seen += torch.bincount(batch.subject, minlength=640)
        # Each subject's rows stand around its own number.
        assert (batch.signals.mean(dim=(1, 2)) - batch.subject).abs().max() < 1.5
    # 25 samples hold two windows of 10 at the phases 0 to 5, and one at the phases 6 to 9.
    assert set(seen.tolist()) == {1, 2}
    assert seen.sum() == sampler.report(0).n_spans


def test_folds_of_hundreds_of_participants(large_store):
    held_out = []
    for fold in range(3):
        config = DatasetConfig(folds=3, fold=fold)
        dataset = MultiSubjectDataset(large_store, "lazy", config=config)
        held_out += dataset.validation_set.subjects
        assert not set(dataset.training_set.participants) & set(dataset.validation_set.participants)
        assert dataset.testing_set.n_subjects == 80
    assert sorted(held_out) == [f"sub-{i:04d}" for i in range(720)]
