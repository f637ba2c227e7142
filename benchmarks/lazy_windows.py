"""Random windows read from a store that stays on disk, beside plain HDF5 slices of the same rows.

    python benchmarks/lazy_windows.py [--subjects 40] [--seconds 300] [--windows 2000] [--rounds 5]

Windows of 200 samples of 80 channels, drawn by the sampler and read by the loader with `residency: lazy`, against
`dataset[start:stop]` of h5py for the same windows in the same order, into the same (B, T, C) array. The two take turns
within one process. "cold": the system is asked to forget the file's pages before each round, as for a store that is
larger than the memory left for it; "warm": the pages stay. Results go to benchmarks/results/lazy_windows.json.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import date
from pathlib import Path

import h5py
import numpy as np
from hmm_pass import RESULTS, machine

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset
from dynml.preparation.standardization import standardized
from dynml.recording import recording_of_runs
from dynml.store.participants import SubjectIdentity
from dynml.store.writing import new_store

GROUP, RATE, N_CHANNELS, LENGTH, BATCH_SIZE = "signals", 250, 80, 200, 32


def write_store(path: Path, n_subjects: int, seconds: int) -> None:
    """White noise: what the numbers are does not matter here."""
    names = [f"sub-{number:03d}" for number in range(n_subjects)]
    with new_store(path, {}, {"training": names}) as writer:
        for number, name in enumerate(names):
            generator = np.random.default_rng(number)
            signals = generator.standard_normal((seconds * RATE, N_CHANNELS), dtype=np.float32)
            recording = recording_of_runs([signals], sampling_frequency=float(RATE))
            writer.add_subject(SubjectIdentity(subject=name, participant=name))
            writer.add_group(name, GROUP, standardized(recording, "none"), N_CHANNELS)


def forget(path: Path) -> None:
    """Drop the file's pages from memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def by_loader(path: Path, n_windows: int, epoch: int) -> tuple[float, list, float]:
    """Seconds of reading windows in batches, the windows, and a sum over them."""
    dataset = MultiSubjectDataset(path, group=GROUP, residency="lazy")
    dataset.load_data()
    sampler = BatchSampler(dataset, window_length=LENGTH, batch_size_training=BATCH_SIZE, seed=1)
    loader, spans, total = BatchLoader(dataset), [], 0.0
    begin = time.perf_counter()
    for batch in loader.iterate(sampler, epoch):
        total += float(batch.windows[0, 0, 0])
        spans += [(dataset.training_set.subjects[span.subject], span.start, span.stop) for span in batch.spans]
        if len(spans) >= n_windows:
            break
    return time.perf_counter() - begin, spans, total


def by_slices(path: Path, spans: list) -> tuple[float, float]:
    """Seconds of reading the same windows by h5py alone, and the same sum."""
    with h5py.File(path) as file:
        datasets = {subject: file[f"subjects/{subject}/{GROUP}/data"] for subject, _, _ in spans}
        begin, total = time.perf_counter(), 0.0
        for first in range(0, len(spans), BATCH_SIZE):
            some = spans[first : first + BATCH_SIZE]
            windows = np.zeros((len(some), LENGTH, N_CHANNELS), dtype=np.float32)
            for row, (subject, start, stop) in enumerate(some):
                windows[row, : stop - start] = datasets[subject][start:stop]
            total += float(windows[0, 0, 0])
        seconds = time.perf_counter() - begin
    return seconds, total


def main() -> None:
    """Write a store, take turns, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=40)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    report: dict = {"date": date.today().isoformat(), "machine": machine("cpu"), "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.hdf5"
        write_store(path, arguments.subjects, arguments.seconds)
        report |= {"store_bytes": path.stat().st_size, "windows": arguments.windows, "window": [LENGTH, N_CHANNELS]}
        for state in ("cold", "warm"):
            rates: dict[str, list[float]] = {"loader": [], "slices": []}
            for number in range(arguments.rounds + 1):
                if state == "cold":
                    forget(path)
                seconds, spans, total = by_loader(path, arguments.windows, number)
                if state == "cold":
                    forget(path)
                plain_seconds, plain_total = by_slices(path, spans)
                assert total == plain_total
                # The first round only warms up.
                if number:
                    rates["loader"].append(len(spans) / seconds)
                    rates["slices"].append(len(spans) / plain_seconds)
            medians = {name: float(np.median(values)) for name, values in rates.items()}
            report[state] = {
                "windows_per_second": rates,
                "medians": medians,
                "share": float(np.median(np.array(rates["loader"]) / np.array(rates["slices"]))),
            }
            print(state, json.dumps(report[state]["medians"]), "share", report[state]["share"], flush=True)
    (RESULTS / "lazy_windows.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
