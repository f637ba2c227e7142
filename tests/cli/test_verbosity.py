"""`-q` and `-v` are options of every script, and leave results as they are."""

import runpy
import sys

import numpy as np
import pytest
from running_scripts import FOLDER, create_store, run_here

from dynml.cli.verbosity import compilation_told, set_verbosity, shows_progress

TRAIN = "dynml_train_model.py"
SETTINGS = ("--model.n_states", 1, "--trainer.max_epochs", 2)


@pytest.fixture(autouse=True)
def level_as_before():
    yield
    set_verbosity()


@pytest.mark.parametrize("script", sorted(path.name for path in FOLDER.glob("dynml_*.py")))
def test_every_script_has_them(script, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(FOLDER / script), run_name="__main__")
    shown = capsys.readouterr().out
    assert "--quiet" in shown
    assert "--verbose" in shown


def test_a_training_says_less_or_more_and_finds_the_same(tmp_path):
    signals = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    store = create_store(tmp_path, {"sub": [signals]}, {"training": ["sub"]}, run_by=run_here)
    said = {
        option: run_here(TRAIN, "hmm", tmp_path, f"run{option}", store, "signals", *SETTINGS, *filter(None, [option]))
        for option in ("", "-q", "-v")
    }
    for words in ("Subjects: training 1", "Parameters:", "Next: "):
        assert words in said[""].stdout
        assert words not in said["-q"].stdout
    assert "Epoch 1/2" in said[""].stderr
    assert said["-q"].stderr == ""
    results = {option: one.stdout[one.stdout.index("Stopped") :] for option, one in said.items()}
    assert results["-q"].splitlines()[:-1] == results["-v"].splitlines()[:-2]
    assert f"Results: {tmp_path / 'run-q'}" in results["-q"]
    assert "Took" not in said[""].stderr
    assert "s of processor time" in said["-v"].stderr.splitlines()[-1]


def test_both_are_refused():
    done = run_here("dynml_hdf5_verify.py", "-q", "-v", "store.hdf5", status=2)
    assert "keep one of them" in done.stderr


def test_what_one_command_line_asks_for_ends_with_it():
    set_verbosity(quiet=True)
    assert not shows_progress()
    run_here("dynml_hdf5_verify.py", "no.hdf5", status=2)
    assert shows_progress()


def test_compilation_is_told_once_and_not_where_it_is_to_be_quiet(capsys):
    numba = pytest.importorskip("numba")
    set_verbosity(quiet=True)
    with compilation_told():
        numba.njit(lambda x: x + 1)(1)
    assert capsys.readouterr().err == ""
    set_verbosity()
    with compilation_told():
        for number in (1, 1.0):
            numba.njit(lambda x: x + 2)(number)
    numba.njit(lambda x: x + 3)(1)
    assert capsys.readouterr().err.splitlines() == [
        "Compiling loops for this processor; later runs find them compiled."
    ]
