"""Runs of a small HMM by the scripts, as a user starts them, and what such a run has committed."""

import os
import subprocess
import time

import numpy as np
from running_scripts import SCRIPTS, run_script

TRAIN, RESUME, INFER = (
    "dynml_train_model.py",
    "dynml_resume_training_from_checkpoint.py",
    "dynml_infer_from_model.py",
)


def switching_signals(n_samples, seed, n_channels=5):
    generator = np.random.default_rng(seed)
    state = np.repeat(generator.integers(0, 2, n_samples // 20 + 1), 20)[:n_samples, None]
    scale = np.where(state, np.linspace(0.5, 2, n_channels), np.linspace(2, 0.5, n_channels))
    return (generator.normal(size=(n_samples, n_channels)) * scale).astype(np.float32)


def train(folder, hdf5_file, name="run", *further, status=0, run_by=run_script):
    sizes = ("--model.n_states", 2, "--trainer.max_epochs", 30)
    return run_by(TRAIN, "hmm", folder, name, hdf5_file, "signals", *sizes, *further, status=status)


SLOW = (
    "--trainer.tolerance",
    0,
    "--trainer.saving_share",
    1,
    "--initialization.n_init",
    4,
    "--trainer.max_epochs",
    80,
)


def start(folder, hdf5_file, name):
    arguments = ["hmm", folder, name, hdf5_file, "signals", "--model.n_states", 2, *SLOW, "--resume", "auto"]
    return subprocess.Popen(
        [str(SCRIPTS / TRAIN), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def commit_stamps(experiment):
    """When a run was begun and when it last committed, in ns, 0 for never.

    Asked of each file in one call: between a question whether it exists and one for its time, a commit may move it.
    """
    stamps = []
    for path in (experiment / "parameters_latest.json", experiment / "checkpoint" / "manifest.json"):
        try:
            stamps.append(path.stat().st_mtime_ns)
        except FileNotFoundError:
            stamps.append(0)
    return stamps


def wait_for_commits(experiment, process, n_commits, commits_before):
    """Wait until a run has begun and committed so many checkpoints, or has come to its end."""
    seen = set()
    while process.poll() is None:
        stamps = commit_stamps(experiment)
        if stamps[0] != commits_before[0]:
            seen |= {stamps[1]} - {commits_before[1], 0}
            if len(seen) >= n_commits:
                return
        time.sleep(0.002)
