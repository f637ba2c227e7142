"""Whole HMM fits with default settings: free energy, dice, covariance error and time over seeds, beside peers.

    python benchmarks/hmm_fit.py DATA.npz N_STATES [--seeds 10] [--hmmlearn] [--osl_python PATH]

DATA.npz holds `time_series` (T, C) and `states` (T,) or one-hot; `covariances` (K, C, C) if known. hmmlearn's EM starts
at the true states, so it shows the optimum. osl-dynamics (in an environment of its own) runs its tutorial's
initialization and fit. Results go to benchmarks/results/ with date and machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from whole_training import trained_to_the_end

from dynml import BatchLoader, BatchSampler, GaussianHMM, HMMConfig, HMMTrainer, MultiSubjectDataset
from dynml.ops.matching import match_covariances
from dynml.ops.metrics import dice_coefficient, riemannian_distance

RESULTS = Path(__file__).parent / "results"

OSL = """
import json, sys, time
import numpy as np
from osl_dynamics.data import Data
from osl_dynamics.models.hmm import Config, Model
series = np.load(sys.argv[1])["time_series"]
length, batch = int(sys.argv[3]), int(sys.argv[4])
data = Data(series)
model = Model(Config(n_states=int(sys.argv[2]), n_channels=series.shape[1], sequence_length=length, learn_means=False,
                     learn_covariances=True, batch_size=batch, learning_rate=0.01, n_epochs=20))
begin = time.time()
model.random_state_time_course_initialization(data, n_epochs=1, n_init=3)
middle = time.time()
model.fit(data)
end = time.time()
print("RESULT" + json.dumps({"initialization_s": middle - begin, "fit_s": end - middle,
                             "free_energy": float(model.free_energy(data))}))
"""


def fit(series: np.ndarray, n_states: int, seed: int, learn_means: bool) -> tuple[GaussianHMM, dict]:
    """One fit with default settings, from array to summary; the time is that of everything."""
    begin = time.perf_counter()
    dataset = MultiSubjectDataset.from_arrays([series])
    model = GaussianHMM(HMMConfig(n_states=n_states, learn_means=learn_means), series.shape[1])
    sampler = BatchSampler(
        dataset, strategy="whole_segments", batch_size_units="nb_samples", batch_size_training=1_000_000, seed=seed
    )
    loader = BatchLoader(dataset, model, collate="packed", seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer = HMMTrainer(model, folder, "fit", sampler, loader, seed=seed, progress=False)
        summary = trained_to_the_end(trainer)
    return model, summary | {"total_s": time.perf_counter() - begin}


def covariance_errors(truth: np.ndarray, found: np.ndarray) -> list[float]:
    """Riemannian distance of each matched state's covariance to the truth."""
    order = match_covariances(truth, found)
    return [riemannian_distance(truth[state], found[other]) for state, other in enumerate(order)]


def hmmlearn_at_optimum(series: np.ndarray, states: np.ndarray, n_states: int) -> dict:
    """Hmmlearn's EM from the true states, means learnt, in one segment."""
    from hmmlearn.hmm import GaussianHMM as Peer

    peer = Peer(
        n_states, "full", n_iter=20, tol=1, init_params="", params="stmc", min_covar=0, implementation="scaling"
    )
    counts = np.zeros((n_states, n_states))
    np.add.at(counts, (states[:-1], states[1:]), 1)
    peer.startprob_, peer.transmat_ = np.full(n_states, 1 / n_states), counts / counts.sum(1, keepdims=True)
    peer.means_ = np.stack([series[states == k].mean(0, dtype=np.float64) for k in range(n_states)])
    peer.covars_ = np.stack([np.cov(series[states == k].T.astype(np.float64), bias=True) for k in range(n_states)])
    peer.covars_prior, peer.covars_weight, peer.means_weight = 0, 0, 0
    signals = series.astype(np.float64)
    peer.fit(signals)
    return {"covariances": peer.covars_, "free_energy": -peer.score(signals) / len(series)}


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("n_states", type=int)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--hmmlearn", action="store_true")
    parser.add_argument("--osl_python")
    parser.add_argument("--osl_sizes", nargs=2, default=["200", "256"], help="sequence_length batch_size")
    arguments = parser.parse_args()
    content = np.load(arguments.data)
    series, states = content["time_series"], content["states"]
    states = states.argmax(1) if states.ndim == 2 else states
    truth = np.stack([np.cov(series[states == k].T.astype(np.float64), bias=True) for k in range(arguments.n_states)])
    against = "moments of the samples of each true state"
    if "covariances" in content:
        truth, against = content["covariances"].astype(np.float64), "the simulation's covariances"
    one_hot = np.eye(arguments.n_states)
    report: dict = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "data": arguments.data.name,
        "covariance_errors_against": against,
        "fits": [],
    }
    starts = torch.tensor([0, len(series)])
    for learn_means in (True, False):
        for seed in range(arguments.seeds if learn_means else min(arguments.seeds, 3)):
            model, summary = fit(series, arguments.n_states, seed, learn_means)
            path = model.most_likely_path(torch.from_numpy(series), starts).numpy()
            order = match_covariances(truth, model.full_covariances())
            renumbered = np.argsort(order)[path]
            row = {
                "seed": seed,
                "learn_means": learn_means,
                "free_energy": summary["free_energy"]["training"],
                "dice": dice_coefficient(one_hot[states], one_hot[renumbered]),
                "median_covariance_error": float(np.median(covariance_errors(truth, model.full_covariances().numpy()))),
                "epochs": summary["epochs"],
                "initialization_s": summary["seconds"]["initialization"],
                "total_s": summary["total_s"],
            }
            report["fits"].append(row)
            print(json.dumps(row), flush=True)
    if arguments.hmmlearn:
        peer = hmmlearn_at_optimum(series, states, arguments.n_states)
        errors = covariance_errors(truth, peer["covariances"])
        report["hmmlearn"] = {"free_energy": peer["free_energy"], "median_covariance_error": float(np.median(errors))}
        print(json.dumps(report["hmmlearn"]), flush=True)
    if arguments.osl_python:
        command = [arguments.osl_python, "-c", OSL, str(arguments.data), str(arguments.n_states), *arguments.osl_sizes]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        report["osl_dynamics"] = json.loads(done.stdout.split("RESULT")[-1])
        print(json.dumps(report["osl_dynamics"]), flush=True)
    report["median_total_s"] = float(np.median([row["total_s"] for row in report["fits"]]))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"hmm_fit_{arguments.data.stem}.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
