"""Estimated and real cost of five small runs: processor seconds of an epoch, and disk.

python benchmarks/estimated_cost.py [NUMBER ..]

Processor seconds do not grow with what else the machine does, though they do with shared caches and hyperthreads.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import warnings
from pathlib import Path

from whole_training import trained_to_the_end

from dynml.cli.commands.estimate import estimate_cost
from dynml.cli.commands.estimate.probe import timed_phases
from dynml.cli.commands.train import build_trainer, parse_training
from dynml.simulation import simulate_hmm
from dynml.simulation.store import write_simulation

ALL = ["--trainer.progress", "false", "--trainer.device", "cpu", "--trainer.max_epochs", "4"]
SMALL = ["--model.embedding_dim", "16", "--model.n_layers", "1", "--model.n_heads", "2"]
RUNS = [
    ("hmm", (60, 4000, 10), ["--model.n_states", "6", "--initialization.n_init", "1"]),
    ("hmm", (30, 8000, 10), ["--model.n_states", "3", "--initialization.n_init", "1", "--loader.residency", "lazy"]),
    ("csm", (60, 2000, 10), [*SMALL, "--sampler.window_length", "50"]),
    ("csm", (40, 2000, 10), [*SMALL, "--sampler.window_length", "100", "--loader.residency", "lazy"]),
    ("dynemo", (40, 2000, 8), ["--model.n_modes", "3", "--model.sequence_length", "100"]),
]
"""Family; subjects, samples and channels; settings."""


def stored(folder, n_subjects, n_samples, n_channels):
    """A simulated store of that size."""
    file = folder / f"{n_subjects}_{n_samples}_{n_channels}.hdf5"
    if not file.exists():
        simulation = simulate_hmm(n_subjects=n_subjects, n_samples=n_samples, n_channels=n_channels, n_states=4, seed=1)
        write_simulation(simulation, file, n_validation_subjects=n_subjects // 10)
    return file


def main() -> None:
    """Estimate, run, print both."""
    warnings.simplefilter("ignore")
    # So that runs of seconds are measured on a small part of their subjects, as those of hours are.
    estimate_cost.FIRST_SAMPLES, estimate_cost.ENOUGH_SECONDS = 8000, 0.05
    chosen = [int(number) for number in sys.argv[1:]] or range(len(RUNS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in chosen:
            family, size, settings = RUNS[number]
            data = [str(stored(folder, *size)), "signals"]
            found = estimate_cost.estimated(parse_training(None, [family, *data, *ALL, *settings], of_estimate=True))
            with contextlib.redirect_stdout(io.StringIO()):
                trainer = build_trainer(parse_training(None, [family, name, f"run_{number}", *data, *ALL, *settings]))
                taken = timed_phases(trainer)
                trained_to_the_end(trainer)
            real = sum(min(one.processor for one in taken[phase][1:]) for phase in ("training", "validation"))
            n_bytes = sum(file.stat().st_size for file in trainer.folder.path.rglob("*") if file.is_file())
            print(
                f"{number} {family:<7} {size} measured on {found.n_probed} of {found.n_subjects}: epoch "
                f"{found.epoch.processor:.3f} estimated, {real:.3f} real ({found.epoch.processor / real:.2f}); "
                f"bytes on disk {found.n_bytes_on_disk}, {n_bytes}",
                flush=True,
            )


if __name__ == "__main__":
    main()
