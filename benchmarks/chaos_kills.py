"""Kills at random times of training, of making a store and of adding to one, each followed by the same command again.

A chain is one command that is killed up to `MOST` times, by `kill -9` or SIGTERM, and then left alone. What it comes to
must be, bit for bit, what a command that nobody disturbed comes to; no process may outlive its command by more than
`GRACE` seconds, and no temporary file may stay in the end.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SCRIPTS = Path(sys.executable).parent
MOST, GRACE = 5, 20
MODELS = {
    "hmm": ["--model.n_states", "3", "--trainer.max_epochs", "60", "--trainer.tolerance", "0"],
    "csm": [
        "--model.embedding_dim",
        "16",
        "--model.n_layers",
        "1",
        "--model.n_heads",
        "2",
        "--trainer.max_epochs",
        "6",
    ],
    "dynemo": ["--model.n_modes", "2", "--trainer.max_epochs", "6", "--model.sequence_length", "50"],
}
SIZES_OF_DYNEMO = ["--model.inference_n_units", "8", "--model.model_n_units", "8", "--model.n_kl_annealing_epochs", "2"]
N_SUBJECTS = 12


@dataclass(frozen=True)
class Job:
    """A command that is to survive kills.

    Attributes
    ----------
    prepare : callable
        Makes what the command starts from, in a folder.
    command : callable
        Gives the command for a folder; the same one is called again.
    result : callable
        Text that is the same only for the same numbers.
    """

    prepare: Callable[[Path], None]
    command: Callable[[Path], list[str]]
    result: Callable[[Path], str]


# ---------------------------------------------------------------------- what is killed


def write_recordings(folder: Path) -> None:
    """Recordings of some subjects, the config, and lists of the first half and of all."""
    generator = np.random.default_rng(0)
    names = [f"sub-{number:02d}" for number in range(N_SUBJECTS)]
    for name in names:
        (folder / "ready" / name).mkdir(parents=True)
        state = np.repeat(generator.integers(0, 2, 20), 30)[:, None]
        scale = np.where(state, np.linspace(0.5, 2, 5), np.linspace(2, 0.5, 5))
        np.save(folder / "ready" / name / "run.npy", (generator.normal(size=(600, 5)) * scale).astype(np.float32))
    group = {"type": "timeseries", "files": ["run.npy"], "sampling_frequency": 100}
    (folder / "config.json").write_text(json.dumps({"signals": group}))
    for label, chosen in (("half", names[: N_SUBJECTS // 2]), ("other", names[N_SUBJECTS // 2 :]), ("all", names)):
        (folder / f"{label}.txt").write_text("\n".join(chosen) + "\n")
    (folder / "empty.txt").write_text("")


def creation(folder: Path, subjects: str, *further: str) -> list[str]:
    """Command that makes or extends the folder's store."""
    places = [folder / "ready", folder / "store.hdf5", folder / "config.json"]
    lists = [folder / f"{subjects}.txt", folder / "empty.txt", folder / "empty.txt"]
    return [str(SCRIPTS / "dynml_create_hdf5_dataset.py"), *map(str, [*places, *lists]), *further]


def addition(folder: Path) -> list[str]:
    """Add the other half, unless it is there: a command that was killed after its end has nothing to add."""
    return creation(folder, "other", "--add")


def training(folder: Path, family: str) -> list[str]:
    """Train a small model of a family."""
    places = [folder, "run", folder / "store.hdf5", "signals"]
    sizes = MODELS[family] + (SIZES_OF_DYNEMO if family == "dynemo" else [])
    always = ["--trainer.saving_share", "1", "--trainer.progress", "false", "--resume", "auto"]
    return [str(SCRIPTS / "dynml_train_model.py"), family, *map(str, places), *sizes, *always]


def content_of_store(folder: Path) -> str:
    """Fingerprint of subjects and signals."""
    import h5py

    digest = hashlib.sha256()
    with h5py.File(folder / "store.hdf5") as file:
        subjects = file["subjects"]
        for name in sorted(subjects):
            digest.update(name.encode())
            for array in ("data", "segments", "mean", "std"):
                if array in subjects[name]["signals"]:
                    digest.update(np.ascontiguousarray(subjects[name]["signals"][array][()]).tobytes())
    return digest.hexdigest()


def content_of_run(folder: Path) -> str:
    """Fingerprint of the best and the last weights and of all metrics but those of costs."""
    from dynml.training.costs import COST_ENDINGS

    digest = hashlib.sha256()
    for part in ("best_model", "checkpoint"):
        digest.update((folder / "run" / part / "model.safetensors").read_bytes())
    with (folder / "run" / "logs" / "metrics.csv").open() as stream:
        for row in csv.DictReader(stream):
            digest.update(repr([value for name, value in row.items() if not name.endswith(COST_ENDINGS)]).encode())
    return digest.hexdigest()


def run(command: list[str]) -> None:
    """Run a command that nobody disturbs."""
    done = subprocess.run(command, capture_output=True, text=True, env=_environment())
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"


def _with_store(folder: Path, subjects: str) -> None:
    write_recordings(folder)
    run(creation(folder, subjects))


def jobs() -> dict[str, Job]:
    """All that is killed, by name."""
    made = {
        f"training of {family}": Job(
            lambda folder: _with_store(folder, "all"),
            lambda folder, family=family: training(folder, family),
            content_of_run,
        )
        for family in MODELS
    }
    create = {
        f"making a store, {n_jobs} processes": Job(
            write_recordings,
            lambda folder, n_jobs=n_jobs: creation(folder, "all", "-f", "--n_jobs", str(n_jobs)),
            content_of_store,
        )
        for n_jobs in (1, 2)
    }
    add = {"adding to a store": Job(lambda folder: _with_store(folder, "half"), addition, content_of_store)}
    return made | create | add


# ---------------------------------------------------------------------- kills


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


def _alive_in(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(path.name))
    return found


def outlived(session: int) -> int:
    """Wait for the processes of a command that was killed; count and end those that stay."""
    deadline = time.monotonic() + GRACE
    while (alive := _alive_in(session)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return len(alive)


def killed_once(command: list[str], seconds: float, number: int) -> tuple[int, str, int]:
    """Start a command and kill it after some time; its status, what it said, and how many processes outlived it."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, env=_environment(), start_new_session=True
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
        process.send_signal(number)
        status = process.wait()
        n_outlived = outlived(process.pid)
        said.seek(0)
        return status, said.read(), n_outlived


def chain(job: Job, folder: Path, generator: random.Random, longest: float, n_kills: int) -> dict[str, Any]:
    """Kill one command up to `n_kills` times, then let it come to its end."""
    job.prepare(folder)
    counts: dict[str, Any] = {"kills": 0, "processes left": 0, "tracebacks": 0, "statuses": []}
    for _ in range(n_kills):
        number = generator.choice((signal.SIGKILL, signal.SIGTERM))
        status, said, n_outlived = killed_once(job.command(folder), generator.uniform(0, longest), number)
        counts["processes left"] += n_outlived
        counts["tracebacks"] += "Traceback" in said
        if status == 0:
            break
        counts["kills"] += 1
        counts["statuses"].append(status)
    last = subprocess.run(job.command(folder), capture_output=True, text=True, env=_environment())
    # What was killed after its last act has nothing left to do, and may say so.
    complete = last.returncode == 0 or (last.returncode == 2 and "already" in last.stderr)
    counts["failed"] = "" if complete else last.stderr[-500:]
    counts["result"] = job.result(folder) if complete else ""
    left = [path for path in folder.rglob("*") if ".partial-" in path.name or path.name.endswith(".new")]
    counts["files left"] = len(left)
    return counts


def kill_all(n_kills: int, seed: int, names: list[str] | None = None) -> dict[str, Any]:
    """Kill each job its share of `n_kills` times; a table by job."""
    table: dict[str, Any] = {}
    chosen = {name: job for name, job in jobs().items() if not names or name in names}
    for name, job in chosen.items():
        generator = random.Random(f"{seed} {name}")
        row: dict[str, Any] = {"kills": 0, "chains": 0, "identical": 0, "processes left": 0, "files left": 0}
        row |= {"tracebacks": 0, "failed": []}
        with tempfile.TemporaryDirectory() as temporary:
            whole = Path(temporary) / "whole"
            job.prepare(whole)
            begin = time.monotonic()
            run(job.command(whole))
            longest = 1.1 * (time.monotonic() - begin)
            expected = job.result(whole)
            share, attempts = -(-n_kills // len(chosen)), 0
            while row["kills"] < share and attempts < 10 * share:
                attempts += 1
                folder = Path(temporary) / f"chain-{attempts}"
                found = chain(job, folder, generator, longest, min(MOST, share - row["kills"]))
                row["chains"] += 1
                row["identical"] += found["result"] == expected
                row["failed"] += [found["failed"]] if found["failed"] else []
                for key in ("kills", "processes left", "files left", "tracebacks"):
                    row[key] += found[key]
        table[name] = row
        print(f"{name}: {row}", flush=True)
    return {"seed": seed, "jobs": table}
