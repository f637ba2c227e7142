"""Ctrl-C at any time of a script is one line and status 130, also while it is still importing."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running_scripts import FOLDER

SCRIPTS = sorted(path.name for path in FOLDER.glob("dynml_*.py"))
KILLS = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30)\n"


def heard():
    """Hear SIGINT, which whoever runs the tests in the background has ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(tmp_path, module, *command):
    """Run a command whose import of a module is interrupted."""
    (tmp_path / f"{module}.py").write_text(KILLS)
    environment = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}", "PATH": "/usr/bin:/bin"}
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, capture_output=True, text=True, env=environment, preexec_fn=heard)


def assert_told(done):
    assert (done.returncode, done.stderr, done.stdout) == (130, "Interrupted.\n", "")


@pytest.mark.parametrize("script", [SCRIPTS[0], "dynml_create_hdf5_dataset.py", "dynml_train_model.py"])
def test_amid_the_imports_of_a_script(tmp_path, script):
    assert_told(interrupted(tmp_path, "argparse", FOLDER / script, "--help"))


@pytest.mark.parametrize("command", [["-m", "dynml.cli.console", "--help"], ["-m", "dynml.cli.demo", "--help"]])
def test_amid_the_imports_of_the_command(tmp_path, command):
    assert_told(interrupted(tmp_path, "argparse", *command))


def test_amid_the_work_of_a_script(tmp_path):
    script = FOLDER / "dynml_hdf5_verify.py"
    assert_told(interrupted(tmp_path, "h5py", script, tmp_path / "store.hdf5"))


def test_who_imports_the_commands_keeps_their_own_handler(tmp_path):
    told = "import signal, dynml.cli.errors; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    (tmp_path / "mine.py").write_text(told)
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"}
    words = [sys.executable, tmp_path / "mine.py", "dynml_train_model.py"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, preexec_fn=heard)
    assert done.stdout == "True\n"
