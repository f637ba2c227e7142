"""Faults of settings, numbers and checkpoints that no other test has: each is survived, or refused in one sentence."""

import errno
import hashlib
import json
import os
import resource
import signal
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from running_hmms import TRAIN, start, switching_signals, train, wait_for_commits
from running_scripts import create_store, run_script

from dynml import BatchLoader, BatchSampler, GaussianHMM, HMMConfig, HMMTrainer, MultiSubjectDataset
from dynml.errors import CheckpointError, DataWarning, DynmlError
from dynml.models.experiment import load_experiment
from dynml.ops.hmm.forward_backward import forward_backward
from dynml.training.checkpoints.committed import commit_directory, newest_committed
from dynml.training.checkpoints.experiment_folder import read_weights

WITH_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
WITH_MPS = pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs a Mac with a GPU")


def hmm_trainer(folder, arrays, name="run", *, n_states=2, batch_size=1000, **settings):
    dataset = MultiSubjectDataset.from_arrays(arrays, standardization="none")
    model = GaussianHMM(HMMConfig(n_states=n_states), dataset.n_channels)
    sampler = BatchSampler(
        dataset, strategy="whole_segments", batch_size_units="nb_samples", batch_size_training=batch_size
    )
    loader = BatchLoader(dataset, model, collate="packed")
    settings = {"max_epochs": 5, "progress": False, "device": "cpu"} | settings
    return HMMTrainer(model, folder, name, sampler, loader, **settings)


# ---------------------------------------------------------------------- settings


def test_a_number_that_yaml_takes_for_text_is_a_number(hdf5_file, tmp_path):
    (tmp_path / "recipe.yaml").write_text("trainer: {tolerance: 1e-3, max_epochs: 2}\n")
    assert yaml.safe_load((tmp_path / "recipe.yaml").read_text())["trainer"]["tolerance"] == "1e-3"
    arguments = ("--model.n_states", 2, "--config", tmp_path / "recipe.yaml")
    run_script(TRAIN, "hmm", tmp_path, "run", hdf5_file, "signals", *arguments)
    assert json.loads((tmp_path / "run/parameters_latest.json").read_text())["trainer"]["tolerance"] == 1e-3


@pytest.mark.parametrize("n_channels", [1, 3])
def test_one_state_is_one_gaussian_in_batches_larger_than_the_data(tmp_path, n_channels):
    signals = np.random.default_rng(0).normal(size=(200, n_channels)).astype(np.float32)
    summary = hmm_trainer(tmp_path, [signals], n_states=1, batch_size=10**9).train_and_validate()
    moments = np.atleast_2d(np.cov(signals.astype(float).T, bias=True))
    expected = 0.5 * (n_channels * (1 + np.log(2 * np.pi)) + np.linalg.slogdet(moments)[1])
    assert summary["free_energy"]["training"] == pytest.approx(expected, abs=0.01)


def test_stores_and_recordings_may_be_links(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    np.save(tmp_path / "elsewhere" / "a.npy", switching_signals(200, 0))
    (tmp_path / "ready" / "sub-0").mkdir(parents=True)
    (tmp_path / "ready" / "sub-0" / "run-0.npy").symlink_to(tmp_path / "elsewhere" / "a.npy")
    store = create_store(tmp_path, {}, {"training": ["sub-0"]})
    (tmp_path / "link.hdf5").symlink_to(store)
    dataset = MultiSubjectDataset(tmp_path / "link.hdf5", group="signals")
    dataset.load_data()
    assert dataset.training_set.n_samples == 200


# ---------------------------------------------------------------------- numbers


def test_a_huge_outlier_leaves_the_loss_finite(tmp_path):
    signals = switching_signals(500, 0)
    signals[250, 1] = 1e6
    trainer = hmm_trainer(tmp_path, [signals, switching_signals(300, 1)])
    assert np.isfinite(trainer.train_and_validate()["free_energy"]["training"])
    assert all(bool(tensor.isfinite().all()) for tensor in trainer.weights().values())


def test_a_row_of_transitions_that_is_zero_gives_finite_posteriors():
    logs = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) - 1e5
    transitions = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    result = forward_backward(logs, [0, 50], torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64), transitions)
    assert bool(result.posteriors_TK.isfinite().all())
    assert bool(result.log_likelihoods.isfinite().all())
    torch.testing.assert_close(result.posteriors_TK.sum(1), torch.ones(50, dtype=torch.float64), atol=1e-9, rtol=0)
    assert float(result.posteriors_TK[:, 2].max()) < 1e-50


def test_an_objective_that_em_raises_is_told(tmp_path):
    trainer = hmm_trainer(tmp_path, [switching_signals(600, 0)], max_epochs=6, tolerance=0)
    original = trainer.start_of_epoch

    def spoilt():
        original()
        if trainer.progress.epoch == 3:
            trainer.model.covariances.mul_(3.0)

    trainer.start_of_epoch = spoilt
    with pytest.warns(DataWarning, match="EM raised its objective by .* in epoch 4"):
        trainer.train_and_validate()


def test_one_seed_gives_one_result_bit_for_bit(tmp_path):
    runs = [hmm_trainer(tmp_path, [switching_signals(600, 0)], name, seed=3) for name in ("one", "two")]
    free_energies = [run.train_and_validate()["free_energy"]["training"] for run in runs]
    assert free_energies[0] == free_energies[1]
    weights = [run.weights() for run in runs]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert runs[0].parameters["trainer"]["seed"] == 3 or runs[0].parameters["seed"] == 3


@WITH_GPU
def test_a_gpu_comes_to_the_numbers_of_a_cpu(tmp_path):
    found = [
        hmm_trainer(tmp_path, [switching_signals(600, 0)], device, device=device).train_and_validate()
        for device in ("cpu", "cuda")
    ]
    ours, theirs = (summary["free_energy"]["training"] for summary in found)
    assert theirs == pytest.approx(ours, abs=1e-4)


# ---------------------------------------------------------------------- checkpoints


def test_a_full_disk_at_a_checkpoint_is_one_sentence_and_leaves_the_one_before(hdf5_file, tmp_path):
    train(tmp_path, hdf5_file, "run", "--trainer.tolerance", 0, "--trainer.max_epochs", 3)
    experiment = tmp_path / "run"
    before = {path: path.read_bytes() for path in (experiment / "checkpoint").iterdir()}

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        largest = max(len(content) for path, content in before.items() if path.name != "parameters.json")
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 100, largest - 100))

    resume = ("dynml_resume_training_from_checkpoint.py", tmp_path, "run", "--new_max_epochs", 60)
    done = run_script(*resume, status=2, preexec_fn=limit)
    assert "could not be written: File too large" in done.stderr
    assert f"goes on from the checkpoint in {experiment} once it can be written: --resume auto" in done.stderr
    assert {path: path.read_bytes() for path in (experiment / "checkpoint").iterdir()} == before
    assert newest_committed(experiment / "checkpoint")[0] == experiment / "checkpoint"


@pytest.mark.parametrize(("file", "way_on"), [("state.pt", "Nothing was kept"), ("summary.json", "--resume")])
def test_a_disk_that_is_full_for_once_costs_no_result(tmp_path, monkeypatch, file, way_on):
    """Whatever is written last: the same run, taken up where there is room again, comes to the same numbers."""
    data = [switching_signals(600, 0)]
    undisturbed = hmm_trainer(tmp_path, data, "undisturbed", seed=3).train_and_validate()
    opening, replacement = Path.open, os.replace

    def full_at_open(path, *arguments, **settings):
        if path.name == file:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return opening(path, *arguments, **settings)

    def full_at_replacement(source, target):
        if Path(target).name == file:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return replacement(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full_at_open)
        patched.setattr(os, "replace", full_at_replacement)
        with pytest.raises(DynmlError, match=f"No space left on device.*{way_on}"):
            hmm_trainer(tmp_path, data, "run", seed=3).train_and_validate()
    assert not (tmp_path / "run" / "summary.json").exists()
    summary = hmm_trainer(tmp_path, data, "run", seed=3, resume="auto").train_and_validate()
    assert summary["free_energy"] == undisturbed["free_energy"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["epochs"] == undisturbed["epochs"]


@pytest.mark.parametrize("n_signals", [1, 2])
def test_one_interruption_ends_a_run_with_all_saved_and_two_end_it_at_once(hdf5_file, tmp_path, n_signals):
    process = start(tmp_path, hdf5_file, "run")
    wait_for_commits(tmp_path / "run", process, 2, (0, 0))
    for _ in range(n_signals):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)  # signals that are pending together become one
    output, errors = process.communicate()
    assert process.returncode in (130, -signal.SIGINT), errors
    assert "Traceback" not in errors
    if n_signals == 1:
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        assert summary["stopping_reason"] == "signal SIGINT", output
    path, warned = newest_committed(tmp_path / "run" / "checkpoint")
    assert path is not None
    assert not warned


def header(content):
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


HOSTILE = {
    "a header of exabytes": struct.pack("<Q", 2**60) + b"{}",
    "a header that is no JSON": struct.pack("<Q", 9) + b"not json.",
    "a tensor beyond the file": header({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
    "tensors that overlap": header(
        {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in ("v", "w")} | {}
    )
    + bytes(8),
    "a size below zero": header({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + bytes(4),
    "a type that is none": header({"w": {"dtype": "EVIL", "shape": [1], "data_offsets": [0, 4]}}) + bytes(4),
    "nothing": b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_header_of_weights_is_refused(tmp_path, kind):
    path = tmp_path / "model.safetensors"
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        read_weights(path)


def test_the_newest_checkpoint_is_not_chosen_by_the_clock(tmp_path):
    target = tmp_path / "checkpoint"
    for number in ("1", "2"):
        commit_directory(target, lambda folder, number=number: (folder / "step.txt").write_text(number) and None)
    for stamp in (0, 4_000_000_000):
        for folder, other in ((target, stamp), (tmp_path / "checkpoint.previous", 4_000_000_000 - stamp)):
            for path in (folder, *folder.iterdir()):
                os.utime(path, (other, other))
        newest, _ = newest_committed(target)
        assert newest is not None
        assert (newest / "step.txt").read_text() == "2"


def test_checkpoints_that_are_all_damaged_are_refused_and_nothing_is_deleted(tmp_path):
    arrays = [switching_signals(300, 0)]
    hmm_trainer(tmp_path, arrays, max_epochs=2).train_and_validate()
    for weights in tmp_path.glob("run/checkpoint*/model.safetensors"):
        weights.write_bytes(weights.read_bytes()[:-1])
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(DynmlError, match="checkpoint"):
        hmm_trainer(tmp_path, arrays, max_epochs=4, resume="auto").train_and_validate()
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_model_of_a_gpu_loads_where_there_is_none(tmp_path):
    hmm_trainer(tmp_path, [switching_signals(300, 0)], max_epochs=2).train_and_validate()
    best = tmp_path / "run" / "best_model"
    parameters = json.loads((best / "parameters.json").read_text())
    parameters["trainer"]["device"] = "cuda:3"
    (best / "parameters.json").write_text(json.dumps(parameters))
    manifest = json.loads((best / "manifest.json").read_text())
    content = (best / "parameters.json").read_bytes()
    manifest["files"]["parameters.json"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (best / "manifest.json").write_text(json.dumps(manifest))
    experiment = load_experiment(tmp_path / "run")
    assert {tensor.device.type for tensor in experiment.model.state_dict().values()} == {"cpu"}


@WITH_GPU
def test_a_checkpoint_of_a_gpu_goes_on_on_a_cpu(tmp_path):
    arrays = [switching_signals(300, 0)]
    hmm_trainer(tmp_path, arrays, max_epochs=2, device="cuda").train_and_validate()
    summary = hmm_trainer(tmp_path, arrays, max_epochs=4, device="cpu", resume="auto").train_and_validate()
    assert summary["epochs"] == 4


@WITH_MPS
def test_float64_on_a_mac_goes_by_the_cpu(tmp_path):
    summary = hmm_trainer(tmp_path, [switching_signals(300, 0)], device="mps").train_and_validate()
    assert np.isfinite(summary["free_energy"]["training"])


@WITH_GPU
def test_memory_of_a_gpu_that_runs_out_is_one_sentence_with_what_helps(tmp_path):
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-3)
    try:
        with pytest.raises(DynmlError, match="batch_size"):
            hmm_trainer(
                tmp_path, [switching_signals(3_000_000, 0)], device="cuda", batch_size=10**9
            ).train_and_validate()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
