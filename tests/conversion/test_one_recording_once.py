"""Patterns of `files` take each recording once."""

import numpy as np
import pytest
from store_making import Study, noise

from dynml.errors import DataError, DataWarning


def study_of(tmp_path, files, arrays=None, pattern="*.npy"):
    study = Study(tmp_path, {"sub-a": []}, files=pattern)
    for seed, name in enumerate(files):
        array = noise(40, seed=seed) if arrays is None else arrays[seed]
        (study.ready / "sub-a" / name).parent.mkdir(exist_ok=True)
        np.save(study.ready / "sub-a" / name, array)
    return study


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("sub-a_task-x_echo-1_bold", "sub-a_task-x_echo-2_bold"), "echo 1 and 2"),
        (("sub-a_task-x_part-mag_bold", "sub-a_task-x_part-phase_bold"), "part mag and phase"),
        (("sub-a_task-x_bold", "sub-a_task-x_desc-clean_bold"), "desc none and clean|desc clean and none"),
        (("sub-a_task-x_run-1_res-1_bold", "sub-a_task-x_run-01_res-2_bold"), "res 1 and 2|res 2 and 1"),
    ],
)
def test_versions_of_one_acquisition_are_refused(tmp_path, names, sentence):
    study = study_of(tmp_path, [f"{name}.npy" for name in names])
    with pytest.raises(DataError, match=rf"differ only in its version \({sentence}\); narrow the patterns in 'files'"):
        study.create()


@pytest.mark.parametrize(
    "names",
    [
        ("sub-a_task-x_run-1_meg", "sub-a_task-x_run-2_meg"),
        ("sub-a_task-x_split-01_meg", "sub-a_task-x_split-02_meg"),
        ("sub-a_task-x_dir-AP_bold", "sub-a_task-x_dir-PA_bold"),
        ("sub-a_task-x_meg", "sub-a_task-x_run-2_meg"),
        ("day-1", "day-2"),
    ],
)
def test_runs_and_pieces_of_recordings_are_taken(tmp_path, names):
    assert study_of(tmp_path, [f"{name}.npy" for name in names]).create().run_names("sub-a", "signals") == list(names)


def test_a_series_that_joins_the_runs_beside_it_is_refused(tmp_path):
    runs = [noise(40), noise(30, seed=1)]
    names = [f"sub-a_task-x{run}_bold.npy" for run in ("_run-1", "_run-2", "")]
    study = study_of(tmp_path, names, [*runs, np.concatenate(runs)])
    with pytest.raises(DataError, match=r"as many samples as task-x_run-1, task-x_run-2 together .* narrow"):
        study.create()
    study.config["signals"]["files"] = "*_run-*.npy"
    study.create()


def test_two_spellings_of_one_file_are_one_run(tmp_path):
    study = study_of(tmp_path, ["run-1.npy", "run-2.npy"], pattern=["run-*.npy", "./run-1.npy", "../sub-a/run-2.npy"])
    study.config["signals"]["files"] = ["run-*.npy", "./run-1.npy"]
    assert study.create().run_names("sub-a", "signals") == ["run-1", "run-2"]


def test_equal_bytes_under_two_names_are_told(tmp_path):
    study = study_of(tmp_path, ["run-1.npy", "copy.npy"], [noise(40), noise(40)])
    with pytest.warns(DataWarning, match=r"same bytes, .* several times: sub-a/copy\.npy = sub-a/run-1\.npy"):
        study.create()
