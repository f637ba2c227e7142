"""How many samples per second transformers train on, by single samples and by patches.

    python benchmarks/sequence_patches.py [--windows 8] [--steps 5]

Windows are of 4 s at 250 Hz, 38 channels; sizes of the model are the defaults. A step is everything: windows read, what
is hidden drawn, linear path, forward, backward, clipping, optimizer. Operations of the network are counted from the
shapes (2 for each multiplication and addition; backward twice the forward) and compared with a plain float32
multiplication of the same sizes. Seconds are those of the processor, on one thread, so that other programs do not
count. Results go to benchmarks/results/ with date and machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset
from dynml.models.sequence.config import CsmConfig, SequenceBertConfig
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.objectives.sequence_bert import SequenceBert
from dynml.models.sequence.settling import settled_model
from dynml.models.sequence.trainer import SequenceTrainer

RESULTS = Path(__file__).parent / "results" / "sequence_patches.json"
N_CHANNELS, RATE, SECONDS, PATCH = 38, 250.0, 4.0, 25
WINDOW = int(RATE * SECONDS)
FAMILIES = {"csm": (Csm, CsmConfig), "sequence_bert": (SequenceBert, SequenceBertConfig)}


def median_seconds(function: Callable[[], object], repetitions: int) -> float:
    """Median processor time of a call, the first one left out."""
    times = []
    for _ in range(repetitions + 1):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return float(np.median(times[1:]))


def operations_of_step(config: SequenceBertConfig | CsmConfig, n_windows: int) -> float:
    """Floating-point operations of the network, forward and backward."""
    n_tokens, d = WINDOW // config.patch_length, config.embedding_dim
    matrices = 2 * N_CHANNELS * config.patch_length * d + config.n_layers * 12 * d * d
    return 3 * 2 * n_windows * n_tokens * (matrices + config.n_layers * 2 * n_tokens * d)


def measured(family: str, dataset: MultiSubjectDataset, n_windows: int, steps: int, **settings) -> dict[str, float]:
    """Seconds of a step, samples per second, and the share of a plain multiplication's rate."""
    model_class, config_class = FAMILIES[family]
    config = settled_model(config_class(n_positions=WINDOW + 8, **settings), dataset)
    torch.manual_seed(0)
    model = model_class(config, dataset.n_channels)
    sampler = BatchSampler(dataset, window_length=WINDOW, batch_size_training=n_windows)
    loader = BatchLoader(dataset, model)
    spans = next(iter(sampler.batches(0)))
    with tempfile.TemporaryDirectory() as folder:
        trainer = SequenceTrainer(model, folder, family, sampler, loader, progress=False, warmup_steps=0, device="cpu")
        model.train()

        def step() -> None:
            result = trainer.run_one_batch(loader.on_device(loader.load_batch(spans)))
            assert trainer.learner is not None
            trainer.learner.learn(result, 0, 1)

        seconds = median_seconds(step, steps)
    d, n_tokens = config.embedding_dim, n_windows * WINDOW // config.patch_length
    left, right = torch.randn(n_tokens, d), torch.randn(d, 4 * d)
    gemm = 2 * n_tokens * d * 4 * d / median_seconds(lambda: left @ right, 20)
    rate = operations_of_step(config, n_windows) / seconds
    return {
        "step_seconds": seconds,
        "samples_per_second": n_windows * WINDOW / seconds,
        "tokens_per_second": n_tokens / seconds,
        "share_of_gemm": rate / gemm,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    signals = [generator.normal(size=(4 * WINDOW, N_CHANNELS)).astype(np.float32) for _ in range(8)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = MultiSubjectDataset.from_arrays(signals, sampling_frequency=RATE)
    report: dict[str, object] = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "windows": arguments.windows,
        "patch_length": PATCH,
    }
    for family in FAMILIES:
        for path in (False, True):
            run = {
                name: measured(
                    family, dataset, arguments.windows, arguments.steps, linear_path=path, patch_length=length
                )
                for name, length in (("samples", 1), ("patches", PATCH))
            }
            ratio = run["patches"]["samples_per_second"] / run["samples"]["samples_per_second"]
            report[f"{family}, linear path {path}".lower()] = {**run, "times_as_many_samples": ratio}
            print(f"{family}, linear path {path}: {ratio:.1f} times as many samples per second", flush=True)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
