"""dynml's part of dynemo_fit.py: runs of DyNeMo with a clock that can stand still.

python benchmarks/dynemo_runs.py fit JSON        one whole fit; the last line of the output is RESULT and JSON
python benchmarks/dynemo_runs.py epochs JSON     an epoch for each line on standard input, a line of JSON for each
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time

import numpy as np
import torch
from whole_training import trained_to_the_end

from dynml import (
    BatchLoader,
    BatchSampler,
    Dynemo,
    DynemoConfig,
    DynemoInitializationConfig,
    DynemoTrainer,
    MultiSubjectDataset,
    load_experiment,
)
from dynml.batches.fixed_windows import FixedWindows
from dynml.models.dynemo.report import scores_of_subset
from dynml.training.processes import Processes

OF_TRAINER = ("learning_rate", "adam_beta_2", "weight_averaging")


def peak_mebibytes():
    """Most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Watched(DynemoTrainer):
    """Looks at the free energy at the mean every few epochs, while the clock stands."""

    def watch(self, begin, every):
        """Start the clock."""
        self.begin, self.every, self.paused, self.seen, self.ended = begin, every, 0.0, [], None
        self.fixed = FixedWindows(self.dataset, self.model.config.sequence_length)
        return self

    def end_of_training_epoch(self):
        """Look."""
        super().end_of_training_epoch()
        epoch = self.progress.epoch + 1
        if epoch % self.every == 0:
            now = time.perf_counter()
            with self.averaged_weights():
                scores = scores_of_subset(self.model, self.fixed, "training", Processes(), 1)
            self.model.train()
            self.seen.append([epoch, now - self.begin - self.paused, scores.at_mean])
            self.paused += time.perf_counter() - now

    def final_report(self):
        """Stop the clock."""
        self.ended = time.perf_counter() - self.begin - self.paused
        return super().final_report()


class ByTurns(DynemoTrainer):
    """Waits for a line before each epoch, and says how long the epoch took."""

    def start_of_epoch(self):
        """Wait."""
        sys.stdin.readline()
        self.begin = time.perf_counter()
        super().start_of_epoch()

    def end_of_training_epoch(self):
        """Answer."""
        seconds = time.perf_counter() - self.begin
        super().end_of_training_epoch()
        print("EPOCH" + json.dumps({"seconds": seconds, "peak_mebibytes": peak_mebibytes()}), flush=True)

    def final_report(self):
        """Nothing to report."""
        return {}


def make_trainer(trainer_class, job, folder, **initialization):
    """A run from an array, with the tutorials' sizes and dynml's defaults for all else."""
    series = np.load(job["data"])["time_series"]
    dataset = MultiSubjectDataset.from_arrays(series)
    given = {"n_kl_annealing_epochs": job["annealing"]} if job.get("annealing") else {}
    config = DynemoConfig(
        n_modes=job["n_modes"],
        sequence_length=job["sequence_length"],
        learn_means=False,
        kl_annealing_sharpness=job.get("sharpness", 10),
        **given,
    )
    torch.manual_seed(job["seed"])
    model = Dynemo(config, dataset.n_channels)
    sampler = BatchSampler(
        dataset, window_length=job["sequence_length"], batch_size_training=job["batch_size"], seed=job["seed"]
    )
    settings = {"max_epochs": job["epochs"]} if job.get("epochs") else {}
    settings |= {name: job[name] for name in OF_TRAINER if job.get(name)}
    return trainer_class(
        model,
        folder,
        "run",
        sampler,
        BatchLoader(dataset, model, seed=job["seed"]),
        initialization=DynemoInitializationConfig(**initialization),
        seed=job["seed"],
        progress=False,
        **settings,
    )


def fit(job):
    """Load, start, train, score; the covariances and alpha go to a file."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(Watched, job, folder).watch(begin, job["evaluate_every"])
        summary = trained_to_the_end(trainer)
        experiment = load_experiment(f"{folder}/run")
    result = next(experiment.infer(np.load(job["data"])["time_series"]))
    np.savez(job["out"], alpha=result.alpha, covariances=experiment.model.full_covariances().numpy())
    report = {
        "seconds": trainer.ended,
        "seconds_by_phase": summary["seconds"],
        "seconds_looking": trainer.paused,
        "epochs": summary["epochs"],
        "best_epoch": summary["best_epoch"],
        "free_energy_at_mean": summary["free_energy_at_mean"]["training"],
        "bound": summary["free_energy"]["training"],
        "baselines": {name: values["training"] for name, values in summary["baselines"].items()},
        "findings": summary["findings"],
        "watched": trainer.seen,
        "peak_mebibytes": peak_mebibytes(),
    }
    print("RESULT" + json.dumps(report))


def epochs(job):
    """Epochs by turns, from random modes: the start has no part in their time."""
    with tempfile.TemporaryDirectory() as folder:
        trained_to_the_end(make_trainer(ByTurns, job, folder, method="random"))


if __name__ == "__main__":
    torch.set_num_threads(json.loads(sys.argv[2])["threads"])
    {"fit": fit, "epochs": epochs}[sys.argv[1]](json.loads(sys.argv[2]))
