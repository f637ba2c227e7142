"""Causal sequence model: all positions of a window as targets, against one hidden position of each, at equal work.

    python benchmarks/csm_objectives.py [--epochs 30] [--data switching haxby]

learning-from-brains trains on one hidden sample a window; dynml on all of them by default. Both objectives are trained
on the same windows for as many epochs with the same transformer, with and without the linear path beside it, and scored
by the mean absolute error on the same hidden samples: one of each validation window, drawn as a function of the window.
The baselines are scored on these samples as well. Data: autoregressions that hidden states switch between, and the
bundled recordings (Haxby et al. 2001; runs 1 to 10 train, 11 and 12 validate). Results go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import datetime
import json
from typing import Any

import torch
from hmm_pass import machine
from sequence_floors import N_VALIDATION, RESULTS, SWITCHING, WINDOW, trained

from dynml import MultiSubjectDataset
from dynml.datasets.haxby import haxby2001_arrays
from dynml.models.sequence.objectives.tasks import next_sample_task, single_position_task
from dynml.models.sequence.scoring import FixedWindows
from dynml.models.sequence.windows import windows_of
from dynml.simulation import simulate_switching_var


def switching() -> MultiSubjectDataset:
    """Hidden states switch between autoregressions."""
    series = simulate_switching_var(**SWITCHING).standardize().time_series
    return MultiSubjectDataset.from_arrays(series[:-N_VALIDATION], series[-N_VALIDATION:])


def haxby() -> MultiSubjectDataset:
    """12 runs of one person."""
    runs = [(run - run.mean(0)) / run.std(0) for run in haxby2001_arrays().signals]
    return MultiSubjectDataset.from_arrays(runs[:-2], runs[-2:], sampling_frequency=0.4)


@torch.no_grad()
def single_position_error(model: Any, dataset: MultiSubjectDataset) -> float:
    """Mean absolute error on one sample of each validation window."""
    total = count = 0.0
    model.eval()
    for batch in FixedWindows(dataset, WINDOW)("validation"):
        windows = windows_of(batch)
        asked = single_position_task(windows)
        task = asked if model.config.objective == "single_mask" else next_sample_task(windows)
        scored = asked.scored.expand(windows.signals_BTC.shape)
        errors = (model(task).predicted_BTC - windows.signals_BTC).abs()[scored]
        total, count = total + float(errors.double().sum()), count + errors.numel()
    return total / count


def main() -> None:
    """Train, score, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    datasets = {"haxby": haxby, "switching": switching}
    parser.add_argument("--data", nargs="+", choices=list(datasets), default=list(datasets))
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    path = RESULTS / "csm_objectives.json"
    for name in arguments.data:
        dataset, found = datasets[name](), {}
        for linear_path in (True, False):
            for objective in ("all_positions", "single_mask"):
                settings = {"objective": objective, "linear_path": linear_path}
                model, summary, seconds = trained("csm", dataset, arguments.epochs, **settings)
                error = single_position_error(model, dataset)
                key = objective if linear_path else f"{objective}_without_linear_path"
                found[key] = {"error": error, "seconds": seconds, "best_epoch": summary["best_epoch"]}
                if objective == "single_mask":
                    found["baselines"] = {
                        baseline: scores["validation"] for baseline, scores in summary["baselines"].items() if scores
                    }
                print(name, key, json.dumps(found[key]), flush=True)
        print(name, json.dumps(found["baselines"]), flush=True)
        report = json.loads(path.read_text()) if path.exists() else {}
        where = {"date": datetime.date.today().isoformat(), "machine": machine("cpu"), "epochs": arguments.epochs}
        path.write_text(json.dumps(report | {name: where | found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
