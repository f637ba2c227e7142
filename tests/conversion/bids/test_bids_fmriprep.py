"""From a root of fMRIPrep's derivatives to a store."""

import json
import shutil

import numpy as np
import pytest
from bids_making import (
    N_VOLUMES,
    SPACE,
    confounds,
    fmriprep,
    inside_brain,
    means,
    save,
    write_fmriprep_run,
    write_table,
)

from dynml.errors import ConfigurationError, DataError, DataWarning


def test_sessions_and_runs_of_a_subject_are_its_runs(tmp_path):
    store = fmriprep(tmp_path).create()
    names = [f"ses-{session}_task-rest_run-{run}" for session in (1, 2) for run in (1, 2)]
    assert store.run_names("sub-01", "bold") == names
    assert store.run_names("sub-02", "bold") == ["task-rest"]
    expected = np.concatenate([means(seed, inside_brain()) for seed in (0, 1, 3, 4)])
    np.testing.assert_allclose(store.read("sub-01", "bold"), expected, rtol=1e-6)
    assert store.attributes("sub-01", "bold").sampling_frequency == 0.5
    assert store.subset("validation") == ["sub-02"]


@pytest.mark.parametrize(
    ("bids", "names"),
    [
        ({"session": 1}, ["ses-1_task-rest_run-1", "ses-1_task-rest_run-2"]),
        ({"session": "2", "run": [1]}, ["ses-2_task-rest_run-1"]),
        ({"session": ["1", "2"], "run": "02"}, ["ses-1_task-rest_run-2", "ses-2_task-rest_run-2"]),
        ({"session": 1, "task": ["rest", "faces"]}, [f"ses-1_task-{x}" for x in ("faces", "rest_run-1", "rest_run-2")]),
    ],
)
def test_entities_choose_runs(tmp_path, bids, names):
    study = fmriprep(tmp_path, **bids)
    study.subjects = ["sub-01"]
    assert study.create().run_names("sub-01", "bold") == names


def test_the_brain_mask_of_each_run_counts_unless_it_is_not_wanted(tmp_path):
    study = fmriprep(tmp_path, brain_mask=False)
    np.testing.assert_allclose(study.create().read("sub-02", "bold"), means(10), rtol=1e-6)
    study.group["bids"]["brain_mask"] = True
    next((study.root / "sub-02" / "func").glob("*mask.nii.gz")).unlink()
    with pytest.raises(DataError, match=r"has no brain mask .* beside it; give 'mask', or set \"brain_mask\": false"):
        study.create()
    save(tmp_path / "mask.nii.gz", inside_brain())
    study.group["mask"] = "mask.nii.gz"
    np.testing.assert_allclose(study.create().read("sub-02", "bold"), means(10, inside_brain()), rtol=1e-6)


def test_confounds_are_found_and_removed(tmp_path):
    study = fmriprep(tmp_path)
    study.group |= {"confounds_strategy": ["motion", "wm_csf"], "confounds_parameters": {"motion": "basic"}}
    store = study.create()
    regressors = confounds(10) - confounds(10).mean(axis=0)
    signals = means(10, inside_brain())
    fitted = regressors @ np.linalg.lstsq(regressors, signals, rcond=None)[0]
    np.testing.assert_allclose(store.read("sub-02", "bold"), signals - fitted, rtol=1e-6)
    next((study.root / "sub-02" / "func").glob("*confounds*")).unlink()
    with pytest.raises(DataError, match="has no table of confounds"):
        study.create()


def test_events_of_the_raw_data_set_and_covariates(tmp_path):
    study = fmriprep(tmp_path, raw="raw")
    events = [[4.0, 6.0, "face"], [20.0, 2.0, "house"]]
    columns = ["onset", "duration", "trial_type"]
    write_table(tmp_path / "raw/sub-01/ses-1/func/sub-01_ses-1_task-rest_run-02_events.tsv", columns, events)
    write_table(tmp_path / "raw/task-faces_events.tsv", columns, events)
    write_table(tmp_path / "raw/participants.tsv", ["participant_id", "age"], [["sub-02", 41], ["sub-01", 30]])
    store = study.create()
    found = store.events("sub-01", "bold")
    assert found.onset.tolist() == [N_VOLUMES + 2, N_VOLUMES + 10]
    assert found.duration.tolist() == [3, 1]
    assert found.names == {"trial_type": ("face", "house")}
    assert store.events("sub-02", "bold") is None
    assert store.covariates("sub-02") == {"age": "41"}


def test_repetition_times_come_from_the_nearest_sidecar(tmp_path):
    study = fmriprep(tmp_path, raw="raw")
    (tmp_path / "raw").mkdir()
    study.subjects = ["sub-02"]
    folder = study.root / "sub-02" / "func"
    image = next(folder.glob("*preproc_bold.nii.gz"))
    save(image, np.asarray(np.random.default_rng(0).normal(size=(6, 5, 4, N_VOLUMES))), seconds=0.0)
    sidecar = next(folder.glob("*.json"))
    assert study.create().attributes("sub-02", "bold").sampling_frequency == 0.5
    sidecar.unlink()
    with pytest.raises(DataError, match="does not say its sampling frequency .*repetition time of 0 s"):
        study.create()
    (tmp_path / "raw/task-rest_bold.json").write_text(json.dumps({"RepetitionTime": 2.5}))
    (tmp_path / "raw/task-faces_bold.json").write_text(json.dumps({"RepetitionTime": 9}))
    assert study.create().attributes("sub-02", "bold").sampling_frequency == pytest.approx(0.4)
    (tmp_path / "raw/task-rest_bold.json").write_text(json.dumps({"RepetitionTime": 2500}))
    with pytest.raises(DataError, match=r"task-rest_bold\.json says RepetitionTime 2500, but must .* 2\.5 s\)"):
        study.create()


def test_a_sidecar_that_contradicts_the_header_is_refused(tmp_path):
    study = fmriprep(tmp_path)
    sidecar = next((study.root / "sub-02" / "func").glob("*.json"))
    sidecar.write_text(json.dumps({"RepetitionTime": 2.2}))
    with pytest.raises(DataError, match=r"is 2 s in its header, but 2\.2 s in .*\.json; state 'repetition_time'"):
        study.create()
    study.group["repetition_time"] = 2.0
    assert study.create().attributes("sub-02", "bold").sampling_frequency == 0.5


def test_two_files_of_one_run_are_named(tmp_path):
    study = fmriprep(tmp_path)
    folder = study.root / "sub-02" / "func"
    image = next(folder.glob("*preproc_bold.nii.gz"))
    other = folder / image.name.replace("res-2", "res-1")
    shutil.copyfile(image, other)
    with pytest.raises(
        DataError, match=rf"{other.name} and .*{image.name} are both run task-rest; say .* bids.resolution"
    ):
        study.create()
    study.group["bids"]["resolution"] = 2
    study.create()
    other.rename(folder / image.name.replace("task-rest", "task-rest_run-1"))
    shutil.copyfile(image, folder / image.name.replace("task-rest", "task-rest_run-01"))
    with pytest.raises(DataError, match=r"run-01_.* and .*run-1_.* are both run .*; remove one"):
        study.create()


def test_spaces_and_native_images(tmp_path):
    study = fmriprep(tmp_path, brain_mask=False)
    folder = study.root / "sub-02" / "func"
    save(folder / "sub-02_task-rest_desc-preproc_bold.nii.gz", np.random.default_rng(3).normal(size=(6, 5, 4, 30)))
    study.subjects = ["sub-02"]
    with pytest.raises(DataError, match=r"are both run task-rest; say which by bids.space"):
        study.create()
    study.group["bids"]["space"] = "native"
    assert study.create().read("sub-02", "bold").shape == (30, 3)
    study.group["bids"]["space"] = SPACE
    assert study.create().read("sub-02", "bold").shape == (N_VOLUMES, 3)


@pytest.mark.parametrize(
    ("bids", "sentence"),
    [
        ({"task": "rst"}, r"Subject sub-01, group bold: no run in .* has bids.task 'rst' \(did you mean 'rest'\?\)"),
        ({"space": "MNI152NLin6Asym"}, rf"bids.space 'MNI152NLin6Asym' \(there is: {SPACE}\)"),
        ({"desc": "smooth"}, "bids.desc 'smooth'"),
    ],
)
def test_runs_that_there_are_not(tmp_path, bids, sentence):
    study = fmriprep(tmp_path, **bids)
    with pytest.raises(DataError, match=sentence):
        study.create()
    assert not study.target.exists()


def test_a_folder_without_derivatives(tmp_path):
    study = fmriprep(tmp_path)
    (study.root / "sub-03" / "anat").mkdir(parents=True)
    study.subjects = ["sub-03"]
    with pytest.raises(
        DataError, match=r"no preprocessed images \(\*_bold\.nii\.gz\) of fmriprep in the folders 'func'"
    ):
        study.create()


def test_a_subject_that_is_in_no_list_is_told_and_other_folders_are_not(tmp_path):
    study = fmriprep(tmp_path)
    (study.root / "logs").mkdir()
    write_fmriprep_run(study.root, "sub-03", "task-rest", 3)
    with pytest.warns(DataWarning, match=r"1 of the folders in .* are in no list and were left out: sub-03"):
        study.create()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bids": {"pipeline": "fmriprp"}}, r"pipeline is 'fmriprp', .* \(did you mean 'fmriprep'\?\)"),
        ({"bids": {"task": "rest"}}, 'a mapping with a key "pipeline"'),
        ({"bids": {"pipeline": "fmriprep", "taks": "rest"}}, r"bids\.taks .* \(did you mean 'task'\?\)"),
        ({"bids": {"pipeline": "fmriprep", "task": 1.5}}, r"bids\.task is 1\.5, but must be a label"),
        ({"bids": {"pipeline": "fmriprep", "atlas": "x"}}, r"bids\.atlas is 'x', but must be left out with fmriprep"),
        ({"files": ["a.nii"]}, r"files is \['a\.nii'\], but must be left out where 'bids' finds them"),
        ({"confounds": "a.tsv", "confounds_strategy": ["motion"]}, "left out where 'bids' finds them"),
    ],
)
def test_faulty_keys(tmp_path, change, sentence):
    study = fmriprep(tmp_path)
    study.group |= change
    with pytest.raises(ConfigurationError, match=sentence):
        study.create()


@pytest.mark.parametrize(("name", "told"), [("tpl-MNI152NLin6Asym_dseg", True), (f"tpl-{SPACE}_dseg", False)])
def test_an_atlas_of_another_space_by_its_name_is_told(tmp_path, name, told, recwarn):
    study = fmriprep(tmp_path)
    (tmp_path / "atlas.nii.gz").rename(tmp_path / f"{name}.nii.gz")
    study.group["atlas"] = f"{name}.nii.gz"
    study.create()
    assert (
        any(f"in space MNI152NLin6Asym by its name, but runs are in {SPACE}" in str(w.message) for w in recwarn) == told
    )
