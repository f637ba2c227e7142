"""Damaged files of all formats are read or refused by a sentence: no crash, no hang, no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "helpers" / "damaged_files.py"
FIRST, N_SEEDS = 1000, 10


def test_damaged_files_are_read_or_refused_by_a_sentence(tmp_path):
    folders = os.pathsep.join(filter(None, sys.path))
    program = [sys.executable, "-W", "ignore", PROGRAM, tmp_path, str(FIRST), str(FIRST + N_SEEDS)]
    done = subprocess.run(program, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": folders})
    assert done.returncode == 0, done.stderr[-2000:]
    *faults, last = map(json.loads, done.stdout.splitlines())
    assert not faults
    assert last[:2] == ["done", 19 * N_SEEDS]
