"""How fast a causal sequence model of published size trains, as a share of the machine's matrix multiplications.

    python benchmarks/sequence_throughput.py [--windows 16] [--steps 5]

A step is everything: windows read and stamped, what is hidden drawn, forward, backward, clipping, optimizer. Operations
are counted from the shapes (2 for each multiplication and addition; backward twice the forward) and compared with a
plain float32 multiplication of the same sizes in the same run. Results go to benchmarks/results/ with date and machine.
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

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset
from dynml.models.sequence.config import CsmConfig, NetworkBertConfig, SequenceBertConfig
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.objectives.network_bert import NetworkBert
from dynml.models.sequence.objectives.sequence_bert import SequenceBert
from dynml.models.sequence.settling import settled_model
from dynml.models.sequence.trainer import SequenceTrainer
from dynml.models.sequence.windows import datasets_of, windows_of

RESULTS = Path(__file__).parent / "results"
N_NETWORKS, WINDOW = 1024, 50
SIZES = {"embedding_dim": 768, "n_layers": 4, "n_heads": 12, "linear_path": False}
FAMILIES = {
    "csm": (Csm, CsmConfig),
    "sequence_bert": (SequenceBert, SequenceBertConfig),
    "network_bert": (NetworkBert, NetworkBertConfig),
}


def median_seconds(function: Callable[[], object], repetitions: int) -> float:
    """Median wall time of a call, the first one left out."""
    times = []
    for _ in range(repetitions + 1):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return float(np.median(times[1:]))


def operations_of_step(n_windows: int) -> float:
    """Floating-point operations of forward and backward."""
    d, n_layers, n_samples = SIZES["embedding_dim"], SIZES["n_layers"], n_windows * WINDOW
    matrices = 2 * N_NETWORKS * d + n_layers * 12 * d * d
    attention = n_layers * 2 * WINDOW * d
    return 3 * 2 * n_samples * (matrices + attention)


def measured(family: str, dataset: MultiSubjectDataset, n_windows: int, steps: int) -> dict[str, float]:
    """Seconds of a whole step, and of reading and of masking within it."""
    model_class, config_class = FAMILIES[family]
    torch.manual_seed(0)
    model = model_class(settled_model(config_class(**SIZES), dataset), dataset.n_channels)
    sampler = BatchSampler(dataset, window_length=WINDOW, batch_size_training=n_windows)
    loader = BatchLoader(dataset, model)
    spans = next(iter(sampler.batches(0)))
    with tempfile.TemporaryDirectory() as folder:
        trainer = SequenceTrainer(model, folder, family, sampler, loader, progress=False, warmup_steps=0)
        batch = loader.on_device(loader.load_batch(spans))
        model.train()

        def step() -> None:
            loaded = loader.on_device(loader.load_batch(spans))
            result = trainer.run_one_batch(loaded)
            assert trainer.learner is not None
            trainer.learner.learn(result, 0, 1)

        def task() -> None:
            model.task_of(windows_of(batch), batch.subject, datasets_of(batch))

        return {
            "step": median_seconds(step, steps),
            "reading": median_seconds(lambda: loader.on_device(loader.load_batch(spans)), 20),
            "masking": median_seconds(task, 20),
        }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    signals = [generator.normal(size=(300, N_NETWORKS)).astype(np.float32) for _ in range(8)]
    dataset = MultiSubjectDataset.from_arrays(signals)
    n_samples, d = arguments.windows * WINDOW, SIZES["embedding_dim"]
    left, right = torch.randn(n_samples, d), torch.randn(d, 4 * d)
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "windows": arguments.windows,
        "families": {},
    }
    for family in FAMILIES:
        before = median_seconds(lambda: left @ right, 20)
        seconds = measured(family, dataset, arguments.windows, arguments.steps)
        after = median_seconds(lambda: left @ right, 20)
        gemm = 2 * n_samples * d * 4 * d / min(before, after)
        rate = operations_of_step(arguments.windows) / seconds["step"]
        report["families"][family] = {
            "samples_per_second": n_samples / seconds["step"],
            "gigaflops": rate / 1e9,
            "gemm_gigaflops": gemm / 1e9,
            "share_of_gemm": rate / gemm,
            "share_of_reading_and_masking": (seconds["reading"] + seconds["masking"]) / seconds["step"],
            **{f"{name}_seconds": value for name, value in seconds.items()},
        }
        print(json.dumps({family: report["families"][family]}, indent=2), flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sequence_throughput.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
