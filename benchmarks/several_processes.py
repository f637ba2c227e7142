"""Time of an HMM on two processes with one core each, beside one process with one core, in one run.

    python benchmarks/several_processes.py DATA.npz N_STATES [--subjects 20] [--repetitions 3]

The recording of DATA.npz is taken for every subject, with noise of its own. Both runs make the same number of EM
iterations, interleaved; the ratio of medians counts. Results go to benchmarks/results/ with date and machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"
SCRIPTS = Path(sys.executable).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def make_store(folder: Path, series: np.ndarray, n_subjects: int) -> Path:
    """A store of repeated recordings."""
    generator = np.random.default_rng(0)
    names = [f"sub-{number:02d}" for number in range(n_subjects)]
    for name in names:
        (folder / "ready" / name).mkdir(parents=True)
        noise = 0.01 * generator.standard_normal(series.shape, dtype=np.float32)
        np.save(folder / "ready" / name / "run.npy", series + noise)
    group = {"type": "timeseries", "files": ["run.npy"], "sampling_frequency": 250, "standardization": "none"}
    (folder / "config.json").write_text(json.dumps({"signals": group}))
    lists = [folder / f"{name}.txt" for name in ("training", "validation", "testing")]
    for path, content in zip(lists, (names, [], [])):
        path.write_text("".join(f"{name}\n" for name in content))
    store = folder / "store.hdf5"
    script = SCRIPTS / "dynml_create_hdf5_dataset.py"
    subprocess.run([script, folder / "ready", store, folder / "config.json", *lists], check=True)
    shutil.rmtree(folder / "ready")
    return store


def train(folder: Path, store: Path, name: str, n_states: int, n_processes: int) -> dict:
    """One run with one thread per process; seconds of the whole command and of its phases."""
    script = [SCRIPTS / "dynml_train_model.py", "hmm", folder, name, store, "signals"]
    settings = ["--model.n_states", n_states, "--trainer.max_epochs", 8, "--trainer.tolerance", 0]
    command = [*([*TORCHRUN, n_processes] if n_processes > 1 else [sys.executable]), *script, *settings]
    begin = time.perf_counter()
    subprocess.run(
        [str(part) for part in [*command, "--trainer.progress", "false"]],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    elapsed = time.perf_counter() - begin
    summary = json.loads((folder / name / "summary.json").read_text())
    return {
        "processes": n_processes,
        "command_s": elapsed,
        **{f"{phase}_s": seconds for phase, seconds in summary["seconds"].items()},
        "free_energy": summary["free_energy"]["training"],
        "peak_memory_mebibytes": summary["peak_memory_mebibytes"],
    }


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("n_states", type=int)
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    series = np.load(arguments.data)["time_series"].astype(np.float32)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = make_store(folder, series, arguments.subjects)
        for repetition in range(arguments.repetitions):
            for n_processes in (1, 2):
                rows.append(train(folder, store, f"{n_processes}-{repetition}", arguments.n_states, n_processes))
                print(json.dumps(rows[-1]), flush=True)
    medians = {
        key: [float(np.median([row[key] for row in rows if row["processes"] == n])) for n in (1, 2)]
        for key in ("command_s", "training_s", "initialization_s", "report_s")
    }
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread per process",
        "data": f"{arguments.data.name}, {arguments.subjects} subjects",
        "medians_of_1_and_2_processes": medians,
        "speedup": {key: values[0] / values[1] for key, values in medians.items()},
        "runs": rows,
    }
    print(json.dumps(report["speedup"], indent=2))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"several_processes_{arguments.data.stem}.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
