"""Every script with something that it refuses: one sentence, and the folder is as it was before."""

import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from running_hmms import switching_signals, train
from running_scripts import FOLDER, create_store, ran_here, run_here

from dynml.cli.commands.train import request_from_parameters
from dynml.cli.outputs.features import opened_output
from dynml.cli.outputs.folders import output_folder
from dynml.errors import ConfigurationError, DynmlError
from dynml.models.experiment import _rebuilt
from dynml.models.registry import get_family

REFUSED = """
dynml_apply_preparation.py hmm ready new/a.hdf5 --files absent*.npy
dynml_check_model.py hmm absent.hdf5 new/checks
dynml_compare_groups.py absent.tsv absent.tsv 1 new/groups
dynml_compute_maps.py hmm store.hdf5 new/maps --group absent
dynml_compute_responses.py hmm store.hdf5 new/responses --events absent
dynml_compute_spectra.py hmm store.hdf5 new/spectra --method model
dynml_create_hdf5_dataset.py ready new.hdf5 config.json training.txt training.txt testing.txt
dynml_create_hdf5_dataset.py ready new/a.hdf5 config.json training.txt validation.txt testing.txt
dynml_estimate_cost.py hmm store.hdf5 absent --model.n_states 2
dynml_export_model.py absent new/model
dynml_extract_features.py hmm store.hdf5 new/features
dynml_hdf5_extract_data.py store.hdf5 absent signals new/data.npy
dynml_hdf5_print_architecture.py absent.hdf5
dynml_hdf5_verify.py absent.hdf5
dynml_import_webdataset.py absent new.hdf5
dynml_import_weights.py store.hdf5 new/weights --family hmm
dynml_infer_from_model.py hmm store.hdf5 new/states --subset testing
dynml_infer_from_model.py hmm store.hdf5 new/states --bids ready
dynml_join_hdf5_datasets.py new.hdf5 store.hdf5 absent.hdf5
dynml_predict_participants.py absent absent.tsv age new/people
dynml_report.py hmm new/page.html --hdf5 absent.hdf5
dynml_resume_training_from_checkpoint.py . absent
dynml_select_model.py hmm new selection store.hdf5 signals --grid model.n_states=2,3 --folds 9
dynml_send_value_to_comet_from_log.py absent training_loss
dynml_send_value_to_comet_manually.py absent name 1
dynml_simulate_data.py hmm new.hdf5 --n_states 0
dynml_train_model.py csm new run store.hdf5 signals --sampler.window_length 20 --pretrained hmm
dynml_train_model.py decoding new run store.hdf5 signals --model.target absent --sampler.trial_length 20
dynml_train_model.py dynemo new run store.hdf5 signals --model.n_modes 7 --initialization.from hmm
dynml_train_model.py hmm new run store.hdf5 signals --model.n_states 9 --pretrained hmm
dynml_train_model.py hmm new run store.hdf5 signals --model.n_states 2 --dataset.subsets absent.json
dynml_visualize_data.py store.hdf5 absent new/pictures
dynml_visualize_logs.py hmm --graph absent --save_figures new/logs
dynml_visualize_logs_correlation.py hmm training_loss absent --save_to_csv new/table.csv
"""
COMMANDS = [shlex.split(line) for line in REFUSED.split("\n") if line]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refused")
    arrays = {f"sub-{number}": [switching_signals(200, number)] for number in range(3)}
    subsets = {"training": ["sub-0", "sub-1"], "validation": ["sub-2"]}
    store = create_store(folder, arrays, subsets, run_by=run_here)
    train(folder, store, "hmm", run_by=run_here)
    return folder


def everything_in(folder):
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if not path.is_dir()} | {
        path: 0 for path in Path(folder).rglob("*") if path.is_dir()
    }


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(one[:2]) for one in COMMANDS])
def test_a_refused_command_leaves_nothing_behind(study, monkeypatch, command):
    monkeypatch.chdir(study)
    before = everything_in(study)
    status, _, said = ran_here(*command)
    assert status == 2, said
    assert "Traceback" not in said
    assert sum(line.startswith("Error: ") for line in said.splitlines()) == 1, said
    assert everything_in(study) == before


def test_every_script_is_among_them():
    assert {command[0] for command in COMMANDS} == {path.name for path in FOLDER.glob("dynml_*.py")}


@pytest.mark.parametrize("name", ["out", "out/features.h5"])
def test_folders_that_were_made_for_nothing_are_removed_and_others_stay(tmp_path, name):
    (tmp_path / "mine").mkdir()
    opens = opened_output if name.endswith("h5") else output_folder
    for folder in (tmp_path / "new" / "deep", tmp_path / "mine"):
        with pytest.raises(ConfigurationError), opens(folder / name, force=False):
            raise ConfigurationError("key", 1, "2")
    assert os.listdir(tmp_path) == ["mine"]
    assert os.listdir(tmp_path / "mine") == []


def test_what_was_written_before_a_fault_stays(tmp_path):
    with pytest.raises(KeyboardInterrupt), output_folder(tmp_path / "new", force=False) as out:
        np.save(out / "a.npy", np.zeros(1))
        raise KeyboardInterrupt
    assert os.listdir(tmp_path / "new") == ["a.npy"]


def test_a_run_of_a_newer_version_is_told_with_what_it_has_more(tmp_path):
    (tmp_path / "store.hdf5").touch()
    parameters = {
        "family": "hmm",
        "dataset": {"hdf5_file": str(tmp_path / "store.hdf5"), "config": {}, "group": "signals"},
        "model": {"n_states": 3, "n_moods": 2},
        "environment": {"dynml": "99.1"},
    }
    with pytest.raises(ConfigurationError, match=r"model\.n_moods is 2, .* written by dynml 99\.1: use that version"):
        request_from_parameters(parameters, tmp_path / "run", {}, None, force=False)
    path = tmp_path / "run"
    with pytest.raises(ConfigurationError, match=r"model\.n_moods is 2, .* written by dynml 99\.1: use that version"):
        _rebuilt(path, get_family("hmm"), parameters)


def test_a_store_that_was_moved_is_asked_for(tmp_path):
    parameters = {"family": "hmm", "dataset": {"hdf5_file": str(tmp_path / "gone.hdf5"), "config": {}}}
    with pytest.raises(DynmlError, match=r"gone\.hdf5 of the run .* is not there: say by --hdf5_file where it is now"):
        request_from_parameters(parameters, tmp_path / "run", {}, None, force=False)
