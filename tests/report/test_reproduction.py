"""The command of the page asks for the run that it tells of."""

import shlex
import sys

import pytest
from report_making import made_experiment, parameters_of

from dynml.cli.commands import train
from dynml.configuration import config_to_dictionary
from dynml.models.registry import get_family
from dynml.report.experiment import read_reported_experiment
from dynml.report.parts.reproduction import FILLED_IN, training_command

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


def test_what_a_decoder_settles_by_itself_is_not_asked_for():
    settled = {name.removeprefix("model.") for name in get_family("decoding").unused_settings}
    assert settled >= {"class_names", "answer_bands", "value_moments", "n_training_trials"}
    assert settled <= set(FILLED_IN["model"])


def test_a_run_from_arrays_has_no_command(tmp_path):
    parameters = parameters_of()
    parameters["dataset"]["hdf5_file"] = None
    folder = made_experiment(tmp_path / "run", None, parameters)
    assert training_command(read_reported_experiment(folder)) is None
