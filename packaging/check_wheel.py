"""A newcomer's first quarter of an hour: the wheel in a new environment, then every block of the README as it stands.

    python packaging/check_wheel.py [--torch "torch==2.13.0"] [--python python3.12]

Builds the wheel, installs it in a temporary folder outside the repository, and runs the README's blocks there: Python
by Python, shell by bash, in the order of the page, on four simulated subjects where it says "your recordings". The
blocks that install are what this script itself does, from the local wheel. Minutes, most of them pip's.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
RECORDINGS = """
from pathlib import Path

import numpy as np

from dynml.simulation import simulate_hmm

runs = simulate_hmm(n_subjects=8, n_states=6, n_samples=1000).time_series
for number, run in enumerate(runs):
    folder = Path("ready") / f"sub-{number // 2 + 1:02d}"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"run-{number % 2 + 1}.npy", run)
"""


def blocks_to_run(page: str) -> list[tuple[str, str]]:
    """Language and text of the blocks that are commands, those that install left out."""
    return [
        (language, text)
        for language, text in BLOCK.findall(page)
        if language in ("python", "sh", "bash") and "pip install" not in text
    ]


def new_environment(folder: Path, python: str, torch: str) -> dict[str, str]:
    """Install the wheel; variables with which its commands are found first."""
    binaries = folder / "environment" / "bin"
    subprocess.run([python, "-m", "venv", str(folder / "environment")], check=True)
    pip = [str(binaries / "python"), "-m", "pip"]
    # A copy, since building leaves a folder `build`, from which later wheels would take files that are gone.
    source = shutil.copytree(
        ROOT, folder / "source", ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "_build")
    )
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)], check=True)
    wheel = next(folder.glob("dynml-*.whl"))
    for wanted in (torch, str(wheel)):
        subprocess.run([*pip, "install", "--quiet", wanted], check=True)
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "MPLBACKEND": "Agg", "NUMBA_CACHE_DIR": str(folder / "compiled")}


def main() -> None:
    """Install, run, say how long each block took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", default="torch", help="requirement with which pip installs PyTorch first")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the new environment")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        begin = time.monotonic()
        environment = new_environment(Path(name), arguments.python, arguments.torch)
        print(f"installed in {time.monotonic() - begin:.0f} s", flush=True)
        outside = Path(name) / "outside"
        outside.mkdir()
        subprocess.run(["python", "-c", RECORDINGS], cwd=outside, env=environment, check=True)
        for language, text in blocks_to_run((ROOT / "README.md").read_text(encoding="utf-8")):
            begin = time.monotonic()
            command = ["python", "-c", text] if language == "python" else ["bash", "-euo", "pipefail", "-c", text]
            subprocess.run(command, cwd=outside, env=environment, check=True)
            print(f"{language}, {text.splitlines()[0]} ..: {time.monotonic() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
