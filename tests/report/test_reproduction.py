"""The command of the page asks for the run that it tells of."""

import itertools
import json
import shlex
import sys

import numpy as np
import pytest
from report_making import made_experiment, parameters_of
from running_scripts import create_store, run_here

from dynml.cli.commands import train
from dynml.configuration import config_to_dictionary
from dynml.report.experiment import read_reported_experiment
from dynml.report.parts.reproduction import training_command

COMMANDS = {
    "hmm": "--model.n_states 3 --initialization.n_init 5 --trainer.tolerance 1e-7 --dataset.folds 3 --dataset.fold 1",
    "dynemo": "--model.n_modes 3 --model.sequence_length 40 --trainer.max_epochs 7 --initialization.from there",
    "csm": "--model.embedding_dim 32 --sampler.window_length 40 --trainer.learning_rate 0.01 --loader.noise 0.5",
    "decoding": "--model.target trial_type --model.backbone linear --sampler.trial_length 30 --model.classes [a,b]",
}


def request_of(words, monkeypatch):
    monkeypatch.setattr(sys, "argv", words)
    return train.parse_training(None)


@pytest.mark.parametrize("family", COMMANDS)
def test_the_command_asks_for_the_same_settings(family, tmp_path, monkeypatch):
    words = ["dynml_train_model.py", family, str(tmp_path), "my run", "store.hdf5", "signals"]
    wanted = request_of([*words, *COMMANDS[family].split()], monkeypatch)
    groups = {name: config_to_dictionary(config) for name, config in wanted.configs.items()}
    parameters = parameters_of(family) | {name: values for name, values in groups.items() if name != "dataset"}
    parameters["dataset"]["config"] = groups["dataset"]
    folder = made_experiment(tmp_path / "my run", {"epochs": 4}, parameters)
    command = training_command(read_reported_experiment(folder))
    assert command is not None
    # Settings that the family fills in may be named, defaults are not.
    assert command.count("--") <= COMMANDS[family].count("--") + 2
    again = request_of(shlex.split(command.replace("\\\n", "")), monkeypatch)
    assert again.configs == wanted.configs
    assert (again.family, again.experiment_name, again.hdf5_file, again.input_group) == (
        wanted.family,
        "my run",
        "store.hdf5",
        "signals",
    )


def test_what_data_settled_is_not_asked_for(tmp_path):
    generator = np.random.default_rng(0)
    arrays = {f"s{number}": [generator.normal(size=(200, 3))] for number in range(3)}
    store = create_store(tmp_path, arrays, {"training": ["s0", "s1"], "validation": ["s2"]}, run_by=run_here)
    given = {
        "--model.embedding_dim": "8",
        "--model.channel_embedding": "name",
        "--model.n_layers": "1",
        "--model.n_heads": "2",
        "--model.max_seconds": "20.0",
        "--trainer.max_epochs": "1",
    }
    run_here("dynml_train_model.py", "csm", tmp_path, "run", store, "signals", *itertools.chain(*given.items()))

    words = shlex.split(training_command(read_reported_experiment(tmp_path / "run")).replace("\\\n", ""))[6:]
    assert dict(zip(words[::2], words[1::2], strict=True)) == given
    # A run that goes on begins with settings that were settled before.
    path = tmp_path / "run" / "parameters_latest.json"
    asked = json.loads(path.read_text())["asked"]
    assert asked["model"].keys() == {"channel_names", "known_channels", "time_precision"}
    run_here("dynml_resume_training_from_checkpoint.py", tmp_path, "run", "--new_max_epochs", "2")
    assert json.loads(path.read_text())["asked"] == asked


def test_runs_that_do_not_note_what_was_asked_for_show_nothing_that_data_settled(tmp_path):
    settled = {"class_names": ["a", "b"], "answer_bands": [[1.0, 4.0]], "max_seconds": 2.0, "target": "kind"}
    parameters = parameters_of("decoding") | {"model": settled}
    command = training_command(read_reported_experiment(made_experiment(tmp_path / "run", {"epochs": 4}, parameters)))
    assert [word for word in command.split() if word.startswith("--model.")] == ["--model.target"]


def test_a_run_from_arrays_has_no_command(tmp_path):
    parameters = parameters_of()
    parameters["dataset"]["hdf5_file"] = None
    folder = made_experiment(tmp_path / "run", None, parameters)
    assert training_command(read_reported_experiment(folder)) is None
