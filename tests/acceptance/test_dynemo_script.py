"""DyNeMo from the command line: a store to an experiment to inference, stopped and gone on with, on two processes."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from running_scripts import SCRIPTS, create_store, run_script
from safetensors.numpy import load_file

from dynml.training.costs import COST_ENDINGS

TRAIN, RESUME, INFER = (
    "dynml_train_model.py",
    "dynml_resume_training_from_checkpoint.py",
    "dynml_infer_from_model.py",
)
SMALL = {
    "n_modes": 2,
    "sequence_length": 30,
    "inference_n_units": 6,
    "model_n_units": 5,
    "n_kl_annealing_epochs": 2,
}
QUICK = ("--trainer.max_epochs", 4, "--trainer.n_draws", 10, "--trainer.progress", "false")


def soft_signals(n_samples, seed, n_channels=4):
    """Two modes, one of them large in the first channels and one in the last, that fade into each other."""
    generator = np.random.default_rng(seed)
    share = 0.5 + 0.5 * np.sin(np.arange(n_samples)[:, None] / 12 + seed)
    variance = share * np.linspace(0.2, 1.8, n_channels) + (1 - share) * np.linspace(1.8, 0.2, n_channels)
    return (generator.normal(size=(n_samples, n_channels)) * np.sqrt(variance)).astype(np.float32)


@pytest.fixture(scope="module")
def hdf5_file(tmp_path_factory):
    arrays = {f"sub-{i}": [soft_signals(250 + 70 * i, i), soft_signals(133, 10 + i)] for i in range(5)}
    subsets = {"training": ["sub-0", "sub-1", "sub-2"], "validation": ["sub-3"], "testing": ["sub-4"]}
    return create_store(tmp_path_factory.mktemp("dynemo"), arrays, subsets)


def arguments_of(folder, name, hdf5_file, *further, **model):
    settings = [part for key, value in {**SMALL, **model}.items() for part in (f"--model.{key}", value)]
    return ("dynemo", folder, name, hdf5_file, "signals", *settings, *QUICK, *further)


def train(folder, name, hdf5_file, *further, status=0, **model):
    return run_script(TRAIN, *arguments_of(folder, name, hdf5_file, *further, **model), status=status)


@pytest.fixture(scope="module")
def experiment(hdf5_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiments")
    return folder / "run", train(folder, "run", hdf5_file)


def read(path):
    return json.loads(path.read_text())


def logs_of(experiment):
    paths = sorted((experiment / "logs").glob("*_per_epoch.npy"))
    names = [path.name.removesuffix("_per_epoch.npy") for path in paths]
    return {name: np.load(path) for name, path in zip(names, paths) if not name.endswith(COST_ENDINGS)}


def assert_same_run(first, second, **tolerance):
    for folder in ("best_model", "checkpoint"):
        weights, others = (load_file(run / folder / "model.safetensors") for run in (first, second))
        assert weights.keys() == others.keys()
        for name, values in weights.items():
            np.testing.assert_allclose(others[name], values, **tolerance, err_msg=name)
    logs, others = logs_of(first), logs_of(second)
    assert logs.keys() == others.keys()
    for name, values in logs.items():
        np.testing.assert_allclose(others[name], values, **tolerance, err_msg=name)


def test_a_run_leaves_what_is_promised(experiment):
    path, done = experiment
    assert {"parameters_latest.json", "best_model", "checkpoint", "logs", "summary.json"} <= {
        p.name for p in path.iterdir()
    }
    summary = read(path / "summary.json")
    assert (summary["family"], summary["loss"], summary["model"]) == ("dynemo", "free_energy", "best")
    assert (summary["stopping_reason"], summary["epochs"], summary["monitored"]) == ("max_epochs", 4, "validation_loss")
    for scores in (summary["free_energy"], summary["free_energy_at_mean"], *summary["baselines"].values()):
        assert scores.keys() == {"training", "validation"}
        assert all(np.isfinite(value) for value in scores.values())
    assert summary["baselines"].keys() == {"gaussian", "gaussian_mixture", "hmm"}
    assert summary["free_energy"]["validation"] == pytest.approx(summary["best_value"], rel=1e-6)
    expected = {"training_loss", "training_bound", "training_divergence", "training_negative_log_likelihood"}
    assert (
        expected | {"validation_loss", "kl_annealing_factor", "alpha_temperature", "learning_rate"}
        <= logs_of(path).keys()
    )
    # The table of layers and that of baselines.
    assert "inference rnn" in done.stdout
    assert "Parameters: " in done.stdout
    for name in ("model", "gaussian_mixture", "hmm"):
        assert any(line.split()[:1] == [name] for line in done.stdout.splitlines())


def test_the_models_windows_are_recorded_as_the_samplers(experiment):
    parameters = read(experiment[0] / "parameters_latest.json")
    assert parameters["model"]["sequence_length"] == parameters["sampler"]["window_length"] == 30
    assert (parameters["sampler"]["strategy"], parameters["sampler"]["batch_size_training"]) == ("random_windows", 32)


def test_inference_writes_what_is_promised(experiment, hdf5_file, tmp_path):
    path, _ = experiment
    out = tmp_path / "inferred"
    run_script(INFER, path, hdf5_file, out, "--dual_estimation")
    summary, trained = read(out / "summary.json"), read(path / "summary.json")
    for subset in ("training", "validation"):
        assert summary["free_energy"][subset] == pytest.approx(trained["free_energy"][subset], rel=1e-5)
    assert np.isfinite(summary["free_energy"]["testing"])
    assert summary["free_energy"]["subjects"].keys() == {f"sub-{i}" for i in range(5)}
    assert np.load(out / "means.npy").shape == (2, 4)
    covariances = np.load(out / "covariances.npy")
    assert covariances.shape == (2, 4, 4)
    assert (np.linalg.eigvalsh(covariances) > 0).all()
    for i in range(5):
        alpha = np.load(out / f"sub-{i}_alpha.npy")
        assert alpha.shape == (250 + 70 * i + 133, 2)
        np.testing.assert_allclose(alpha.sum(1), 1, atol=1e-5)
        assert np.load(out / f"sub-{i}_covariances.npy").shape == (2, 4, 4)
    assert not list(out.glob("*_viterbi.npy"))
    with (out / "state_statistics.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert len({row["subject"] for row in rows}) == 5
    again = tmp_path / "testing"
    run_script(INFER, path, hdf5_file, again, "--subset", "testing", "--use_latest_epoch")
    assert {file.name for file in again.glob("*_alpha.npy")} == {"sub-4_alpha.npy"}
    assert read(again / "summary.json")["free_energy"]["training"] is None


def test_a_run_that_was_stopped_amid_annealing_goes_on_to_the_same_numbers(experiment, hdf5_file, tmp_path):
    whole, _ = experiment
    at_once = 1e-9  # minutes: each run ends after one more step
    train(tmp_path, "parts", hdf5_file, "--trainer.max_time", at_once)
    run_script(RESUME, tmp_path, "parts", "--new_max_time", at_once)
    assert read(tmp_path / "parts" / "summary.json")["stopping_reason"] == "max_time"
    assert not (tmp_path / "parts" / "best_model").exists()
    run_script(RESUME, tmp_path, "parts", "--new_max_time", 60)
    assert_same_run(whole, tmp_path / "parts", rtol=0, atol=0)
    ours, theirs = (read(run / "summary.json") for run in (tmp_path / "parts", whole))
    for name in ("free_energy", "free_energy_at_mean", "baselines", "best_epoch", "steps", "findings"):
        assert ours[name] == theirs[name]


def test_a_config_file_says_the_same_as_the_command_line(experiment, hdf5_file, tmp_path):
    config = {"model": SMALL, "trainer": {"max_epochs": 4, "n_draws": 10, "progress": False}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(config))
    run_script(TRAIN, "dynemo", tmp_path, "run", hdf5_file, "signals", "--config", tmp_path / "recipe.yaml")
    assert_same_run(experiment[0], tmp_path / "run", rtol=0, atol=0)


def test_a_run_starts_from_an_experiment_named_on_the_command_line(experiment, hdf5_file, tmp_path):
    path, _ = experiment
    train(tmp_path, "next", hdf5_file, "--initialization.from", path, "--trainer.learning_rate", 1e-30)
    np.testing.assert_allclose(
        load_file(tmp_path / "next" / "best_model" / "model.safetensors")["covariance_vectors"],
        load_file(path / "best_model" / "model.safetensors")["covariance_vectors"],
        atol=1e-4,
    )
    parameters = read(tmp_path / "next" / "parameters_latest.json")
    assert parameters["initialization"]["from_experiment"] == str(path)


@pytest.mark.parametrize(
    ("further", "sentence"),
    [
        (("--sampler.window_length", 30), "sampler.window_length is 30, but must be absent"),
        (("--model.n_states", 3), "--model.n_states"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(hdf5_file, tmp_path, further, sentence):
    done = train(tmp_path, "run", hdf5_file, *further, status=2)
    assert sentence in done.stderr
    assert not (tmp_path / "run" / "best_model").exists()


def test_two_processes_reach_the_numbers_of_one(hdf5_file, tmp_path):
    settings = ("--initialization.method", "random_subset", "--initialization.n_init", 2)
    settings += ("--initialization.n_epochs", 1, "--sampler.batch_size_training", 8)
    alone = [SCRIPTS / TRAIN, *arguments_of(tmp_path, "one", hdf5_file, *settings)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2]
    together = [*torchrun, SCRIPTS / TRAIN, *arguments_of(tmp_path, "two", hdf5_file, *settings)]
    for command in ([sys.executable, *alone], together):
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=1800,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Stopped:") == 1
    assert_same_run(tmp_path / "one", tmp_path / "two", rtol=1e-5, atol=1e-5)
    one, two = (read(tmp_path / name / "summary.json") for name in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    for name in ("free_energy", "free_energy_at_mean"):
        assert two[name] == pytest.approx(one[name], rel=1e-5)
    for name, scores in one["baselines"].items():
        assert two["baselines"][name] == pytest.approx(scores, rel=1e-5)
    assert two["mean_alpha"] == pytest.approx(one["mean_alpha"], rel=1e-4)
