"""DyNeMo beside osl-dynamics in one run: optimum, modes found, time, time of an epoch, memory.

    python benchmarks/dynemo_fit.py SOFT.npz [WIDE.npz] [--osl_python PATH] [--part fit quick peer epochs] [--seeds 5]

SOFT.npz holds `time_series` (T, C), `alpha` (T, J) and `covariances` (J, C, C) of a soft mixture, WIDE.npz a
`time_series` of many channels. Four parts, all by default:

- fit: whole fits with dynml's defaults and the tutorial's sizes (windows of 200, batches of 16), one a seed: free
  energy at the posterior's mean (the peer's quantity) and the bound, the correlation of each mode's coefficients with
  the truth, Riemannian distances of matched covariances, seconds from loading to the end of training, and the first
  time at which the free energy at the mean was at most `--target`, looked at every `--evaluate_every` epochs while the
  clock stands. Imports come before the clock, for both.
- quick: the same with small batches and few epochs, as in configs/dynemo_quick.yaml.
- peer: the same for one fit of osl-dynamics with the tutorial's settings.
- epochs: seconds of an epoch and peak memory of the process, in turns with the peer's; the first epoch, which
  compiles, apart. SOFT with windows of 200 and batches of 16, WIDE with windows of 100 and batches of 256.

Every fit and every contender of the epochs runs in a process of its own, with as many threads. Each part replaces its
own entry in benchmarks/results/dynemo_fit_<SOFT>.json; "against_peer" there says when the fits of dynml had the free
energy at which the peer's fit ended.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
from hmm_pass import RESULTS, machine

from dynml.ops.matching import match_posteriors
from dynml.ops.metrics import alpha_correlation, riemannian_distances

HERE = Path(__file__).parent
SIZES = {
    "soft": {"sequence_length": 200, "batch_size": 16},
    "wide": {"sequence_length": 100, "batch_size": 256},
}

QUICK = {
    "batch_size": 8,
    "epochs": 32,
    "annealing": 12,
    "sharpness": 4,
    "learning_rate": 0.015,
    "adam_beta_2": 0.98,
    "weight_averaging": 0.98,
}


def command_of(contender, part, job, arguments):
    """What runs a part of one contender."""
    python, script = (
        (sys.executable, "dynemo_runs.py") if contender == "dynml" else (arguments.osl_python, "dynemo_osl.py")
    )
    return [python, str(HERE / script), part, json.dumps(job)]


def environment(threads):
    """As many threads for everyone."""
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return {**os.environ, **dict.fromkeys(names, str(threads)), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


def whole_fit(contender, job, arguments):
    """One fit in a process of its own, beside the truth."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/found.npz"
        command = command_of(contender, "fit", {**job, "out": out}, arguments)
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env=environment(arguments.threads)
        )
        result = json.loads(done.stdout.rpartition("RESULT")[2])
        found = np.load(out)
        alpha, covariances = found["alpha"], found["covariances"]
    with np.load(job["data"]) as truth:
        # Inference of the peer ends with the last whole window.
        true_alpha, true_covariances = truth["alpha"][: len(alpha)], truth["covariances"].astype(np.float64)
    order = match_posteriors(true_alpha, alpha)
    distances = riemannian_distances(covariances[order].astype(np.float64), true_covariances)
    reached = [seconds for _, seconds, value in result["watched"] if value <= arguments.target]
    return {
        "seed": job["seed"],
        **result,
        "correlations": alpha_correlation(true_alpha, alpha[:, order]).tolist(),
        "riemannian_distances": distances.tolist(),
        "median_riemannian_distance": float(np.median(distances)),
        "seconds_to_target": reached[0] if reached else None,
    }


def fits(arguments, **settings):
    """Fits of dynml, one a seed."""
    rows = []
    for seed in range(arguments.seeds):
        given = {"epochs": arguments.epochs, "annealing": arguments.annealing, **settings}
        job = job_of("soft", arguments, seed=seed, **given)
        rows.append(whole_fit("dynml", job, arguments))
        print(json.dumps({key: value for key, value in rows[-1].items() if key != "watched"}), flush=True)
    return {"target": arguments.target, "runs": rows}


def quick_fits(arguments):
    """Fits of dynml with more steps an epoch, and fewer epochs."""
    return {"settings": QUICK, **fits(arguments, **QUICK)}


def peer_fit(arguments):
    """One fit of osl-dynamics."""
    every = arguments.peer_evaluate_every
    job = job_of("soft", arguments, seed=123, epochs=arguments.peer_epochs, evaluate_every=every)
    row = whole_fit("osl_dynamics", job, arguments)
    print(json.dumps({key: value for key, value in row.items() if key != "watched"}), flush=True)
    return {"target": arguments.target, **row}


def epochs_in_turns(arguments):
    """Seconds of epochs and peak memory, by turns."""
    contenders = ["dynml", *(["osl_dynamics"] if arguments.osl_python else [])]
    cases = {}
    for case, path in (("soft", arguments.soft), ("wide", arguments.wide)):
        if path is not None and case in arguments.cases:
            cases[case] = {"data": path.name, **SIZES[case], **turns(contenders, case, arguments)}
            print(json.dumps({case: cases[case]}), flush=True)
    return cases


def turns(contenders, case, arguments):
    """Start all, then ask each in turn for an epoch."""
    job = job_of(case, arguments, seed=0, epochs=arguments.timed_epochs + 1)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = {
        name: subprocess.Popen(command_of(name, "epochs", job, arguments), **pipes, env=environment(arguments.threads))
        for name in contenders
    }
    answers = {name: [] for name in contenders}
    for _ in range(arguments.timed_epochs + 1):
        for name, process in running.items():
            answers[name].append(one_epoch(name, process))
    for name, process in running.items():
        process.stdin.close()
        if process.wait():
            raise SystemExit(f"{name} failed")
    report = {
        name: {
            "first_epoch_s": given[0]["seconds"],
            "epochs_s": [answer["seconds"] for answer in given[1:]],
            "median_epoch_s": float(np.median([answer["seconds"] for answer in given[1:]])),
            "peak_mebibytes": given[-1]["peak_mebibytes"],
        }
        for name, given in answers.items()
    }
    if "osl_dynamics" in report:
        ours, theirs = report["dynml"], report["osl_dynamics"]
        report["times_faster"] = theirs["median_epoch_s"] / ours["median_epoch_s"]
        report["share_of_memory"] = ours["peak_mebibytes"] / theirs["peak_mebibytes"]
    return report


def one_epoch(name, process):
    """Ask for an epoch and wait for the answer."""
    process.stdin.write("\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("EPOCH"):
            return json.loads(line.removeprefix("EPOCH"))
    raise SystemExit(f"{name} ended before its epoch")


def against_peer(report):
    """How much sooner fits had a free energy: the one where the peer's fit ended, and the stated target.

    A peer that never had it is counted by the whole of its time.
    """
    peer, found = report["peer"], {}
    for name, value in (("where_the_peer_ended", peer["free_energy_at_mean"]), ("target", peer["target"])):
        of_peer = first_time(peer, value) or peer["seconds"]
        found[name] = {"free_energy_at_mean": value, "peer_seconds": of_peer}
        for part in ("fit", "quick"):
            times = [first_time(run, value) for run in report.get(part, {"runs": []})["runs"]]
            faster = [of_peer / time for time in times if time is not None]
            found[name][part] = {"seconds": times, "times_faster": float(np.median(faster)) if faster else None}
    return found


def first_time(run, value):
    """Seconds after which a free energy was seen, None if never."""
    return next((seconds for _, seconds, seen in run["watched"] if seen <= value), None)


def job_of(case, arguments, **settings):
    """What a process is asked to do."""
    path = {"soft": arguments.soft, "wide": arguments.wide}[case]
    return {
        "data": str(path.resolve()),
        "n_modes": arguments.modes,
        "threads": arguments.threads,
        "evaluate_every": arguments.evaluate_every,
        **SIZES[case],
        **settings,
    }


def parse():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("soft", type=Path)
    parser.add_argument("wide", type=Path, nargs="?")
    parser.add_argument("--osl_python", help="Python of an environment with osl-dynamics 3.7.2")
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--modes", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="of a fit; default: dynml's own")
    parser.add_argument("--annealing", type=int, help="epochs of annealing; default: dynml's own")
    parser.add_argument("--target", type=float, default=24.63, help="free energy at the mean, nats per sample")
    parser.add_argument("--evaluate_every", type=int, default=2)
    parser.add_argument("--peer_epochs", type=int, default=200)
    parser.add_argument("--peer_evaluate_every", type=int, default=10)
    parser.add_argument("--timed_epochs", type=int, default=5)
    parser.add_argument("--cases", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/dynemo_fit_<SOFT>.json")
    return parser.parse_args()


PARTS = {"fit": fits, "quick": quick_fits, "peer": peer_fit, "epochs": epochs_in_turns}


def main() -> None:
    """Run the parts, print, write."""
    arguments = parse()
    out = arguments.out or RESULTS / f"dynemo_fit_{arguments.soft.stem}.json"
    for part in arguments.part:
        if part == "peer" and not arguments.osl_python:
            continue
        before = os.getloadavg()[0]
        result = PARTS[part](arguments)
        report = json.loads(out.read_text()) if out.exists() else {}
        where = {
            "date": date.today().isoformat(),
            "machine": machine("cpu"),
            "threads": arguments.threads,
            "load_before": before,
        }
        out.parent.mkdir(exist_ok=True)
        report |= {"data": arguments.soft.name, part: {**where, **result}}
        if "peer" in report:
            report["against_peer"] = against_peer(report)
        out.write_text(json.dumps(report, indent=2) + "\n")
    print(out)


if __name__ == "__main__":
    main()
