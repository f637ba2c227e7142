"""The demo deletes nothing: what it does not know it refuses, and an earlier demo's folder serves again."""

import subprocess
import sys
from pathlib import Path

import pytest

from dynml.cli import demo
from dynml.errors import DynmlError

RECIPE = Path(__file__).parents[2] / "configs" / "haxby_hmm.yaml"


def content_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("recipe", ["no_such_recipe.yaml", RECIPE])
def test_a_folder_with_anything_in_it_is_refused_and_stays(tmp_path, recipe):
    (tmp_path / "victim" / "deep").mkdir(parents=True)
    (tmp_path / "victim" / "deep" / "thesis.txt").write_text("three years")
    before = content_of(tmp_path)
    command = [sys.executable, "-m", "dynml.cli.demo", "victim", str(recipe)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert ("victim is not empty" if recipe == RECIPE else "no_such_recipe.yaml does not exist") in done.stderr
    assert content_of(tmp_path) == before


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DynmlError, match="is a file, not a folder"):
        demo.make_demo_folder(tmp_path / "file")


def test_a_second_demo_replaces_its_own_results_only(tmp_path, monkeypatch):
    out, commands = tmp_path / "demo", []

    def run(script, *arguments):
        commands.append([script, *map(str, arguments)])
        if script == "dynml_create_hdf5_dataset.py":
            Path(arguments[1]).touch()
        elif script == "dynml_train_model.py":
            (Path(arguments[1]) / arguments[2]).mkdir()
        elif script == "dynml_infer_from_model.py":
            Path(arguments[2]).mkdir(exist_ok=True)

    monkeypatch.setattr(demo, "_run", run)
    demo.make_demo_folder(out)
    assert demo.run_scripts(out, RECIPE) == out / "experiments" / "haxby_hmm"
    for place in ("", "experiments", "experiments/haxby_hmm", "recordings", "states"):
        (out / place / "mine.txt").write_text("mine")
    assert not any("-f" in command for command in commands)
    commands.clear()
    before = content_of(out)
    demo.make_demo_folder(out)
    assert demo.run_scripts(out, RECIPE) == out / "experiments" / "haxby_hmm_2"
    assert ["-f" in command for command in commands] == [True, False, False, True]
    assert content_of(out).items() >= before.items()
