"""Subsets redrawn by participant: balanced, repeatable, and never with a participant on both sides."""

import json

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running_scripts import run_here

from dynml.dataset.dataset import DatasetConfig, MultiSubjectDataset
from dynml.dataset.subsets import draw_subsets
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.preparation.standardization import standardized
from dynml.recording import recording_of_runs
from dynml.store.participants import SubjectIdentity
from dynml.store.subsets import Subsets
from dynml.store.writing import new_store
from dynml.training.parts import check_nobody_is_held_out_by_another_name


def many(n_participants, n_sessions=2, split="participants"):
    """Subsets of participants with several sessions each; the last three participants test."""
    participants = {f"p{i}_s{j}": f"p{i}" for i in range(n_participants) for j in range(n_sessions)}
    names = list(participants)
    cut = len(names) - 3 * n_sessions
    return Subsets({"training": names[: cut - 2], "validation": names[cut - 2 : cut], "testing": names[cut:]}, split), (
        participants
    )


@given(n=st.integers(6, 40), folds=st.integers(2, 6), seed=st.integers(0, 5))
def test_folds_are_balanced_and_hold_everyone_out_once(n, folds, seed):
    stored, participants = many(n)
    pool = {participants[s] for name in ("training", "validation") for s in stored.subjects[name]}
    if len(pool) < folds:
        return
    held_out = []
    for fold in range(folds):
        drawn = draw_subsets(stored, participants, DatasetConfig(folds=folds, fold=fold, seed=seed)).subjects
        people = {name: {participants[s] for s in subjects} for name, subjects in drawn.items()}
        assert not people["training"] & people["validation"]
        assert people["training"] | people["validation"] == pool
        assert sorted(drawn["training"] + drawn["validation"]) == sorted(
            stored.subjects["training"] + stored.subjects["validation"]
        )
        assert drawn["testing"] == stored.subjects["testing"]
        held_out.append(people["validation"])
    sizes = [len(people) for people in held_out]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == len(set().union(*held_out)) == len(pool)


def test_folds_depend_on_names_and_seed_not_on_the_order_of_lists():
    stored, participants = many(20)
    turned = Subsets({name: names[::-1] for name, names in stored.subjects.items()}, "participants")

    def held_out(subsets, seed):
        return set(
            draw_subsets(subsets, participants, DatasetConfig(folds=4, fold=2, seed=seed)).subjects["validation"]
        )

    assert held_out(stored, 1) == held_out(turned, 1)
    assert len({frozenset(held_out(stored, seed)) for seed in range(5)}) > 1


def test_fewer_training_participants_are_among_more_and_keep_their_sessions():
    stored, participants = many(20)
    before = []
    for n in range(1, 17):
        drawn = draw_subsets(stored, participants, DatasetConfig(n_training_subjects=n)).subjects
        assert len({participants[s] for s in drawn["training"]}) == n
        assert len(drawn["training"]) == 2 * n
        assert set(before) <= set(drawn["training"])
        assert drawn["validation"] == stored.subjects["validation"]
        before = drawn["training"]
    with pytest.raises(ConfigurationError, match=r"at most 16"):
        draw_subsets(stored, participants, DatasetConfig(n_training_subjects=17))


def test_a_file_of_subsets_takes_participants_and_subjects(tmp_path):
    stored, participants = many(8)
    path = tmp_path / "subsets.json"
    path.write_text(json.dumps({"training": ["p5", "p0_s1", "p0_s0"], "validation": ["p7"]}))
    drawn = draw_subsets(stored, participants, DatasetConfig(subsets=str(path)))
    assert drawn.subjects == {
        "training": ["p5_s0", "p5_s1", "p0_s1", "p0_s0"],
        "validation": ["p7_s0", "p7_s1"],
        "testing": [],
    }
    assert drawn.split == "participants"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"training": ["p1", "p9"]}, r"'p9' for training, which is not a participant or subject"),
        ({"trainig": ["p1"]}, r"'trainig', which is not a subset \(did you mean 'training'\?\)"),
        ({"training": ["p1"], "testing": ["p1"]}, r"p1_s0 twice: for training and for testing"),
        ({"training": ["p1", "p1_s0"]}, r"p1_s0 twice: for training and for training"),
        ({"training": ["p1_s0"], "testing": ["p1_s1"]}, r"p1_s0 for training.*p1_s1 for testing.*participant p1"),
        ({"training": ["p1_s0"]}, r"p1_s0 for training.*p1_s1 nowhere.*participant p1"),
        ({"training": "p1"}, r"must hold lists of names"),
        ([["p1"]], r"must hold lists of names"),
    ],
)
def test_faults_of_a_file_of_subsets_are_named(tmp_path, content, message):
    stored, participants = many(8)
    path = tmp_path / "subsets.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        draw_subsets(stored, participants, DatasetConfig(subsets=str(path)))


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"folds": 1, "fold": 0}, "dataset.folds"),
        ({"folds": 5}, "dataset.fold"),
        ({"folds": 5, "fold": 5}, "dataset.fold"),
        ({"folds": 5, "fold": -1}, "dataset.fold"),
        ({"fold": 0}, "dataset.fold"),
        ({"held_out": "testing"}, "dataset.held_out"),
        ({"folds": 2, "fold": 0, "held_out": "nothing"}, "dataset.held_out"),
        ({"held_out": "all"}, "dataset.held_out"),
        ({"n_training_subjects": 0}, "dataset.n_training_subjects"),
        ({"seed": -1}, "dataset.seed"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, key):
    with pytest.raises(ConfigurationError) as error:
        DatasetConfig(**settings)
    assert error.value.key == key


def test_more_folds_than_participants_are_refused():
    stored, participants = many(6)
    with pytest.raises(DataError, match=r"3 participants, which cannot be cut into 4 folds"):
        draw_subsets(stored, participants, DatasetConfig(folds=4, fold=0))


def test_runs_of_one_participant_make_folds_but_no_smaller_training_sets():
    runs = [f"sub-1_run-{i}" for i in range(6)]
    participants = dict.fromkeys(runs, "sub-1")
    stored = Subsets({"training": runs[:4], "validation": runs[4:], "testing": []}, "runs")
    drawn = [draw_subsets(stored, participants, DatasetConfig(folds=3, fold=fold)) for fold in range(3)]
    assert sorted(run for one in drawn for run in one.subjects["validation"]) == runs
    assert [len(one.subjects["training"]) for one in drawn] == [4, 4, 4]
    assert {one.split for one in drawn} == {"runs"}
    with pytest.raises(DataError, match="6 runs, which cannot be cut into 7 folds by run"):
        draw_subsets(stored, participants, DatasetConfig(folds=7, fold=0))
    with pytest.raises(DataError, match=r"one participant \(sub-1\) split by runs"):
        draw_subsets(stored, participants, DatasetConfig(n_training_subjects=1))
    assert draw_subsets(stored, participants, DatasetConfig()) == stored


@pytest.mark.parametrize("seed", range(3))
def test_folds_of_runs_are_balanced_within_participants_and_leave_testing_alone(seed):
    participants = {f"p{i}_r{j}": f"p{i}" for i in range(4) for j in range(5)}
    runs = {j: [name for name in participants if name.endswith(f"r{j}")] for j in range(5)}
    stored = Subsets({"training": [*runs[0], *runs[1]], "validation": [*runs[2], *runs[3]], "testing": runs[4]}, "runs")
    held_out = []
    for fold in range(2):
        drawn = draw_subsets(stored, participants, DatasetConfig(folds=2, fold=fold, seed=seed))
        assert drawn.split == "runs"
        assert drawn.subjects["testing"] == runs[4]
        assert sorted(participants[run] for run in drawn.subjects["validation"]) == sorted(["p0", "p1", "p2", "p3"] * 2)
        held_out += drawn.subjects["validation"]
    assert sorted(held_out) == sorted(run for j in range(4) for run in runs[j])


@pytest.fixture
def fitted_store(tmp_path):
    """Six participants, four training; a fit across subjects is stored that has seen those four."""
    path = tmp_path / "store.hdf5"
    names = [f"sub-{i}" for i in range(6)]
    rng = np.random.default_rng(0)
    with new_store(path, {}, {"training": names[:4], "validation": names[4:5], "testing": names[5:]}) as writer:
        for name in names:
            writer.add_subject(SubjectIdentity(subject=name, participant=f"person-{name}"))
            recording = recording_of_runs([rng.normal(size=(20, 2)).astype(np.float32)], sampling_frequency=1.0)
            for group in ("signals", "raw"):
                writer.add_group(name, group, standardized(recording, "none"), 2)
    with h5py.File(path, "r+") as file:
        fit = file.create_group("preparation/signals/pca")
        fit.create_dataset("subjects", data=names[:4], dtype=h5py.string_dtype())
        fit.create_dataset("components", data=np.eye(2))
    return path


def test_holding_out_whom_a_stored_fit_has_seen_is_refused(fitted_store):
    MultiSubjectDataset(fitted_store, group="signals")
    MultiSubjectDataset(fitted_store, group="signals", config=DatasetConfig(n_training_subjects=2))
    refused = 0
    for fold in range(5):
        config = DatasetConfig(folds=5, fold=fold)
        held_out = MultiSubjectDataset(fitted_store, group="raw", config=config).validation_set.subjects
        if held_out == ["sub-4"]:
            MultiSubjectDataset(fitted_store, group="signals", config=config)
            continue
        refused += 1
        with pytest.raises(DataError, match=rf"Subject {held_out[0]} of the validation subset .* preparation/signals"):
            MultiSubjectDataset(fitted_store, group="signals", config=config)
    assert refused == 4


def test_a_second_group_that_has_seen_whom_is_held_out_is_refused(fitted_store):
    def opened(**settings):
        return MultiSubjectDataset(
            fitted_store, group="raw", config=DatasetConfig(conditioning_group="signals", **settings)
        )

    opened(n_training_subjects=2)
    held_out = MultiSubjectDataset(fitted_store, group="raw", config=DatasetConfig(folds=5, fold=0)).validation_set
    assert held_out.subjects != ["sub-4"]
    with pytest.raises(DataError, match=rf"Subject {held_out.subjects[0]} of the validation .* preparation/signals"):
        opened(folds=5, fold=0)


def test_a_session_of_a_person_whom_a_fit_has_seen_counts_as_seen(fitted_store, tmp_path):
    with h5py.File(fitted_store, "r+") as file:
        file["subjects/sub-5"].attrs["participant"] = "person-sub-0"
    with pytest.raises(DataError, match="Subject sub-5 of the testing subset"):
        MultiSubjectDataset(fitted_store, group="signals")


def test_subjects_of_a_fit_may_stand_in_an_attribute(fitted_store):
    with h5py.File(fitted_store, "r+") as file:
        del file["preparation/signals/pca/subjects"]
        file["preparation/signals"].attrs["subjects"] = ["sub-4"]
    with pytest.raises(DataError, match="Subject sub-4 of the validation subset"):
        MultiSubjectDataset(fitted_store, group="signals")


def test_what_is_held_out_for_testing_leaves_nothing_to_choose_by():
    stored, participants = many(8)
    fold = {"folds": 4, "fold": 1}
    usual = draw_subsets(stored, participants, DatasetConfig(**fold)).subjects
    tested = draw_subsets(stored, participants, DatasetConfig(**fold, held_out="testing")).subjects
    assert tested == {"training": usual["training"], "validation": [], "testing": usual["validation"]}
    whole = draw_subsets(stored, participants, DatasetConfig(held_out="nothing")).subjects
    assert sorted(whole["training"]) == sorted(stored.subjects["training"] + stored.subjects["validation"])
    assert not whole["validation"]
    assert whole["testing"] == stored.subjects["testing"]
    assert "held_out" not in DatasetConfig(**fold).in_force()
    assert DatasetConfig(**DatasetConfig(held_out="nothing").in_force()).redraws


def of_sites():
    """Six participants of site a (two sessions each) that train, and of b four that train, three that validate."""
    participants = {f"a{i}_s{j}": f"a{i}" for i in range(6) for j in range(2)} | {f"b{i}": f"b{i}" for i in range(7)}
    of_b = [f"b{i}" for i in range(7)]
    training = [subject for subject in participants if subject not in of_b[4:]]
    stored = Subsets({"training": training, "validation": of_b[4:], "testing": []}, "participants")
    return stored, participants, {subject: subject[0] for subject in participants}


def people_of(drawn, participants):
    return {name: {participants[subject] for subject in subjects} for name, subjects in drawn.subjects.items()}


@pytest.mark.parametrize("seed", range(4))
def test_participants_of_each_data_set_are_drawn_and_nobody_comes_back_into_training(seed):
    stored, participants, datasets = of_sites()
    numbers = {"testing": 1, "validation": 2, "training": 2}
    settings = {f"n_{name}_subjects_per_dataset": n for name, n in numbers.items()} | {"seed": seed}
    config = DatasetConfig(**settings)
    drawn = draw_subsets(stored, participants, config, datasets)
    people = people_of(drawn, participants)
    for name, n in numbers.items():
        assert sorted(person[0] for person in people[name]) == ["a"] * n + ["b"] * n
    assert not people["training"] & people["validation"] | people["testing"] & (
        people["training"] | people["validation"]
    )
    # Site b has participants for validation: they are taken from those, while others come from training.
    before = people_of(stored, participants)
    assert {person for person in people["validation"] if person[0] == "b"} < before["validation"]
    assert people["training"] | people["testing"] <= before["training"]
    assert all(
        len(subjects) == len({participants[s] for s in subjects}) + sum(p[0] == "a" for p in people[name])
        for name, subjects in drawn.subjects.items()
    )
    assert draw_subsets(stored, participants, DatasetConfig(**config.in_force()), datasets) == drawn
    more = draw_subsets(
        stored, participants, DatasetConfig(**settings | {"n_training_subjects_per_dataset": 3}), datasets
    )
    assert people["training"] < people_of(more, participants)["training"]


def test_draws_by_data_set_depend_on_the_seed_and_leave_other_subsets_alone():
    stored, participants, datasets = of_sites()
    drawn = [
        draw_subsets(stored, participants, DatasetConfig(n_validation_subjects_per_dataset=1, seed=seed), datasets)
        for seed in range(8)
    ]
    assert len({tuple(one.subjects["validation"]) for one in drawn}) > 3
    for one in drawn:
        assert one.subjects["testing"] == []
        assert len(people_of(one, participants)["training"]) == 9
    assert "n_validation_subjects_per_dataset" not in DatasetConfig().in_force()


@pytest.mark.parametrize(
    ("subset", "n", "words"),
    [
        ("training", 5, "at most 4, the training participants of data set b"),
        ("validation", 4, "at most 3, the validation participants of data set b"),
        ("testing", 4, "at most 3, so that one of the 4 training participants of data set b goes on to train"),
    ],
)
def test_too_few_participants_of_a_data_set_are_refused(subset, n, words):
    stored, participants, datasets = of_sites()
    config = DatasetConfig(**{f"n_{subset}_subjects_per_dataset": n})
    with pytest.raises(ConfigurationError, match=words) as error:
        draw_subsets(stored, participants, config, datasets)
    assert error.value.key == f"dataset.n_{subset}_subjects_per_dataset"


def test_without_data_sets_all_are_of_one_and_both_numbers_of_training_participants_are_refused():
    stored, participants, _ = of_sites()
    drawn = draw_subsets(stored, participants, DatasetConfig(n_training_subjects_per_dataset=3))
    assert len(people_of(drawn, participants)["training"]) == 3
    with pytest.raises(ConfigurationError, match="at most 10, the training participants of the data"):
        draw_subsets(stored, participants, DatasetConfig(n_training_subjects_per_dataset=11))
    with pytest.raises(ConfigurationError, match="n_training_subjects_per_dataset is given"):
        DatasetConfig(n_training_subjects=3, n_training_subjects_per_dataset=3)


def test_runs_of_one_participant_are_not_moved_between_subsets():
    runs = [f"sub-1_run-{i}" for i in range(6)]
    stored = Subsets({"training": runs[:4], "validation": [], "testing": runs[4:]}, "runs")
    participants = dict.fromkeys(runs, "sub-1")
    with pytest.raises(ConfigurationError, match="at most 0, the validation participants of the data"):
        draw_subsets(stored, participants, DatasetConfig(n_validation_subjects_per_dataset=1))
    assert draw_subsets(stored, participants, DatasetConfig(n_testing_subjects_per_dataset=1)) == stored


def test_a_store_says_of_which_data_set_its_subjects_are(tmp_path):
    path, names = tmp_path / "store.hdf5", [f"sub-{i}" for i in range(6)]
    rng = np.random.default_rng(0)
    with new_store(path, {}, {"training": names, "validation": [], "testing": []}) as writer:
        for number, name in enumerate(names):
            of_set = {"dataset": "xy"[number % 2]}
            writer.add_subject(SubjectIdentity(subject=name, participant=name, covariates=of_set))
            recording = recording_of_runs([rng.normal(size=(20, 2)).astype(np.float32)], sampling_frequency=1.0)
            writer.add_group(name, "signals", standardized(recording, "none"), 2)
    config = DatasetConfig(n_validation_subjects_per_dataset=1, n_training_subjects_per_dataset=1)
    dataset = MultiSubjectDataset(path, config=config)
    assert sorted(dataset.training_set.datasets) == sorted(dataset.validation_set.datasets) == ["x", "y"]
    described = dataset.describe()
    assert described["config"]["n_validation_subjects_per_dataset"] == 1
    assert described["subsets"]["validation"]["subjects"] == list(dataset.validation_set.subjects)


@pytest.fixture
def store_of_people(tmp_path):
    """Make a store as before conversion compared names: {subject: person}; the last one validates."""

    def made(participants):
        path, rng = tmp_path / "store.hdf5", np.random.default_rng(0)
        names = list(participants)
        with new_store(path, {}, {"training": names[:-1], "validation": names[-1:]}) as writer:
            for name in names:
                writer.add_subject(SubjectIdentity(subject=name, participant=participants[name]))
                recording = recording_of_runs([rng.normal(size=(50, 2)).astype(np.float32)], sampling_frequency=1.0)
                writer.add_group(name, "signals", standardized(recording, "per_run"), 2)
        return path

    return made


def test_a_person_under_two_names_is_told_where_a_store_is_opened(store_of_people):
    path = store_of_people({"a": "001", "b": "sub-001", "c": "sub-002"})
    with pytest.warns(DataWarning, match=r"names one participant in two ways, 001 and sub-001, who counts as two"):
        dataset = MultiSubjectDataset(path)
    check_nobody_is_held_out_by_another_name(dataset)
    path.unlink()
    path = store_of_people({"a": "1", "b": "01", "c": "2"})
    with pytest.warns(DataWarning, match="differ by zeros or case alone count as different people: 1 and 01"):
        MultiSubjectDataset(path)


def test_nobody_trains_and_is_held_out_under_another_name(store_of_people):
    path = store_of_people({"a": "001", "b": "sub-002", "c": "sub-001"})
    told = run_here("dynml_train_model.py", "hmm", path.parent, "hmm", path, "signals", "--model.n_states=2", status=2)
    refused = told.stderr.strip().splitlines()[-1]
    assert r"in two subsets under two names, 001 (training) and sub-001 (validation), so that a score" in refused
    assert not (path.parent / "hmm").exists()
