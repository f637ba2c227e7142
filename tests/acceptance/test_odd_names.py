"""Folders whose names are not UTF-8, as old disks have them, and a locale that has no such letters."""

import os
import subprocess
import sys

import numpy as np
import pytest
from running_hmms import switching_signals, train
from running_scripts import SCRIPTS, create_store, ran_here, run_here

from dynml.files import read_json, write_json
from dynml.tables import read_table, write_table

LATIN = os.fsdecode("l\u00e4t".encode("latin-1"))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names") / LATIN
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes no such names")
    arrays = {f"sub-{number}": [switching_signals(200, number)] for number in range(2)}
    store = create_store(folder, arrays, {"training": list(arrays)}, run_by=run_here)
    train(folder, store, "hmm", "--trainer.max_epochs", 2, run_by=run_here)
    return folder, store


def test_a_run_in_a_folder_that_is_not_utf_8_is_trained_and_used(study):
    folder, store = study
    assert run_here("dynml_infer_from_model.py", folder / "hmm", store, folder / "states").stdout
    assert read_json(folder / "states" / "summary.json")["results"] == "inference"
    run_here("dynml_visualize_logs.py", folder / "hmm", "--save_figures", folder / "logs")
    assert np.load(folder / "states" / "sub-1_alpha.npy").shape == (200, 2)


def test_a_subject_whose_name_is_not_utf_8_is_refused_by_name(study):
    folder, _ = study
    (folder / "ready" / LATIN).mkdir()
    draw = ("--draw_subsets", "validation=0.5")
    status, _, said = ran_here(
        "dynml_create_hdf5_dataset.py", folder / "ready", "new.hdf5", folder / "config.json", *draw
    )
    (folder / "ready" / LATIN).rmdir()
    assert status == 2
    assert r"has a subject 'l\udce4t', whose name cannot be used" in said


def test_texts_give_odd_names_back(tmp_path):
    write_json(tmp_path / "a.json", {"path": LATIN})
    assert read_json(tmp_path / "a.json") == {"path": LATIN}
    write_table(tmp_path / "a.tsv", ["path"], [[LATIN]])
    assert read_table(tmp_path / "a.tsv").columns["path"] == [r"l\udce4t"]


def test_last_words_are_printed_where_the_locale_lacks_their_letters(tmp_path):
    script = SCRIPTS / "dynml_simulate_data.py"
    command = [sys.executable, str(script), "hmm", "\u0394.hdf5", "--n_subjects", "1", "--n_samples", "50"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert rb"\u0394.hdf5" in done.stdout
