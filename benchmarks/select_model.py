"""The time of a selection beside that of separate commands, and whether both come to the same scores.

    python benchmarks/select_model.py            7 numbers of states x 2 types of covariance x 5 folds, 70 runs
    python benchmarks/select_model.py --small    2 x 2 x 2, to see that it works

The selection is made twice, and after each some of the runs are also trained by dynml_train_model.py, one command each;
70 of their mean is what separate commands would take. Seconds are those on the clock and, since other programs may
share the machine, those of the processors (user and system, all processes together). A selection comes first, so that
it pays for what is compiled and kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(sys.executable).parent
N_SELECTIONS, N_SEPARATE = 2, 5
"""Separate commands after each selection."""


def main() -> None:
    """Time both, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--n_jobs", type=int)
    arguments = parser.parse_args()
    states, folds = ("2:3", 2) if arguments.small else ("2:8", 5)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store, experiments = root / "store.hdf5", root / "experiments"
        experiments.mkdir()
        sizes = ("--n_subjects", 5, "--n_samples", 355, "--n_channels", 20, "--n_states", 4, "--seed", 1)
        run("dynml_simulate_data.py", "hmm", store, *sizes)
        grid = ("--grid", f"model.n_states={states}", "model.covariance_type=full,diagonal")
        jobs = () if arguments.n_jobs is None else ("--n_jobs", arguments.n_jobs)
        few = ("--seeds", 1, "--folds", folds, "--split_halves", "false", "--surrogates", "false")
        whole, separate, differences = [], [], []
        for number in range(N_SELECTIONS):
            name = f"selection_{number}"
            whole.append(run("dynml_select_model.py", "hmm", experiments, name, store, "signals", *grid, *few, *jobs))
            with (experiments / name / "selection.tsv").open(encoding="utf-8", newline="") as stream:
                rows = [row for row in csv.DictReader(stream, delimiter="\t") if row["part"] == "fold"]
            for row in rows[number :: max(len(rows) // N_SEPARATE, 1)][:N_SEPARATE]:
                own = [f"--{key}={row[key]}" for key in ("model.n_states", "model.covariance_type")]
                own.append(f"--trainer.seed={row['seed']}")
                held_out = (f"--dataset.folds={folds}", f"--dataset.fold={row['fold']}", "--dataset.held_out=testing")
                alone = f"{name}_{row['run']}"
                separate.append(
                    run("dynml_train_model.py", "hmm", experiments, alone, store, "signals", *own, *held_out)
                )
                summary = json.loads((experiments / alone / "summary.json").read_text(encoding="utf-8"))
                differences.append(abs(summary["free_energy"]["training"] - float(row["training"])))
        wall, processor = (sum(one) / len(whole) for one in zip(*whole))
        mean, mean_processor = (sum(one) / len(separate) for one in zip(*separate))
        found = {
            "runs": len(rows),
            "selections_s": [round(one, 1) for one, _ in whole],
            "separate_commands_each_s": [round(one, 1) for one, _ in separate],
            "separate_commands_s": round(mean * len(rows), 1),
            "ratio": round(wall / (mean * len(rows)), 3),
            "selection_processor_s": round(processor, 1),
            "separate_command_processor_s": round(mean_processor, 1),
            "ratio_of_processor_time": round(processor / (mean_processor * len(rows)), 3),
            "largest_difference_nats": max(differences),
        }
        print(json.dumps(found))


def run(script: str, *arguments: object) -> tuple[float, float]:
    """Run a script; gives its seconds on the clock and of the processors."""
    begun, before = time.perf_counter(), processor_seconds()
    subprocess.run([str(SCRIPTS / script), *map(str, arguments)], check=True, capture_output=True)
    return time.perf_counter() - begun, processor_seconds() - before


def processor_seconds() -> float:
    """User and system time of all processes that this one has started and seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
