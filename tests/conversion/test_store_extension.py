"""Fits in stores: made of the training subjects only, kept, applied to subjects that are added or stored elsewhere."""

import hashlib
import json
import shutil
import warnings

import h5py
import numpy as np
import pytest
from store_making import Study, noise

from dynml.conversion.creation import create_store
from dynml.conversion.extension import add_subjects, apply_preparation
from dynml.dataset.config import DatasetConfig
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.errors import DataError, DataWarning, DynmlError
from dynml.simulation import simulate_hmm
from dynml.simulation.store import write_simulation
from dynml.store.fits import read_fit
from dynml.store.reading import Store
from dynml.store.verification import faults_of_store

CHAIN = [
    "standardize",
    {"step": "sign_alignment", "n_embeddings": 3},
    {"step": "time_delay_embedding_pca", "n_embeddings": 3, "n_components": 5},
]
NAMES = [f"sub-{letter}" for letter in "abcdef"]
MIXING = np.random.default_rng(8).normal(size=(4, 4))


def recordings():
    return {
        name: [noise(150, seed=2 * i) @ MIXING, noise(120, seed=2 * i + 1) @ MIXING] for i, name in enumerate(NAMES)
    }


@pytest.fixture
def study(tmp_path):
    """Four training subjects, one to validate; `sub-f` is in no list."""
    made = Study(tmp_path, recordings(), preparation=CHAIN)
    made.lists = {"training": NAMES[:4], "validation": NAMES[4:5], "testing": []}
    made.write_inputs()
    (tmp_path / "more.txt").write_text("sub-f\n")
    return made


def made_from(study, *, n_jobs=1):
    with pytest.warns(DataWarning, match="in no list"):
        create_store(study.ready, study.target, study.folder / "config.json", study.list_files(), n_jobs=n_jobs)
    return study.target


def content_of(path, leave_out=("created",)):
    """Digest of every name, attribute and number of an HDF5 file."""
    digest = hashlib.sha256()

    def add(name, node):
        digest.update(name.encode())
        for key, value in sorted(node.attrs.items()):
            if key not in leave_out:
                digest.update(repr((key, value)).encode())
        if isinstance(node, h5py.Dataset):
            digest.update(node[...].tobytes())

    with h5py.File(path) as file:
        add("/", file)
        file.visititems(add)
    return digest.hexdigest()


def embedded(name):
    """Standardized runs of a subject, embedded by a loop, the earliest sample first."""
    rows = []
    for run in recordings()[name]:
        run = (run - run.mean(0, dtype=np.float64)) / run.std(0, dtype=np.float64)
        rows.append(np.stack([run[t : t + 3].ravel() for t in range(len(run) - 2)]))
    return rows


def test_the_fit_is_that_of_the_training_subjects_and_stands_in_the_store(study):
    study.config["signals"]["preparation"] = [CHAIN[0], CHAIN[2]]
    study.write_inputs()
    path = made_from(study)
    together = np.concatenate([rows for name in NAMES[:4] for rows in embedded(name)])
    variances, vectors = np.linalg.eigh(together.T @ together / len(together))
    with Store(path) as store:
        fit = read_fit(store, "signals", "01_time_delay_embedding_pca")
        assert list(fit.subjects) == NAMES[:4]
        np.testing.assert_allclose(fit.arrays["variances"], variances[::-1][:5], rtol=1e-6)
        agreement = np.abs(np.diag(vectors[:, ::-1][:, :5].T @ fit.arrays["components"]))
        np.testing.assert_allclose(agreement, 1.0, atol=1e-6)
        for name in NAMES[:5]:
            expected = [rows @ fit.arrays["components"] for rows in embedded(name)]
            assert store.segments(name, "signals").tolist() == [[1, 149], [151, 269]]
            assert store.source_samples(name, "signals").tolist() == [[1, 0], [1, 1]]
            for rows, (start, stop) in zip(expected, store.segments(name, "signals")):
                rows = (rows - rows.mean(0)) / rows.std(0)
                np.testing.assert_allclose(store.read(name, "signals", start, stop), rows, atol=5e-5)
    assert faults_of_store(path) == []


def test_held_out_subjects_do_not_change_the_fit(study):
    path = made_from(study)
    before = [content_of(path)]
    study.save("sub-e", 0, noise(150, seed=77))
    study.target = path.with_name("other.hdf5")
    made_from(study)
    with h5py.File(path) as one, h5py.File(study.target) as other:
        for name in ("01_sign_alignment/template", "02_time_delay_embedding_pca/components"):
            np.testing.assert_array_equal(one["preparation/signals"][name], other["preparation/signals"][name])
    assert content_of(study.target) != before[0]


def test_a_run_that_holds_out_who_was_seen_is_refused(study):
    path = made_from(study)
    subsets = path.with_name("subsets.json")
    subsets.write_text(json.dumps({"training": ["sub-b", "sub-c"], "validation": ["sub-a"], "testing": []}))
    with pytest.raises(DataError, match="Subject sub-a of the validation subset has been seen by the fit"):
        MultiSubjectDataset(path, config=DatasetConfig(subsets=str(subsets))).load_data()


def test_two_processes_make_the_same_store(study):
    path = made_from(study)
    one = content_of(path)
    path.unlink()
    assert content_of(made_from(study, n_jobs=2)) == one


def test_an_error_in_another_process_is_the_same_sentence(study):
    run = recordings()["sub-b"][0].copy()
    run[3] = np.nan
    study.save("sub-b", 0, run)
    for n_jobs in (1, 2):
        with pytest.raises(DataError, match="Subject sub-b, group signals, run run-0: channel channel_0 is nan"):
            create_store(study.ready, study.target, study.folder / "config.json", study.list_files(), n_jobs=n_jobs)
    assert list(study.folder.glob("*.hdf5*")) + list(study.folder.glob(".*partial*")) == []


def test_without_training_subjects_nothing_can_be_fitted(study):
    lists = {"testing": study.folder / "more.txt"}
    with pytest.raises(DataError, match="Group signals: the step 'sign_alignment' is fitted to training subjects"):
        create_store(study.ready, study.target, study.folder / "config.json", lists)


def test_added_subjects_are_prepared_by_the_stored_fits(study):
    path = made_from(study)
    whole = path.with_name("whole.hdf5")
    study.lists["testing"] = ["sub-f"]
    study.write_inputs()
    create_store(study.ready, whole, study.folder / "config.json", study.list_files())
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        text = add_subjects(study.ready, path, study.folder / "config.json", {"testing": study.folder / "more.txt"})
    assert text.startswith(f"Added to {path}: 0 training, 0 validation, 1 testing subjects")
    with h5py.File(path) as file:
        (note,) = json.loads(file.attrs["extended"])
        assert note["subjects"] == ["sub-f"]
    # Only what was told on the way differs: at first, sub-f was in no list.
    assert content_of(path, ("created", "extended", "warnings")) == content_of(whole)
    assert faults_of_store(path) == []
    with h5py.File(path) as file:
        assert [name.decode() for name in file["subsets/testing"]] == ["sub-f"]


@pytest.mark.parametrize(
    ("change", "subset", "names", "sentence"),
    [
        ({}, "testing", ["sub-a", "sub-f"], "has these subjects already: sub-a; list"),
        ({"standardization": "none"}, "testing", ["sub-f"], "signals.standardization is 'none' .* but 'per_run' in"),
        (
            {"units": "V", "missing": "segment"},
            "testing",
            ["sub-f"],
            r"missing is 'segment' in the config, but 'error' .*\(and signals\.units\)|units is .*signals\.missing",
        ),
        ({"preparation": CHAIN[:2]}, "testing", ["sub-f"], "signals.preparation is .* same config only"),
        ({"participants": {"sub-f": "sub-a"}}, "testing", ["sub-f"], "Participant sub-a is in two subsets"),
        ({"other": {}}, "testing", ["sub-f"], "Group other is in the config only"),
    ],
)
def test_subjects_that_cannot_be_added_leave_the_store_as_it_was(study, change, subset, names, sentence):
    path = made_from(study)
    before = path.read_bytes()
    config = json.loads((study.folder / "config.json").read_text())
    if "other" in change:
        config["other"] = config["signals"]
    elif "participants" in change:
        config |= change
    else:
        config["signals"] |= change
    (study.folder / "config.json").write_text(json.dumps(config))
    (study.folder / "more.txt").write_text("\n".join(names))
    with pytest.raises(DynmlError, match=sentence):
        add_subjects(study.ready, path, study.folder / "config.json", {subset: study.folder / "more.txt"})
    assert path.read_bytes() == before
    assert not list(study.folder.glob(".*partial*"))


def test_a_fault_while_adding_leaves_the_store_as_it_was(study):
    path = made_from(study)
    before = path.read_bytes()
    study.save("sub-f", 1, np.ones((50, 4), dtype=np.float32))
    with pytest.raises(DataError, match="Subject sub-f, group signals, run run-1: channel channel_0 .* is constant"):
        add_subjects(study.ready, path, study.folder / "config.json", {"testing": study.folder / "more.txt"})
    study.save("sub-f", 1, noise(50, 3))
    with pytest.raises(DataError, match="number of channels"):
        add_subjects(study.ready, path, study.folder / "config.json", {"testing": study.folder / "more.txt"})
    study.save("sub-f", 0, noise(50, 3))
    with pytest.raises(DataError, match=r"Subject sub-f.*'sign_alignment' was fitted to 4 .* and meets 3 .*channel_3"):
        add_subjects(study.ready, path, study.folder / "config.json", {"testing": study.folder / "more.txt"})
    assert path.read_bytes() == before


def test_subjects_unlike_those_of_the_store_are_refused_without_any_fit(study):
    study.config["signals"]["preparation"] = []
    study.write_inputs()
    path = made_from(study)
    for number in (0, 1):
        study.save("sub-f", number, noise(50, 3))
    config, lists = study.folder / "config.json", {"testing": study.folder / "more.txt"}
    with pytest.raises(DataError, match=r"Subject sub-f, group signals: the number of channels is 3, but 4 in .*store"):
        add_subjects(study.ready, path, config, lists)
    with pytest.raises(DataError, match=r"Subject sub-f, group signals: the number of channels is 3, but 4 in .*store"):
        apply_preparation(path, study.ready, path.with_name("x.hdf5"), subjects_list=lists["testing"])
    for number in (0, 1):
        np.savetxt(study.ready / "sub-f" / f"run-{number}.csv", noise(50), delimiter=",", header="a,b,c,d", comments="")
    table = study.folder / "new.csv"
    table.write_text("subject,file\nsub-f,ready/sub-f/run-0.csv\n")
    with pytest.raises(DataError, match=r"Subject sub-f, group signals: channel 0 is 'a', but 'channel_0' in .*store"):
        apply_preparation(path, table, path.with_name("x.hdf5"))


def test_a_damaged_store_is_not_extended(study):
    path = made_from(study)
    with h5py.File(path) as file:
        offset = file["subjects/sub-a/signals/data"].id.get_chunk_info(0).byte_offset
    damaged = bytearray(path.read_bytes())
    damaged[offset + 40] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="was not written, because its copy did not verify: .*sub-a"):
        add_subjects(study.ready, path, study.folder / "config.json", {"testing": study.folder / "more.txt"})
    assert path.read_bytes() == bytes(damaged)


def test_other_subjects_are_prepared_exactly_as_the_stores_were(study):
    path = made_from(study)
    target = path.with_name("applied.hdf5")
    with pytest.warns(DataWarning, match="in no list"):
        apply_preparation(path, study.ready, target, subjects_list=study.folder / "more.txt")
    whole = path.with_name("whole.hdf5")
    study.lists["testing"] = ["sub-f"]
    study.write_inputs()
    create_store(study.ready, whole, study.folder / "config.json", study.list_files())
    with h5py.File(whole) as expected, h5py.File(target) as found:
        assert list(found["subjects"]) == ["sub-f"]
        group = "subjects/sub-f/signals"
        assert found[group].attrs["sha256"] == expected[group].attrs["sha256"]
        assert found[group].attrs["preparation"] == expected[group].attrs["preparation"]
        assert [name.decode() for name in found["subsets/testing"]] == ["sub-f"]
        fits = found["preparation/signals"]
        assert list(fits) == ["01_sign_alignment", "02_time_delay_embedding_pca"]
        assert [name.decode() for name in fits["01_sign_alignment/subjects"]] == NAMES[:4]
    assert faults_of_store(target) == []
    with pytest.raises(DataError, match="is the store whose preparation is to be applied"):
        apply_preparation(path, study.ready, path, overwrite=True)
    with pytest.raises(DataError, match="Subject sub-a of the testing subset has been seen by the fit"):
        apply_preparation(path, study.ready, target, overwrite=True)


def test_a_table_may_name_the_subjects_that_a_preparation_is_applied_to(study):
    path = made_from(study)
    table = study.folder / "new.csv"
    table.write_text("subject,file,run\nsub-f,ready/sub-f/run-0.npy,run-0\nsub-f,ready/sub-f/run-1.npy,run-1\n")
    target = path.with_name("applied.hdf5")
    apply_preparation(path, table, target, subset="validation")
    with Store(target) as store:
        assert store.subset("validation") == ["sub-f"]
        with_list = path.with_name("listed.hdf5")
        with pytest.warns(DataWarning):
            apply_preparation(path, study.ready, with_list, subjects_list=study.folder / "more.txt")
        with Store(with_list) as other:
            assert store.attributes("sub-f", "signals").sha256 == other.attributes("sub-f", "signals").sha256


def test_what_was_added_or_prepared_is_verified_by_all_processes(study, monkeypatch):
    def noted(path, each=None, written=None):
        mappers.append(each)
        return faults_of_store(path, each, written)

    path, mappers = made_from(study), []
    monkeypatch.setattr("dynml.store.writing.verification.faults_of_store", noted)
    more, config = study.folder / "more.txt", study.folder / "config.json"
    for n_jobs, name in ((1, "one.hdf5"), (2, "two.hdf5")):
        target = path.with_name(name)
        shutil.copy(path, target)
        add_subjects(study.ready, target, config, {"testing": more}, n_jobs=n_jobs)
        with pytest.warns(DataWarning, match="in no list"):
            apply_preparation(path, study.ready, target.with_name(f"of_{name}"), subjects_list=more, n_jobs=n_jobs)
    assert [mapper is not None for mapper in mappers] == [False, False, True, True]
    assert content_of(path.with_name("two.hdf5"), ("created", "extended")) == content_of(
        path.with_name("one.hdf5"), ("created", "extended")
    )


def test_damage_to_a_fit_is_found(study):
    path = made_from(study)
    with h5py.File(path, "r+") as file:
        file["preparation/signals/02_time_delay_embedding_pca/components"][2, 1] = np.nan
    (fault,) = faults_of_store(path)
    assert "components of the fit signals/02_time_delay_embedding_pca holds values that are not finite" in fault


def test_a_person_under_two_names_is_looked_for_in_the_store_and_among_the_new(study):
    study.config |= {"participants": {name: name for name in NAMES} | {"sub-f": "a"}}
    study.config["signals"]["preparation"] = []
    study.write_inputs()
    path, config, lists = made_from(study), study.folder / "config.json", {"training": study.folder / "more.txt"}
    with pytest.raises(DataError, match=r"store\.hdf5 with the subjects to add names one .* sub-a and a; spell"):
        add_subjects(study.ready, path, config, lists)
    with h5py.File(path, "r+") as store:  # as older versions wrote it
        store["subjects/sub-b"].attrs["participant"] = "a"
    with pytest.raises(DataError, match=r"store\.hdf5 names one participant in two ways, sub-a and a, .*make it anew"):
        add_subjects(study.ready, path, config, lists)


def test_a_simulated_store_is_no_pattern_for_recordings(study):
    study.write_inputs()
    write_simulation(simulate_hmm(n_subjects=2, n_samples=60, n_states=2, n_channels=3), study.target)
    said = r"store\.hdf5 was made of a simulation \(dynml_simulate_data\.py\) and not of recordings"
    for groups in (None, ["signals"]):
        with pytest.raises(DataError, match=said):
            apply_preparation(study.target, study.ready, study.target.with_name("x.hdf5"), groups=groups)
    with pytest.raises(DataError, match=said):
        add_subjects(study.ready, study.target, study.folder / "config.json", {"testing": study.folder / "more.txt"})
