"""The scripts that send logs and values to comet.ml, as a user calls them; archives only, no network."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
LOG, VALUE = "dynml_send_value_to_comet_from_log.py", "dynml_send_value_to_comet_manually.py"
OFFLINE = ("--comet.mode", "offline")


@pytest.fixture
def experiment(tmp_path):
    """What a run without comet leaves behind, as far as the scripts look at it."""
    folder = tmp_path / "experiments" / "my_hmm"
    (folder / "logs").mkdir(parents=True)
    parameters = {"model": {"n_states": 4}, "dataset": {"subsets": {"training": {"subjects": ["sub-secret"]}}}}
    (folder / "parameters_latest.json").write_text(json.dumps(parameters))
    np.save(folder / "logs" / "training_loss_per_epoch.npy", np.array([3.0, 1.0, 2.0]))
    np.save(folder / "logs" / "validation_loss_per_epoch.npy", np.array([4.0, np.nan]))
    return folder


def run(folder, name, *arguments):
    """Exit status, standard output and standard error of a script called in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COMET_API_KEY": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts_python" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=1800)
    return done.returncode, done.stdout, done.stderr


def archives(folder):
    """Messages of each archive, in the order of their names."""
    found = []
    for path in sorted(folder.glob("comet/*.zip")):
        with zipfile.ZipFile(path) as archive:
            lines = archive.read("messages.json").decode().splitlines()
            found.append([json.loads(line)["payload"] for line in lines if line])
    return found


def metrics_in(messages):
    told = [(message.get("context"), message["metric"]) for message in messages if "metric" in message]
    values = {(context, one["metricName"], one["epoch"]): one["metricValue"] for context, one in told}
    return {where: value for where, value in values.items() if where[1] != "process duration"}


def test_logs_of_a_run_without_comet_make_an_experiment_and_later_values_join_it(experiment):
    place = ("--comet.project", "dynamics", "--comet.workspace", "lab")
    status, shown, errors = run(experiment.parent, LOG, "my_hmm", "training_loss", "validation_loss", *place, *OFFLINE)
    assert (status, errors) == (0, "")
    state = json.loads((experiment / "comet" / "experiment.json").read_text())
    assert f"comet upload my_hmm/comet/{state['experiment_key']}-001.zip" in shown
    status, shown, errors = run(
        experiment.parent, LOG, "my_hmm", "training_loss", "--use_best", "--metric_names", "best"
    )
    assert status == 0
    assert errors.startswith("Warning: comet.ml is not used online: there is no API key")
    status, _, errors = run(
        experiment.parent, VALUE, "my_hmm", "accuracy", "0.62", "--epoch", 2, "--context", "test", *OFFLINE
    )
    assert (status, errors) == (0, "")
    first, second, third = archives(experiment)
    losses = {("train", "loss", epoch): value for epoch, value in enumerate((3.0, 1.0, 2.0), start=1)}
    assert metrics_in(first) == losses | {("validate", "loss", 1): 4.0}
    assert metrics_in(second) == {(None, "best", 1): 3.0, (None, "best", 2): 1.0, (None, "best", 3): 1.0}
    assert metrics_in(third) == {("test", "accuracy", 2): 0.62}
    parameters = [message["param"] for message in first if "param" in message]
    assert {"paramName": "model.n_states", "paramValue": 4, "source": "manual", "step": None} in parameters
    assert "sub-secret" not in json.dumps(first)
    assert state["project"] == "dynamics"
    assert {path.name.split("-")[0] for path in experiment.glob("comet/*.zip")} == {state["experiment_key"]}


def test_a_value_can_be_sent_by_the_key_alone(tmp_path):
    status, shown, errors = run(tmp_path, VALUE, "a" * 32, "accuracy", "0.5", *OFFLINE)
    assert (status, errors) == (0, "")
    assert f"comet upload comet/{'a' * 32}-001.zip" in shown
    (messages,) = archives(tmp_path)
    assert metrics_in(messages) == {(None, "accuracy", None): 0.5}


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        (LOG, ["nowhere", "training_loss"], "nowhere does not exist"),
        (LOG, [".", "training_loss"], "is not an experiment: give the experiments in it"),
        (LOG, ["empty", "training_loss"], "has no logs"),
        (LOG, ["my_hmm", "training_los"], "did you mean 'training_loss'?); there are: training_loss, validation_loss"),
        (LOG, ["my_hmm", "training_loss"], "was never reported to comet.ml"),
        (LOG, ["my_hmm", "training_loss", "--comet.workspace", "lab"], "comet.project is None"),
        (LOG, ["my_hmm", "training_loss", "--metric_names", "a", "b"], "must be 1 different names"),
        (LOG, ["my_hmm", "training_loss", "--comet.project", "p", "--comet.mode", "online"], "without an API key"),
        (LOG, ["reported", "training_loss", "--comet.project", "p"], "is reported to lab/dynamics"),
        (VALUE, ["my_hmm", "accuracy", "0.5"], "has no comet experiment"),
        (VALUE, ["my_hm", "accuracy", "0.5"], "neither an existing experiment folder nor a comet key"),
        (VALUE, ["reported", "accuracy", "0.5", "--epoch", "0"], "--epoch is 0"),
        (VALUE, ["reported", "accuracy", "high"], "Expected a number"),
        (VALUE, ["damaged", "accuracy", "0.5"], "experiment.json"),
    ],
)
def test_mistakes_give_one_sentence_and_status_2(experiment, script, arguments, words):
    (experiment.parent / "empty").mkdir()
    (experiment.parent / "empty" / "parameters_latest.json").write_text("{}")
    for name, state in {"reported": {"workspace": "lab", "project": "dynamics"}, "damaged": {}}.items():
        folder = experiment.parent / name
        (folder / "comet").mkdir(parents=True)
        (folder / "logs").mkdir()
        np.save(folder / "logs" / "training_loss_per_epoch.npy", np.zeros(2))
        (folder / "comet" / "experiment.json").write_text(json.dumps(state and {"experiment_key": "a" * 32, **state}))
    status, shown, errors = run(experiment.parent, script, *arguments)
    assert (status, shown, errors.count("\n")) == (2, "", 1)
    assert words in errors
    assert not list(experiment.parent.glob("*/comet/*.zip"))
    assert not (experiment / "comet").exists()
