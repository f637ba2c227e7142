"""How far sequence models get from their best baseline towards the filter that knows the true parameters.

    python benchmarks/sequence_floors.py [--families csm sequence_bert network_bert] [--epochs 60]

Recordings follow autoregressions that hidden states switch between. A linear baseline averages over states; the filter
(Hamilton 1989) knows all parameters and infers the states, so nothing predicts better. A model is trained on most
subjects, and all three are scored on the same hidden samples of the others. On a plain autoregression, where the linear
baseline is the floor, a model must not be worse than it. Results go to benchmarks/results/ with date and machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from whole_training import trained_to_the_end

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset
from dynml.configuration import config_from
from dynml.models.registry import get_family, load
from dynml.models.sequence.scoring import FixedWindows
from dynml.models.sequence.settling import settled_model
from dynml.models.sequence.windows import datasets_of, windows_of
from dynml.simulation import simulate_switching_var, simulate_var
from dynml.simulation.filters import floor_scores, switching_var, switching_var_hidden, switching_var_merged

RESULTS = Path(__file__).parent / "results"
WINDOW, N_VALIDATION = 50, 6
SIZES = {"embedding_dim": 96, "n_layers": 3, "n_heads": 4, "dropout": 0.0}
SWITCHING = {"n_subjects": 46, "n_samples": 1500, "n_channels": 8, "n_states": 3, "stay_probability": 0.97, "seed": 1}


def trained(
    family: str, dataset: MultiSubjectDataset, epochs: int, **settings: Any
) -> tuple[Any, dict[str, Any], float]:
    """Train a family; model, summary and seconds."""
    parts = get_family(family)
    classes = parts.config_classes()
    sizes = SIZES | ({"n_layers": 2} if family == "autoencoder" else {}) | settings
    torch.manual_seed(0)
    model = load(parts.model)(settled_model(config_from(classes["model"], sizes, "model"), dataset), dataset.n_channels)
    sampler = BatchSampler(dataset, window_length=WINDOW, batch_size_training=16)
    with tempfile.TemporaryDirectory() as folder:
        trainer = load(parts.trainer)(
            model,
            folder,
            family,
            sampler,
            BatchLoader(dataset, model),
            max_epochs=epochs,
            learning_rate=0.002,
            progress=False,
        )
        begin = time.perf_counter()
        summary = trained_to_the_end(trainer)
    return model, summary, time.perf_counter() - begin


def floor_of(family: str, process: switching_var.SwitchingVar, model: Any, dataset: MultiSubjectDataset) -> float:
    """Mean absolute error of the filter that knows the truth, on the model's own validation tasks."""
    total = count = 0.0
    for batch in FixedWindows(dataset, WINDOW)("validation"):
        task = model.task_of(windows_of(batch), batch.subject, datasets_of(batch))
        signals = task.windows.signals_BTC.double().numpy()
        scored = task.scored.expand(signals.shape).numpy()
        if family == "csm":
            predicted = switching_var.one_step_predictions(process, signals, statistic="median")
        elif family == "sequence_bert":
            predicted = switching_var_hidden.hidden_sample_predictions(
                process,
                signals,
                task.visible[:, :, 0].numpy(),
                lengths_B=task.windows.lengths_B.numpy(),
                statistic="median",
                max_paths=3**5,
            )
        else:
            visible = task.visible.expand(signals.shape).numpy()
            predicted = switching_var_merged.masked_predictions(process, signals, visible, statistic="median")
        n = scored.sum()
        total += floor_scores.mean_absolute_error_at(predicted, signals, scored) * n
        count += n
    return total / count


def main() -> None:
    """Train, score, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=["csm", "sequence_bert", "network_bert", "autoencoder"])
    parser.add_argument("--epochs", type=int, default=60)
    arguments = parser.parse_args()
    simulation = simulate_switching_var(**SWITCHING).standardize()
    process = simulation.process.from_within()
    series = simulation.time_series
    dataset = MultiSubjectDataset.from_arrays(series[:-N_VALIDATION], series[-N_VALIDATION:])
    report: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "simulation": SWITCHING,
        "sizes": SIZES,
        "epochs": arguments.epochs,
        "switching": {},
    }
    for family in arguments.families:
        model, summary, seconds = trained(family, dataset, arguments.epochs)
        baselines = {name: values["validation"] for name, values in summary["baselines"].items() if values}
        best = min(baselines, key=lambda name: baselines[name])
        score = summary["score"]["validation"]
        floor = None if family == "autoencoder" else floor_of(family, process, model, dataset)
        closed = None if floor is None else (baselines[best] - score) / (baselines[best] - floor)
        report["switching"][family] = {
            "loss": score,
            "best_baseline": best,
            "baselines": baselines,
            "floor": floor,
            "share_of_gap_closed": closed,
            "seconds": seconds,
            "best_epoch": summary["best_epoch"],
        }
        print(json.dumps({family: report["switching"][family]}, indent=2), flush=True)
    if "csm" in arguments.families:
        plain = simulate_var(n_subjects=46, n_samples=1500, n_channels=8, seed=2).standardize().time_series
        dataset = MultiSubjectDataset.from_arrays(plain[:-N_VALIDATION], plain[-N_VALIDATION:])
        report["plain"] = {}
        for name, linear_path in (("csm", True), ("csm_without_linear_path", False)):
            _, summary, seconds = trained("csm", dataset, arguments.epochs, linear_path=linear_path)
            ridge = summary["baselines"]["ridge_var"]["validation"]
            score = summary["score"]["validation"]
            report["plain"][name] = {"loss": score, "ridge_var": ridge, "ratio": score / ridge, "seconds": seconds}
            print(json.dumps({name: report["plain"][name]}, indent=2), flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sequence_floors.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
