"""A study whose subjects come in all formats makes the store that `.npy` files make."""

import csv
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from matlab_making import save_hdf5
from store_making import Study, noise

from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.store.reading import Store

SCRIPT = Path(__file__).parents[2] / "scripts_python" / "dynml_create_hdf5_dataset.py"
NAMES = ["Fz", "Cz", "Pz", "Oz"]


def write_csv(path, array, names=None):
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = [[repr(float(value)) for value in row] for row in array]
        csv.writer(stream).writerows([names, *rows] if names else rows)


def write_h5(path, array):
    with h5py.File(path, "w") as file:
        file["recording/signals"] = array


WRITERS = {
    "sub-csv": (".csv", lambda path, array: write_csv(path, array, NAMES)),
    "sub-h5": (".h5", write_h5),
    "sub-mat5": (".mat", lambda path, array: scipy.io.savemat(path, {"X": array, "rate": 100.0}, do_compression=True)),
    "sub-mat73": (".mat", lambda path, array: save_hdf5(path, X=array, rate=np.array([[100.0]]))),
    "sub-npy": (".npy", np.save),
    "sub-npz": (".npz", lambda path, array: np.savez(path, X=array, rate=100.0)),
    "sub-txt": (".txt", np.savetxt),
}


def study_of(folder, runs, **settings):
    """Write each subject's run in its own format, beside nothing else."""
    study = Study(folder, {subject: [] for subject in runs}, **{"files": ["run-*"], **settings})
    for subject, array in runs.items():
        extension, write = WRITERS[subject]
        write(study.ready / subject / f"run-0{extension}", array)
    return study


def create_by_script(study):
    study.write_inputs()
    inputs = [study.ready, study.target, study.folder / "config.json", *study.list_files().values()]
    return subprocess.run([sys.executable, SCRIPT, *inputs], capture_output=True, text=True, timeout=1800)


def test_the_script_makes_one_store_of_all_formats(tmp_path):
    runs = {subject: noise(60, seed=seed) for seed, subject in enumerate(WRITERS)}
    study = study_of(tmp_path, runs, channel_names=NAMES, standardization="none")
    process = create_by_script(study)
    assert (process.returncode, process.stderr) == (0, "")
    with Store(study.target) as store:
        assert sorted(store.subjects) == sorted(WRITERS)
        for subject, array in runs.items():
            stored = store.read(subject, "signals")
            assert stored.dtype == np.float32
            np.testing.assert_array_equal(stored, array)
            assert store.run_names(subject, "signals") == ["run-0"]
            source = store.attributes(subject, "signals").sources[0]
            assert source.file == f"run-0{WRITERS[subject][0]}"


def test_names_of_a_header_are_stored_and_must_agree(tmp_path):
    study = study_of(tmp_path, {"sub-csv": noise(60)})
    with study.create() as store:
        assert list(store.attributes("sub-csv", "signals").channel_names) == NAMES
    study = study_of(tmp_path / "two", {"sub-csv": noise(60), "sub-npz": noise(60)})
    with pytest.raises(DataError, match="the channel names differ: channel 0 is 'channel_0', but 'Fz' in sub-csv"):
        study.create()


def test_settings_reach_the_readers(tmp_path):
    runs = {subject: noise(60, seed=seed).T for seed, subject in enumerate(WRITERS) if "csv" not in subject}
    study = study_of(tmp_path, runs, time_axis="last", standardization="none")
    with study.create() as store:
        for subject, array in runs.items():
            np.testing.assert_array_equal(store.read(subject, "signals"), array.T)
    runs = {subject: runs[subject].T for subject in ("sub-mat5", "sub-mat73", "sub-npz")}
    study = study_of(tmp_path / "named", runs, variable="X", standardization="none")
    np.savez(study.ready / "sub-npz" / "run-0.npz", X=runs["sub-npz"], Y=noise(60))
    with study.create() as store:
        np.testing.assert_array_equal(store.read("sub-npz", "signals"), runs["sub-npz"])


@pytest.mark.parametrize(
    ("subject", "settings", "sentence"),
    [
        ("sub-npy", {"variable": "X"}, r"signals\.variable is 'X', but must be left out for files like run-0\.npy"),
        ("sub-txt", {"variable": "X"}, r"signals\.variable is 'X', but must be left out for files like run-0\.txt"),
        ("sub-npz", {"mask": "auto"}, r"signals\.mask is 'auto', but must be left out for files like run-0\.npz"),
        (
            "sub-npz",
            {"time_axis": "lst"},
            r"signals\.time_axis is 'lst', but must be one of first, last \(did you",
        ),
        ("sub-npz", {"time_axis": True}, r"signals\.time_axis is True, but must be one of first, last"),
        ("sub-npz", {"variable": 3}, r"signals\.variable is 3, but must be the name of an array in the files"),
        ("sub-npz", {"variable": "/"}, r"signals\.variable is '/', but must be the name of an array in the files"),
    ],
)
def test_faulty_settings_are_named(tmp_path, subject, settings, sentence):
    study = study_of(tmp_path, {subject: noise(60)}, **settings)
    with pytest.raises(ConfigurationError, match=sentence):
        study.create()


def test_missing_samples_of_text_are_cut_out_where_asked_for(tmp_path):
    array = noise(60)
    array[20:25, 1] = np.nan
    study = study_of(tmp_path, {"sub-txt": array})
    with pytest.raises(DataError, match=r"channel channel_1 is nan at sample 20.* set \"missing\": \"segment\""):
        study.create()
    study.config["signals"]["missing"] = "segment"
    with pytest.warns(DataWarning, match="5 of 60"), study.create() as store:
        assert store.segments("sub-txt", "signals").tolist() == [[0, 20], [25, 60]]


def test_arrays_that_look_transposed_are_refused(tmp_path):
    study = study_of(tmp_path, {"sub-mat73": noise(4, 100)})
    with pytest.raises(DataError, match="looks transposed"):
        study.create()


@pytest.mark.parametrize(
    ("subject", "spoil", "words"),
    [
        ("sub-csv", lambda path: path.write_text("Fz,Cz\n1,2\n3\n"), "Line 3 of"),
        ("sub-h5", lambda path: path.write_bytes(b"?"), "is not a readable HDF5 file"),
        ("sub-mat5", lambda path: scipy.io.savemat(path, {"data": {"X": noise(60)}}), "it holds data (1 x 1 struct)"),
        (
            "sub-npz",
            lambda path: np.savez(path, a=noise(60), b=noise(60)),
            "holds several arrays: a (60 x 4 float32)",
        ),
    ],
)
def test_the_script_ends_with_one_sentence_and_makes_no_store(tmp_path, subject, spoil, words):
    study = study_of(tmp_path, {"sub-npy": noise(60), subject: noise(60)}, channel_names=NAMES)
    spoil(study.ready / subject / f"run-0{WRITERS[subject][0]}")
    process = create_by_script(study)
    assert process.returncode == 2
    assert process.stderr.startswith("Error: ")
    assert process.stderr.count("\n") == 1
    assert words in process.stderr
    assert not study.target.exists()
