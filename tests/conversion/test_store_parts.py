"""A store made in parts and joined by links is the store that is made at once, and says which part is at fault."""

import copy
import json
import pickle
import shutil

import h5py
import numpy as np
import pytest
from store_making import Study, noise

from dynml.conversion.creation import create_store
from dynml.conversion.extension import add_subjects, apply_preparation
from dynml.conversion.joining import join_stores
from dynml.conversion.parts import Part
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import DataCorruptionError, DataError
from dynml.store.fits import read_fits
from dynml.store.reading import Store
from dynml.store.verification import faults_of_store

N_PARTS = 3
TRAINING, VALIDATION, TESTING = ["s-3", "s-10", "s-1", "s-2"], ["s-5"], ["s-4", "s-0"]
PCA = [{"step": "pca", "n_components": 2}]


def study(folder, **settings):
    names = [*TRAINING, *VALIDATION, *TESTING]
    made = Study(folder, {name: [noise(60, seed=number)] for number, name in enumerate(names)}, **settings)
    made.lists = {"training": TRAINING, "validation": VALIDATION, "testing": TESTING}
    made.write_inputs()
    return made


def make_part(made, number, **settings):
    part = Part(number, N_PARTS)
    inputs = made.ready, part.path(made.target), made.folder / "config.json", made.list_files()
    return create_store(*inputs, part=part, **settings)


@pytest.fixture(scope="module")
def joined_once(tmp_path_factory):
    made = study(tmp_path_factory.mktemp("joined"))
    for number in range(1, N_PARTS + 1):
        make_part(made, number)
    join_stores(made.target)
    return made


@pytest.fixture
def joined(joined_once, tmp_path):
    """A copy, to be changed at will."""
    shutil.copytree(joined_once.folder, tmp_path, dirs_exist_ok=True)
    made = copy.deepcopy(joined_once)
    made.folder, made.ready, made.target = tmp_path, tmp_path / "ready", tmp_path / "store.hdf5"
    return made


def everything(path):
    """All that a store says of its subjects."""
    with Store(path) as store:
        subsets = {name: store.subset(name) for name in ("training", "validation", "testing")}
        groups = {
            subject: [read(subject, "signals") for read in (store.read, store.segments, store.mean)]
            for subject in store.subjects
        }
        prints = [store.fingerprint("signals", subjects) for subjects in subsets.values()]
        return subsets, prints, groups


def assert_same(path, other):
    (subsets, prints, groups), (subsets_of_other, prints_of_other, groups_of_other) = map(everything, (path, other))
    assert (subsets, prints) == (subsets_of_other, prints_of_other)
    assert groups.keys() == groups_of_other.keys()
    for subject, arrays in groups.items():
        for array, of_other in zip(arrays, groups_of_other[subject]):
            np.testing.assert_array_equal(array, of_other)


@pytest.mark.parametrize("preparation", [[], PCA])
def test_joined_parts_are_the_store_made_at_once_without_its_data(tmp_path, preparation):
    made = study(tmp_path, preparation=preparation)
    # In any order, as jobs of a cluster end.
    for number in (2, 3, 1):
        make_part(made, number)
    said = join_stores(made.target)
    assert "4 training, 1 validation, 2 testing subjects" in said
    assert "linked to 3 files" in said
    whole = tmp_path / "whole.hdf5"
    create_store(made.ready, whole, made.folder / "config.json", made.list_files())
    assert_same(made.target, whole)
    with h5py.File(made.target) as file:
        assert all(isinstance(file["subjects"].get(name, getlink=True), h5py.ExternalLink) for name in file["subjects"])
        assert file["subjects/s-4/signals/data"].shape[0] == 60  # to any program that reads HDF5
    copied = tmp_path / "copied.hdf5"
    join_stores(copied, [Part(number, N_PARTS).path(made.target) for number in (1, 2, 3)], copies=True)
    for number in (1, 2, 3):
        Part(number, N_PARTS).path(made.target).unlink()
    assert_same(copied, whole)
    assert faults_of_store(copied) == []


def test_a_part_that_is_there_is_kept_and_missing_ones_are_named(tmp_path):
    made = study(tmp_path)
    make_part(made, 2)
    before = Part(2, N_PARTS).path(made.target).stat().st_mtime_ns
    assert "is kept" in make_part(made, 2)
    assert Part(2, N_PARTS).path(made.target).stat().st_mtime_ns == before
    with pytest.raises(DataError, match=r"Of 3 parts .* 2 are not there: 1, 3; make them by --part 1/3"):
        join_stores(made.target)
    made.lists["testing"] = ["s-4"]
    made.write_inputs()
    with pytest.raises(DataError, match="made with other lists"):
        make_part(made, 2)
    make_part(made, 2, overwrite=True)
    make_part(made, 1)
    made.lists["testing"] = TESTING
    made.write_inputs()
    make_part(made, 3)
    with pytest.raises(DataError, match="part-3-of-3.hdf5 is a part of other lists"):
        join_stores(made.target)
    assert not made.target.exists()


def test_joined_stores_are_read_by_everything_and_may_move_with_their_parts(joined, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in tmp_path.glob("store*.hdf5"):
        file.rename(elsewhere / file.name)
    link = tmp_path / "link.hdf5"
    link.symlink_to(elsewhere / "store.hdf5")
    assert faults_of_store(link) == []
    with Store(link) as store:
        other = pickle.loads(pickle.dumps(store))
        np.testing.assert_array_equal(other.read("s-0", "signals"), store.read("s-0", "signals"))
        with pytest.raises(DataError, match="has no subject 's-11'"):
            store.read("s-11", "signals")
    lazy, resident = (MultiSubjectDataset(link, residency) for residency in ("lazy", "memory"))
    for dataset in (lazy, resident):
        dataset.load_data()
    assert lazy.fingerprint == resident.fingerprint


def test_subjects_can_be_added_to_a_joined_store(joined, tmp_path):
    extra = tmp_path / "more" / "s-20"
    extra.mkdir(parents=True)
    np.save(extra / "run-0.npy", noise(50, seed=20))
    (tmp_path / "more.txt").write_text("s-20\n")
    add_subjects(tmp_path / "more", joined.target, tmp_path / "config.json", {"testing": tmp_path / "more.txt"})
    assert faults_of_store(joined.target) == []
    with Store(joined.target) as store:
        assert store.subset("testing") == [*TESTING, "s-20"]
        assert store.read("s-20", "signals").shape == (50, 4)
        assert store.read("s-3", "signals").shape == (60, 4)


@pytest.mark.parametrize("copies", [True, False])
def test_subjects_of_each_make_can_be_added_to_a_store_joined_of_other_groups(tmp_path, copies):
    made = {
        group: store_of_group(tmp_path, group, [f"{group}-0", f"{group}-1"], preparation=PCA)
        for group in ("eeg", "meg")
    }
    path, names = tmp_path / "all.hdf5", [f"{group}-0" for group in made] + [f"{group}-1" for group in made]
    join_stores(path, [one.target for one in made.values()], copies=copies)
    extra, more = tmp_path / "extra" / "new-0", tmp_path / "more.txt"
    extra.mkdir(parents=True)
    np.save(extra / "run-0.npy", noise(50, seed=20))
    more.write_text("new-0\n")
    both = tmp_path / "both.json"
    both.write_text(json.dumps(made["eeg"].config | made["meg"].config))
    with pytest.raises(DataError, match="no subject with all of the groups eeg, meg, but subjects with group eeg and"):
        add_subjects(extra.parent, path, both, {"testing": more})
    with pytest.raises(DataError, match=r"no subject with all of the groups eeg, meg.* say by --groups which"):
        apply_preparation(path, extra.parent, tmp_path / "others.hdf5")
    # The second group is prepared as by its own store, and the first stays as it was.
    add_subjects(extra.parent, path, made["meg"].folder / "config.json", {"testing": more})
    apply_preparation(path, extra.parent, tmp_path / "others.hdf5", groups=["meg"])
    assert faults_of_store(path) == []
    with Store(path) as store, Store(tmp_path / "others.hdf5") as others:
        assert sorted(store.subjects) == sorted([*names, "new-0"])
        assert (store.groups("new-0"), list(others.config)) == (["meg"], ["meg"])
        assert store.config == {**made["meg"].config, **made["eeg"].config}
        found = [one.read("new-0", "meg") for one in (store, others)]
    add_subjects(extra.parent, made["meg"].target, made["meg"].folder / "config.json", {"testing": more})
    with Store(made["meg"].target) as alone:
        for rows in found:
            np.testing.assert_array_equal(rows, alone.read("new-0", "meg"))


def test_a_missing_or_other_part_is_told_in_one_sentence(joined):
    second = Part(2, N_PARTS).path(joined.target)
    kept = second.read_bytes()
    with Store(joined.target) as store:
        second.unlink()
        with pytest.raises(DataError, match=r"part-2-of-3\.hdf5"):
            store.read("s-2", "signals")
    with pytest.raises(DataError, match=r"joined of 3 parts, of which .*part-2-of-3.hdf5 \(2 subjects\) is not there"):
        Store(joined.target)
    second.write_bytes(kept[:-1])
    with pytest.raises(DataCorruptionError, match="is not the file that was joined"):
        Store(joined.target)
    second.write_bytes(kept)
    with h5py.File(second, "r+") as file:
        first = file["subjects"][next(iter(file["subjects"]))]["signals"]
        first["data"][0, 0] += 1.0
    (fault,) = faults_of_store(joined.target)
    assert "SHA-256 differs" in fault


def test_a_part_that_is_replaced_while_it_is_in_use_is_noticed(joined):
    first = Part(1, N_PARTS).path(joined.target)
    with Store(joined.target) as store:
        store.attributes("s-3", "signals")
        joined.save("s-3", 0, noise(60, seed=99))
        make_part(joined, 1, overwrite=True)
        assert first.exists()
        store.close()  # as another process, which opens the files anew
        with pytest.raises(DataCorruptionError, match="was replaced or changed while it was in use"):
            store.read("s-3", "signals")
    faults = faults_or_refusal(joined.target)
    assert "part-1-of-3.hdf5" in faults
    assert "join" in faults


def faults_or_refusal(path):
    try:
        return " ".join(faults_of_store(path))
    except DataError as error:
        return str(error)


def changed(target, **attributes):
    with h5py.File(target, "r+") as file:
        parts = json.loads(file.attrs["parts"])
        parts[0] |= attributes
        file.attrs["parts"] = json.dumps(parts)


def test_links_lead_to_parts_only(joined, tmp_path):
    outside = tmp_path.parent / f"{tmp_path.name}_outside.hdf5"
    shutil.copy(Part(1, N_PARTS).path(joined.target), outside)
    kept = joined.target.read_bytes()
    for file in (f"../{outside.name}", str(outside)):
        changed(joined.target, file=file)
        with pytest.raises(DataCorruptionError, match="outside of the store's folder"):
            Store(joined.target)
        joined.target.write_bytes(kept)
    with h5py.File(joined.target, "r+") as file:
        del file["subjects/s-3"]
        file["subjects/s-3"] = h5py.ExternalLink(str(outside), "/subjects/s-3")
        del file["subjects/s-10"]
        file["subjects/s-10"] = h5py.ExternalLink(Part(1, N_PARTS).path(joined.target).name, "/subjects/s-3")
    with Store(joined.target) as store:
        for subject in ("s-3", "s-10"):
            with pytest.raises(DataError, match="links out of a file are not followed"):
                store.read(subject, "signals")
    with pytest.raises(DataError, match=r"lies outside of .*; move it there, or give --copy"):
        join_stores(tmp_path / "other.hdf5", [outside])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"standardization": "none"}, "signals of the config is not the same"),
        ({}, "Subject s-3 is in both"),
    ],
)
def test_only_alike_stores_of_different_subjects_are_joined(joined, tmp_path, change, words):
    joined.config["signals"] |= change
    joined.write_inputs()
    create_store(joined.ready, tmp_path / "other.hdf5", tmp_path / "config.json", joined.list_files())
    with pytest.raises(DataError, match=words):
        join_stores(tmp_path / "all.hdf5", [Part(1, N_PARTS).path(joined.target), tmp_path / "other.hdf5"])


def test_a_store_that_is_given_twice_is_refused(joined, tmp_path):
    part = Part(1, N_PARTS).path(joined.target)
    with pytest.raises(DataError, match="is in both"):
        join_stores(tmp_path / "all.hdf5", [part, part])


def test_units_are_compared_across_parts_and_with_the_first_subject_channels(tmp_path):
    made = study(tmp_path)
    for subject in (*VALIDATION, *TESTING):  # the last part, and no other
        made.save(subject, 0, noise(60) * 1e7)
    for number in (1, 2, 3):
        make_part(made, number)
    with pytest.raises(DataError, match="as if they were in different units"):
        join_stores(made.target)
    made.save("s-0", 0, noise(60, n_channels=3))
    with pytest.raises(DataError, match="3"):
        make_part(made, 3, overwrite=True)


@pytest.mark.parametrize("standardization", ["none", "per_run"])
def test_units_are_compared_with_those_of_a_store_that_is_there(tmp_path, standardization):
    first, other = (
        Study(tmp_path / name, {f"{name}-0": [scale * noise(60, seed=seed)]}, standardization=standardization)
        for name, scale, seed in (("uv", 1.0, 1), ("v", 1e-6, 2))
    )
    for one in (first, other):
        one.create().close()
    told = r"deviation is .* in subject uv-0 of .*store.hdf5, but .* in subject v-0.*, as if they were in different"
    with pytest.raises(DataError, match=told):
        join_stores(tmp_path / "all.hdf5", [first.target, other.target])
    with pytest.raises(DataError, match=told):
        add_subjects(
            other.ready, first.target, first.folder / "config.json", {"testing": other.folder / "training.txt"}
        )
    with Store(first.target) as store:
        assert store.subjects == ["uv-0"]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "-1/2"])
def test_a_part_that_cannot_be_is_refused(text):
    with pytest.raises(DataError, match=r"must be NUMBER/OF, such as 3/8"):
        Part.from_text(text)


def store_of_group(folder, group, subjects, **settings):
    made = Study(folder / group, {name: [noise(60, seed=number)] for number, name in enumerate(subjects)})
    made.config = {group: made.config["signals"] | settings}
    made.create().close()
    return made


@pytest.mark.parametrize("copies", [True, False])
def test_stores_without_a_common_group_are_joined_whatever_their_configs(tmp_path, copies):
    first = store_of_group(tmp_path, "eeg", ["a-0", "a-1"], preparation=PCA)
    second = store_of_group(tmp_path, "meg", ["b-0"], preparation=PCA, standardization="none")
    third = store_of_group(tmp_path / "more", "eeg", ["c-0", "c-1"])
    path = tmp_path / "all.hdf5"
    join_stores(path, [first.target, second.target], copies=copies)
    assert faults_of_store(path) == []
    with Store(path) as store:
        assert [store.groups(subject) for subject in store.subjects] == [["eeg"], ["eeg"], ["meg"]]
        assert store.config == {**second.config, **first.config}
        fits = [[list(fit.subjects) for fit in read_fits(store, group).values()] for group in ("eeg", "meg")]
        assert fits == [[["a-0", "a-1"]], [["b-0"]]]
    with pytest.warns(UserWarning, match=r"2 of 3 subjects have no group meg and are left out \(a-0, a-1\)"):
        assert MultiSubjectDataset(path, group="meg").subjects == ["b-0"]
    # Where a group is in two of them, these must be alike as ever.
    with pytest.raises(
        DataError, match=r"eeg of the config is not the same in .*more/eeg/store.hdf5 as in .*eeg/store"
    ):
        join_stores(tmp_path / "other.hdf5", [first.target, second.target, third.target])
