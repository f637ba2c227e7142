"""Memory that runs out: known by its many names, and got around by smaller pieces that give the same numbers."""

import errno
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

from dynml import host_memory
from dynml.cli.errors import user_errors_in_one_sentence
from dynml.dataset import residency
from dynml.errors import ConfigurationError, DataWarning
from dynml.ops import memory
from dynml.ops.gaussian import Gaussians
from dynml.ops.hmm.gaussian_hmm import e_step, log_likelihood
from dynml.ops.hmm.statistics import GaussianHMMParameters
from dynml.ops.mixture import mixture_gaussian_terms
from dynml.ops.mixture.mixture_gaussian_terms import torch_terms


@pytest.fixture(autouse=True)
def nothing_learnt():
    memory._learnt.clear()
    yield
    memory._learnt.clear()


def out_of_memory(*_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total of 3 GiB")


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: torch.empty(2**58),
        lambda: np.empty(2**58),
        lambda: bytearray(2**60),
        out_of_memory,
    ],
)
def test_what_torch_numpy_and_python_say_is_known(allocate):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        allocate()
    assert memory.is_out_of_memory(caught.value)


def test_other_errors_are_not_taken_for_it():
    assert memory.is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    for error in (RuntimeError("shapes differ"), OSError(errno.ENOSPC, "No space left"), ValueError("out of memory")):
        assert not memory.is_out_of_memory(error)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0", 2.5 * 2**30),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12", 4096),
        ("Unable to allocate 7.00 TiB for an array", 7 * 2**40),
        ("std::bad_alloc", None),
    ],
)
def test_the_size_that_was_asked_for_is_read(text, n_bytes):
    assert memory.bytes_asked_for(RuntimeError(text)) == n_bytes


def problem(n_rows, n_states=3, n_channels=4):
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(n_states, n_channels, generator=generator, dtype=torch.float64)
    parameters = GaussianHMMParameters(
        initial_probabilities_K=torch.full((n_states,), 1 / n_states, dtype=torch.float64),
        transition_probabilities_KK=torch.full((n_states, n_states), 0.05, dtype=torch.float64)
        + 0.85 * torch.eye(n_states, dtype=torch.float64),
        means_KC=means,
        covariances_KCC=torch.eye(n_channels, dtype=torch.float64).repeat(n_states, 1, 1),
    )
    return torch.randn(n_rows, n_channels, generator=generator), parameters


def short_of_memory(function, most_rows, of_rows):
    """The function, on a machine that holds so many rows only."""

    def limited(*arguments):
        return out_of_memory() if of_rows(arguments) > most_rows else function(*arguments)

    return limited


def test_a_pass_of_an_hmm_goes_on_in_smaller_chunks_to_the_same_numbers(monkeypatch):
    signals, parameters = problem(20_000)
    starts = [0, 7_000, 15_000, 20_000]
    statistics, logs, _ = e_step(signals, starts, parameters)
    fill = Gaussians.fill_log_likelihoods
    monkeypatch.setattr(Gaussians, "fill_log_likelihoods", short_of_memory(fill, 5_000, lambda given: len(given[1])))
    with pytest.warns(DataWarning, match="Memory ran out in e_step, which continues with blocks of 1/2"):
        again, logs_again, _ = e_step(signals, starts, parameters)
    torch.testing.assert_close(logs_again, logs, rtol=1e-9, atol=0)
    torch.testing.assert_close(again.second_moments_KCC, statistics.second_moments_KCC, rtol=1e-5, atol=0.1)
    # What was learnt is kept, and another function learns by itself.
    e_step(signals, starts, parameters)
    with pytest.warns(DataWarning, match="log_likelihood"):
        found = log_likelihood(signals, starts, parameters, memory=8192 * 3 * 12)
    torch.testing.assert_close(found, logs, rtol=1e-9, atol=0)


def test_memory_that_does_not_suffice_for_the_half_is_an_error(monkeypatch):
    signals, parameters = problem(9_000)
    monkeypatch.setattr(Gaussians, "fill_log_likelihoods", out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        e_step(signals, [0, 9_000], parameters)


def test_densities_under_mixtures_go_on_in_smaller_chunks_to_the_same_numbers(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    residuals = torch.randn(50, 3, generator=generator)
    alpha = torch.rand(50, 2, generator=generator)
    covariances = torch.stack([torch.eye(3), 2 * torch.eye(3)])
    arguments, settings = (residuals, alpha, covariances, torch.ones(50)), {"covariance_gradient": True}
    expected = torch_terms(*arguments, **settings)
    fill = mixture_gaussian_terms._fill_chunk
    monkeypatch.setattr(mixture_gaussian_terms, "_fill_chunk", short_of_memory(fill, 8, lambda given: len(given[2])))
    room_of_ten = 10 * mixture_gaussian_terms._MATRICES_AT_A_TIME * 9 * 4
    with pytest.warns(DataWarning, match="torch_terms"):
        found = torch_terms(*arguments, **settings, memory=room_of_ten)
    torch.testing.assert_close(found.log_densities, expected.log_densities)
    torch.testing.assert_close(found.by_covariances, expected.by_covariances)


def test_a_script_says_in_one_sentence_what_takes_less(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/dynml_train_model.py"])
    with pytest.raises(SystemExit) as ended, user_errors_in_one_sentence():
        out_of_memory()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said == (
        "Error: The memory on the GPU ran out when 2.5 GiB more were asked for; use a smaller "
        "sampler.batch_size_training, sampler.window_length or model, or loader.residency lazy.\n"
    )
    with pytest.raises(RuntimeError, match="another"), user_errors_in_one_sentence():
        raise RuntimeError("another fault")


def test_series_larger_than_memory_are_refused_before_they_are_read(monkeypatch):
    monkeypatch.setattr(host_memory, "available_host_memory", lambda: 2**30)
    residency.check_room(2**30, torch.device("cpu"))
    with pytest.raises(ConfigurationError, match="lazy or auto: the series take 2 GiB, and there are 1 GiB of avail"):
        residency.check_room(2**31, torch.device("cpu"))


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")
def test_a_limit_of_the_address_space_counts_as_the_end_of_memory():
    code = """
import resource
from dynml.host_memory import available_host_memory
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**28, resource.RLIM_INFINITY))
print(available_host_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 <= int(done.stdout) <= 2**28


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives freed blocks back at every step")
def test_blocks_that_are_freed_at_every_step_are_mapped_once():
    code = """
import resource
import torch
from dynml.host_memory import keep_freed_memory
keep_freed_memory()
def faults_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.zeros(2**21) for _ in range(4)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
torch.set_num_threads(1)
print(min([faults_of_a_step() for _ in range(6)][2:]))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert int(done.stdout) < 100
