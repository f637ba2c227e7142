"""Time of one exact EM pass of the Gaussian HMM, and of forward-backward alone, beside peers and the machine's limit.

    python benchmarks/hmm_pass.py [--data FILE.npz] [--threads 2] [--peers_python VENV/bin/python] [--device cuda]

FILE.npz holds `time_series` (T, C); without it, 76,800 samples of 80 channels are simulated. Every contender runs with
the same number of threads, in a process of its own, on the same data from the same parameters: hmmlearn with
`implementation="scaling"` (from this environment), glhmm in the environment of `--peers_python`, without its free
energy and by the faster of its two forward-backwards. The limit is the time of 4 K C^2 FLOP a sample at the speed of a
large float32 product, measured in the same run; a pass can beat it, because whiteners are triangular, Gram products
symmetric, and posteriors nearly one-hot. Medians of repeats, in which passes and product take turns, so that the
shares of the limit are medians of ratios. Results: benchmarks/results/hmm_pass_<device>.{json,md}.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"


def median_seconds(function, repeats, before=None):
    """Median wall time of `function`; `before` runs ahead of each repeat, untimed."""
    seconds = []
    for _ in range(repeats):
        if before is not None:
            before()
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def simulate(n_samples, n_channels, n_states, seed=0):
    """Signals of random full covariances, state by state in runs of ten samples."""
    generator = np.random.default_rng(seed)
    states = np.repeat(generator.integers(n_states, size=n_samples // 10 + 1), 10)[:n_samples]
    factors = generator.normal(size=(n_states, n_channels, n_channels)) / np.sqrt(n_channels)
    signals = np.empty((n_samples, n_channels))
    for state in range(n_states):
        inside = states == state
        signals[inside] = generator.normal(size=(inside.sum(), n_channels)) @ factors[state].T
    return ((signals - signals.mean(0)) / signals.std(0)).astype(np.float32)


def write_problem(path, arguments):
    """Data, segments, and the parameters that every contender starts from: those of random state time courses."""
    import torch

    from dynml.ops.hmm.forward_backward import sample_states
    from dynml.ops.hmm.gaussian_hmm import GaussianHMMParameters, m_step, statistics_of_posteriors

    n_states = arguments.n_states
    if arguments.data:
        signals = np.load(arguments.data)["time_series"].astype(np.float32)
    else:
        signals = simulate(76_800, 80, n_states)
    starts = np.append(np.arange(0, len(signals), arguments.segment_length), len(signals))
    transitions = torch.full((n_states, n_states), 0.1 / (n_states - 1)).fill_diagonal_(0.9).double()
    uniform = torch.full((n_states,), 1 / n_states).double()
    courses = sample_states(len(signals), uniform, transitions, torch.Generator().manual_seed(arguments.seed))
    one_hot = torch.nn.functional.one_hot(courses, n_states).float()
    n_channels = signals.shape[1]
    blank = GaussianHMMParameters(
        torch.zeros(n_states, n_channels), torch.eye(n_channels).repeat(n_states, 1, 1), uniform, transitions
    )
    sums = statistics_of_posteriors(torch.from_numpy(signals), starts, one_hot)
    parameters, _ = m_step(sums, blank, learn_transitions=False, learn_initial_probabilities=False)
    tensors = {name: value.numpy() for name, value in parameters.to_dictionary().items()}
    np.savez(path, signals=signals, starts=starts, one_hot=one_hot.numpy(), **tensors)


def load_parameters(problem):
    """Parameters of a problem file."""
    from dynml.ops.hmm.gaussian_hmm import GaussianHMMParameters

    names = ("means_KC", "covariances_KCC", "initial_probabilities_K", "transition_probabilities_KK")
    return GaussianHMMParameters(**{name: problem[name] for name in names})


def synchronize(device):
    """Wait for a GPU."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def run_dynml(problem, threads, repeats, device):
    """One E-step and M-step, from the starting parameters and at convergence, and the limit of the machine."""
    import torch

    from dynml.ops.hmm.gaussian_hmm import e_step, m_step

    torch.set_num_threads(threads)
    signals, starts = torch.from_numpy(problem["signals"]).to(device), problem["starts"]
    start = load_parameters(problem)

    def one_pass(parameters):
        sums, _, _ = e_step(signals, starts, parameters)
        updated, _ = m_step(sums, parameters)
        synchronize(device)
        return updated, sums.log_likelihood / len(signals)

    parameters = start
    for _ in range(30):
        parameters, log_likelihood = one_pass(parameters)
    size = 8192 if device == "cuda" else 2048
    left, right = torch.randn(size, size, device=device), torch.randn(size, size, device=device)

    def product():
        torch.mm(left, right)
        synchronize(device)

    seconds = in_turns(
        {
            "product": product,
            "first_pass": lambda: one_pass(start),
            "converged_pass": lambda: one_pass(parameters),
        },
        repeats,
    )
    n_states, n_channels = start.means_KC.shape
    flops = 4 * n_states * n_channels**2 * len(signals)
    limits = seconds.pop("product") * flops / (2 * size**3)
    result = {name: float(np.median(values)) for name, values in seconds.items()}
    result |= {f"{name}_share": float(np.median(limits / values)) for name, values in seconds.items()}
    result["log_likelihood_per_sample"] = one_pass(start)[1]
    result["converged_log_likelihood_per_sample"] = log_likelihood
    limit = float(np.median(limits))
    return result | {"gemm_gflops": flops / limit / 1e9, "limit": limit}


def in_turns(functions, repeats):
    """Wall times of functions that take turns, so that their ratios hold where the speed of the machine changes."""
    for function in functions.values():
        function()
    seconds = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - begin)
    return {name: np.array(values) for name, values in seconds.items()}


def run_hmmlearn(problem, threads, repeats, device):
    """One EM iteration of hmmlearn; threads are set by the environment."""
    from hmmlearn.hmm import GaussianHMM

    signals, lengths = problem["signals"].astype(np.float64), np.diff(problem["starts"])
    model = None

    def set_up():
        nonlocal model
        model = GaussianHMM(
            len(problem["means_KC"]), "full", n_iter=1, init_params="", min_covar=0, implementation="scaling"
        )
        model.startprob_ = problem["initial_probabilities_K"]
        model.transmat_ = problem["transition_probabilities_KK"]
        model.means_, model.covars_ = problem["means_KC"], problem["covariances_KCC"]

    seconds = median_seconds(lambda: model.fit(signals, lengths), max(1, repeats // 3), set_up)
    return {"first_pass": seconds, "log_likelihood_per_sample": model.monitor_.history[0] / len(signals)}


def run_glhmm(problem, threads, repeats, device):
    """E-step and M-step of glhmm, by the faster of its forward-backwards."""
    from glhmm import glhmm

    signals = problem["signals"].astype(np.float64)
    starts = problem["starts"]
    indices = np.stack([starts[:-1], starts[1:]], axis=1)
    model = glhmm.glhmm(model_beta="no", K=len(problem["means_KC"]), covtype="full")
    options = {"cyc": 1, "initrep": 0, "verbose": False}
    model.train(X=None, Y=signals, indices=indices, Gamma=problem["one_hot"].astype(np.float64), options=options)

    def one_pass(serial):
        gamma, xi, _ = model.decode(None, signals, indices, serial=serial)
        model._glhmm__update_dynamics(gamma, xi, indices)
        model._glhmm__update_obsdist(None, signals, gamma)

    one_pass(True)
    seconds = {
        serial: median_seconds(lambda serial=serial: one_pass(serial), max(1, repeats // 3)) for serial in (True, False)
    }
    return {"first_pass": min(seconds.values()), "serial": seconds[True], "vectorised": seconds[False]}


def reference_posteriors(log_likelihoods, initial, transitions):
    """Posteriors by the textbook's two recursions in float64 logarithms, row by row."""
    from numba import njit

    @njit
    def recurse(ll, log_initial, log_transitions, posteriors):
        n_rows, n_states = ll.shape
        forward = np.empty((n_rows, n_states))
        terms, backward, ahead = np.empty(n_states), np.zeros(n_states), np.zeros(n_states)
        for t in range(n_rows):
            for j in range(n_states):
                if t == 0:
                    forward[t, j] = log_initial[j] + ll[t, j]
                else:
                    for i in range(n_states):
                        terms[i] = forward[t - 1, i] + log_transitions[i, j]
                    forward[t, j] = terms.max() + np.log(np.exp(terms - terms.max()).sum()) + ll[t, j]
            forward[t] -= forward[t].max() + np.log(np.exp(forward[t] - forward[t].max()).sum())
        for t in range(n_rows - 1, -1, -1):
            joint = forward[t] + backward
            joint = np.exp(joint - joint.max())
            posteriors[t] = joint / joint.sum()
            for j in range(n_states):
                ahead[j] = ll[t, j] + backward[j]
            for i in range(n_states):
                for j in range(n_states):
                    terms[j] = log_transitions[i, j] + ahead[j]
                backward[i] = terms.max() + np.log(np.exp(terms - terms.max()).sum())
            backward -= backward.max()

    posteriors = np.empty(log_likelihoods.shape)
    recurse(log_likelihoods.astype(np.float64), np.log(initial), np.log(transitions), posteriors)
    return posteriors


def run_forward_backward(problem, threads, repeats, device):
    """Whole-segment forward-backward of one long chain: dynml, hmmlearn's C++ and the float64 reference."""
    import torch
    from hmmlearn import _hmmc

    from dynml.ops.hmm.forward_backward import forward_backward

    torch.set_num_threads(threads)
    n_rows, n_states = 1_000_000, 8
    generator = np.random.default_rng(1)
    likelihoods = (generator.normal(size=(n_rows, n_states)) * 3 - 100).astype(np.float32)
    initial = np.full(n_states, 1 / n_states)
    transitions = np.full((n_states, n_states), 0.1 / (n_states - 1))
    np.fill_diagonal(transitions, 0.9)
    given = torch.from_numpy(likelihoods).to(device)
    chain = torch.from_numpy(initial), torch.from_numpy(transitions)

    def ours(starts=(0, n_rows)):
        result = forward_backward(given, np.array(starts), *chain)
        synchronize(device)
        return result

    posteriors = ours().posteriors_TK.cpu().numpy()
    result = {
        "one_segment": median_seconds(ours, repeats),
        "thousand_segments": median_seconds(lambda: ours(range(0, n_rows + 1, 1000)), repeats),
        "largest_difference": float(np.abs(posteriors - reference_posteriors(likelihoods, initial, transitions)).max()),
    }

    def theirs():
        shifted = likelihoods.astype(np.float64)
        frames = np.exp(shifted - shifted.max(axis=1, keepdims=True))
        _, forward, scaling = _hmmc.forward_scaling(initial, transitions, frames)
        backward = _hmmc.backward_scaling(initial, transitions, frames, scaling)
        probabilities = forward * backward
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return forward, backward, frames

    parts = theirs()
    result["hmmlearn_posteriors"] = median_seconds(theirs, max(3, repeats // 3))
    sums = median_seconds(lambda: _hmmc.compute_scaling_xi_sum(parts[0], transitions, parts[1], parts[2]), 3)
    frames = parts[2]
    recursions = median_seconds(
        lambda: _hmmc.backward_scaling(
            initial, transitions, frames, _hmmc.forward_scaling(initial, transitions, frames)[2]
        ),
        max(3, repeats // 3),
    )
    result |= {"hmmlearn_recursions_alone": recursions, "hmmlearn_sum_of_xi": sums}
    if device == "cuda":
        result["per_step_loop"] = per_step_loop(given, *chain, repeats=3)
    return result


def per_step_loop(likelihoods, initial, transitions, repeats):
    """What forward-backward costs as a loop of tensor operations over the rows; timed on 20,000 rows, scaled to all."""
    import torch

    n_rows = 20_000
    emission = (likelihoods[:n_rows] - likelihoods[:n_rows].amax(1, keepdim=True)).double().exp()
    initial, transitions = initial.to(emission.device), transitions.to(emission.device)

    def loop():
        alpha, beta = torch.empty_like(emission), torch.ones_like(emission)
        weights = initial * emission[0]
        alpha[0] = weights / weights.sum()
        for t in range(1, n_rows):
            weights = (alpha[t - 1] @ transitions) * emission[t]
            alpha[t] = weights / weights.sum()
        for t in range(n_rows - 2, -1, -1):
            weights = transitions @ (emission[t + 1] * beta[t + 1])
            beta[t] = weights / weights.sum()
        torch.cuda.synchronize()

    return median_seconds(loop, repeats) * len(likelihoods) / n_rows


CONTENDERS = {
    "dynml": run_dynml,
    "hmmlearn": run_hmmlearn,
    "glhmm": run_glhmm,
    "forward_backward": run_forward_backward,
}


def in_own_process(python, contender, problem, arguments):
    """Run one contender with a fixed number of threads in every library, and read its JSON."""
    names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")
    environment = os.environ | {f"{name}_NUM_THREADS": str(arguments.threads) for name in names}
    command = [python, __file__, "--contender", contender, "--problem", str(problem), "--device", arguments.device]
    command += ["--threads", str(arguments.threads), "--repeats", str(arguments.repeats)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise SystemExit(f"{contender} failed:\n{finished.stderr}")
    return json.loads(finished.stdout.splitlines()[-1])


def machine(device):
    """Name of the processor, or of the GPU."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    width = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {width}"


def as_markdown(report):
    """Tables for the reader."""
    ours, rows = report["dynml"], []
    rows.append(("dynml, first pass (all states share all samples)", ours["first_pass"]))
    rows.append(("dynml, pass at convergence", ours["converged_pass"]))
    shares = [ours["first_pass_share"], ours["converged_pass_share"]]
    rows.append((f"limit: 4 K C^2 FLOP a sample at {ours['gemm_gflops']:.0f} GFLOP/s", ours["limit"]))
    rows += [(name, report[name]["first_pass"]) for name in ("hmmlearn", "glhmm") if name in report]
    lines = [
        "# One EM pass of the Gaussian HMM",
        "",
        f"{report['date']}, {report['machine']}; threads: {report['threads']}; {report['shape'][0]} samples x "
        f"{report['shape'][1]} channels in {report['n_segments']} segments, {report['n_states']} states, full "
        "covariances.",
        "",
        "| one pass | seconds | times dynml's first pass | times its pass at convergence | speed, limit = 100 % |",
        "|---|---|---|---|---|",
    ]
    shares += [ours["limit"] / seconds for _, seconds in rows[len(shares) :]]
    for (name, seconds), share in zip(rows, shares, strict=True):
        times = f"{seconds / ours['first_pass']:.1f} | {seconds / ours['converged_pass']:.1f}"
        lines.append(f"| {name} | {seconds:.4f} | {times} | {share:.0%} |")
    alone = report["forward_backward"]
    lines += [
        "",
        f"Log-likelihood per sample of the first pass: dynml {ours['log_likelihood_per_sample']:.6f}"
        + (f", hmmlearn {report['hmmlearn']['log_likelihood_per_sample']:.6f}." if "hmmlearn" in report else "."),
        "",
        "| forward-backward alone, 1,000,000 x 8 | seconds |",
        "|---|---|",
        f"| dynml, posteriors and sum of xi, one segment | {alone['one_segment']:.4f} |",
        f"| dynml, the same in 1,000 segments | {alone['thousand_segments']:.4f} |",
        f"| hmmlearn C++ `scaling`, forward and backward recursion alone | {alone['hmmlearn_recursions_alone']:.4f} |",
        f"| hmmlearn C++ `scaling`, from log-likelihoods to posteriors | {alone['hmmlearn_posteriors']:.4f} |",
        f"| hmmlearn C++ `scaling`, sum of xi on top | {alone['hmmlearn_sum_of_xi']:.4f} |",
    ]
    if "per_step_loop" in alone:
        lines.append(f"| loop of tensor operations over the rows, from 20,000 rows | {alone['per_step_loop']:.1f} |")
    difference = alone["largest_difference"]
    lines += ["", f"Largest difference of a posterior from a float64 log-domain reference: {difference:.1e}.", ""]
    return "\n".join(lines)


def main():
    """Run the contenders one after another and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help=".npz with `time_series` (T, C); default: simulated")
    parser.add_argument("--n_states", type=int, default=6)
    parser.add_argument("--segment_length", type=int, default=200, help="samples; default 200, the peers' windows")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--peers_python", help="python of an environment with glhmm; without it, no glhmm")
    parser.add_argument("--output_folder", type=Path, default=RESULTS)
    parser.add_argument("--contender", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument("--problem", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        problem = dict(np.load(arguments.problem))
        result = CONTENDERS[arguments.contender](problem, arguments.threads, arguments.repeats, arguments.device)
        print(json.dumps(result))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        write_problem(path, arguments)
        problem = np.load(path)
        report = {
            "date": date.today().isoformat(),
            "machine": machine(arguments.device),
            "threads": arguments.threads,
            "shape": list(problem["signals"].shape),
            "n_segments": len(problem["starts"]) - 1,
            "n_states": arguments.n_states,
        }
        for contender in ("dynml", "forward_backward", "hmmlearn"):
            report[contender] = in_own_process(sys.executable, contender, path, arguments)
        if arguments.peers_python:
            report["glhmm"] = in_own_process(arguments.peers_python, "glhmm", path, arguments)
    arguments.output_folder.mkdir(parents=True, exist_ok=True)
    target = arguments.output_folder / f"hmm_pass_{arguments.device}"
    target.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    target.with_suffix(".md").write_text(as_markdown(report))
    print(as_markdown(report))


if __name__ == "__main__":
    main()
