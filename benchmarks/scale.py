"""Cost of an epoch against subjects, length, channels and states, one at a time from a common base.

python benchmarks/scale.py [FAMILY ..]

Prints processor seconds of an epoch, those of a million samples, and the exponent between neighbours: 1 is linear, 2
quadratic. Several processes ("ranks") share subjects; what that gains is in benchmarks/several_processes.py.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
import warnings
from pathlib import Path

from dynml.cli.commands.estimate.probe import probed
from dynml.cli.commands.train import parse_training
from dynml.dataset.dataset import MultiSubjectDataset
from dynml.simulation import simulate_hmm
from dynml.simulation.store import write_simulation

BASE = {"subjects": 20, "samples": 2000, "channels": 20, "states": 4}
VARIED = {"subjects": (20, 80), "samples": (2000, 8000), "channels": (20, 40, 80), "states": (4, 8)}
SETTINGS = {
    "hmm": ["--model.n_states", "{states}", "--initialization.n_init", "1"],
    "csm": ["--model.embedding_dim", "32", "--model.n_layers", "2", "--model.n_heads", "2"],
    "dynemo": ["--model.n_modes", "{states}", "--model.sequence_length", "100"],
}


def measured(family, size, folder):
    """Processor seconds of an epoch, of opening the store, and training samples."""
    file = folder / "_".join(f"{value}" for value in size.values())
    file = file.with_suffix(".hdf5")
    if not file.exists():
        simulation = simulate_hmm(
            n_subjects=size["subjects"], n_samples=size["samples"], n_channels=size["channels"], n_states=4, seed=1
        )
        write_simulation(simulation, file)
    settings = [text.format(**size) for text in SETTINGS[family]]
    arguments = [family, str(file), "signals", *settings, "--trainer.device", "cpu"]
    request = parse_training(None, arguments, of_estimate=True)
    begin = time.process_time()
    dataset = MultiSubjectDataset(file, "memory", group="signals")
    opening = time.process_time() - begin
    probe = probed(request, dataset, size["subjects"], folder / f"run_{time.perf_counter_ns()}")
    return probe.seconds["training"].processor, opening, dataset.training_set.n_samples


def main() -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    for family in sys.argv[1:] or ["hmm"]:
        with tempfile.TemporaryDirectory() as name:
            measured(family, BASE, Path(name))  # compiles
            for varied, values in VARIED.items():
                before = None
                for value in values:
                    epoch, opening, n_samples = measured(family, {**BASE, varied: value}, Path(name))
                    power = math.nan
                    if before is not None:
                        power = math.log(epoch / before[1]) / math.log(value / before[0])
                    before, of_million = (value, epoch), 1e6 * epoch / n_samples
                    print(
                        f"{family} {varied:>8} {value:>5}: epoch {epoch:.3f}, a million samples {of_million:.2f}, "
                        f"opening {opening:.3f}, exponent {power:.2f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
