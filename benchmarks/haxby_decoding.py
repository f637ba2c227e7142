"""Decode what a person looked at (Haxby et al. 2001), one run left out after the other, beside a ridge.

    python benchmarks/haxby_decoding.py [--runs 12] [--pretraining csm] [--groups parcels voxels]
    python benchmarks/haxby_decoding.py --default [--targets category state] [--groups parcels voxels]

For each of the 12 runs a model is pre-trained on the other 11 without labels, adapted to them with labels, and scored
on the run that was left out (settings were chosen by leaving out the first six runs among themselves):

    category    which of 8 categories was shown, per block of 9 volumes
    state       task against rest, per volume, from the five volumes around it

on the 21 parcels of the atlas and on the 129 voxels of the brain. The ridge is fitted to the same trials (its penalty
by leaving out training runs), and so is the decoder from scratch. With --default the decoder is the one that a command
without further settings trains, beside the same ridges. The differences are paired by run, with the t
interval of their mean. The labels that come with the recordings fit best without any delay, so none is added.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from decoding_runs import courses, decoded, made, make_store, read_results, ridge, train, write_results, write_table
from numpy.typing import NDArray

from dynml.analysis.classification import wilson_interval
from dynml.datasets.haxby import HAXBY_REPETITION_TIME, haxby2001_arrays, haxby2001_files, write_haxby2001_ready_folder

RUNS = [f"sub-001_run-{run:02d}" for run in range(1, 13)]
FLOORS = {
    ("category", "voxels"): 0.32,
    ("category", "parcels"): 0.22,
    ("state", "voxels"): 0.80,
    ("state", "parcels"): 0.73,
}
AROUND = 5
"""Volumes that a state is read from, the middle one its own."""

SIZES = {"embedding_dim": 64, "n_layers": 2, "n_heads": 4, "dropout": 0.2, "n_positions": 40}
PRETRAINING = {"max_epochs": 30, "learning_rate": 0.001}
DECODER = {"pooling": "mean", "head_dropout": 0.3, "label_smoothing": 0.1}
FULL = {"fine_tuning": "full", "dropout": 0.3}
PROBE = {"fine_tuning": "linear_probe", "dropout": SIZES["dropout"]}
TARGETS: dict[str, dict[str, Any]] = {
    "category": {
        "adapted": {"probe": PROBE, "full": FULL},
        "sampler": {"batch_size_training": 32},
        "trainer": {"max_epochs": 200, "learning_rate": 0.001, "weight_decay": 0.3},
    },
    "state": {
        "adapted": {"full": FULL},
        "sampler": {
            "batch_size_training": 64,
            "onset_shift": -(AROUND // 2) * HAXBY_REPETITION_TIME,
            "trial_length": AROUND,
        },
        "trainer": {"max_epochs": 30, "learning_rate": 0.001, "weight_decay": 0.3, "baseline_trials": 200},
    },
}
NOISE = 0.3


def write_files(folder: Path) -> None:
    """Lay the recordings out with two groups, and events of blocks and of volumes."""
    write_haxby2001_ready_folder(folder)
    write_voxels(folder / "voxels.nii.gz")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shared = {key: value for key, value in config.pop("bold").items() if not key.startswith("atlas")}
    shared["events"] = "events.tsv"
    config["parcels"] = shared | {"atlas": "atlas.nii.gz", "atlas_labels": "atlas_labels.tsv"}
    config["voxels"] = shared | {"atlas": "voxels.nii.gz"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for run, labels in zip(RUNS, haxby2001_arrays().labels):
        write_table(folder / "subjects" / run / "events.tsv", events_of(labels))


def write_voxels(path: Path) -> None:
    """Write an atlas in which each voxel of the brain is a parcel."""
    import nibabel

    mask: Any = nibabel.load(haxby2001_files().masks["brain"])  # type: ignore[attr-defined]
    inside = np.asarray(mask.dataobj) > 0
    numbers = np.zeros(inside.shape, dtype=np.int16)
    numbers[inside] = np.arange(1, inside.sum() + 1)
    nibabel.save(nibabel.Nifti1Image(numbers, mask.affine), path)  # type: ignore[attr-defined]


def events_of(labels: tuple[str, ...]) -> list[list[Any]]:
    """An event for every block of a category, and one for every volume, as BIDS has them."""
    rows, first = [], 0
    for label, block in groupby(labels):
        n_volumes = len(list(block))
        if label != "rest":
            rows.append([first, n_volumes, label, "n/a"])
        state = "rest" if label == "rest" else "task"
        rows += [[volume, 1, "n/a", state] for volume in range(first, first + n_volumes)]
        first += n_volumes
    seconds = [[row[0] * HAXBY_REPETITION_TIME, row[1] * HAXBY_REPETITION_TIME, *row[2:]] for row in rows]
    return [["onset", "duration", "category", "state"], *seconds]


def adapted(target: str, place: Path, store: Path, group: str, pretrained: Path | None, way: str, seed: int) -> Any:
    """A trained decoder."""
    chosen = TARGETS[target]
    model = DECODER | {"target": target}
    if pretrained is None:
        model = {**model, "backbone": "sequence_bert", **SIZES, "dropout": FULL["dropout"]}
    else:
        model |= chosen["adapted"][way]
    settings = {
        "model": model,
        "sampler": chosen["sampler"],
        "loader": {"noise": NOISE},
        "trainer": chosen["trainer"] | {"seed": seed, "device": "cpu"},
    }
    return train("decoding", place, store, group, settings, pretrained)


def one_run(left_out: int, runs: list[str], group: str, folder: Path, pretraining: str, seed: int) -> dict[str, Any]:
    """Numbers of right answers about one run, of everything."""
    training = [run for run in runs if run != runs[left_out]]
    place = folder / "experiments" / f"{group}-{left_out}"
    store = make_store(folder / "files", place.name, training, [runs[left_out]])
    pretrained = place.with_name(f"{place.name}-{pretraining}")
    settings = {
        "model": SIZES,
        "sampler": {"window_length": 24, "batch_size_training": 32},
        "trainer": PRETRAINING | {"seed": seed, "device": "cpu"},
    }
    train(pretraining, pretrained, store, group, settings, None)
    found: dict[str, Any] = {}
    for target in TARGETS:
        sources = dict.fromkeys(TARGETS[target]["adapted"], pretrained) | {"scratch": None}
        right = {}
        for way, source in sources.items():
            own = place.with_name(f"{place.name}-{target}-{way}")
            trainer = adapted(target, own, store, group, source, way, seed)
            said = decoded(trainer, "testing")
            truth = said.trials.truth
            right["scratch" if source is None else f"adapted_{way}"] = float(np.mean(said.predicted == truth))
        right |= ridges(target, trainer)
        found[target] = right | {"n_trials": len(truth)}
    return found


def one_run_of_default(target: str, left_out: int, group: str, folder: Path, seed: int) -> dict[str, Any]:
    """Share of right answers about one run by a decoder without any setting but the target, and its trials."""
    training = [run for run in RUNS if run != RUNS[left_out]]
    place = folder / "experiments" / f"{target}-{group}-{left_out}"
    store = make_store(folder / "files", place.name, training, [RUNS[left_out]])
    trials = {
        name: value for name, value in TARGETS[target]["sampler"].items() if name in ("onset_shift", "trial_length")
    }
    settings = {"model": {"target": target}, "sampler": trials, "trainer": {"seed": seed, "device": "cpu"}}
    trainer = train("decoding", place, store, group, settings, None)
    said = decoded(trainer, "testing")
    right = {"default": float(np.mean(said.predicted == said.trials.truth))} | ridges(target, trainer)
    return right | {"n_trials": len(said.trials), "network_share": float(trainer.model.network_share)}


def run_defaults(targets: list[str], groups: list[str], folder: Path, seed: int) -> None:
    """Leave out each run in turn; write after each group."""
    for target, group in ((target, group) for target in targets for group in groups):
        begin, by_run = time.perf_counter(), []
        for left_out in range(len(RUNS)):
            by_run.append(one_run_of_default(target, left_out, group, folder, seed))
            print(target, group, RUNS[left_out], json.dumps(by_run[-1]), flush=True)
        shares = [run.pop("network_share") for run in by_run]
        own = summed(by_run, FLOORS[target, group])
        own |= {"network_shares": shares, "seconds": time.perf_counter() - begin}
        print(json.dumps({name: own[name] for name in own if name != "by_run"}, indent=1), flush=True)
        found = read_results("haxby_decoding_default")
        write_results("haxby_decoding_default", {**found, **made(), "seed": seed, f"{target}_{group}": own})


def ridges(target: str, trainer: Any) -> dict[str, float]:
    """Accuracies of ridges: of the mean over a block, or of one volume, and of the whole course."""
    training, testing = trainer.trials("training"), trainer.trials("testing")
    found = {}
    for name, features in {"ridge": _plain(target), "ridge_of_course": _course(target)}.items():
        said = ridge(features(training), training.truth, training.spans.subject, features(testing))
        found[name] = float(np.mean(said == testing.truth))
    return found


def _plain(target: str) -> Any:
    """Mean over a block; the volume itself for states."""
    if target == "category":
        return lambda trials: courses(trials, 1)
    return lambda trials: _filled(trials)[:, AROUND // 2]


def _course(target: str) -> Any:
    if target == "category":
        return lambda trials: courses(trials, 3)
    return lambda trials: _filled(trials).reshape(len(trials), -1)


def _filled(trials: Any) -> NDArray[np.float64]:
    """Windows (n, T, C) around each volume; zero where they reach beyond the run."""
    subset, spans = trials.subset, trials.spans
    windows = np.zeros((len(trials), AROUND, subset.n_channels))
    volumes = trials.number - trials.number.min()
    for row, (subject, start, stop) in enumerate(zip(spans.subject, spans.start, spans.stop)):
        first = max(0, AROUND // 2 - int(volumes[row])) if stop - start < AROUND and start == 0 else 0
        windows[row, first : first + stop - start] = subset.rows(int(subject), int(start), int(stop)).numpy()
    return windows


def compared(by_run: list[dict[str, Any]], way: str, other: str) -> dict[str, Any]:
    """Paired difference of two accuracies by run, and the t interval of its mean."""
    from scipy.stats import t

    differences = np.array([run[way] - run[other] for run in by_run])
    half = t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences))
    mean = float(differences.mean())
    return {"mean": mean, "interval": [mean - half, mean + half], "runs_above": int((differences > 0).sum()),
            "runs_below": int((differences < 0).sum())}  # fmt: skip


def summed(by_run: list[dict[str, Any]], floor: float | None) -> dict[str, Any]:
    """Accuracies over runs, and differences."""
    n_trials = sum(run["n_trials"] for run in by_run)
    ways = [key for key in by_run[0] if key != "n_trials"]
    accuracy = {way: sum(run[way] * run["n_trials"] for run in by_run) / n_trials for way in ways}
    differences = {
        f"{way}_minus_{other}": compared(by_run, way, other)
        for way in ways
        if way.startswith(("adapted", "default"))
        for other in ("ridge", "ridge_of_course", "scratch")
        if other in ways
    }
    return {
        "n_trials": n_trials,
        "accuracy": accuracy,
        "wilson_intervals": {way: list(wilson_interval(round(accuracy[way] * n_trials), n_trials)) for way in ways},
        "floor_of_the_ridge": floor,
        "differences_by_run": differences,
        "by_run": by_run,
    }


def main() -> None:
    """Leave out each run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12, help="only so many of the first runs: to choose settings")
    parser.add_argument("--pretraining", choices=["csm", "sequence_bert", "network_bert"], default="sequence_bert")
    parser.add_argument("--groups", nargs="+", choices=["parcels", "voxels"], default=["parcels", "voxels"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--default", action="store_true", help="the decoder without any setting but its target")
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS), help="of --default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs, found, begin = RUNS[: arguments.runs], {}, time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "experiments").mkdir()
        write_files(folder / "files")
        if arguments.default:
            run_defaults(arguments.targets, arguments.groups, folder, arguments.seed)
            return
        for group in arguments.groups:
            by_run = []
            for left_out in range(len(runs)):
                by_run.append(one_run(left_out, runs, group, folder, arguments.pretraining, arguments.seed))
                print(group, runs[left_out], json.dumps(by_run[-1]), flush=True)
            for target in TARGETS:
                own = summed([run[target] for run in by_run], FLOORS[target, group])
                found.setdefault(target, {})[group] = own
                print(
                    group, target, json.dumps({key: own[key] for key in own if key != "by_run"}, indent=1), flush=True
                )
            if arguments.runs == len(RUNS):
                kept = {target: read_results("haxby_decoding").get(target, {}) | found[target] for target in TARGETS}
                write_results(
                    "haxby_decoding", {**_settings(arguments), "seconds": time.perf_counter() - begin, **kept}
                )


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "pretraining": arguments.pretraining,
        "seed": arguments.seed,
        "sizes": SIZES,
        "pretraining_trainer": PRETRAINING,
        "decoder": DECODER,
        "targets": TARGETS,
        "noise": NOISE,
    }


if __name__ == "__main__":
    main()
