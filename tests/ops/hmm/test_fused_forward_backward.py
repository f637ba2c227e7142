"""Forward-backward in a handful of launches: its levels and its first use everywhere, its kernels where Triton is."""

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import fused_kernels
import pytest
import torch
from hmm_oracles import enumerate_paths, random_chain

from dynml.errors import DataWarning
from dynml.ops.hmm import forward_backward as module
from dynml.ops.hmm import fused
from dynml.ops.hmm.forward_backward import forward_backward, forward_only
from dynml.ops.hmm.fused import first_use
from dynml.ops.hmm.fused.scan import fused_forward_backward

CPU = torch.device("cpu")
HELPERS = Path(__file__).parents[2] / "helpers"
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="without Triton")


@pytest.fixture
def kernels(monkeypatch):
    """Kernels in numpy in place of Triton's, and nothing known of a first use."""
    made = fused_kernels.as_module()
    monkeypatch.setitem(sys.modules, "dynml.ops.hmm.fused.kernels", made)
    monkeypatch.setattr(fused, "kernels", made, raising=False)
    monkeypatch.setattr(first_use.importlib.util, "find_spec", lambda name: name)
    first_use.found_right.cache_clear()
    yield made
    first_use.found_right.cache_clear()


def likelihoods_of(n_rows, n_states, seed=0):
    return torch.randn(n_rows, n_states, generator=torch.Generator().manual_seed(seed)) * 20


def test_all_paths_of_short_segments_with_masked_rows(kernels):
    initial, transitions = random_chain(3, 1, zeros=True)
    transitions = transitions + 0.01
    transitions /= transitions.sum(1, keepdim=True)
    logs, borders = likelihoods_of(13, 3), [0, 1, 5, 11, 13]
    logs[3:7] = 0.0
    expected = enumerate_paths(logs, borders, initial, transitions)
    for rows_per_chunk in (1, 3, 13):
        found = fused_forward_backward(logs, torch.tensor(borders), initial, transitions, rows_per_chunk=rows_per_chunk)
        for one, other in zip(found, (expected.posteriors, expected.pairs, expected.log_likelihoods), strict=True):
            torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-12)


@pytest.mark.parametrize("zeros", [False, True])
def test_blocks_of_a_long_segment_go_by_a_few_launches_with_the_numbers_of_the_loop(kernels, monkeypatch, zeros):
    monkeypatch.setattr(module, "fused_serves", lambda _: True)
    initial, transitions = random_chain(4, 7, zeros=zeros)
    logs, cut = likelihoods_of(200, 4), 117
    whole = forward_backward(logs, [0, 2, 200], initial, transitions)
    _, message = forward_only(logs[:cut], [0, 2, cut], initial, transitions, method="scan")
    tail = forward_backward(logs[cut:], [0, 200 - cut], initial, transitions, method="scan", message_K=message)
    following = tail.posteriors_TK[0]
    head = forward_backward(logs[:cut], [0, 2, cut], initial, transitions, method="scan", following_K=following)
    found = torch.cat([head.posteriors_TK, tail.posteriors_TK])
    torch.testing.assert_close(found, whole.posteriors_TK, atol=1e-10, rtol=0)
    torch.testing.assert_close(head.transitions_KK + tail.transitions_KK, whole.transitions_KK, atol=1e-9, rtol=0)
    total = head.log_likelihoods.sum() + tail.log_likelihoods.sum()
    torch.testing.assert_close(total, whole.log_likelihoods.sum(), atol=0, rtol=1e-12)
    n_launches = sum(kernel.n_launches for kernel in vars(kernels).values())
    # Zeros need logarithms where a message comes in, which the kernels do not have.
    assert n_launches == (0 if zeros else 3 + 5 + 5)


def test_a_kernel_that_is_right_is_used_without_a_word_and_tried_once(kernels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert first_use.found_right(CPU, 3, torch.float32)
        n_launches = kernels.backward_kernel.n_launches
        assert first_use.found_right(CPU, 3, torch.float32)
    assert kernels.backward_kernel.n_launches == n_launches == 1


def broken_sum(*arguments, **constants):
    fused_kernels._backward(*arguments, **constants)
    arguments[6][:] *= 1 + 1e-6


def not_a_number(*arguments, **constants):
    fused_kernels._backward(*arguments, **constants)
    arguments[1][-1] = torch.nan


def not_compiled(*_, **__):
    raise SyntaxError("no such instruction\nand more")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (broken_sum, "differ from torch's operations by .*e-0[5-7], more than 1e-09"),
        (not_a_number, "differ from torch's operations by nan"),
        (not_compiled, "failed with SyntaxError: no such instruction[.]$"),
    ],
)
def test_a_kernel_that_is_wrong_is_left_with_one_warning(kernels, program, words):
    kernels.backward_kernel = fused_kernels.Launched(program)
    with pytest.warns(DataWarning, match=words):
        assert not first_use.found_right(CPU, 3, torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not first_use.found_right(CPU, 3, torch.float32)


def test_memory_that_runs_out_in_the_first_use_is_no_verdict(kernels):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    kernels.backward_kernel = fused_kernels.Launched(full)
    with pytest.raises(torch.OutOfMemoryError):
        first_use.found_right(CPU, 3, torch.float32)


def test_the_kernels_are_for_cuda_and_few_states_alone_and_need_triton(monkeypatch):
    asked = []
    monkeypatch.setattr(first_use, "found_right", lambda *asking: asked.append(asking) or True)
    there = [torch.device("cuda", 1), torch.device("xpu"), CPU]
    rows = [(device, n) for device in there for n in (32, 33)]
    serves = [first_use.fused_serves(_Shaped(device, n)) for device, n in rows]
    assert serves == [True] + [False] * 5
    assert asked == [(there[0], 32, torch.float32)]
    monkeypatch.undo()
    first_use.found_right.cache_clear()
    monkeypatch.setattr(first_use.importlib.util, "find_spec", lambda name: None)
    with pytest.warns(DataWarning, match="of 2 states on cpu .* Triton is not installed"):
        assert not first_use.found_right(CPU, 2, torch.float32)
    first_use.found_right.cache_clear()


class _Shaped:
    dtype = torch.float32

    def __init__(self, device, n_states):
        self.device, self.shape = device, (1, n_states)


@needs_triton
def test_triton_s_interpreter_gives_the_numbers_of_all_paths_and_of_the_plain_scan():
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, str(HELPERS / "fused_kernels.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    largest = json.loads(done.stdout)
    assert [name for name, _ in largest] == ["paths", "scan", "forward", "scan", "forward"]
    assert max(difference for _, difference in largest) < 1e-12


@needs_triton
def test_the_kernels_compile_for_a_gpu_that_need_not_be_here(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, str(HELPERS / "fused_kernels.py"), "compile"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "7\n"
