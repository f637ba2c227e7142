"""Runs on two processes by torchrun: the numbers of one process, and what happens when one of them ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import shared_gradient_run
from running_scripts import SCRIPTS, create_store, run_here, run_script
from safetensors.numpy import load_file

from dynml.training.costs import COST_ENDINGS

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
OWN_SCRIPT = Path(__file__).parent / "shared_gradient_run.py"
TRAIN, RESUME = SCRIPTS / "dynml_train_model.py", SCRIPTS / "dynml_resume_training_from_checkpoint.py"
FEW_EPOCHS = ("--trainer.max_epochs", 6, "--trainer.tolerance", 0, "--trainer.progress", "false")


def start(n_processes, script, *arguments, **environment):
    command = [*TORCHRUN, n_processes, script, *arguments] if n_processes > 1 else [sys.executable, script, *arguments]
    return subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def run(n_processes, script, *arguments, **environment):
    if n_processes == 1 and script in (TRAIN, RESUME):
        done = run_here(script.name, *arguments)  # nothing of a process of its own is looked at
        return 0, done.stdout, done.stderr
    process = start(n_processes, script, *arguments, **environment)
    output, errors = process.communicate(timeout=1800)
    return process.returncode, output, errors


def weights_of(experiment, folder="best_model"):
    return load_file(experiment / folder / "model.safetensors")


def logs_of(experiment):
    paths = sorted((experiment / "logs").glob("*_per_epoch.npy"))
    names = [path.name.removesuffix("_per_epoch.npy") for path in paths]
    return {name: np.load(path) for name, path in zip(names, paths) if not name.endswith(COST_ENDINGS)}


def assert_same_numbers(first, second, **tolerance):
    for folder in ("best_model", "checkpoint"):
        for name, expected in weights_of(first, folder).items():
            np.testing.assert_allclose(weights_of(second, folder)[name], expected, **tolerance)
    expected, found = logs_of(first), logs_of(second)
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, **tolerance, err_msg=name)


@pytest.fixture(scope="module")
def hdf5_file(tmp_path_factory):
    """Five training subjects of unequal lengths with two states; the shares of two processes are unequal, too."""
    generator = np.random.default_rng(0)

    def signals(n_samples):
        state = np.repeat(generator.integers(0, 2, n_samples // 20 + 1), 20)[:n_samples, None]
        scale = np.where(state, np.linspace(0.7, 1.5, 4), np.linspace(1.5, 0.7, 4))
        return (generator.normal(size=(n_samples, 4)) * scale).astype(np.float32)

    arrays = {f"sub-{i}": [signals(200 * i + 77), signals(150)] for i in range(7)}
    subsets = {"training": [f"sub-{i}" for i in range(5)], "validation": ["sub-5"], "testing": ["sub-6"]}
    return create_store(tmp_path_factory.mktemp("processes"), arrays, subsets)


@pytest.mark.parametrize("algorithm", ["batch", "incremental"])
def test_em_on_two_processes_is_em_on_one(hdf5_file, tmp_path, algorithm):
    arguments = ("hmm", tmp_path, "{}", hdf5_file, "signals", "--model.n_states", 2, *FEW_EPOCHS)
    arguments += ("--trainer.algorithm", algorithm, "--sampler.batch_size_training", 900)
    for n_processes, name in ((1, "one"), (2, "two")):
        status, output, errors = run(n_processes, TRAIN, *(str(part).format(name) for part in arguments))
        assert status == 0, errors
        # Only the first process speaks.
        assert output.count("Stopped:") == 1
    assert_same_numbers(tmp_path / "one", tmp_path / "two", rtol=1e-8, atol=1e-10)
    one, two = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "two"))
    for subset in ("training", "validation"):
        assert two["free_energy"][subset] == pytest.approx(one["free_energy"][subset], rel=1e-8)
        for baseline, values in one["baselines"].items():
            assert two["baselines"][baseline][subset] == pytest.approx(values[subset], rel=1e-8)
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["fractional_occupancies"] == pytest.approx(one["fractional_occupancies"], rel=1e-8)


@pytest.mark.parametrize("accumulate", [False, True])
def test_gradients_on_two_processes_are_those_of_one(tmp_path, accumulate):
    environment = {"ACCUMULATE": "yes"} if accumulate else {}
    with mock.patch.dict(os.environ, environment):
        shared_gradient_run.main(tmp_path, "one")
    status, _, errors = run(2, OWN_SCRIPT, tmp_path, "two", **environment)
    assert status == 0, errors
    assert_same_numbers(tmp_path / "one", tmp_path / "two", rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["csm", "network_bert"])
def test_sequence_models_on_two_processes_are_those_of_one(hdf5_file, tmp_path, family):
    arguments = (family, tmp_path, "{}", hdf5_file, "signals", "--trainer.max_epochs", 2, "--trainer.progress", "false")
    arguments += ("--model.embedding_dim", 16, "--model.n_layers", 1, "--model.dropout", 0)
    arguments += ("--sampler.window_length", 25)
    for n_processes, name in ((1, "one"), (2, "two")):
        status, _, errors = run(n_processes, TRAIN, *(str(part).format(name) for part in arguments))
        assert status == 0, errors
    # Steps of Adam where the gradient is next to nothing turn rounding into something.
    assert_same_numbers(tmp_path / "one", tmp_path / "two", rtol=1e-4, atol=2e-5)
    one, two = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "two"))
    for name, values in one["baselines"].items():
        assert values is None or two["baselines"][name] == pytest.approx(values, rel=1e-5)
    assert two["score"] == pytest.approx(one["score"], rel=1e-5)
    assert two["score_by_network"] == pytest.approx(one["score_by_network"], rel=1e-5)


def test_a_run_goes_on_with_another_number_of_processes(hdf5_file, tmp_path):
    def arguments(name):
        return ("hmm", tmp_path, name, hdf5_file, "signals", "--model.n_states", 2, *FEW_EPOCHS)

    one_batch_per_subject = ("--sampler.batch_size_training", 500)
    assert run(1, TRAIN, *arguments("whole"), *one_batch_per_subject)[0] == 0
    # Two processes stop in the middle of an epoch, one goes on, and two end the run.
    steps = (*one_batch_per_subject, "--trainer.max_steps", 7, "--trainer.saving_share", 1)
    assert run(2, TRAIN, *arguments("changing"), *steps)[0] == 0
    assert json.loads((tmp_path / "changing" / "summary.json").read_text())["stopping_reason"] == "max_steps"
    n_steps = json.loads((tmp_path / "whole" / "summary.json").read_text())["steps"]
    assert n_steps > 20
    assert run(1, RESUME, tmp_path, "changing", "--new_max_steps", 16)[0] == 0
    status, _, errors = run(2, RESUME, tmp_path, "changing", "--new_max_steps", n_steps)
    assert status == 0, errors
    whole, changing = weights_of(tmp_path / "whole"), weights_of(tmp_path / "changing")
    for name, expected in whole.items():
        np.testing.assert_allclose(changing[name], expected, rtol=1e-8, atol=1e-10)


def process_of_rank(parent, rank):
    """Number of the process that torchrun started with this rank, once it has begun."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            status, environment = (path / "stat").read_text(), (path / "environ").read_bytes()
        except OSError:
            continue
        if int(status.rsplit(")", 1)[1].split()[1]) == parent and f"\0RANK={rank}\0".encode() in environment:
            return int(path.name)
    return None


def long_run(folder, hdf5_file, name):
    settings = ("--trainer.max_epochs", 100_000, "--trainer.tolerance", 0, "--trainer.progress", "false")
    run = start(2, TRAIN, "hmm", folder, name, hdf5_file, "signals", "--model.n_states", 2, *settings)
    while not (folder / name / "best_model" / "manifest.json").exists():
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.05)
    return run


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_ends_the_others_with_a_valid_checkpoint(hdf5_file, tmp_path, rank):
    begin = time.monotonic()
    run = long_run(tmp_path, hdf5_file, "run")
    killed = time.monotonic()
    os.kill(process_of_rank(run.pid, rank), signal.SIGKILL)
    _, errors = run.communicate(timeout=1800)
    assert time.monotonic() - killed < 60 + 10 * (killed - begin)
    assert run.returncode != 0, errors
    epochs = 50_000  # far beyond what was done: the run goes on, and is ended by the time limit
    resumed = run_script(
        RESUME.name, tmp_path, "run", "--new_max_epochs", epochs, "--new_max_time", 0.01, environment={"RANK": "0"}
    )
    assert "max_time" in resumed.stdout


def test_a_signal_ends_all_processes_after_the_same_step(hdf5_file, tmp_path):
    run = long_run(tmp_path, hdf5_file, "run")
    os.kill(process_of_rank(run.pid, 1), signal.SIGTERM)
    _, errors = run.communicate(timeout=1800)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["stopping_reason"] == "signal SIGTERM", errors
    assert len(np.load(tmp_path / "run" / "logs" / "training_loss_per_epoch.npy")) == summary["epochs"]


def test_processes_that_see_different_data_are_refused(tmp_path):
    status, _, errors = run(2, OWN_SCRIPT, tmp_path, "run", 1)
    assert status != 0
    assert "The processes of this run see different data: process 0 has" in errors
    assert not (tmp_path / "run" / "best_model").exists()


def test_more_processes_than_subjects_are_refused(tmp_path):
    arrays = {f"sub-{i}": [np.random.default_rng(i).normal(size=(200, 4)).astype(np.float32)] for i in range(2)}
    alone = create_store(tmp_path, arrays, {"training": ["sub-0"], "validation": ["sub-1"]}, run_by=run_here)
    status, _, errors = run(2, TRAIN, "hmm", tmp_path, "run", alone, "signals", "--model.n_states", 2)
    assert status != 0
    assert "Error: 2 processes were started to share 1 training subjects: start at most 1." in errors
