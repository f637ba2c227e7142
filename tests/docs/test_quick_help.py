"""`import dynml` and every --help answer at once: they import none of the large packages."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LARGE = {
    "torch",
    "scipy",
    "numba",
    "h5py",
    "safetensors",
    "matplotlib",
    "nibabel",
    "nilearn",
    "sklearn",
    "pandas",
    "dipy",
    "comet_ml",
    "tensorboard",
}
SCRIPTS = sorted(path.name for path in (ROOT / "scripts_python").glob("dynml_*.py"))
KINDS = {"dynml_train_model.py": "hmm", "dynml_simulate_data.py": "hmm"}

MEASURED = """
import json, resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    {statement}
except SystemExit as end:
    assert not end.code, end.code
seconds = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
print(json.dumps([sorted({{name.partition(".")[0] for name in sys.modules}}), seconds]), file=sys.stderr)
"""


def modules_and_seconds(statement, *arguments):
    """Packages that a process has imported at its end, the CPU seconds that it took, and what it printed."""
    command = [sys.executable, "-c", MEASURED.format(statement=statement), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    modules, seconds = json.loads(done.stderr.splitlines()[-1])
    return set(modules), seconds, done.stdout


@pytest.fixture(scope="module")
def yardstick():
    """CPU seconds that this machine takes for the imports that no help can do without; a quarter on most."""
    return max(modules_and_seconds("import numpy, jsonargparse", "python")[1] for _ in range(2))


def test_importing_the_package_is_quick(yardstick):
    modules, seconds, _ = modules_and_seconds("import dynml", "python")
    assert "dynml" in modules
    assert not modules & LARGE
    assert seconds < 2 * yardstick


@pytest.mark.parametrize("script", [*SCRIPTS, *(f"{name} {kind}" for name, kind in KINDS.items())])
def test_help_is_quick(script, yardstick):
    name, *kind = script.split()
    statement = 'runpy.run_path(sys.argv[0], run_name="__main__")'
    modules, seconds, shown = modules_and_seconds(statement, f"scripts_python/{name}", *kind, "--help")
    assert shown.startswith(f"usage: {name}")
    assert not modules & LARGE
    assert seconds < 6 * yardstick
