"""Datasets of several groups: who is there, which channels they have, and what their rows hold."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from montages_making import ALL, COMMON, NAMES, store_of_groups

from dynml import MultiSubjectDataset
from dynml.dataset.config import DatasetConfig
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.store.reading import Store

BOTH = {"cap_a": [0, 1, 2, 3], "cap_b": [3, 4, 5]}


def opened(path, group="cap_a", further=("cap_b",), **settings):
    dataset = MultiSubjectDataset(path, group=group, config=DatasetConfig(further_groups=list(further), **settings))
    dataset.load_data()
    return dataset


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return store_of_groups(tmp_path_factory.mktemp("groups"), BOTH, validation=[2, 5])


def test_rows_hold_the_signals_of_each_group_in_its_own_channels_and_0_elsewhere(store):
    dataset = opened(store)
    assert dataset.training_set.subjects == ["sub-0", "sub-1", "sub-3", "sub-3@cap_b", "sub-4"]
    assert dataset.validation_set.subjects == ["sub-2", "sub-5"]
    assert list(dataset.channel_names) == ALL
    columns = {group: [ALL.index(name) for name in names] for group, names in NAMES.items()}
    with Store(store) as stored:
        for number, (subject, group) in enumerate(map(dataset.origin, dataset.training_set.subjects)):
            rows = dataset.training_set.rows(number, 10, 50).numpy()
            assert np.array_equal(rows[:, columns[group]], stored.read(subject, group, 10, 50))
            assert not np.delete(rows, columns[group], axis=1).any()
    assert dataset.montages.columns == list(columns.values())
    assert dataset.training_set.montage_of.tolist() == [0, 0, 0, 1, 1]


def test_some_channels_of_all_have_the_montages_of_what_is_left(store):
    dataset = opened(store)
    assert dataset.with_channels([0, 1, 12, 8]).montages.columns == [[0, 1, 3], [0, 1, 2]]
    assert dataset.with_channels([3, 1]).montages is None


def test_subjects_without_the_group_are_left_out_and_counted(store):
    with pytest.warns(DataWarning, match=r"3 of 6 subjects have no group cap_b and are left out \(sub-0, sub-1, sub-2"):
        dataset = MultiSubjectDataset(store, group="cap_b")
    assert dataset.subjects == ["sub-3", "sub-4", "sub-5"]


def test_a_person_of_two_groups_stands_in_one_subset(tmp_path):
    people = {f"sub-{number}": f"person-{number % 4}" for number in range(8)}
    path = store_of_groups(tmp_path, {"cap_a": range(6), "cap_b": range(2, 8)}, participants=people, n_samples=60)
    for fold in range(3):
        dataset = opened(path, folds=3, fold=fold)
        learnt, held_out = (set(subset.participants) for subset in (dataset.training_set, dataset.validation_set))
        assert learnt
        assert held_out
        assert not learnt & held_out
        for subset in (dataset.training_set, dataset.validation_set):
            stored = {dataset.origin(subject)[0] for subject in subset.subjects}
            assert {f"{one}@cap_b" for one in stored if one in {f"sub-{n}" for n in range(2, 6)}} <= set(
                subset.subjects
            )
        assert len(dataset.subjects) == 12


def test_masked_samples_are_rows_without_a_number_in_all_channels(tmp_path):
    path = store_of_groups(tmp_path, {"cap_a": [0], "cap_b": [1]}, cap_b={"missing": "mask"}, missing_of={"cap_b": 30})
    dataset = opened(path)
    assert dataset.n_masked == 1
    rows = dataset.training_set.rows(1, 29, 32).numpy()
    assert np.isnan(rows).all(axis=1).tolist() == [False, True, False]
    assert np.isfinite(rows[[0, 2]]).all()


def test_a_description_says_which_groups_there_were_and_can_be_written(store):
    described = json.loads(json.dumps(opened(store).describe()))
    assert list(described["groups"]) == ["cap_a", "cap_b"]
    assert described["groups"]["cap_b"]["channel_names"] == NAMES["cap_b"]
    assert described["groups"]["cap_b"]["subjects"] == {"sub-3@cap_b": "sub-3", "sub-4": "sub-4", "sub-5": "sub-5"}
    assert described["config"]["further_groups"] == ["cap_b"]
    assert "further_groups" not in DatasetConfig().in_force()


def test_groups_that_cannot_be_united_are_refused(store, tmp_path):
    with pytest.raises(DataError, match="no subject has a group 'cap_c' .*the groups are cap_a, cap_b"):
        opened(store, further=["cap_c"])
    with pytest.raises(ConfigurationError, match="names of other groups than cap_a"):
        opened(store, further=["cap_a"])
    with pytest.raises(ConfigurationError, match="'cap_b' is repeated"):
        opened(store, further=["cap_b", "cap_b"])
    with pytest.raises(ConfigurationError, match=r"null where dataset.conditioning_group is given"):
        opened(store, conditioning_group="cap_b")
    with pytest.raises(ConfigurationError, match=r"null where dataset.n_embeddings or"):
        opened(store, n_components=2)
    rates = store_of_groups(tmp_path, {"cap_a": [0], "cap_b": [1]}, cap_b={"sampling_frequency": 250.0})
    with pytest.raises(DataError, match="sampling frequency is 100 Hz in group cap_a and 250 Hz in group cap_b"):
        opened(rates)


def test_folds_are_made_of_those_who_have_the_group(tmp_path):
    path = store_of_groups(tmp_path, {"cap_a": range(9), "cap_b": [9, 10, 11]}, n_samples=60)
    for fold in range(3):
        dataset = MultiSubjectDataset(path, group="cap_b", config=DatasetConfig(folds=3, fold=fold))
        assert (dataset.training_set.n_subjects, dataset.validation_set.n_subjects) == (2, 1)
    # Who is listed by hand must have it.
    (tmp_path / "subsets.json").write_text(json.dumps({"training": ["sub-0", "sub-9"]}))
    listed = {"subsets": str(tmp_path / "subsets.json")}
    with pytest.raises(DataError, match="subject sub-0 has no group 'cap_b'"):
        MultiSubjectDataset(path, group="cap_b", config=DatasetConfig(**listed))


def test_a_name_that_is_taken_is_refused(tmp_path):
    path = store_of_groups(tmp_path, {"cap_a": [0, 1], "cap_b": [0]})
    with h5py.File(path, "a") as file:
        file.copy("subjects/sub-1", "subjects/sub-0@cap_b")
    with pytest.raises(DataError, match="sub-0@cap_b is the name of a subject"):
        opened(path)


def test_channels_of_one_name_can_be_told_apart(store):
    dataset = opened(store).with_channels_apart({"cap_b": {"E0": "E0@cap_b"}})
    assert list(dataset.channel_names) == [*NAMES["cap_a"], *NAMES["cap_b"][8:], "E0@cap_b"]
    assert dataset.channels_of_groups["cap_b"]["E0@cap_b"] == "E0"
    assert dataset.channels_of_groups["cap_a"]["E0"] == "E0"
    assert set(COMMON[1:]) <= set(dataset.channels_of_groups["cap_b"])
