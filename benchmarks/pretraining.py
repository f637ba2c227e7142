"""Accuracy against the number of labelled participants, with and without pre-training, on nonlinear dynamics.

    python benchmarks/pretraining.py [--folder FOLDER] [--n_labelled 2 5 10] [--seeds 0 1 2 3 4] [--data_seed 1]

Trials of `phase_multiplication`: two classes with the same distribution, covariances and spectra, in which the sources
(95 % of the variance) follow another nonlinear map. A causal model is trained on all 200 unlabelled participants; some
of them are labelled, and 40 others are tested, 800 trials. Each seed draws labelled participants, initial weights and
order of the batches anew. With the same participants and settings:

    best_baseline   the best on the tested trials of `linear`, `functional_connectivity` and the linear answer
    scratch         the decoder with the same transformer, not pre-trained
    linear_probe    a linear head on the mean state of the pre-trained model
    attentive_probe    the same on the states weighted by a learnt query
    adapted         the pre-trained model, all of it trained
    true_map        which map fits the unmixed sources better: what can be known without labels by who knows the truth

All decoders have the default settings. Results are added to benchmarks/results/pretraining.json as they come.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from decoding_runs import decoded, paired_difference, read_results, train, write_results

from dynml.models.sequence.decoding.baselines import fit_baselines
from dynml.models.sequence.decoding.evaluation import signals_of_trials
from dynml.models.sequence.decoding.targets import Trials
from dynml.simulation import read_truth, simulate_phase_multiplication, write_simulation

SIMULATION = {"n_samples": 600, "n_channels": 4, "n_sources": 2, "nonlinear_share": 0.95}
N_UNLABELLED, N_VALIDATION, N_TESTED = 200, 10, 40
SIZES = {"embedding_dim": 32, "n_layers": 2}
PRETRAINING = {
    "model": SIZES,
    "sampler": {"window_length": 20, "batch_size_training": 32},
    "trainer": {"max_epochs": 10, "learning_rate": 0.003},
}
ARMS: dict[str, dict[str, Any]] = {
    "scratch": {"backbone": "csm", **SIZES},
    "linear_probe": {"fine_tuning": "linear_probe"},
    "attentive_probe": {"fine_tuning": "linear_probe", "pooling": "attention"},
    "adapted": {},
}
PAIRS = (
    ("adapted", "scratch"),
    ("adapted", "best_baseline"),
    ("linear_probe", "best_baseline"),
    ("attentive_probe", "linear_probe"),
)


def made_store(folder: Path, data_seed: int) -> Path:
    """The simulated people; a store that is there is taken."""
    path = folder / f"people_{data_seed}.hdf5"
    if not path.exists():
        n_subjects = N_UNLABELLED + N_VALIDATION + N_TESTED
        simulation = simulate_phase_multiplication(n_subjects=n_subjects, seed=data_seed, **SIMULATION).standardize()
        write_simulation(simulation, path, n_validation_subjects=N_VALIDATION, n_testing_subjects=N_TESTED)
    return path


def pretrained(folder: Path, store: Path) -> Path:
    """The experiment of a model of all unlabelled participants; a finished one is taken."""
    place = folder / f"pretraining_{store.stem}"
    if not (place / "summary.json").exists():
        train("csm", place, store, "signals", PRETRAINING, None)
    return place


def known_by_true_map(store: Path, trials: Trials) -> float:
    """Share of trials whose class has the map that explains most of the unmixed sources."""
    truth, said = read_truth(store), []
    assert truth.source_weights is not None
    unmixing = np.linalg.pinv(truth.source_weights)
    for signals in signals_of_trials(trials, np.arange(len(trials))):
        phases = np.arccos(np.clip((signals - truth.offsets) @ unmixing.T, -1, 1))
        fits = [(np.cos(m * phases[:-1]) * np.cos(phases[1:])).sum() for m in truth.arguments["multipliers"]]
        said.append(int(np.argmax(fits)))
    return float(np.mean(np.array(said) == trials.truth))


def scored(arm: str, place: Path, store: Path, experiment: Path, n_labelled: int, seed: int) -> dict[str, float]:
    """Accuracy on the tested participants of one decoder, and with the arm `scratch` of the baselines."""
    begin = time.process_time()
    settings = {
        "model": {"target": "trial_type", **ARMS[arm]},
        "dataset": {"n_training_subjects": n_labelled, "seed": seed},
        "trainer": {"seed": seed},
    }
    trainer = train("decoding", place, store, "signals", settings, None if arm == "scratch" else experiment)
    accuracy = decoded(trainer, "testing").accuracy
    assert accuracy is not None
    found = {arm: accuracy, f"share_of_{arm}": float(trainer.model.network_share)}
    if arm == "scratch":
        trainer.model.network_share.fill_(0.0)
        testing = trainer.trials("testing")
        choices = {"by_runs": False, "balanced": False, "most_trials": 4000, "seed": seed}
        fitted = fit_baselines(trainer.trials("training"), **choices)
        scores = [decoded(trainer, "testing").accuracy]
        scores += [one.accuracy(testing) for name, one in fitted.items() if one is not None and name != "majority"]
        found["best_baseline"] = max(score for score in scores if score is not None)
        found["true_map"] = known_by_true_map(store, testing)
    return found | {f"processor_seconds_of_{arm}": time.process_time() - begin}


def summarized(runs: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Means over seeds by number of labelled participants, and paired differences with 95 % intervals."""
    by_number: dict[str, Any] = {}
    for n_labelled in sorted({int(key.split()[0]) for key in runs}):
        own = [run for key, run in runs.items() if int(key.split()[0]) == n_labelled]
        means: dict[str, Any] = {}
        for arm in (*ARMS, "best_baseline", "true_map"):
            values = [run[arm] for run in own if arm in run]
            if values:
                means[arm] = {"mean": float(np.mean(values)), "n_seeds": len(values)}
        for first, second in PAIRS:
            gaps = [run[first] - run[second] for run in own if first in run and second in run]
            if len(gaps) > 1:
                means[f"{first} - {second}"] = paired_difference(gaps)
        by_number[str(n_labelled)] = means
    return by_number


def main() -> None:
    """Simulate, pre-train, decode, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keeps store and pre-training")
    parser.add_argument("--n_labelled", type=int, nargs="+", default=[2, 5, 10])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--data_seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    store = made_store(folder, arguments.data_seed)
    experiment = pretrained(folder, store)
    for seed in arguments.seeds:
        for n_labelled in arguments.n_labelled:
            for arm in arguments.arms:
                with tempfile.TemporaryDirectory() as place:
                    found = scored(arm, Path(place) / "run", store, experiment, n_labelled, seed)
                print(n_labelled, seed, json.dumps(found), flush=True)
                runs = read_results("pretraining").get("runs", {})
                key = f"{n_labelled} labelled, people {arguments.data_seed}, seed {seed}"
                runs[key] = runs.get(key, {}) | found
                report = {"simulation": SIMULATION, "pretraining": PRETRAINING, "n_unlabelled": N_UNLABELLED}
                write_results("pretraining", report | {"by_number_of_labelled": summarized(runs), "runs": runs})


if __name__ == "__main__":
    main()
