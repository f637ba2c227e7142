"""Time of an LSTM layer forward and backward on a CPU: torch's ways beside the compiled recurrence.

    python benchmarks/lstm.py [--threads 1 2] [--seconds 3] [--out FILE]

Layers of 64 units: both directions of 20 and 80 inputs (DyNeMo's inference network), one direction of 6 inputs whose
gradient is wanted too (its model network). Contenders:

- torch: torch.nn.LSTM (oneDNN);
- two_threads: its two directions as two layers in two Python threads, where there are two of both;
- dynml: `lstm_layer`.

They take turns within one process for each number of threads, and the fastest pass of each counts, since other work on
the machine only ever adds to it; the load is noted, and memory is warm for all. GFLOP/s count the products alone:
forward, by the step before, by the weights, by the inputs where wanted; beside them stands a product of two 2048 x 2048
matrices. Results: benchmarks/results/lstm_cpu.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import torch
from hmm_pass import RESULTS, machine

from dynml.ops.lstm.layer import LstmWeights, lstm_layer

N_UNITS = 64
LEAST_ROUNDS = 3
LAYERS = [(20, True), (80, True), (6, False)]
SIZES = [(16, 200), (32, 200), (64, 200), (128, 100)]


def contenders_of(layer, inputs, upstream, pool):
    """Functions of forward and backward passes, and those of forward passes alone."""
    suffixes = ("", "_reverse") if layer.bidirectional else ("",)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
    directions = [LstmWeights(*(getattr(layer, name + suffix) for name in names)) for suffix in suffixes]
    halves = [torch.nn.LSTM(inputs.shape[2], N_UNITS, batch_first=True) for _ in directions]

    def apart():
        jobs = [pool.submit(half, inputs if place == 0 else inputs.flip(1)) for place, half in enumerate(halves)]
        first, second = (job.result()[0] for job in jobs)
        parts = upstream.split(N_UNITS, dim=2)
        jobs = [pool.submit(output.backward, part) for output, part in zip((first, second), parts)]
        return [job.result() for job in jobs]

    passes = {
        "torch": lambda: layer(inputs)[0].backward(upstream),
        "dynml": lambda: lstm_layer(inputs, directions).backward(upstream),
    }
    if pool is not None and layer.bidirectional:
        passes["two_threads"] = apart
    forward = {"torch": lambda: layer(inputs), "dynml": lambda: lstm_layer(inputs, directions)}
    return passes, forward


def fastest_by_turns(functions, seconds):
    """Least wall time of each, in milliseconds."""
    fastest, end = dict.fromkeys(functions, float("inf")), time.perf_counter() + seconds
    for function in functions.values():
        function()
    rounds = 0
    while rounds < LEAST_ROUNDS or time.perf_counter() < end:
        rounds += 1
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            fastest[name] = min(fastest[name], time.perf_counter() - begin)
    return {name: 1e3 * value for name, value in fastest.items()}


def measure(threads, seconds):
    """All cases with a number of threads, in this process."""
    torch.set_num_threads(threads)
    pool = ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) if threads > 1 else None
    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    product = fastest_by_turns({"product": lambda: left @ right}, 1.0)["product"]
    cases = []
    for n_windows, n_samples in SIZES:
        for n_inputs, bidirectional in LAYERS:
            layer = torch.nn.LSTM(n_inputs, N_UNITS, batch_first=True, bidirectional=bidirectional)
            inputs = torch.randn(n_windows, n_samples, n_inputs, requires_grad=not bidirectional)
            upstream = torch.randn(n_windows, n_samples, N_UNITS * (1 + bidirectional))
            passes, forward = contenders_of(layer, inputs, upstream, pool)
            both = fastest_by_turns(passes, seconds)
            with torch.no_grad():
                alone = fastest_by_turns(forward, seconds / 3)
            wanted = 0 if bidirectional else n_inputs
            products = 2 * (N_UNITS + n_inputs) + N_UNITS + wanted
            flop = 2 * n_windows * n_samples * 4 * N_UNITS * (1 + bidirectional) * products
            cases.append(
                {
                    "threads": threads,
                    "windows": n_windows,
                    "samples": n_samples,
                    "inputs": n_inputs,
                    "directions": 1 + bidirectional,
                    "forward_and_backward_ms": both,
                    "forward_ms": alone,
                    "times_faster": both["torch"] / both["dynml"],
                    "gflops": {name: flop / value / 1e6 for name, value in both.items()},
                    "product_gflops": 2 * 2048**3 / product / 1e6,
                    "load": os.getloadavg()[0],
                }
            )
            print(json.dumps(cases[-1]), file=sys.stderr, flush=True)
    return cases


def main():
    """Each number of threads in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=3.0, help="for the contenders of one case together")
    parser.add_argument("--out", type=Path, default=RESULTS / "lstm_cpu.json")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(arguments.case, arguments.seconds)))
        return
    cases = []
    for threads in arguments.threads:
        environment = os.environ | {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "NUMBA")}
        command = [sys.executable, __file__, "--case", str(threads), "--seconds", str(arguments.seconds)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        cases += json.loads(done.stdout)
    report = {"date": date.today().isoformat(), "machine": machine("cpu"), "units": N_UNITS, "cases": cases}
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(arguments.out)


if __name__ == "__main__":
    main()
