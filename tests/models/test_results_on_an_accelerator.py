"""Loading, decoding, inference and resuming on a device that is not the CPU: the numbers of the CPU, nothing mixed."""

import shutil
import warnings

import numpy as np
import pytest
import torch
from accelerator_runs import small_store
from decoding_data import recording, trainer_of
from pretended_device import PretendedDevice, register
from running_scripts import run_here
from safetensors.torch import load_file

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset
from dynml.dataset.config import DatasetConfig

pytestmark = [
    pytest.mark.skipif(torch.accelerator.is_available(), reason="a real accelerator would be hidden"),
    pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning"),
]
if not torch.accelerator.is_available():
    register()  # while tests are collected, before any of them learns

SETTINGS = {
    "hmm": ["--model.n_states", "2", "--sampler.batch_size_training", "300", "--initialization.n_init", "1"],
    "csm": [
        *("--model.embedding_dim", "8", "--model.n_layers", "1", "--model.n_heads", "2"),
        *("--sampler.window_length", "20", "--sampler.batch_size_training", "5"),
    ],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def experiments(store, tmp_path_factory):
    """An HMM and a csm after one epoch on the CPU."""
    folder = tmp_path_factory.mktemp("experiments")
    for family, settings in SETTINGS.items():
        own = [*settings, "--trainer.max_epochs", 1, "--trainer.progress", "false", "--trainer.device", "cpu"]
        run_here("dynml_train_model.py", family, folder, family, store, "signals", *own)
    return folder


@pytest.mark.parametrize("residency", ["device", "memory"])
def test_batches_are_embedded_and_augmented_there_as_on_the_cpu(store, residency):
    amounts = {"noise": 0.3, "sign_flip": 0.4, "channel_dropout": 0.3, "amplitude_jitter": 0.2, "time_jitter": 3}
    amounts |= {"time_masking": 4, "channel_masking": 1}

    def signals(device):
        config = DatasetConfig(n_embeddings=3, n_components=5)
        dataset = MultiSubjectDataset(store, residency, group="signals", device=device, config=config)
        dataset.load_data()
        sampler = BatchSampler(dataset, seed=1, window_length=20, batch_size_training=4)
        loader = BatchLoader(dataset, seed=1, **amounts)
        return [batch.windows for batch in loader.iterate(sampler, 0)]

    expected = signals("cpu")
    with PretendedDevice():
        found = signals("pretended:0")
        assert {one.device.type for one in found} == {"pretended"}
        found = [one.cpu() for one in found]
    assert len(found) > 1
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_decoder_learns_trials_there_as_on_the_cpu(tmp_path):
    def weights(device):
        dataset = MultiSubjectDataset.from_arrays([recording(0), recording(1)], [recording(2)], device=device)
        settings = {"device": device, "max_epochs": 1, "inner_folds": 0}
        trainer_of(dataset, tmp_path, device[:4], trainer=settings, backbone="linear").train_and_validate()
        return load_file(tmp_path / device[:4] / "best_model" / "model.safetensors")

    expected = weights("cpu")
    with PretendedDevice():
        found = weights("pretended:0")
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("family", "pattern"), [("hmm", "*_alpha.npy"), ("csm", "*_embeddings.npy")])
def test_what_is_inferred_there_is_what_is_inferred_on_the_cpu(store, experiments, tmp_path, family, pattern):
    command = ["dynml_infer_from_model.py", experiments / family, store]
    run_here(*command, tmp_path / "cpu", "--device", "cpu")
    with PretendedDevice():
        run_here(*command, tmp_path / "there", "--device", "pretended:0")
    files = sorted((tmp_path / "cpu").glob(pattern))
    assert files
    for file in files:
        np.testing.assert_allclose(np.load(tmp_path / "there" / file.name), np.load(file), rtol=1e-4, atol=1e-5)


def test_a_run_begun_on_the_cpu_goes_on_there(experiments, tmp_path):
    for name in ("cpu", "there"):
        shutil.copytree(experiments / "hmm", tmp_path / name)
    command = ["dynml_resume_training_from_checkpoint.py", tmp_path]
    run_here(*command, "cpu", "--new_max_epochs", 2)
    with PretendedDevice(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_here(*command, "there", "--new_max_epochs", 2, "--device", "pretended:0", "--residency", "device")
    found, expected = (load_file(tmp_path / name / "best_model" / "model.safetensors") for name in ("there", "cpu"))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)
