"""What embedding rows as they are read costs: an HMM pass and a DyNeMo epoch, prepared, on the fly and cached.

    python benchmarks/embedding_on_the_fly.py [--subjects 4] [--seconds 60] [--threads 1] [--rounds 3] [--device cpu]

A store of simulated subjects (250 Hz, 38 channels) and the store of its 80 components of 15 embeddings. The three ways
take turns within one process, and the fastest round of each counts, since other work on the machine only ever adds to
it. The HMM pass is one E-step over all training subjects; the DyNeMo epoch goes through all windows, forward, backward
and the step. Memory is that of a process for each way, which reads the data and goes through one round: the most it
had (VmHWM, and a GPU's by torch's count), and what the series take that stay.
Results: benchmarks/results/embedding_on_the_fly.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch
from hmm_pass import RESULTS, machine

from dynml import BatchLoader, BatchSampler, Dynemo, DynemoConfig, MultiSubjectDataset
from dynml.batches.whole_segments import SegmentPasses
from dynml.dataset.config import DatasetConfig
from dynml.ops.hmm.gaussian_hmm import e_step
from dynml.ops.hmm.statistics import GaussianHMMParameters
from dynml.preparation.standardization import standardized
from dynml.recording import recording_of_runs
from dynml.store.participants import SubjectIdentity
from dynml.store.writing import new_store
from dynml.training.costs import peak_memory

RATE, N_CHANNELS, N_EMBEDDINGS, N_COMPONENTS = 250, 38, 15, 80
N_STATES, N_MODES, LENGTH, BATCH_SIZE = 8, 8, 200, 64
EMBEDDED = {"n_embeddings": N_EMBEDDINGS, "n_components": N_COMPONENTS, "whiten": True}
WAYS = {"prepared": {}, "on the fly": EMBEDDED, "cached": EMBEDDED | {"cache_embedded": True}}


def write_store(path, series, margin=0):
    """Write arrays as subjects of a store; so many rows at each end are no data."""
    names = [f"sub-{number:03d}" for number in range(len(series))]
    with new_store(path, {}, {"training": names}) as writer:
        for name, signals in zip(names, series):
            good = np.array([[margin, len(signals) - margin]])
            recording = recording_of_runs([signals], sampling_frequency=float(RATE), stretches=[good])
            writer.add_subject(SubjectIdentity(subject=name, participant=name))
            writer.add_group(name, "signals", standardized(recording, "none"), signals.shape[1])


def write_stores(folder, n_subjects, seconds):
    """The store of the channels, filtered noise that is mixed, and that of its components."""
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(N_CHANNELS, N_CHANNELS)) / np.sqrt(N_CHANNELS)
    series = []
    for _ in range(n_subjects):
        noise = generator.normal(size=(RATE * seconds + 4, N_CHANNELS))
        smooth = sum(noise[lag : lag + RATE * seconds] for lag in range(5))
        series.append((smooth @ mixing + 0.1 * noise[4:]).astype(np.float32))
    write_store(folder / "on the fly.hdf5", series)
    subset = opened(folder, "on the fly", "cpu").training_set
    margin = N_EMBEDDINGS // 2
    prepared = [np.full((len(one), N_COMPONENTS), np.nan, dtype=np.float32) for one in series]
    for number, rows in enumerate(prepared):
        rows[margin:-margin] = subset.read(number, margin, len(rows) - margin).numpy()
    write_store(folder / "prepared.hdf5", prepared, margin)


def opened(folder, way, device):
    """Dataset of a way."""
    store = folder / f"{'prepared' if way == 'prepared' else 'on the fly'}.hdf5"
    residency = "memory" if device == "cpu" else "device"
    dataset = MultiSubjectDataset(store, residency, device=device, config=DatasetConfig(**WAYS[way]))
    dataset.load_data()
    return dataset


def hmm_pass_of(dataset):
    """One E-step over all training subjects."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(N_STATES, N_COMPONENTS, N_COMPONENTS, generator=generator, dtype=torch.float64)
    parameters = GaussianHMMParameters(
        means_KC=torch.zeros(N_STATES, N_COMPONENTS, dtype=torch.float64),
        covariances_KCC=torch.eye(N_COMPONENTS, dtype=torch.float64) + 0.1 * factors @ factors.mT / N_COMPONENTS,
        transition_probabilities_KK=torch.full(
            (N_STATES, N_STATES), 0.1 / (N_STATES - 1), dtype=torch.float64
        ).fill_diagonal_(0.9),
        initial_probabilities_K=torch.full((N_STATES,), 1 / N_STATES, dtype=torch.float64),
    )
    passes = SegmentPasses(dataset)

    def run():
        return sum(float(e_step(b.signals, b.starts, parameters)[0].log_likelihood) for b in passes("training"))

    return run


def dynemo_epoch_of(dataset):
    """Forward, backward and step for every window; gives the mean loss of the first epoch."""
    torch.manual_seed(0)
    model = Dynemo(DynemoConfig(n_modes=N_MODES, sequence_length=LENGTH), dataset.n_channels).to(dataset.device)
    sampler = BatchSampler(dataset, window_length=LENGTH, batch_size_training=BATCH_SIZE)
    loader, optimizer = BatchLoader(dataset, model), torch.optim.Adam(model.parameters(), 1e-3)
    model.train()

    def run():
        losses = []
        for batch in loader.iterate(sampler, 0):
            terms = model.bound_terms(batch.signals, model.noise(batch.keys, batch.signals), batch.mask)
            loss = (terms.divergence_BT - terms.log_likelihood_BT).sum() / batch.n_samples
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    return run


TASKS = {"HMM pass": hmm_pass_of, "DyNeMo epoch": dynemo_epoch_of}


def fastest_by_turns(runs, rounds):
    """Seconds of the fastest round of each, and what the first round of each found."""
    found = {name: run() for name, run in runs.items()}
    fastest = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            fastest[name] = min(fastest[name], time.perf_counter() - begin)
    return fastest, found


def memory_of(folder, task, way, device):
    """Peak of a process that does one round: MiB."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import embedding_on_the_fly as b; from pathlib import Path; "
        "b.report_memory(Path(sys.argv[2]), *sys.argv[3:6])"
    )
    arguments = [str(Path(__file__).parent), str(folder), task, way, device]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def report_memory(folder, task, way, device):
    """Print the peak of this process, and what stays."""
    dataset = opened(folder, way, device)
    before = peaks(dataset.device)
    TASKS[task](dataset)()
    series = dataset.series.numel() * 4 / 2**20
    after = peaks(dataset.device)
    print(json.dumps({"series_mebibytes": series, "loaded": before, "after one round": after}))


def peaks(device):
    """MiB of this process, which (unlike `ru_maxrss`) owes nothing to the one that started it, and of the GPU."""
    lines = Path("/proc/self/status").read_text().splitlines()
    process = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    return peak_memory(device) | {"peak_memory_mebibytes": process}


def main():
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("subjects", 4), ("seconds", 60), ("threads", 1), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / "embedding_on_the_fly.json")
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    report = {"date": str(date.today()), "machine": machine(settings.device), "load": os.getloadavg()}
    report |= {"settings": {key: str(value) for key, value in vars(settings).items() if key != "out"}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_stores(folder, settings.subjects, settings.seconds)
        for task, make in TASKS.items():
            runs = {way: make(opened(folder, way, settings.device)) for way in WAYS}
            fastest, found = fastest_by_turns(runs, settings.rounds)
            memory = {way: memory_of(folder, task, way, settings.device) for way in WAYS}
            ratios = {way: fastest[way] / fastest["prepared"] for way in WAYS}
            report[task] = {"seconds": fastest, "of_prepared": ratios, "found": found, "memory": memory}
            print(task, json.dumps(report[task], indent=2))
    settings.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
