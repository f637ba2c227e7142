"""Families that learn by gradients, on a device that is not the CPU: its numbers, and what a batch waits for."""

import collections
import contextlib
import io
import warnings
from unittest import mock

import pytest
import torch
from pretended_device import PretendedDevice, register
from safetensors.torch import load_file

from dynml.cli.commands.train import parse_training, run_training
from dynml.simulation import simulate_hmm
from dynml.simulation.store import write_simulation
from dynml.training.trainer import Trainer

pytestmark = pytest.mark.skipif(torch.accelerator.is_available(), reason="a real accelerator would be hidden")
if not torch.accelerator.is_available():
    register()  # while tests are collected, before any of them learns

SMALL = ["--model.embedding_dim", "8", "--model.n_layers", "1", "--model.n_heads", "2", "--sampler.window_length", "20"]
SMALL += ["--sampler.batch_size_training", "5"]
FAMILIES = {
    "csm": SMALL,
    "network_bert": SMALL,
    # Other starts fit an HMM to so few samples that the rounding of sums decides.
    "dynemo": [
        *("--model.n_modes", "2", "--model.sequence_length", "10", "--initialization.method", "random"),
        *("--sampler.batch_size_training", "12"),
    ],
}
READS_OF_A_BATCH = 0
"""Between two looks at the losses."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    file = tmp_path_factory.mktemp("store") / "small.hdf5"
    simulation = simulate_hmm(n_subjects=3, n_samples=120, n_states=2, n_channels=4, seed=1)
    write_simulation(simulation, file, n_validation_subjects=1)
    return file


def trained(folder, store, family, device, residency):
    name = f"{family}_{device.split(':')[0]}_{residency}"
    arguments = [family, str(folder), name, str(store), "signals", *FAMILIES[family]]
    arguments += ["--trainer.max_epochs", "1", "--trainer.progress", "false"]
    arguments += ["--trainer.device", device, "--loader.residency", residency]
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_training(parse_training(None, arguments))
    return folder / name


@contextlib.contextmanager
def reads_of_batches(device):
    """What the host waited for in each training batch."""
    counts, learn = [], Trainer._learn_from

    def counted(self, batch):
        before = collections.Counter(device.reads)
        learn(self, batch)
        counts.append(device.reads - before)

    with mock.patch.object(Trainer, "_learn_from", counted):
        yield counts


@pytest.mark.parametrize(("family", "residency"), [("csm", "lazy"), ("network_bert", "device"), ("dynemo", "device")])
def test_a_family_trains_there_with_the_numbers_of_the_cpu(tmp_path, store, family, residency):
    with PretendedDevice() as device, reads_of_batches(device) as counts:
        found = trained(tmp_path, store, family, "pretended:0", residency)
    expected = trained(tmp_path, store, family, "cpu", "memory")
    weights, weights_of_cpu = (load_file(path / "best_model" / "model.safetensors") for path in (found, expected))
    assert weights.keys() == weights_of_cpu.keys()
    for name in weights:
        torch.testing.assert_close(weights[name], weights_of_cpu[name], rtol=1e-3, atol=1e-3)
    assert len(counts) >= 2
    assert max(sum(count.values()) for count in counts) <= READS_OF_A_BATCH, counts
