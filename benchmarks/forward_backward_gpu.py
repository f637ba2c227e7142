"""Forward-backward on a GPU: the kernels beside the plain scan, a loop over rows, and the bytes that must move.

    python benchmarks/forward_backward_gpu.py [--rows 1000000] [--states 8] [--rounds 5]
    TRITON_INTERPRET=1 python benchmarks/forward_backward_gpu.py --small

Prints one line of JSON:

- first_use_s: until the kernels are compiled and found right;
- fused_ms, scan_ms: least times of the Triton kernels and of the plain scan, with the numbers of their launches;
- loop_ms: a loop of torch's operations over rows, timed on its first `loop_rows` and scaled to all;
- limit_ms: log-likelihoods (float32) read once and posteriors (float64) written once, at the rate at which this device
  copies memory.

Without a GPU it refuses; `--small` takes 60 rows of 3 states on the CPU, to see that the script works. Its times say
nothing, and without TRITON_INTERPRET=1 (and Triton) it leaves the kernels out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dynml.ops.hmm.forward_backward_scan import scan_forward_backward
from dynml.ops.hmm.fused.first_use import found_right
from dynml.ops.hmm.fused.scan import fused_forward_backward

VIEWS = {"view", "slice", "select", "expand", "transpose", "unsqueeze", "squeeze", "t", "detach", "alias", "as_strided"}
VIEWS |= {"permute", "split", "unbind", "empty", "empty_like", "new_empty", "empty_strided", "_unsafe_view"}
LOOP_ROWS = 2000
COPIED_BYTES = 2**30


class _Launches(TorchDispatchMode):
    """Counts torch's operations but views; each is one launch or some."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += func._schema.name.removeprefix("aten::") not in VIEWS
        return func(*args, **(kwargs or {}))


def loop(likelihoods, initial, transitions):
    """Posteriors of one segment by a step of torch's operations for each row."""
    emission = (likelihoods.double() - likelihoods.double().amax(1, keepdim=True)).exp()
    filtered, smoothed = torch.empty_like(emission), torch.empty_like(emission)
    expected = initial
    for t in range(len(emission)):
        weights = expected * emission[t]
        filtered[t] = weights / weights.sum()
        expected = filtered[t] @ transitions
    smoothed[-1] = filtered[-1]
    for t in range(len(emission) - 2, -1, -1):
        smoothed[t] = filtered[t] * (transitions @ (smoothed[t + 1] / (filtered[t] @ transitions)))
    return smoothed


def least_time(function, rounds, device):
    """Seconds of the fastest of some rounds after one that does not count."""
    fastest = float("inf")
    for number in range(rounds + 1):
        _wait(device)
        begin = time.perf_counter()
        function()
        _wait(device)
        fastest = fastest if number == 0 else min(fastest, time.perf_counter() - begin)
    return fastest


def _wait(device):
    if device.type != "cpu":
        torch.accelerator.synchronize()


def measure(device, n_rows, n_states, rounds, *, with_kernels):
    """All contenders on one chain of random log-likelihoods."""
    generator = torch.Generator().manual_seed(0)
    likelihoods = (3 * torch.randn(n_rows, n_states, generator=generator)).to(device)
    transitions = torch.full((n_states, n_states), 0.1 / max(n_states - 1, 1)).double().fill_diagonal_(0.9).to(device)
    transitions /= transitions.sum(1, keepdim=True)
    initial = torch.full((n_states,), 1 / n_states).double().to(device)
    parts = likelihoods, torch.tensor([0, n_rows]), initial, transitions
    report = {"rows": n_rows, "states": n_states, "first_use_s": None, "fused_ms": None, "fused_launches": None}
    expected = scan_forward_backward(*parts)
    if with_kernels:
        begin = time.perf_counter()
        right = found_right(device, n_states, likelihoods.dtype)
        report["first_use_s"] = time.perf_counter() - begin
        if right:
            report |= _of_kernels(parts, expected, rounds, device)
    with _Launches() as counted:
        scan_forward_backward(*parts)
    report["scan_launches"] = counted.n
    report["scan_ms"] = 1e3 * least_time(lambda: scan_forward_backward(*parts), rounds, device)
    few = likelihoods[:LOOP_ROWS]
    report |= {"loop_rows": len(few)}
    report["loop_ms"] = 1e3 * least_time(lambda: loop(few, initial, transitions), 1, device) * n_rows / len(few)
    numbers = torch.empty(min(COPIED_BYTES, 64 * likelihoods.nbytes) // 4, device=device)
    into = torch.empty_like(numbers)
    rate = 2 * numbers.nbytes / least_time(lambda: into.copy_(numbers), rounds, device)
    least_bytes = n_rows * n_states * (likelihoods.element_size() + 8)
    report |= {"copied_gb_s": rate / 1e9, "least_bytes": least_bytes, "limit_ms": 1e3 * least_bytes / rate}
    if report["fused_ms"] is not None:
        report["times_faster_than_loop"] = report["loop_ms"] / report["fused_ms"]
        report["times_of_limit"] = report["fused_ms"] / report["limit_ms"]
    return report


def _of_kernels(parts, expected, rounds, device):
    from dynml.ops.hmm.fused.scan import _Chain

    run, n_kernels = _Chain.run, 0

    def counting(self, *arguments, **constants):
        nonlocal n_kernels
        n_kernels += 1
        return run(self, *arguments, **constants)

    _Chain.run = counting
    with _Launches() as counted:
        found = fused_forward_backward(*parts)
    _Chain.run = run
    differences = [float(((a - b).abs() / b.abs().clamp(min=1)).max()) for a, b in zip(found, expected, strict=True)]
    seconds = least_time(lambda: fused_forward_backward(*parts), rounds, device)
    launches = {"kernels": n_kernels, "torch": counted.n}
    return {"fused_ms": 1e3 * seconds, "fused_launches": launches, "largest_difference": max(differences)}


def main():
    """Refuse without a GPU, else measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--states", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="on the CPU, to see that the script works")
    arguments = parser.parse_args()
    if arguments.small:
        interpreted = os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton") is not None
        device, name = torch.device("cpu"), "CPU, Triton's interpreter" if interpreted else "CPU, without kernels"
        report = measure(device, 60, 3, 1, with_kernels=interpreted)
    elif not torch.cuda.is_available():
        sys.exit("torch finds no GPU of CUDA or ROCm here: this measures one; --small tries the script on the CPU.")
    else:
        device, name = torch.device("cuda", torch.cuda.current_device()), torch.cuda.get_device_name()
        report = measure(device, arguments.rows, arguments.states, arguments.rounds, with_kernels=True)
    print(json.dumps({"device": name, "torch": torch.__version__, **report}))


if __name__ == "__main__":
    main()
