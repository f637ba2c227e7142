"""What logs, checkpoints and loggers cost a run of many small epochs.

    python benchmarks/overhead.py [--epochs 8000] [--repetitions 3]

An HMM on a small simulation makes the same EM iterations again and again, interleaved: without saving anything, with
checkpoints and logs as by default, with a checkpoint after every epoch, and with TensorBoard. Medians count. Whole runs
differ by more than what is looked for where others use the machine; so each run also counts the time inside everything
that writes or reports: its share is `overhead`, and the runs' own times stand beside it.
Results go to benchmarks/results/ with date and machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dynml import BatchLoader, BatchSampler, GaussianHMM, HMMConfig, HMMTrainer, MultiSubjectDataset
from dynml.models.hmm.config import HMMInitializationConfig
from dynml.simulation import simulate_hmm
from dynml.training.loggers.tensorboard_logger import TensorBoardLogger

RESULTS = Path(__file__).parent / "results"


class WithoutSaving(HMMTrainer):
    """Keeps everything in memory until the end."""

    def _save_or_end(self, is_due: bool | None = None) -> None:
        return


KINDS: dict = {
    "nothing saved": (WithoutSaving, {}, False),
    "default": (HMMTrainer, {}, False),
    "default and TensorBoard": (HMMTrainer, {}, True),
    "checkpoint after every epoch": (HMMTrainer, {"saving_share": 1.0}, False),
}


class Counted:
    """Seconds inside some methods of a run's record."""

    def __init__(self, record: object) -> None:
        self.seconds = 0.0
        for name in ("begin", "save", "epoch_done"):
            setattr(record, name, self._counting(getattr(record, name)))

    def _counting(self, method: Callable[..., None]) -> Callable[..., None]:
        def counted(*arguments: object) -> None:
            begin = time.perf_counter()
            method(*arguments)
            self.seconds += time.perf_counter() - begin

        return counted


def seconds_of_epochs(dataset: MultiSubjectDataset, kind: str, n_epochs: int) -> tuple[float, float]:
    """Wall time of the epochs, initialization and report left out; and that of saving and logging."""
    trainer_class, settings, tensorboard = KINDS[kind]
    model = GaussianHMM(HMMConfig(n_states=4), dataset.n_channels)
    sampler = BatchSampler(
        dataset, strategy="whole_segments", batch_size_units="nb_samples", batch_size_training=1_000_000
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_class(
            model,
            folder,
            "run",
            sampler,
            BatchLoader(dataset, model, collate="packed"),
            initialization=HMMInitializationConfig(n_init=1, n_epochs=2),
            max_epochs=n_epochs,
            tolerance=0,
            progress=False,
            loggers=[TensorBoardLogger()] if tensorboard else [],
            **settings,
        )
        trainer.stopping_reason = lambda: "max_epochs" if trainer.progress.epoch >= n_epochs else None
        counted = Counted(trainer.record)
        begin = time.perf_counter()
        summary = trainer.train_and_validate()
        elapsed = time.perf_counter() - begin
    seconds = summary["seconds"]
    return elapsed - seconds["initialization"] - seconds.get("report", 0.0), counted.seconds


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8000)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    signals = simulate_hmm(n_subjects=4, n_samples=3000, n_states=4, n_channels=10, seed=0).time_series
    dataset = MultiSubjectDataset.from_arrays(signals)
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    shares: dict[str, list[float]] = {kind: [] for kind in KINDS}
    seconds_of_epochs(dataset, "default", 20)
    for _ in range(arguments.repetitions):
        for kind in KINDS:
            n_epochs = arguments.epochs if kind != "checkpoint after every epoch" else arguments.epochs // 40
            seconds, counted = seconds_of_epochs(dataset, kind, n_epochs)
            times[kind].append(seconds / n_epochs)
            shares[kind].append(counted / (seconds - counted))
            print(f"{kind}: {1e3 * times[kind][-1]:.3f} ms an epoch, {100 * shares[kind][-1]:.2f} %", flush=True)
    medians = {kind: float(np.median(values)) for kind, values in times.items()}
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "milliseconds_per_epoch": {kind: 1e3 * value for kind, value in medians.items()},
        "seconds_of_a_run": {kind: value * arguments.epochs for kind, value in medians.items()},
        "overhead": {kind: float(np.median(values)) for kind, values in shares.items()},
    }
    print(json.dumps(report, indent=2))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "overhead.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
