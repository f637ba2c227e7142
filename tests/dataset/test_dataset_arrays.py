"""Arrays in, dataset out: names, checks, standardization, and the same numbers as from a store."""

import numpy as np
import pytest
import torch

from dynml.dataset.dataset import DatasetConfig, MultiSubjectDataset
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.preparation.standardization import standardized
from dynml.recording import recording_of_runs
from dynml.store.participants import SubjectIdentity
from dynml.store.writing import new_store


@pytest.fixture
def arrays():
    rng = np.random.default_rng(1)
    return [3.0 + 2.0 * rng.normal(size=(n, 4)) for n in (60, 45, 30)]


def test_an_array_a_list_a_dict_and_a_recording(arrays):
    alone = MultiSubjectDataset.from_arrays(arrays[0])
    assert alone.training_set.subjects == ["training-0"]
    assert torch.equal(alone.training_set.read(0, 0, 60), torch.from_numpy(arrays[0].astype(np.float32)))
    listed = MultiSubjectDataset.from_arrays(arrays[:2], validation=arrays[2])
    assert listed.training_set.subjects == ["training-0", "training-1"]
    assert listed.validation_set.subjects == ["validation-0"]
    assert listed.testing_set.n_subjects == 0
    named = MultiSubjectDataset.from_arrays({"anna": arrays[0], "bo": arrays[1]}, testing={"cy": arrays[2]})
    assert named.training_set.subjects == ["anna", "bo"]
    assert named.subset("testing").subjects == ["cy"]
    recording = recording_of_runs([arrays[0], arrays[1]], sampling_frequency=250.0, channel_names=list("abcd"))
    from_recording = MultiSubjectDataset.from_arrays(recording)
    assert len(from_recording.training_set.segments) == 2
    assert from_recording.sampling_frequency == 250.0
    assert from_recording.channel_names == ("a", "b", "c", "d")
    tensors = MultiSubjectDataset.from_arrays([torch.from_numpy(array) for array in arrays])
    assert tensors.training_set.n_samples == 135


def test_the_same_arrays_give_the_same_fingerprint_as_a_store(arrays, tmp_path):
    names = ["anna", "bo", "cy"]
    with new_store(tmp_path / "s.hdf5", {}, {"training": names[:2], "validation": names[2:]}) as writer:
        for name, array in zip(names, arrays):
            writer.add_subject(SubjectIdentity(subject=name, participant=name))
            recording = recording_of_runs([array], sampling_frequency=1.0)
            writer.add_group(name, "signals", standardized(recording, "per_subject"), 4)
    stored = MultiSubjectDataset(tmp_path / "s.hdf5")
    stored.load_data()
    given = MultiSubjectDataset.from_arrays(
        dict(zip(names[:2], arrays)), {names[2]: arrays[2]}, standardization="per_subject"
    )
    assert torch.equal(given.series, stored.series)
    assert given.fingerprint == stored.fingerprint


def test_residencies_agree_and_callers_arrays_stay_theirs(arrays):
    lazy = MultiSubjectDataset.from_arrays(arrays, residency="lazy", standardization="per_subject")
    resident = MultiSubjectDataset.from_arrays(arrays, residency="memory", standardization="per_subject")
    for index, array in enumerate(arrays):
        assert torch.equal(lazy.training_set.read(index, 5, 25), resident.training_set.read(index, 5, 25))
        expected = (array - array.mean(axis=0)) / array.std(axis=0)
        np.testing.assert_allclose(resident.training_set.read(index, 0, len(array)).numpy(), expected, atol=1e-6)
    single = np.ascontiguousarray(arrays[0], dtype=np.float32)
    dataset = MultiSubjectDataset.from_arrays(single)
    before = dataset.series.clone()
    single[:] = 0
    assert torch.equal(dataset.series, before)


def test_changed_data_change_the_fingerprint(arrays):
    first = MultiSubjectDataset.from_arrays(arrays).fingerprint
    arrays[1][7, 2] += 1e-3
    assert MultiSubjectDataset.from_arrays(arrays).fingerprint != first


def test_folds_of_arrays_keep_participants_together(arrays):
    sessions = {f"{p}-{s}": arrays[0] + i for i, p in enumerate("abcdef") for s in (1, 2)}
    dataset = MultiSubjectDataset.from_arrays(
        sessions,
        participants={name: name[0] for name in sessions},
        config=DatasetConfig(folds=3, fold=0),
    )
    assert dataset.validation_set.n_subjects == 4
    assert not set(dataset.validation_set.participants) & set(dataset.training_set.participants)


def test_missing_samples_are_cut_out_when_asked(arrays):
    arrays[0][10] = np.nan
    arrays[0][20, 1] = np.inf
    arrays[0][22, 1] = np.inf
    with pytest.raises(DataError, match=r"training-0: channel channel_0 is nan at sample 10"):
        MultiSubjectDataset.from_arrays(arrays)
    dataset = MultiSubjectDataset.from_arrays(arrays, missing="segment", sampling_frequency=10.0)
    table = dataset.training_set.segments
    # Sample 21 alone is no stretch.
    assert list(zip(table.start, table.stop))[:3] == [(0, 10), (11, 20), (23, 60)]
    assert dataset.training_set.seconds_of_rows(np.array([0]), np.array([2]), np.array([25])) == [2.5]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a[1].__setitem__((3, 2), np.inf), r"training-1: channel channel_2 is inf at sample 3"),
        (
            lambda a: a[2].__setitem__((slice(None), 1), 5.0),
            r"training-2, run training-2: channel channel_1 is constant",
        ),
        (lambda a: a.__setitem__(1, a[1][:, :3]), r"training-1 has 3 channels, but training-0 has 4"),
        (lambda a: a.__setitem__(0, np.zeros((4, 900))), r"training-0 has 4 samples of 900 channels, .* transposed"),
        (lambda a: a.__setitem__(0, np.zeros((2, 5, 4))), r"training-0 has the shape \(2, 5, 4\), .* time x channels"),
        (lambda a: a.__setitem__(0, np.zeros((1, 4))), r"training-0 has a single sample"),
        (lambda a: a.__setitem__(0, np.zeros((0, 4))), r"training-0 is empty"),
        (lambda a: a.__setitem__(0, np.zeros((9, 4), dtype=complex)), r"training-0 has the type complex128"),
    ],
)
def test_arrays_that_cannot_be_used_are_named(arrays, spoil, message):
    spoil(arrays)
    with pytest.raises(DataError, match=message):
        MultiSubjectDataset.from_arrays(arrays)


def test_settings_that_do_not_fit_are_named(arrays):
    with pytest.raises(DataError, match="4 channels, but 3 names"):
        MultiSubjectDataset.from_arrays(arrays, channel_names=["a", "b", "c"])
    with pytest.raises(DataError, match="'dora', which is none of the arrays"):
        MultiSubjectDataset.from_arrays(arrays, participants={"dora": "d"})
    with pytest.raises(DataError, match="anna is in two subsets"):
        MultiSubjectDataset.from_arrays({"anna": arrays[0]}, {"anna": arrays[1]})
    with pytest.raises(DataError, match="Participant p is in two subsets, training and validation"):
        MultiSubjectDataset.from_arrays(arrays[0], arrays[1], participants={"training-0": "p", "validation-0": "p"})
    with pytest.raises(ConfigurationError, match="standardization"):
        MultiSubjectDataset.from_arrays(arrays, standardization="per_session")
    with pytest.raises(ConfigurationError, match="sampling_frequency"):
        MultiSubjectDataset.from_arrays(arrays, sampling_frequency=0.0)
    with pytest.raises(DataError, match="no subject"):
        MultiSubjectDataset.from_arrays([])
    slow = recording_of_runs([arrays[0]], sampling_frequency=2.0)
    with pytest.raises(DataError, match=r"training-1 has a sampling frequency of 2 Hz, but training-0 has 1 Hz"):
        MultiSubjectDataset.from_arrays([arrays[1], slow])


def test_rank_deficiency_is_told_with_the_rank(arrays):
    arrays[1][:, 3] = arrays[1][:, :3].sum(axis=1)
    with pytest.warns(DataWarning, match=r"rank-deficient.*training-1: rank 3 of 4"):
        dataset = MultiSubjectDataset.from_arrays(arrays)
    assert dataset.training_set.ranks.tolist() == [4, 3, 4]


def test_whole_numbers_become_floats():
    counts = np.random.default_rng(0).integers(-3000, 3000, size=(50, 3), dtype=np.int16)
    dataset = MultiSubjectDataset.from_arrays(counts)
    np.testing.assert_array_equal(dataset.series.numpy(), counts.astype(np.float32))


def test_what_a_mask_of_numpy_hides_is_missing():
    masked = np.ma.masked_array(np.random.default_rng(0).normal(size=(50, 2)), mask=np.arange(100).reshape(50, 2) == 21)
    with pytest.raises(DataError, match="channel channel_1 is nan at sample 10"):
        MultiSubjectDataset.from_arrays({"a": masked}, sampling_frequency=10.0)
    whole = np.ma.masked_array(masked.data, mask=False)
    dataset = MultiSubjectDataset.from_arrays({"a": masked, "b": whole}, missing="segment", sampling_frequency=10.0)
    table = dataset.training_set.segments
    assert list(zip(table.start, table.stop)) == [(0, 10), (11, 50), (0, 50)]
