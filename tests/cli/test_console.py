"""`dynml COMMAND ..` is every script, and recipes are found by their names."""

import subprocess
import sys
from pathlib import Path

import pytest

from dynml.cli.console import commands, main, overview
from dynml.cli.errors import memory_in_words
from dynml.cli.shipped import SHORT_NAMES, recipe_path, with_recipes
from dynml.errors import DataError

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "scripts_python").glob("dynml_*.py"))


def run_dynml(*arguments, monkeypatch):
    monkeypatch.setattr("sys.argv", ["dynml", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


def test_every_script_is_a_command_by_its_name():
    assert {path.stem.removeprefix("dynml_") for path in SCRIPTS} <= set(commands())
    assert set(commands().values()) == set(SCRIPTS)


def test_the_overview_has_each_script_once_with_what_it_does(monkeypatch):
    rows = [line.split(maxsplit=1) for line in overview().splitlines() if line.startswith("  ")]
    names = [name for name, _ in rows]
    assert names[0] == "demo"
    assert len(names) == len(set(names)) == len(SCRIPTS) + 1
    assert dict(rows)["train"] == "Train a model of brain dynamics on the recordings of a store."
    assert max(map(len, overview().splitlines())) <= 120


@pytest.mark.parametrize("name", ["verify", "hdf5_verify", "hdf5-verify"])
def test_a_command_is_the_script_under_another_name(name, tmp_path, monkeypatch, capsys):
    assert run_dynml(name, "--help", monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: dynml {name}")
    assert run_dynml(name, str(tmp_path / "no.hdf5"), monkeypatch=monkeypatch) == 2
    assert "no.hdf5 does not exist" in capsys.readouterr().err


def test_an_unknown_command_names_the_nearest(monkeypatch, capsys):
    assert run_dynml("trian", monkeypatch=monkeypatch) == 2
    assert (
        capsys.readouterr().err
        == "Error: trian is not a command of dynml (did you mean 'train'?). (See dynml --help.)\n"
    )


def test_short_names_do_not_hide_a_script():
    scripts = {path.stem.removeprefix("dynml_") for path in SCRIPTS}
    assert not scripts & set(SHORT_NAMES)


def test_the_overview_needs_no_large_package():
    statement = (
        "import sys; sys.argv = ['dynml']; from dynml.cli.console import main; main(); "
        "assert not {'torch', 'h5py', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: dynml COMMAND")


def test_a_recipe_is_found_by_name_and_a_file_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = ROOT / "configs" / "haxby_hmm.yaml"
    assert recipe_path("haxby_hmm").samefile(recipe)
    assert with_recipes(["--config=haxby_hmm", "x"]) == [f"--config={recipe}", "x"]
    assert with_recipes(["--config", "haxby_hmm", "--debug"]) == ["--config", str(recipe), "--debug"]
    own = tmp_path / "haxby_hmm"
    own.write_text("model: {n_states: 2}\n")
    assert recipe_path("haxby_hmm") == Path("haxby_hmm")


def test_a_folder_does_not_hide_the_recipe_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "haxby_hmm").mkdir()
    assert recipe_path("haxby_hmm").samefile(ROOT / "configs" / "haxby_hmm.yaml")


@pytest.mark.parametrize(
    ("program", "smaller"),
    [
        ("dynml train", "sampler.batch_size_training"),
        ("dynml apply-preparation", "fewer --n_jobs"),
        ("dynml features", "a smaller --window_length"),
        ("dynml extract", "a machine with more of it"),
        ("/usr/bin/dynml_extract_features.py", "a smaller --window_length"),
    ],
)
def test_memory_that_runs_out_is_told_alike_by_scripts_and_commands(program, smaller, monkeypatch):
    monkeypatch.setattr("sys.argv", [program])
    assert smaller in memory_in_words(MemoryError())


@pytest.mark.parametrize("given", ["haxby_hm", "configs/haxby_hm.yaml"])
def test_a_misspelt_recipe_names_the_nearest(tmp_path, monkeypatch, given):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"does not exist; .* \(did you mean 'haxby_hmm'\?\)"):
        recipe_path(given)
