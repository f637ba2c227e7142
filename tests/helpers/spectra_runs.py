"""A store whose states resonate at 10 and 30 Hz, and an HMM that knows them by their power."""

import contextlib
import io
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from resonating_signals import RATE, switching
from running_scripts import create_store

FOLDER = Path(__file__).parents[2] / "scripts_python"

SPECTRA = "dynml_compute_spectra.py"


@dataclass
class Done:
    out: str
    err: str


def run_here(name, *arguments, status=0):
    """Run a script in this process, which has torch at hand."""
    out, err, found = io.StringIO(), io.StringIO(), 0
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with mock.patch.object(sys, "argv", [name, *map(str, arguments)]), streams[0], streams[1]:
        try:
            runpy.run_path(str(FOLDER / name), run_name="__main__")
        except SystemExit as end:
            found = end.code or 0
    assert found == status, f"status {found}\n{out.getvalue()}\n{err.getvalue()}"
    return Done(out.getvalue(), err.getvalue())


def switching_arrays(n_subjects, n_samples=12000, mean_visit=0.3, n_channels=4):
    """Signals of subjects; the state of 30 Hz is three times as large, so that single samples tell them apart."""
    arrays = {}
    for number in range(n_subjects):
        signals, states = switching(np.random.default_rng(number), n_samples, mean_visit, n_channels=n_channels)
        arrays[f"sub-{number}"] = [(signals * np.where(states, 3.0, 1.0)[:, None]).astype(np.float32)]
    return arrays


def trained(folder, store, name="hmm", *further):
    (folder / "experiments").mkdir(exist_ok=True)
    sizes = ("--model.n_states", 2, "--model.learn_means", "false")
    sizes += ("--trainer.max_epochs", 6, "--initialization.n_init", 1)
    run_here("dynml_train_model.py", "hmm", folder / "experiments", name, store, "signals", *sizes, *further)
    return folder / "experiments" / name


def made_store(folder, arrays, **settings):
    folder.mkdir(parents=True, exist_ok=True)
    return create_store(folder, arrays, {"training": list(arrays)}, sampling_frequency=RATE, **settings)
