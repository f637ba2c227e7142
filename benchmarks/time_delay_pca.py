"""Time-delay embedding and principal components of many subjects: dynml beside osl-dynamics, in one run.

    python benchmarks/time_delay_pca.py [--peer /opt/peers/osl/bin/python] [--subjects 100] [--threads 1]

Simulated subjects of 300 s at 250 Hz and 38 channels are written as .npy files once. Then each program, in a process of
its own, reads them, fits 80 components of 15 embeddings to all of them, and prepares all of them. osl-dynamics
(`Data(..).tde_pca(..)`) keeps the prepared series in memory. dynml does the same three things subject by subject, as
many at a time as there are threads:
"preparation" throws each prepared series away (and so writes as little as the peer), "store" is the whole command
dynml_create_hdf5_dataset.py, which also standardizes, writes, checksums and verifies. Peak memory and processor time of
each process are what the system says of it (`resource.getrusage` of its child). The subspaces are compared by their
principal angles.
Results go to benchmarks/results/ with date and machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"
N_CHANNELS, N_EMBEDDINGS, N_COMPONENTS, RATE, SECONDS = 38, 15, 80, 250, 300

PEER = """
import json, sys, time
folder, out = sys.argv[1:3]
begin = time.perf_counter()
from osl_dynamics.data import Data
imported = time.perf_counter()
data = Data(folder)
loaded = time.perf_counter()
data.tde_pca(n_embeddings=N_EMBEDDINGS, n_pca_components=N_COMPONENTS)
prepared = time.perf_counter()
import numpy as np
np.save(out, data.pca_components)
seconds = {"import": imported - begin, "load": loaded - imported, "fit and apply": prepared - loaded}
print("RESULT" + json.dumps(seconds))
"""

OURS = """
import json, sys, time
folder, out = sys.argv[1:3]
begin = time.perf_counter()
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
import scipy.fft
from dynml.preparation import chain
from dynml.fits import Layout
from dynml.recording import recording_of_runs
from dynml.data_warnings import DataWarnings
imported = time.perf_counter()
embedding = {"step": "time_delay_embedding_pca", "n_embeddings": N_EMBEDDINGS, "n_components": N_COMPONENTS}
steps = chain.chosen_steps(["standardize", embedding])
files = sorted(Path(folder).glob("*.npy"))
def standardized(path):
    recording = recording_of_runs([np.load(path)], sampling_frequency=250.0)
    return chain.applied(steps[:1], recording, path.stem, DataWarnings())
names = recording_of_runs([np.load(files[0])], sampling_frequency=250.0).channel_names
pool = ThreadPoolExecutor(THREADS)
def results(function):
    for first in range(0, len(files), THREADS):
        yield from pool.map(function, files[first : first + THREADS])
fit = steps[1].fitted(
    Layout(sampling_frequency=250.0, channel_names=names),
    results(lambda path: (path.stem, steps[1].statistics(standardized(path)))),
)
fitted = time.perf_counter()
bound = dataclasses.replace(steps[1], fit=fit)
def prepare(path):
    after = chain.applied([bound], standardized(path), path.stem, DataWarnings())
    return float(after.signals[after.segments[0, 0]].sum())
total = sum(results(prepare))
prepared = time.perf_counter()
np.save(out, fit.arrays["components"])
print("RESULT" + json.dumps({"import": imported - begin, "fit": fitted - imported, "apply": prepared - fitted}))
"""


def write_subjects(folder: Path, n_subjects: int) -> None:
    """Coloured noise of a few common sources, float32, (75000, 38) each."""
    mixing = np.random.default_rng(0).normal(size=(N_CHANNELS, N_CHANNELS)) * np.linspace(2.0, 0.3, N_CHANNELS)[:, None]
    from scipy.signal import lfilter

    poles = np.linspace(0.5, 0.97, N_CHANNELS)
    angles = 2 * np.pi * np.linspace(2, 40, N_CHANNELS) / RATE
    for number in range(n_subjects):
        noise = np.random.default_rng(number + 1).normal(size=(SECONDS * RATE, N_CHANNELS))
        for channel, (pole, angle) in enumerate(zip(poles, angles)):
            noise[:, channel] = lfilter([1.0], [1.0, -2 * pole * np.cos(angle), pole**2], noise[:, channel])
        signals = noise / noise.std(0) @ mixing
        np.save(folder / f"sub-{number:03d}.npy", signals.astype(np.float32))


def run(command: list[str], threads: int) -> tuple[dict, dict[str, float]]:
    """Run one program; what it says of its times, and what it cost."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    # dynml shares out subjects, so that each of its threads needs one core.
    cores = 1 if command[0] == sys.executable else threads
    environment = {**os.environ, **dict.fromkeys(names, str(cores)), "CUDA_VISIBLE_DEVICES": ""}
    # A small process between, whose only child the program is, so that the largest child is the program.
    wrapper = (
        "import json, resource, subprocess, sys;"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "cost = [used.ru_maxrss / 1024, used.ru_utime + used.ru_stime];"
        "print(json.dumps([done.returncode, done.stdout, done.stderr[-2000:], cost]))"
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", wrapper, *command], capture_output=True, text=True, env=environment)
    elapsed = time.perf_counter() - begin
    status, output, errors, (peak, processor) = json.loads(done.stdout)
    if status:
        raise SystemExit(f"{command[:2]} ended with status {status}:\n{errors}")
    lines = [line for line in output.splitlines() if line.startswith("RESULT")]
    return json.loads(lines[0][6:]) if lines else {}, {"wall_s": elapsed, "processor_s": processor, "peak_MB": peak}


def sines_of_angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Sines of the principal angles between two subspaces."""
    own, other = (np.linalg.qr(matrix.astype(np.float64))[0] for matrix in (first, second))
    return np.linalg.svd(other - own @ (own.T @ other), compute_uv=False)


def main() -> None:
    """Simulate, run both, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default="/opt/peers/osl/bin/python")
    parser.add_argument("--subjects", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repetitions", type=int, default=2)
    arguments = parser.parse_args()
    settings = f"N_EMBEDDINGS, N_COMPONENTS, THREADS = {N_EMBEDDINGS}, {N_COMPONENTS}, {arguments.threads}\n"
    runs: dict[str, list] = {"osl-dynamics": [], "dynml preparation": [], "dynml store": []}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "data").mkdir()
        write_subjects(home / "data", arguments.subjects)
        table = [
            "subject,file,subset",
            *(f"{p.stem},data/{p.name},training" for p in sorted((home / "data").iterdir())),
        ]
        (home / "files.csv").write_text("\n".join(table) + "\n")
        steps = ["standardize", {"step": "time_delay_embedding_pca"}]
        steps[1] |= {"n_embeddings": N_EMBEDDINGS, "n_components": N_COMPONENTS}  # type: ignore[operator]
        group = {"type": "timeseries", "sampling_frequency": RATE, "preparation": steps}
        (home / "config.json").write_text(json.dumps({"signals": group}))
        script = str(Path(sys.executable).parent / "dynml_create_hdf5_dataset.py")
        store = [
            sys.executable,
            script,
            *(str(home / name) for name in ("files.csv", "store.hdf5", "config.json")),
            "-f",
            "--n_jobs",
            str(arguments.threads),
        ]
        commands = {
            "osl-dynamics": [arguments.peer, "-c", settings + PEER, str(home / "data"), str(home / "peer.npy")],
            "dynml preparation": [sys.executable, "-c", settings + OURS, str(home / "data"), str(home / "ours.npy")],
            "dynml store": store,
        }
        for _ in range(arguments.repetitions):
            for name, command in commands.items():
                said, cost = run(command, arguments.threads)
                runs[name].append({**cost, "seconds": said})
                print(name, runs[name][-1], flush=True)
        peer, own = np.load(home / "peer.npy"), np.load(home / "ours.npy")
    # Rows of the peer's: channel by channel, the latest sample first; of ours: sample by sample, the earliest first.
    order = [c * N_EMBEDDINGS + N_EMBEDDINGS - 1 - i for i in range(N_EMBEDDINGS) for c in range(N_CHANNELS)]
    sines = sines_of_angles(own, peer[order])
    best = {
        name: min(own_runs, key=lambda one: sum(one["seconds"].values()) or one["wall_s"])
        for name, own_runs in runs.items()
    }
    times = {name: sum(v for k, v in one["seconds"].items() if k != "import") for name, one in best.items()}
    raw = arguments.subjects * SECONDS * RATE * N_CHANNELS * 4 / 1e6
    summary = {
        "times faster, import left out": times["osl-dynamics"] / times["dynml preparation"],
        "times less processor time, whole process": best["osl-dynamics"]["processor_s"]
        / best["dynml preparation"]["processor_s"],
        "times faster, whole process": best["osl-dynamics"]["wall_s"] / best["dynml preparation"]["wall_s"],
        "times faster, whole process that writes a verified store": best["osl-dynamics"]["wall_s"]
        / best["dynml store"]["wall_s"],
        "share of its peak memory": best["dynml preparation"]["peak_MB"] / best["osl-dynamics"]["peak_MB"],
        "share of its peak memory, store": best["dynml store"]["peak_MB"] / best["osl-dynamics"]["peak_MB"],
        "largest sine of the angles between the subspaces": float(sines.max()),
        "MB/s of recordings, preparation": raw / times["dynml preparation"],
        "MB/s of recordings, store": raw / best["dynml store"]["wall_s"],
    }
    for name, value in summary.items():
        print(f"{name}: {value:.4g}")
    result = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"platform": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()},
        "settings": {name: value for name, value in vars(arguments).items() if name != "peer"}
        | {"n_channels": N_CHANNELS, "n_embeddings": N_EMBEDDINGS, "n_components": N_COMPONENTS},
        "runs": runs,
        "summary": summary,
    }
    (RESULTS / "time_delay_pca.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
