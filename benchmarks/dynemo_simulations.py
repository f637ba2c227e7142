"""DyNeMo on simulations whose truth is known: soft mixtures beside a start at the truth, exclusive states, lifetimes.

    python benchmarks/dynemo_simulations.py [--part mixtures hmm hsmm] [--epochs N] [--osl_python PATH]

- mixtures: fresh soft mixtures of 4 to 10 modes, 10 to 40 channels. Free energy at the posterior's mean of a fit with
  dynml's defaults, and of a fit that starts at the true modes: what no start can be expected to beat by much.
- hmm: five exclusive states in 20 channels; dice with the true states, and the HMM's own free energy beside; with
  --osl_python (of an environment that has osl-dynamics 3.7.2) also that of its fit with the tutorials' settings.
- hsmm: states whose lifetimes follow Gamma distributions; dice, and mean and standard deviation of the lifetimes in
  data drawn from the prior, which was learnt from windows of 400 samples.

Results go to benchmarks/results/dynemo_simulations.json; each part replaces its own entry.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hmm_pass import RESULTS, machine
from whole_training import trained_to_the_end

from dynml import BatchLoader, BatchSampler, Dynemo, DynemoConfig, DynemoTrainer, MultiSubjectDataset, load_experiment
from dynml.ops.matching import match_posteriors
from dynml.ops.metrics import alpha_correlation, dice_coefficient, riemannian_distances
from dynml.simulation import simulate_hmm, simulate_hsmm, simulate_mixed_sine

MIXTURES = [
    {"n_modes": 4, "n_channels": 10, "seed": 11},
    {"n_modes": 5, "n_channels": 16, "seed": 12},
    {"n_modes": 6, "n_channels": 20, "seed": 13},
    {"n_modes": 8, "n_channels": 30, "seed": 14},
    {"n_modes": 10, "n_channels": 40, "seed": 15},
]
N_SAMPLES = 25_600
N_DRAWN = 100_000
FOUND = 0.9
"""Correlation of its coefficients with the truth from which a mode counts as found."""


class FromTruth(DynemoTrainer):
    """Starts at the true covariances."""

    truth: np.ndarray

    def _begin_start(self, number: int) -> None:
        self.model.set_modes(torch.from_numpy(self.truth), None)


def fitted(
    trainer_class: type[DynemoTrainer], series: np.ndarray, n_modes: int, epochs: int | None, length: int = 200
) -> dict[str, Any]:
    """Fit with the tutorial's sizes, or as many samples in longer windows, and dynml's defaults for all else."""
    dataset = MultiSubjectDataset.from_arrays(series)
    torch.manual_seed(0)
    model = Dynemo(DynemoConfig(n_modes=n_modes, sequence_length=length, learn_means=False), dataset.n_channels)
    sampler = BatchSampler(dataset, window_length=length, batch_size_training=3200 // length, seed=0)
    settings = {} if epochs is None else {"max_epochs": epochs}
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        loader = BatchLoader(dataset, model)
        trainer = trainer_class(model, folder, "run", sampler, loader, seed=0, progress=False, **settings)
        summary = trained_to_the_end(trainer)
        seconds = time.perf_counter() - begin
        experiment = load_experiment(f"{folder}/run")
    result = next(experiment.infer(series))
    return {
        "model": experiment.model,
        "alpha": result.alpha,
        "free_energy_at_mean": summary["free_energy_at_mean"]["training"],
        "bound": summary["free_energy"]["training"],
        "baselines": {name: values["training"] for name, values in summary["baselines"].items()},
        "seconds": seconds,
    }


def mixtures(epochs: int | None, _: str | None = None) -> list[dict[str, Any]]:
    """Each mixture, fitted from the data and from the truth."""
    rows = []
    for settings in MIXTURES:
        n_modes = settings["n_modes"]
        simulation = simulate_mixed_sine(**settings, n_samples=N_SAMPLES).standardize()
        series, truth = simulation.time_series[0], simulation.covariances
        FromTruth.truth = truth
        row: dict[str, Any] = dict(settings)
        for name, trainer_class in (("default", DynemoTrainer), ("from_truth", FromTruth)):
            fit = fitted(trainer_class, series, n_modes, epochs)
            order = match_posteriors(simulation.alpha[0], fit["alpha"])
            correlations = alpha_correlation(simulation.alpha[0], fit["alpha"][:, order])
            found = fit["model"].full_covariances().numpy()[order]
            row[name] = {
                "free_energy_at_mean": fit["free_energy_at_mean"],
                "bound": fit["bound"],
                "modes_found": int((correlations >= FOUND).sum()),
                "correlations": np.round(correlations, 3).tolist(),
                "median_riemannian_distance": float(np.median(riemannian_distances(found, truth))),
                "seconds": fit["seconds"],
            }
        row["difference_at_mean"] = row["default"]["free_energy_at_mean"] - row["from_truth"]["free_energy_at_mean"]
        print(json.dumps(row), flush=True)
        rows.append(row)
    return rows


def hmm(epochs: int | None, osl_python: str | None) -> dict[str, Any]:
    """Five exclusive states."""
    simulation = simulate_hmm(
        n_states=5, n_channels=20, n_samples=N_SAMPLES, stay_probability=0.9, seed=1
    ).standardize()
    fit = fitted(DynemoTrainer, simulation.time_series[0], 5, epochs)
    found = against_states(fit, simulation.states[0])
    return found | ({"osl_dynamics": peer(osl_python, simulation)} if osl_python else {})


def peer(python: str, simulation: Any) -> dict[str, Any]:
    """One fit of osl-dynamics in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/data.npz", time_series=simulation.time_series[0])
        job = {"data": f"{folder}/data.npz", "out": f"{folder}/found.npz", "n_modes": 5, "sequence_length": 200,
               "batch_size": 16, "seed": 123, "epochs": 200, "evaluate_every": 200, "threads": 2}  # fmt: skip
        command = [python, str(Path(__file__).with_name("dynemo_osl.py")), "fit", json.dumps(job)]
        hidden = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **hidden})
        result = json.loads(done.stdout.rpartition("RESULT")[2])
        alpha = np.load(job["out"])["alpha"]
    # Inference of the peer ends with the last whole window.
    truth = np.eye(5)[simulation.states[0][: len(alpha)]]
    dice = dice_coefficient(truth, alpha[:, match_posteriors(truth, alpha)])
    return {"dice": dice, "free_energy_at_mean": result["free_energy_at_mean"], "seconds": result["seconds"]}


def hsmm(epochs: int | None, _: str | None = None) -> dict[str, Any]:
    """Three states with Gamma lifetimes: their dice, and lifetimes drawn from the learnt prior."""
    shape, scale = 10.0, 5.0
    simulation = simulate_hsmm(
        n_states=3, n_channels=20, n_samples=N_SAMPLES, gamma_shape=shape, gamma_scale=scale, seed=1
    ).standardize()
    # The prior learns how long states last from windows that hold many of them whole.
    fit = fitted(DynemoTrainer, simulation.time_series[0], 3, epochs, length=400)
    with torch.no_grad():
        drawn = fit["model"].sample_alpha(N_DRAWN, torch.Generator().manual_seed(0))
    return {
        **against_states(fit, simulation.states[0]),
        "lifetimes_of_data": moments_of_lifetimes(simulation.states[0]),
        "lifetimes_inferred": moments_of_lifetimes(fit["alpha"].argmax(axis=1)),
        "lifetimes_drawn_from_prior": moments_of_lifetimes(drawn.argmax(dim=1).numpy()),
    }


def against_states(fit: dict[str, Any], states: np.ndarray) -> dict[str, Any]:
    """Dice with the true states, and free energies."""
    truth = np.eye(states.max() + 1)[states]
    order = match_posteriors(truth, fit["alpha"])
    report = {"dice": dice_coefficient(truth, fit["alpha"][:, order])}
    return report | {key: fit[key] for key in ("free_energy_at_mean", "bound", "baselines", "seconds")}


def moments_of_lifetimes(states: np.ndarray) -> dict[str, float]:
    """Mean and standard deviation of visits, in samples; the first and the last, which are cut, left out."""
    borders = np.flatnonzero(np.diff(states)) + 1
    lifetimes = np.diff(borders)
    return {"mean": float(lifetimes.mean()), "standard_deviation": float(lifetimes.std())}


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"mixtures": mixtures, "hmm": hmm, "hsmm": hsmm}
    parser.add_argument("--part", nargs="+", choices=list(parts), default=list(parts))
    parser.add_argument("--epochs", type=int, help="of every fit; default: dynml's")
    parser.add_argument("--osl_python", help="Python of an environment with osl-dynamics 3.7.2")
    arguments = parser.parse_args()
    path = RESULTS / "dynemo_simulations.json"
    for part in arguments.part:
        found = parts[part](arguments.epochs, arguments.osl_python)
        result = {"date": date.today().isoformat(), "machine": machine("cpu"), "result": found}
        # Read again: another part may have ended meanwhile.
        report = json.loads(path.read_text()) if path.exists() else {}
        report[part] = result
        print(json.dumps({part: result}, indent=2), flush=True)
        path.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
