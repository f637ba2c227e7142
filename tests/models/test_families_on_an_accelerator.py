"""Families that learn by gradients, on a device that is not the CPU: its numbers, and what a batch waits for."""

import contextlib
import copy
import dataclasses
import io
import warnings

import pytest
import torch
from accelerator_runs import reads_of_batches, small_store
from baseline_oracles import N_CHANNELS, random_task
from pretended_device import PretendedDevice, register
from safetensors.torch import load_file

from dynml.cli.commands.train import parse_training, run_training
from dynml.models.dynemo.config import DynemoConfig
from dynml.models.dynemo.model import Dynemo
from dynml.models.sequence.baselines.named import make_baseline
from dynml.ops.mixture.mixture_gaussian import mixture_log_likelihood

pytestmark = pytest.mark.skipif(torch.accelerator.is_available(), reason="a real accelerator would be hidden")
if not torch.accelerator.is_available():
    register()  # while tests are collected, before any of them learns

SMALL = ["--model.embedding_dim", "8", "--model.n_layers", "1", "--model.n_heads", "2", "--sampler.window_length", "20"]
SMALL += ["--sampler.batch_size_training", "5"]
FAMILIES = {
    "csm": SMALL,
    "network_bert": SMALL,
    "sequence_bert": SMALL,
    "autoencoder": SMALL[:4] + SMALL[6:],
    # Other starts fit an HMM to so few samples that the rounding of sums decides.
    "dynemo": [
        *("--model.n_modes", "2", "--model.sequence_length", "10", "--initialization.method", "random"),
        *("--sampler.batch_size_training", "12"),
    ],
}
RUNS = [("csm", "lazy"), ("network_bert", "device"), ("sequence_bert", "memory"), ("autoencoder", "device")]
RUNS += [("dynemo", "device")]
READS_OF_A_BATCH = 0
"""Between two looks at the losses."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small_store(tmp_path_factory.mktemp("store"))


def trained(folder, store, family, device, residency):
    name = f"{family}_{device.split(':')[0]}_{residency}"
    arguments = [family, str(folder), name, str(store), "signals", *FAMILIES[family]]
    arguments += ["--trainer.max_epochs", "1", "--trainer.progress", "false"]
    arguments += ["--trainer.device", device, "--loader.residency", residency]
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_training(parse_training(None, arguments))
    return folder / name


@pytest.mark.parametrize(("family", "residency"), RUNS)
def test_a_family_trains_there_with_the_numbers_of_the_cpu(tmp_path, store, family, residency):
    with PretendedDevice() as device, reads_of_batches(device) as counts:
        found = trained(tmp_path, store, family, "pretended:0", residency)
    expected = trained(tmp_path, store, family, "cpu", "memory")
    weights, weights_of_cpu = (load_file(path / "best_model" / "model.safetensors") for path in (found, expected))
    assert weights.keys() == weights_of_cpu.keys()
    for name in weights:
        torch.testing.assert_close(weights[name], weights_of_cpu[name], rtol=1e-3, atol=1e-3)
    assert len(counts) >= 2
    assert max(count.total() for count in counts) <= READS_OF_A_BATCH, counts


def moved(parts, device):
    """A dataclass with its tensors, and those of windows in it, on a device."""
    changes = {}
    for field in dataclasses.fields(parts):
        value = getattr(parts, field.name)
        if isinstance(value, torch.Tensor):
            changes[field.name] = value.to(device)
        elif dataclasses.is_dataclass(value):
            changes[field.name] = moved(value, device)
    return dataclasses.replace(parts, **changes)


@pytest.mark.parametrize("with_parts", [False, True])
@pytest.mark.parametrize("name", ["ridge_var", "ridge_both_sides"])
def test_a_linear_path_that_asks_nothing_predicts_what_one_predicts_that_asks(name, with_parts):
    generator, n_times, baseline = torch.Generator().manual_seed(0), 13, make_baseline(name, N_CHANNELS, n_lags=3)
    for buffer_name, buffer in baseline.named_buffers():
        if buffer_name.endswith("CC"):
            buffer.normal_(std=0.1, generator=generator)
        elif buffer_name == "longest_gap":
            buffer.fill_(4)
    tasks = [random_task(seed, rate=seed / 4, n_times=n_times, with_parts=with_parts) for seed in (1, 2)]
    expected = [baseline.predict(task) for task in tasks]
    with PretendedDevice() as device:
        there = baseline.to("pretended:0")
        found = [there.predict(moved(dataclasses.replace(task, longest_gap=n_times), "pretended:0")) for task in tasks]
        assert device.n_reads == 0, device.reads
        found = [one.cpu() for one in found]
        asking = there.predict(moved(tasks[-1], "pretended:0"))
        assert device.n_reads > len(tasks)
        torch.testing.assert_close(asking.cpu(), found[-1])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_gradients_of_a_likelihood_are_right_unasked_and_nan_where_the_loss_weighs_otherwise_than_it_was_told():
    generator = torch.Generator().manual_seed(0)
    signals, alpha = torch.randn(20, 3, generator=generator), torch.rand(20, 2, generator=generator)
    signals[3] = torch.nan
    covariances = torch.stack([torch.eye(3), 2 * torch.eye(3)])

    def slopes(device, weights, factors):
        modes = covariances.to(device).requires_grad_()
        inputs = signals.to(device), alpha.to(device), None, modes
        values = mixture_log_likelihood(*inputs, weights=weights.to(device), weights_hold=True)
        (torch.where(torch.isnan(values), 0.0, values) * factors.to(device)).sum().backward()
        return modes.grad

    mask, nothing = (alpha[:, 0] > 0.5).float(), torch.zeros(20)
    with PretendedDevice() as device:
        found = [slopes("pretended:0", *pair) for pair in ((mask, -mask / 7), (nothing, nothing), (mask, alpha[:, 1]))]
        assert device.n_reads == 0, device.reads
        found = [one.cpu() for one in found]
    torch.testing.assert_close(found[0], slopes("cpu", mask, -mask / 7), rtol=1e-5, atol=1e-5)
    assert found[0].any()
    assert not found[1].any()
    assert found[2].isnan().all()
    assert slopes("cpu", mask, alpha[:, 1]).isfinite().all()


def test_windows_of_unequal_length_are_not_waited_for_when_the_host_knows_their_lengths():
    generator, lengths = torch.Generator().manual_seed(0), torch.tensor([3, 8, 8, 5])
    signals, noise = (torch.randn(4, 8, n, generator=generator) for n in (3, 2))
    mask, keys = torch.arange(8) < lengths[:, None], torch.arange(4)
    model = Dynemo(DynemoConfig(n_modes=2, inference_dropout=0.0, model_dropout=0.0), 3)

    def learnt(model, device):
        parts = [part.to(device) for part in (signals, noise, mask)]
        with torch.no_grad():
            bounds = model.bounds_of_draws(parts[0], keys.to(device), 2, parts[2], None, lengths)
        terms = model.bound_terms(*parts, lengths_B=lengths, in_sum=True)
        (terms.divergence_BT - terms.log_likelihood_BT).sum().backward()
        return [bounds, terms.divergence_BT, *(weights.grad for weights in model.parameters() if weights.requires_grad)]

    there = copy.deepcopy(model)
    expected = learnt(model, "cpu")
    with PretendedDevice() as device:
        found = learnt(there.to("pretended:0"), "pretended:0")
        assert device.n_reads == 0, device.reads
        found = [one.detach().cpu() for one in found]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-3, atol=1e-3)
