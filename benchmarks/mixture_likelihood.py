"""Time and memory of DyNeMo's likelihood with its gradients, a sample, beside plain torch and the machine's limit.

    python benchmarks/mixture_likelihood.py [--threads 1 2] [--channels 11 20 38 80] [--samples 3200 25600]

Three ways from signals, mixing coefficients and mode covariances to the mean log-likelihood and its gradients by both:
`MultivariateNormal` with torch's own gradients, the closed form by torch's batched linear algebra in chunks, and the
compiled loops. Each measurement runs in a process of its own, float32, one pass to warm up; the time is the fastest of
repeats, since other work on the machine only ever adds to it (its load is noted). The limit is the time of
C^3 + 6 J C^2 FLOP a sample (Cholesky, inverse; mixing and two gradients as dense products) at the speed of a large
float32 product, measured in the same process; symmetric matrices allow for less.
Memory is how far the process grows over what it held with its inputs, from the first pass on.
Results: benchmarks/results/mixture_likelihood_cpu.{json,md}.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

from hmm_pass import RESULTS, machine

NAMES = {
    "naive": "torch, MultivariateNormal",
    "closed_form": "torch, closed form in chunks",
    "compiled": "dynml, compiled loops",
}
SECONDS_PER_MEASUREMENT = 1.5


def fastest_seconds(function, repeats):
    """Least wall time of `function`."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def make_problem(n_samples, n_channels, n_modes):
    """Signals, alpha and covariances like those of standardized data, float32."""
    import torch

    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(n_modes, n_channels, 2 * n_channels, generator=generator)
    alpha = (2 * torch.randn(n_samples, n_modes, generator=generator)).softmax(1)
    signals = torch.randn(n_samples, n_channels, generator=generator)
    return signals, alpha.requires_grad_(), (factors @ factors.mT / (2 * n_channels)).requires_grad_()


def likelihood_of(contender):
    """Function of signals, alpha and covariances that gives the log-likelihoods."""
    import torch

    from dynml.ops.mixture.mixture_gaussian import mixture_log_likelihood
    from dynml.ops.mixture.mixture_gaussian_terms import compiled_terms, torch_terms

    def naive(signals, alpha, covariances):
        n_channels = signals.shape[1]
        mixed = (alpha @ covariances.flatten(1)).view(-1, n_channels, n_channels)
        return torch.distributions.MultivariateNormal(torch.zeros(n_channels), mixed).log_prob(signals)

    if contender == "naive":
        return naive
    backend = compiled_terms if contender == "compiled" else torch_terms
    return lambda signals, alpha, covariances: mixture_log_likelihood(
        signals, alpha, None, covariances, backend=backend
    )


def measure(contender, threads, n_samples, n_channels, n_modes):
    """Microseconds a sample, MiB beyond the inputs, and what a large product reaches here."""
    import torch

    torch.set_num_threads(threads)
    function = likelihood_of(contender)
    small = make_problem(64, n_channels, n_modes)
    function(*small).mean().backward()
    problem = make_problem(n_samples, n_channels, n_modes)

    def one_pass():
        (-function(*problem).mean()).backward()

    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    first = fastest_seconds(one_pass, 1)
    seconds = min(first, fastest_seconds(one_pass, max(1, min(100, int(SECONDS_PER_MEASUREMENT / first)))))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held
    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    product = fastest_seconds(lambda: torch.mm(left, right), 15)
    return {
        "microseconds_per_sample": 1e6 * seconds / n_samples,
        "mebibytes": grown / 1024,
        "gemm_gflops": 2 * 2048**3 / product / 1e9,
        "load_average": os.getloadavg()[0],
    }


def in_own_process(case, n_modes):
    """Run one measurement with a fixed number of threads in every library."""
    contender, threads, n_samples, n_channels = case
    names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")
    environment = os.environ | {f"{name}_NUM_THREADS": str(threads) for name in names}
    command = [sys.executable, __file__, "--case", json.dumps([*case, n_modes])]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise SystemExit(f"{contender} failed:\n{finished.stderr}")
    measured = json.loads(finished.stdout.splitlines()[-1])
    limit = (n_channels**3 + 6 * n_modes * n_channels**2) / measured["gemm_gflops"] / 1e3
    described = {"contender": contender, "threads": threads, "samples": n_samples, "channels": n_channels}
    return described | measured | {"limit_microseconds": limit}


def as_markdown(report):
    """One table for each number of threads."""
    lines = ["# Likelihood and gradients of a Gaussian with mixed covariances", ""]
    lines += [f"{report['date']}, {report['machine']}; float32, {report['n_modes']} modes, full covariances.", ""]
    loads = [run["load_average"] for run in report["runs"]]
    lines += [f"Processes at work on the machine meanwhile (load average): {min(loads):.1f} to {max(loads):.1f}.", ""]
    for threads in sorted({run["threads"] for run in report["runs"]}):
        lines += [f"## Threads: {threads}", ""]
        lines += ["| channels | samples | how | us a sample | times dynml | limit = 100 % | MiB |"]
        lines += ["|---|---|---|---|---|---|---|"]
        runs = [run for run in report["runs"] if run["threads"] == threads]
        for run in runs:
            same = [r for r in runs if (r["channels"], r["samples"]) == (run["channels"], run["samples"])]
            ours = next(r for r in same if r["contender"] == "compiled")
            times = run["microseconds_per_sample"] / ours["microseconds_per_sample"]
            share = run["limit_microseconds"] / run["microseconds_per_sample"]
            lines += [
                f"| {run['channels']} | {run['samples']} | {NAMES[run['contender']]} | "
                f"{run['microseconds_per_sample']:.2f} | {times:.1f} | {share:.0%} | {run['mebibytes']:.0f} |"
            ]
        lines += [""]
    return "\n".join(lines)


def main():
    """Run all measurements one after another and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--channels", type=int, nargs="+", default=[11, 20, 38, 80])
    parser.add_argument("--samples", type=int, nargs="+", default=[3200, 25600])
    parser.add_argument("--n_modes", type=int, default=6)
    parser.add_argument("--output_folder", type=Path, default=RESULTS)
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measure(*arguments.case)))
        return
    cases = [
        (contender, threads, n_samples, n_channels)
        for threads in arguments.threads
        for n_channels in arguments.channels
        for n_samples in arguments.samples
        for contender in NAMES
    ]
    runs = [in_own_process(case, arguments.n_modes) for case in cases]
    report = {
        "date": date.today().isoformat(),
        "machine": machine("cpu"),
        "n_modes": arguments.n_modes,
        "runs": runs,
    }
    arguments.output_folder.mkdir(parents=True, exist_ok=True)
    target = arguments.output_folder / "mixture_likelihood_cpu"
    target.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    target.with_suffix(".md").write_text(as_markdown(report))
    print(as_markdown(report))


if __name__ == "__main__":
    main()
