"""Running the scripts as a user does, and small stores made by them."""

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

SCRIPTS = Path(sys.executable).parent
FOLDER = Path(__file__).parents[2] / "scripts_python"


def run_script(name, *arguments, status=0, environment=None, timeout=1800, preexec_fn=None):
    """Run a script from the PATH of this environment and check its exit status."""
    done = subprocess.run(
        [str(SCRIPTS / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        preexec_fn=preexec_fn,
        env={**os.environ, "MPLBACKEND": "Agg", **(environment or {})},
    )
    assert done.returncode == status, f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
    if status == 2:
        assert "Traceback" not in done.stderr
    return done


@dataclass
class Done:
    stdout: str
    stderr: str


def ran_here(name, *arguments):
    """Run a script in this process, which has torch at hand: status, what it printed, its errors and warnings."""
    out, err, found = io.StringIO(), io.StringIO(), 0
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with mock.patch.object(sys, "argv", [name, *map(str, arguments)]), streams[0], streams[1]:
        try:
            runpy.run_path(str(FOLDER / name), run_name="__main__")
        except SystemExit as end:
            found = end.code or 0
    return found, out.getvalue(), err.getvalue()


def run_here(name, *arguments, status=0):
    """Run a script in this process and check its exit status."""
    found, out, err = ran_here(name, *arguments)
    assert found == status, f"status {found}\n{out}\n{err}"
    return Done(out, err)


def create_store(folder, arrays, subsets, *, run_by=run_script, **settings):
    """Make a store of arrays (subject -> list of runs) by the script."""
    ready = folder / "ready"
    for subject, runs in arrays.items():
        (ready / subject).mkdir(parents=True, exist_ok=True)
        for number, run in enumerate(runs):
            np.save(ready / subject / f"run-{number}.npy", run)
    group = {"type": "timeseries", "files": ["run-*.npy"], "sampling_frequency": 100, **settings}
    (folder / "config.json").write_text(json.dumps({"signals": group}))
    lists = []
    for name in ("training", "validation", "testing"):
        lists.append(folder / f"{name}.txt")
        lists[-1].write_text("".join(f"{subject}\n" for subject in subsets.get(name, [])))
    out = folder / "store.hdf5"
    run_by("dynml_create_hdf5_dataset.py", ready, out, folder / "config.json", *lists)
    return out
