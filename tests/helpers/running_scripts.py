"""Running the scripts as a user does, and small stores made by them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

SCRIPTS = Path(sys.executable).parent


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


def create_store(folder, arrays, subsets, **settings):
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
    run_script("dynml_create_hdf5_dataset.py", ready, out, folder / "config.json", *lists)
    return out
