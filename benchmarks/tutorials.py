"""The three tutorials of the guide in full, by the scripts and recipes that a reader uses.

    python benchmarks/tutorials.py [--only dynemo_prepared hmm_prepared dynemo_soft_mixture] [--n_samples N] [OPTION ..]

Each is simulated, trained by its recipe in `configs/`, inferred, and laid beside its truth. The stand-ins for the
recording have 80 channels and as many samples as it has, about; OPTIONs (`--trainer.max_epochs 2`) are handed to the
training script. Results go to benchmarks/results/tutorials.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
from hmm_pass import RESULTS, machine

from dynml.ops.matching import match_posteriors
from dynml.ops.metrics import alpha_correlation, dice_coefficient, riemannian_distances
from dynml.simulation import read_truth

CONFIGS = Path(__file__).parents[1] / "configs"
SCRIPTS = Path(sys.executable).parent
RECORDING = "--n_channels 80 --n_samples 76800 --observation_error 0.1 --seed 1"
SIMULATIONS = {
    "dynemo_prepared": f"mixed_sine --n_modes 6 {RECORDING}",
    "hmm_prepared": f"hmm --n_states 6 --stay_probability 0.95 {RECORDING}",
    "dynemo_soft_mixture": "mixed_sine --n_modes 6 --n_channels 20 --seed 123 --seeding osl_legacy",
}


def run(script, *arguments):
    """Seconds of a script; its output is shown."""
    begin = time.perf_counter()
    subprocess.run([str(SCRIPTS / script), *map(str, arguments)], check=True)
    return time.perf_counter() - begin


def tutorial(name, n_samples, options, folder):
    """Simulate, train, infer, compare."""
    kind, *settings = SIMULATIONS[name].split()
    store = folder / f"{name}.hdf5"
    length = ["--n_samples", n_samples] if n_samples else []
    run("dynml_simulate_data.py", kind, store, *settings, *length)
    recipe = ["--config", CONFIGS / f"{name}.yaml", "--trainer.progress", "false"]
    family = name.partition("_")[0]
    training_s = run("dynml_train_model.py", family, folder, name, store, "signals", *recipe, *options)
    inference_s = run("dynml_infer_from_model.py", folder / name, store, folder / f"{name}_results")
    summary = json.loads((folder / name / "summary.json").read_text())
    kept = ("stopping_reason", "epochs", "best_epoch", "free_energy", "free_energy_at_mean", "baselines", "findings")
    return {
        "training_command_s": training_s,
        "inference_command_s": inference_s,
        **{key: summary[key] for key in (*kept, "seconds", "peak_memory_mebibytes") if key in summary},
        **beside_truth(store, folder / f"{name}_results"),
    }


def beside_truth(store, results):
    """Correlations, dice and Riemannian distances of matched states or modes."""
    truth = read_truth(store)
    true_alpha = truth.alpha["sub-001"]
    alpha = np.load(results / "sub-001_alpha.npy")
    order = match_posteriors(true_alpha, alpha)
    found = np.load(results / "covariances.npy")[order]
    return {
        "correlations": alpha_correlation(true_alpha, alpha[:, order]).tolist(),
        "dice": dice_coefficient(true_alpha, alpha[:, order]),
        "riemannian_distances": riemannian_distances(found, truth.covariances).tolist(),
    }


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SIMULATIONS), default=list(SIMULATIONS))
    parser.add_argument("--n_samples", type=int, help="of each simulation; default: the tutorial's")
    parser.add_argument("--out", type=Path, default=RESULTS / "tutorials.json")
    arguments, options = parser.parse_known_args()
    report = {"date": date.today().isoformat(), "machine": machine("cpu"), "load_before": os.getloadavg()[0]}
    report["threads"] = os.environ.get("OMP_NUM_THREADS", "all")
    if options:
        report["options"] = options
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only:
            report[name] = tutorial(name, arguments.n_samples, options, Path(folder))
            print(json.dumps({name: report[name]}, indent=2), flush=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
