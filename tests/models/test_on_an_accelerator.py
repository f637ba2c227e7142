"""An HMM on a device that is not the CPU: its numbers, no tensor on the wrong side, what the host waits for."""

import contextlib
import io
import sys
import warnings
from unittest import mock

import pytest
import torch
from accelerator_runs import reads_of_batches, small_store
from pretended_device import MixedDevicesError, NoFloat64Error, PretendedDevice
from safetensors.torch import load_file

from dynml.cli.commands.train import parse_training, run_training
from dynml.errors import ConfigurationError
from dynml.ops.hmm.gaussian_hmm import GaussianHMMParameters, e_step
from dynml.training.environment import resolve_device

pytestmark = pytest.mark.skipif(torch.accelerator.is_available(), reason="a real accelerator would be hidden")

SETTINGS = ["--model.n_states", "2", "--sampler.batch_size_training", "300", "--initialization.n_init", "1"]
READS_OF_A_BATCH = 2
"""At most: for the parameters, and for the sums."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small_store(tmp_path_factory.mktemp("store"), n_samples=240)


def trained(folder, store, *, device="cpu", residency="memory"):
    """Weights of the best epoch of a run as the script makes it."""
    name = f"hmm_{device.split(':')[0]}_{residency}"
    arguments = ["hmm", str(folder), name, str(store), "signals", *SETTINGS]
    arguments += ["--trainer.max_epochs", "2", "--trainer.progress", "false", "--trainer.device", device]
    arguments += ["--loader.residency", residency]
    with (
        mock.patch.object(sys, "argv", ["train", *arguments]),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        run_training(parse_training(__doc__))
    return load_file(folder / name / "best_model" / "model.safetensors")


def test_an_hmm_trains_there_with_the_numbers_of_the_cpu_and_waits_for_little(tmp_path, store):
    expected = trained(tmp_path, store)
    with PretendedDevice() as device, reads_of_batches(device) as counts:
        found = trained(tmp_path, store, device="pretended:0", residency="device")
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)
    assert len(counts) >= 2
    assert max(count.total() for count in counts) <= READS_OF_A_BATCH, counts


@pytest.mark.parametrize("has_float64", [True, False])
def test_a_pass_has_the_sums_of_the_cpu_and_is_waited_for_once(has_float64):
    generator = torch.Generator().manual_seed(0)
    signals = torch.randn(700, 3, generator=generator)
    signals[[20, 21, 400]] = torch.nan
    starts, covariances = torch.tensor([0, 5, 300, 700]), torch.stack([torch.eye(3), 4 * torch.eye(3)])
    parameters = GaussianHMMParameters(torch.zeros(2, 3), covariances, [0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]])
    expected, logs, posteriors = e_step(signals, starts, parameters, posteriors=True)
    with PretendedDevice(has_float64=has_float64) as device, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        there = signals.to("pretended:0")
        found, found_logs, found_posteriors = e_step(there, starts, parameters, posteriors=True)
        n_reads, found_posteriors = device.n_reads, found_posteriors.cpu()
        if not has_float64:
            assert resolve_device("auto").type == "cpu"
            with pytest.raises(ConfigurationError, match="with float64"):
                resolve_device("pretended")
    assert n_reads == 1
    torch.testing.assert_close(found_posteriors, posteriors, atol=1e-6, rtol=0)
    torch.testing.assert_close(found_logs, logs, atol=0, rtol=1e-6)
    for name, value in expected.to_dictionary().items():
        torch.testing.assert_close(found.to_dictionary()[name], value, atol=1e-3, rtol=1e-5)


def test_the_device_is_that_of_auto_while_it_is_there_and_gone_afterwards():
    with PretendedDevice():
        assert resolve_device("auto").type == "pretended"
    assert resolve_device("auto").type == "cpu"


def test_mixed_devices_are_refused_and_what_the_host_reads_is_counted():
    with PretendedDevice() as device:
        there = torch.arange(3.0, device="pretended:0")
        with pytest.raises(MixedDevicesError, match="add"):
            there + torch.ones(3)
        assert (there * 2 + 1).device.type == "pretended"
        assert device.n_reads == 0
        assert float(there.sum()) == 3.0
        assert there.cpu().tolist() == [0, 1, 2]
        assert there[there > 0].shape == (2,)
        assert device.n_reads == 3
    with PretendedDevice(has_float64=False), pytest.raises(NoFloat64Error):
        torch.zeros(2, device="pretended:0").double()
